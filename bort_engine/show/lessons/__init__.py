"""The lessons: each one's numbers, words and figures."""
