"""Experiments beside the product: Agora on a torus, the article's toy and its claims, timed."""
