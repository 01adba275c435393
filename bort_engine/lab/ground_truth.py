"""What a table of a whole space says of the assumptions: noise, order, surface, covers.

A table is recorded once (`front --exhaustive`, one a training seed); everything here is computed
from it, so that the promises of the FPTAS are held against every architecture there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bort_engine.algorithms import fptas
from bort_engine.search.predictor import ErrorPredictor, guesser, shape_features
from bort_engine.search.scores import Truth

EPSILONS = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05)


@dataclass(frozen=True, slots=True)
class Noise:
    """How far the errors of two training seeds are apart, over the whole space.

    `median` and `p95` are of the relative difference; `kendall_tau` is of the two rankings.
    """

    median: float
    p95: float
    kendall_tau: float


@dataclass(frozen=True, slots=True)
class Order:
    """Pairs of which one contains the other, and those where the container errs more."""

    pairs: int
    violations: int
    worst: float


@dataclass(frozen=True, slots=True)
class Cover:
    """What a cover trained, and the epsilon it achieved on the whole space."""

    epsilon: float
    lazy: bool
    cells: int
    trainings: int
    achieved: float


def noise(first: np.ndarray, second: np.ndarray) -> Noise:
    """Compare two tables of errors, shape (n,) each."""
    from scipy.stats import kendalltau

    apart = np.abs(first - second) / ((first + second) / 2)
    tau: Any = kendalltau(first, second)
    return Noise(float(np.median(apart)), float(np.percentile(apart, 95)), float(tau.statistic))


def order(
    candidates: Sequence[fptas.Candidate],
    errors: Sequence[float],
    tolerance: float = fptas.TOLERANCE,
) -> Order:
    """Count where the error rises along the AB^nC order by more than the tolerance."""
    table = dict(zip(candidates, map(float, errors), strict=True))
    T = fptas.maximum_point(candidates)
    held = fptas.guarantee(fptas.Extraction(T, table, {}, {}, 0, 0.0, {}), tolerance)
    return Order(held.order_pairs, held.order_violations, held.worst_violation)


def surface(candidates: Sequence[fptas.Candidate], errors: Sequence[float]) -> ErrorPredictor:
    """Fit the predicted surface to the whole table; its leave-one-out error says what it is worth.

    The candidates' keys are `Architecture`s.
    """
    return ErrorPredictor.fit(
        [shape_features(xi.key) for xi in candidates], list(map(float, errors))
    )


def covers(
    candidates: Sequence[fptas.Candidate],
    errors: Sequence[float],
    epsilons: Sequence[float] = EPSILONS,
    tolerance: float = fptas.TOLERANCE,
) -> list[Cover]:
    """Run the FPTAS at every epsilon, lazily and not, and hold it against the whole table."""
    table = {xi.key: float(e) for xi, e in zip(candidates, errors, strict=True)}
    row = {xi.key: n for n, xi in enumerate(candidates)}
    truth = Truth(np.array([(xi.p, xi.i, table[xi.key]) for xi in candidates]))
    found, guess = [], guesser(candidates)
    for epsilon in epsilons:
        for lazy in (True, False):
            extraction = fptas.extract(
                candidates,
                lambda keys: [table[key] for key in keys],
                epsilon=epsilon,
                lazy=lazy,
                tolerance=tolerance,
                guess=guess,
            )
            trained = [row[xi.key] for xi in extraction.evaluated]
            achieved = float(truth.epsilons(trained)[-1])
            found.append(Cover(epsilon, lazy, extraction.n_cells, len(trained), achieved))
    return found
