"""The verbs `front` and `race`: candidates, their errors, and the front of the best."""
