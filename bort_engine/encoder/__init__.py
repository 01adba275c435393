"""What an architecture is, what it costs, and how it becomes a transformers model."""
