"""Dominance and hypervolume, by moocore, and the one epsilon-indicator.

Everything is minimised: every row of costs is (size, inference cost, error), all positive.
"""

from __future__ import annotations

import moocore
import numpy as np


def nondominated(costs: np.ndarray) -> np.ndarray:
    """Return a mask of the rows (shape (n,)) that no other row beats; equal rows all stay."""
    costs = np.atleast_2d(np.asarray(costs, dtype=float))
    return moocore.is_nondominated(costs, maximise=False, keep_weakly=True)


def hypervolume(costs: np.ndarray, reference: np.ndarray) -> float:
    """Return the volume dominated by the rows and bounded by `reference`, in their units."""
    costs = np.atleast_2d(np.asarray(costs, dtype=float))
    return float(moocore.hypervolume(costs, ref=np.asarray(reference, dtype=float)))


def factors(costs: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return by which factor each row must be allowed to be worse to stand in for each other.

    Shapes: costs (n, d), reference (m, d); the result is (n, m). The entry (i, j) is the largest
    of the d ratios costs[i] / reference[j]; it is below 1 where row i is better in everything.
    """
    columns = zip(np.transpose(costs), np.transpose(reference), strict=True)
    # One (n, m) table of ratios a column: faster than a maximum along a last axis of length d.
    return np.maximum.reduce([np.divide.outer(own, other) for own, other in columns])


def achieved_epsilons(trace: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return `achieved_epsilon` of the first row of `trace` (n, d), of the first two, ... (n,)."""
    nearest = np.minimum.accumulate(factors(trace, costs), axis=0)  # of the rows so far, to each
    return np.maximum(nearest.max(axis=1) - 1.0, 0.0)


def achieved_epsilon(cover: np.ndarray, costs: np.ndarray) -> float:
    """Return the smallest epsilon for which `cover` (n, d) is an epsilon-cover of `costs` (m, d).

    That is: each row of `costs` has a row in `cover` within a factor 1 + epsilon in all columns
    (the multiplicative epsilon-indicator, Zitzler et al. 2003, minus one; never negative).
    """
    return float(achieved_epsilons(cover, costs)[-1])


def knee(costs: np.ndarray) -> int:
    """Return the row of a front (n, d) farthest below the plane through its extremes, in logs.

    The knee of Das 1999. Logarithms are scaled to 0..1 in each column, so that the distance from
    the plane is the sum of the columns but for a constant: the least sum is the farthest below.
    """
    logs = np.log(costs)
    spread = np.ptp(logs, axis=0)
    scaled = (logs - logs.min(axis=0)) / np.where(spread > 0, spread, 1.0)
    return int(scaled.sum(axis=1).argmin())
