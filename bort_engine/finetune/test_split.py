"""The test split, opened once: accuracy of every arm, with intervals by a paired bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bort_engine.finetune.report import Lead, Row, RowName

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

N_RESAMPLES = 2000


def score_test(
    task: str,
    tokenizer: PreTrainedTokenizerBase,
    arms: Mapping[RowName, Sequence[PreTrainedModel]],
) -> dict[RowName, np.ndarray]:
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


def compare_arms(right: Mapping[RowName, np.ndarray]) -> tuple[Row, ...]:
    """Return each arm's test accuracy and how far the first is ahead of it, with 95 % intervals.

    Sentences are drawn with replacement, the same for every arm (a paired bootstrap); over several
    seeds a sentence counts with the mean of its answers. The interval is therefore about other
    sentences, not about other seeds: those stand in `per_seed`.

    Args:
        right: which answers are right, (seeds, sentences) by arm.
    """
    from scipy.stats import bootstrap

    first, *others = right

    def accuracies_and_leads(*samples: np.ndarray, axis: int) -> np.ndarray:
        accuracies = np.stack([sample.mean(axis) for sample in samples])
        return np.concatenate([accuracies, accuracies[:1] - accuracies[1:]])

    by_sentence = [answers.mean(0) for answers in right.values()]
    values = accuracies_and_leads(*by_sentence, axis=0)
    interval = bootstrap(
        by_sentence,
        accuracies_and_leads,
        paired=True,
        vectorized=True,
        n_resamples=N_RESAMPLES,
        batch=100,  # resamples at once: their copies of all answers need memory
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    estimates = np.stack([values, interval.low, interval.high], axis=1).round(5).tolist()
    # A row each for the arms, then one each for the first arm's leads over the others.
    leads = dict(zip(others, (Lead(*e) for e in estimates[len(right) :]), strict=True))
    return tuple(
        Row(
            name,
            *estimate,
            per_seed=tuple(right[name].mean(1).round(5).tolist()),
            against=leads if name == first else {},
        )
        for name, estimate in zip(right, estimates, strict=False)
    )
