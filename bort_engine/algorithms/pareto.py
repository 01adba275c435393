"""Dominance and hypervolume, by moocore, and the one epsilon-indicator.

Everything is minimised. A row of costs is (size, inference cost, error): the first are positive and
compared by their ratio; the last is an error on a scale of its own, compared by the difference.
"""

from __future__ import annotations

import moocore
import numpy as np


def nondominated(costs: np.ndarray, tie: float = 0.0) -> np.ndarray:
    """Return a mask of the rows (shape (n,)) that no other row beats; equal rows all stay.

    Second columns that differ by less than the share `tie` count as equal.
    """
    costs = np.atleast_2d(np.asarray(costs, dtype=float))
    if not tie:
        return moocore.is_nondominated(costs, maximise=False, keep_weakly=True)
    # Not transitive any more, so every pair is looked at. There are no circles: around one, first
    # and last columns could not fall, so the second would have to, by more than the tie each time.
    p, i, e = costs.T
    shorter = np.multiply.outer(i, np.full(len(i), 1 + tie)) < i  # [k, l]: k is, by more than that
    no_worse = (p[:, None] <= p) & (e[:, None] <= e) & ~shorter.T
    better = (p[:, None] < p) | (e[:, None] < e) | shorter
    return ~(no_worse & better).any(axis=0)


def hypervolume(costs: np.ndarray, reference: np.ndarray) -> float:
    """Return the volume dominated by the rows and bounded by `reference`, in their units."""
    costs = np.atleast_2d(np.asarray(costs, dtype=float))
    return float(moocore.hypervolume(costs, ref=np.asarray(reference, dtype=float)))


def gaps(costs: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return by how much each row must be allowed to be worse to stand in for each other.

    Shapes: costs (n, d), reference (m, d); the result is (n, m). The entry (i, j) is the largest of
    costs[i] / reference[j] - 1, by column, and, in the last column, costs[i] - reference[j]; it is
    negative where row i is better in everything.
    """
    *columns, errors = zip(np.transpose(costs), np.transpose(reference), strict=True)
    # One (n, m) table a column: faster than a maximum along a last axis of length d.
    ratios = [np.divide.outer(own, other) - 1 for own, other in columns]
    return np.maximum.reduce([*ratios, np.subtract.outer(*errors)])


def achieved_epsilons(trace: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return `achieved_epsilon` of the first row of `trace` (n, d), of the first two, ... (n,)."""
    nearest = np.minimum.accumulate(gaps(trace, costs), axis=0)  # of the rows so far, to each
    return np.maximum(nearest.max(axis=1), 0.0)


def achieved_epsilon(cover: np.ndarray, costs: np.ndarray) -> float:
    """Return the smallest epsilon for which `cover` (n, d) is an epsilon-cover of `costs` (m, d).

    That is: each row of `costs` has a row in `cover` that costs at most 1 + epsilon times as much
    and errs at most epsilon more (the epsilon-indicator, Zitzler et al. 2003, multiplicative in
    costs and additive in the error; never negative).
    """
    return float(achieved_epsilons(cover, costs)[-1])


def knee(costs: np.ndarray) -> int | None:
    """Return the row of a front (n, d) farthest below the line from the cheapest to the best one.

    The knee of Das 1999, of two axes: the mean of the logarithms of the costs, since they rise and
    fall together, and the error as it is. Columns are scaled to 0..1, so that the distance from the
    line is their sum but for a constant: the least sum is the farthest below. None where that is an
    end of the line: then the front does not bend towards what is wanted.
    """
    columns = np.column_stack([np.log(costs[:, :-1]), costs[:, -1]])
    spread = np.ptp(columns, axis=0)
    scaled = (columns - columns.min(axis=0)) / np.where(spread > 0, spread, 1.0)
    cost, error = scaled[:, :-1].mean(axis=1), scaled[:, -1]
    row = int((cost + error).argmin())
    return None if row in (cost.argmin(), error.argmin()) else row
