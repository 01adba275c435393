"""Training and distillation: the source's fine-tuning, and what students start from."""
