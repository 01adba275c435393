"""What a table of a whole space says of the assumptions: noise, order, predictor, covers.

A table is recorded once (`front --selection exhaustive`, one a training seed); everything here is
computed from it, so that the promises of the FPTAS are held against every architecture there is.
Errors are r, from the source's (0) to guessing's (1), unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from bort_engine.algorithms import fptas
from bort_engine.algorithms.fptas import Candidate
from bort_engine.algorithms.guarantee import Order, order_violations
from bort_engine.algorithms.pareto import achieved_epsilon
from bort_engine.search.predictor import ErrorPredictor, guesser, shape_features

EPSILONS = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05)


class Noise(NamedTuple):
    """How far the errors of two training seeds are apart, over the whole space.

    `median` and `p95` are of the difference; `kendall_tau` is of the two rankings.
    """

    median: float
    p95: float
    kendall_tau: float


class CoverResult(NamedTuple):
    """What a cover trained, and the epsilon it achieved on the whole space."""

    epsilon: float
    lazy: bool
    cells: int
    evaluations: int
    achieved: float


def noise(first: np.ndarray, second: np.ndarray) -> Noise:
    """Compare two tables of errors, shape (n,) each."""
    from scipy.stats import kendalltau

    tau: Any = kendalltau(first, second)
    median, p95 = np.percentile(np.abs(first - second), [50, 95])
    return Noise(float(median), float(p95), float(tau.statistic))


def order(
    candidates: Sequence[Candidate], errors: Sequence[float], tolerance: float = fptas.TOLERANCE
) -> Order:
    """Count where the error rises along the AB^nC order by more than the tolerance."""
    places = np.array([xi.order for xi in candidates])
    return order_violations(places, np.array(errors, dtype=float), tolerance)


def surface(candidates: Sequence[Candidate], errors: Sequence[float]) -> ErrorPredictor:
    """Fit a predictor to a table of positive errors, by `Architecture`s: see its leave-one-out."""
    return ErrorPredictor.fit([shape_features(xi.key) for xi in candidates], errors)


def covers(
    candidates: Sequence[Candidate], errors: Sequence[float], epsilons: Sequence[float] = EPSILONS
) -> list[CoverResult]:
    """Run the FPTAS at every epsilon, lazily and not, and hold it against the whole table."""
    row = {xi.key: n for n, xi in enumerate(candidates)}
    costs = np.array([(xi.p, xi.i, e) for xi, e in zip(candidates, errors, strict=True)])
    results, guess = [], guesser(candidates)
    for epsilon, lazy in product(epsilons, (True, False)):
        extraction = fptas.extract(
            candidates,
            lambda keys: [float(errors[row[key]]) for key in keys],
            epsilon=epsilon,
            lazy=lazy,
            guess=guess,
            at_once=fptas.AT_ONCE,
        )
        trained = [row[xi.key] for xi in extraction.evaluated]
        achieved = achieved_epsilon(costs[trained], costs)
        results.append(CoverResult(epsilon, lazy, extraction.n_cells, len(trained), achieved))
    return results
