"""Uneven models out of a larger one, and as plain checkpoints; see `uneven` for what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedModel

from bort_engine.encoder.build import Importance, blank, inherit
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.uneven import Uneven, shrink


def cut_uneven(
    parent: PreTrainedModel, shape: Uneven, source: Source, importance: Importance
) -> PreTrainedModel:
    """Return the slice of `parent`, a model of the source's shape: its most important units.

    Raises:
        ValueError: the shape is no slice of the source.
    """
    shape.check(source)
    whole = source.architecture
    narrow = replace(whole, hidden_size=shape.hidden_size)
    best = by_importance(importance, whole)
    return shrink(inherit(parent, narrow, source, importance), shape, narrow.head_width, best)


def by_importance(
    importance: Importance, whole: Architecture
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, by layer, heads and neurons with the most important ones first."""
    of_heads = importance.attention.reshape(-1, whole.num_attention_heads, whole.head_width).sum(2)
    return [
        (np.argsort(-heads, kind="stable"), np.argsort(-neurons, kind="stable"))
        for heads, neurons in zip(of_heads, importance.neurons, strict=True)
    ]


def padded(model: PreTrainedModel, shape: Uneven, source: Source) -> PreTrainedModel:
    """Return an uneven model as a plain transformers one: zeros stand in for what was cut.

    Its outputs are the same; in a layer narrower than the widest it computes with zeros.
    """
    plain = blank(model, shape.padded(source), source)
    small = model.state_dict()
    with torch.no_grad():
        for name, weight in plain.state_dict().items():
            weight.zero_()
            if name in small:
                weight[tuple(slice(size) for size in small[name].shape)] = small[name]
    return plain.eval()


def unpadded(plain: PreTrainedModel, shape: Uneven, source: Source) -> PreTrainedModel:
    """Cut what `padded` filled with zeros off again, in place, and return the uneven model."""
    kept = replace(shape, layers=tuple(shape.layers[k] for k in shape.kept))
    return shrink(plain, kept, shape.padded(source).head_width)
