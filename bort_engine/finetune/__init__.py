"""The verb `agora`: the chosen architecture, fine-tuned, compared and saved."""
