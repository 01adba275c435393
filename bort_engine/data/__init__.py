"""Labelled text, and the embedded model and data it comes with."""
