"""The test split, opened once: accuracy of every arm, with intervals by a paired bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

N_RESAMPLES = 2000


def score_test(
    task: str,
    tokenizer: PreTrainedTokenizerBase,
    arms: Mapping[str, Sequence[PreTrainedModel]],
) -> dict[str, np.ndarray]:
    """Load the locked test split and return which answers are right: (seeds, sentences) by arm.

    Nothing else loads that split, and a run calls this once, after its last training.
    """
    from bort_engine.data.tasks import load_test
    from bort_engine.training.trainer import encode, predict

    test = load_test(task)
    labels = np.array(test["label"])
    rows = encode(test["text"], tokenizer, labels)
    return {
        name: np.array([predict(model, rows, tokenizer).argmax(1) == labels for model in models])
        for name, models in arms.items()
    }


def compare(
    right: Mapping[str, np.ndarray], ours: str, others: Sequence[str], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Return each arm's test accuracy and how far `ours` is ahead of others, with 95 % intervals.

    Sentences are drawn with replacement, the same for every arm (a paired bootstrap); over several
    seeds a sentence counts with the mean of its answers. The interval is therefore about other
    sentences, not about other seeds: those stand in `per_seed`.
    """
    means = {name: values.mean(0) for name, values in right.items()}
    n = len(means[ours])
    draws = np.random.default_rng(seed).integers(n, size=(N_RESAMPLES, n))
    resampled = {name: mean[draws].mean(1) for name, mean in means.items()}
    rows = {
        name: {
            "accuracy": _rounded(mean.mean()),
            **_interval(resampled[name]),
            "per_seed": [_rounded(one) for one in right[name].mean(1)],
        }
        for name, mean in means.items()
    }
    for other in others:
        rows[ours][f"against_{other}"] = {
            "difference": _rounded(means[ours].mean() - means[other].mean()),
            **_interval(resampled[ours] - resampled[other]),
        }
    return rows


def _interval(values: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return {"low": _rounded(low), "high": _rounded(high)}


def _rounded(value: Any) -> float:
    return round(float(value), 5)
