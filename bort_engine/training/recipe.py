"""What decides a training beside its data; apart from trainer.py, since it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how hard to train: either `steps`, or `epochs` where steps is 0."""

    steps: int = 0
    epochs: float = 2
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup_share: float = 0.1
    weight_decay: float = 0.01
