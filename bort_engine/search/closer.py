"""A closer look around what is recommended: is there a faster one that loses as little?

A cover promises epsilon and no more: at 0.1 the fastest shape that loses at most a point may be 1.1
times as fast as what the cover holds, or twice. So a few evaluations more go where a faster one is
likely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from bort_engine.algorithms.fptas import Candidate
from bort_engine.algorithms.lazy import Guess

LEAST_MISS = 1e-3  # of the guess, on the errors' scale: where it fits all that is measured


def closer_look(
    candidates: Sequence[Candidate],
    errors: Callable[[Sequence[Any]], Iterable[float]],
    measured: Mapping[Candidate, float],
    guess: Guess,
    n: int,
    limit: float,
    at_once: int = 1,
) -> dict[Candidate, float]:
    """Measure up to `n` more, where one that errs at most `limit` and is faster is likely.

    The expected improvement under a constraint (Gardner et al. 2014): how much faster than the
    fastest so far, as a logarithm, times the probability that it errs within the limit, by the
    guess and how far that misses what is measured.

    Args:
        errors: maps keys to their errors, in order.
        measured: what is known; something in it errs within the limit.
        at_once: how many are chosen together, before their errors are known.
    """
    row = {xi: number for number, xi in enumerate(candidates)}
    i = np.array([xi.i for xi in candidates])
    found: dict[Candidate, float] = {}
    while len(found) < n:
        known = {**measured, **found}
        guessed, rows = guess(known), [row[xi] for xi in known]
        if not np.isfinite(guessed).all():
            break
        miss = max(LEAST_MISS, float(np.std(list(known.values()) - guessed[rows])))
        fastest = min(xi.i for xi, error in known.items() if error <= limit)
        faster = np.setdiff1d(np.flatnonzero(i < fastest), rows)
        within = [NormalDist(error, miss).cdf(limit) for error in guessed[faster].tolist()]
        gain = np.log(fastest / i[faster]) * within
        best = faster[np.argsort(-gain, kind="stable")[: min(at_once, n - len(found))]]
        chosen = [candidates[number] for number in best]
        if not chosen:
            break
        found |= zip(chosen, errors([xi.key for xi in chosen]), strict=True)
    return found
