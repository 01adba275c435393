"""The numbers and figures of the lessons: each module one idea, computed, then drawn."""
