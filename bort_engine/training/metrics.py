"""What a model's outputs are worth on dev, for classes and for numbers.

The error is what is searched by: the share of wrong answers, or 1 - Pearson's correlation, both
from 0 (all right) to about guessing's. Numbers are predicted as one output, classes as one each.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def is_number(outputs: np.ndarray) -> bool:
    """Are these the outputs, shape (n, k), of a model that predicts one number?"""
    return outputs.shape[1] == 1


def error(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Return the share of wrong answers, or 1 - Pearson's correlation, at most 1.

    Args:
        labels: class numbers or numbers, shape (n,).
        outputs: logits, shape (n, classes), or predicted numbers, shape (n, 1).
    """
    if is_number(outputs):
        return 1.0 - max(0.0, pearson(labels, outputs[:, 0]))
    return float((outputs.argmax(1) != labels).mean())


def chance_error(labels: np.ndarray, n_outputs: int) -> float:
    """Return the error of who always names the most frequent class, or always the same number."""
    if n_outputs == 1:
        return 1.0
    return 1 - float(np.bincount(labels).max() / len(labels))


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation; 0 where one of them does not vary."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def scores(labels: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Return a task's usual scores by name, shares of 1, the one that `error` is made of first."""
    if is_number(outputs):
        from scipy.stats import spearmanr

        numbers, spearman = outputs[:, 0], 0.0
        if np.ptp(numbers) > 0 and np.ptp(labels) > 0:
            rank: Any = spearmanr(labels, numbers)
            spearman = float(rank.statistic)
        return {"Pearson correlation": pearson(labels, numbers), "Spearman": spearman}
    from sklearn.metrics import balanced_accuracy_score, f1_score

    predicted = outputs.argmax(1)
    return {
        "accuracy": float((predicted == labels).mean()),
        "balanced accuracy": float(balanced_accuracy_score(labels, predicted)),
        "macro F1": float(f1_score(labels, predicted, average="macro")),
    }


def recalls(labels: np.ndarray, outputs: np.ndarray) -> list[float | None]:
    """Return each class's share of right answers; None where dev has none of it."""
    right = outputs.argmax(1) == labels
    of_class = [labels == number for number in range(outputs.shape[1])]
    return [float(right[rows].mean()) if rows.any() else None for rows in of_class]


def soft_labels(outputs: np.ndarray) -> np.ndarray:
    """Return what a student imitates: T's probabilities (n, classes), or its numbers (n,)."""
    from scipy.special import softmax

    return outputs[:, 0] if is_number(outputs) else softmax(outputs, axis=-1)


def distance(teacher_outputs: np.ndarray, outputs: np.ndarray) -> float:
    """Return how far a model is from T: the mean cross-entropy, in nats, T's own entropy included.

    That is -sum_k softmax(T)_k log softmax(f)_k ([BORT], section 3). Of numbers, which have no such
    entropy: the mean squared difference, in units of T's variance, plus 1.
    """
    from scipy.special import log_softmax, softmax

    if is_number(outputs):
        spread = max(float(teacher_outputs.var()), 1e-12)
        return 1.0 + float(((teacher_outputs - outputs) ** 2).mean()) / spread
    shares = softmax(teacher_outputs, axis=-1)
    return float(-(shares * log_softmax(outputs, axis=-1)).sum(-1).mean())


def divergence(teacher_outputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return each row's Kullback-Leibler divergence of f from T, in nats."""
    from scipy.special import log_softmax, softmax

    gap = log_softmax(teacher_outputs, axis=-1) - log_softmax(outputs, axis=-1)
    return (softmax(teacher_outputs, axis=-1) * gap).sum(-1)
