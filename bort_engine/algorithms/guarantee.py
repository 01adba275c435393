"""The promise of the FPTAS, and the assumption under it, checked on everything that was measured.

In size and cost the promise is a theorem (the representative shares the cell); in the error it
holds as far as that falls along the AB^nC order, so that is what is counted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bort_engine.algorithms.fptas import ERROR_FLOOR, TOLERANCE, Extraction
from bort_engine.algorithms.pareto import achieved_epsilon


class Order(NamedTuple):
    """Pairs of which one contains the other; those where the container errs more, and by how much.

    `worst` is a share of the smaller error, 0 where none errs more.
    """

    pairs: int
    violations: int
    worst: float


def order_violations(order: np.ndarray, errors: np.ndarray, tolerance: float = TOLERANCE) -> Order:
    """Count where errors (n,) rise along the AB^nC order (n, k) by more than the tolerance."""
    # inside[k, l]: k is contained in l. Equals contain each other and make no pair.
    inside = (order[:, None, :] <= order[None, :, :]).all(axis=2)
    inner, outer = np.nonzero(inside & ~inside.T)
    excess = errors[outer] / np.maximum(errors[inner], ERROR_FLOOR) - 1
    worst = max(0.0, float(excess.max(initial=0.0)))
    return Order(len(excess), int((excess > tolerance).sum()), worst)


@dataclass(frozen=True, slots=True)
class Guarantee:
    """The promise of an extraction, checked against everything that was measured.

    Attributes:
        achieved: the smallest epsilon for which the returned set covers all that was measured.
        n_measured: how many that is, spot-checks and known ones included.
        order_pairs: measured pairs of which one contains the other.
        order_violations: those where the container's error is higher by more than the tolerance.
        worst_violation: by what share, at most.
    """

    achieved: float
    n_measured: int
    order_pairs: int
    order_violations: int
    worst_violation: float


def guarantee(extraction: Extraction, tolerance: float = TOLERANCE) -> Guarantee:
    """Check an extraction's promise, and the assumption under it, on everything measured."""
    measured = extraction.measured
    # Below the floor errors count as equal, as in W: a ratio of two of them would mean nothing.
    cover, costs = (
        np.array([(xi.p, xi.i, max(e, ERROR_FLOOR)) for xi, e in errors.items()])
        for errors in (extraction.cover, measured)
    )
    order, errors = np.array([xi.order for xi in measured]), np.array(list(measured.values()))
    pairs = order_violations(order, errors, tolerance)
    return Guarantee(achieved_epsilon(cover, costs), len(measured), *pairs)
