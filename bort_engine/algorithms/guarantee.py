"""The promise of the FPTAS, and the assumption under it, checked on everything that was measured.

In size and cost the promise is a theorem; in the error it holds as far as that falls along the
AB^nC order, so that is what is counted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bort_engine.algorithms.fptas import TOLERANCE, Candidate, Extraction
from bort_engine.algorithms.pareto import achieved_epsilon, gaps

CONFIDENCE = 0.95


class Order(NamedTuple):
    """Pairs of which one contains the other; those where the container errs more, and by how much.

    `worst` is on the errors' scale, 0 where none errs more.
    """

    pairs: int
    violations: int
    worst: float


def order_violations(order: np.ndarray, errors: np.ndarray, tolerance: float = TOLERANCE) -> Order:
    """Count where errors (n,) rise along the AB^nC order (n, k) by more than the tolerance."""
    # inside[k, l]: k is contained in l, whose ranks then have the larger sum (equals contain each
    # other and make no pair). One criterion at a time, in small numbers: (n, n) is millions.
    ranks = [np.unique(column, return_inverse=True)[1].astype(np.int16) for column in order.T]
    total = sum(ranks, start=np.zeros(len(order), np.int32))
    inside = total[:, None] < total
    for rank in ranks:
        inside &= rank[:, None] <= rank
    small, large = np.divmod(np.flatnonzero(inside), len(order))
    excess = errors[large] - errors[small]
    worst = max(0.0, float(excess.max(initial=0.0)))
    return Order(len(excess), int((excess > tolerance).sum()), worst)


def upper_limit(n_hits: int, n_draws: int) -> float:
    """Return the largest share that so few hits in so many random draws leave possible, at 95 %.

    The upper end of Clopper and Pearson's one-sided interval: with it, so few hits or fewer have a
    probability of 5 %.
    """
    if n_hits == n_draws:
        return 1.0
    if n_hits == 0:  # the same, without an import that takes longer than a front on record
        return 1 - (1 - CONFIDENCE) ** (1 / n_draws)
    from scipy.special import bdtri

    return float(bdtri(n_hits, n_draws, 1 - CONFIDENCE))


@dataclass(frozen=True, slots=True)
class Guarantee:
    """The promise of an extraction, checked against everything that was measured.

    Attributes:
        achieved: the smallest epsilon for which the returned set covers all that was measured.
        n_measured: how many that is, spot-checks, known ones and others included.
        n_uncovered: how many of them are not covered at the promised epsilon.
        n_missed: how many of the spot-checks are not covered at the promised epsilon.
        most_uncovered: the largest share of what was not measured that the checks leave possible.
        order_pairs: measured pairs of which one contains the other.
        order_violations: those where the container's error is higher by more than the tolerance.
        worst_violation: by how much, at most.
    """

    achieved: float
    n_measured: int
    n_uncovered: int
    n_missed: int
    most_uncovered: float
    order_pairs: int
    order_violations: int
    worst_violation: float


def guarantee(
    extraction: Extraction,
    epsilon: float,
    tolerance: float = TOLERANCE,
    others: Mapping[Candidate, float] | None = None,
) -> Guarantee:
    """Check an extraction's promise, and the assumption under it, on everything measured.

    `others` are errors that the extraction did not ask for.
    """
    everything = {**extraction.measured, **(others or {})}
    cover, checks, measured = (
        np.array([(xi.p, xi.i, e) for xi, e in errors.items()]).reshape(-1, 3)
        for errors in (extraction.cover, extraction.checks, everything)
    )
    n_missed, n_uncovered = (
        int((gaps(cover, some).min(axis=0) > epsilon + 1e-12).sum()) for some in (checks, measured)
    )
    order = np.array([xi.order for xi in everything])
    return Guarantee(
        achieved_epsilon(cover, measured),
        len(measured),
        n_uncovered,
        n_missed,
        upper_limit(n_missed, len(checks)),
        *order_violations(order, measured[:, 2], tolerance),
    )
