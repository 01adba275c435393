"""What measured candidates prove of all: which are covered, and which to measure next.

Ours, not the paper's. It rests on the paper's assumption that the error never rises from an
architecture to one that contains it (the AB^nC order). So a measured architecture bounds from below
the error of all that it contains. A candidate is proven covered if something measured is at most
1 + epsilon times as large and as slow, and errs at most epsilon more than that lower bound: however
well the candidate did, it need not be measured. A tolerance allows for noisy errors.

Which to measure next is a matter of guesses, and of speed alone: not the candidate that is likely
the farthest from covered, but what likely proves the most of all that could help to cover it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, Protocol

import numpy as np


class Placed(Protocol):
    """What is known of a candidate: its costs, and its place in the AB^nC order, if any."""

    @property
    def p(self) -> float: ...
    @property
    def i(self) -> float: ...
    @property
    def order(self) -> tuple[float, ...]: ...


Guess = Callable[[Mapping[Any, float]], np.ndarray]  # from what is measured, e of all candidates
CAUTION = 0.02  # how far off a guess may be: a gap that it would just close is not counted on
# How many are looked at in choosing what is next: more cost time and save few evaluations.
MOST_HELPERS, MOST_OPEN = 200, 1000


class Proofs:
    """What is proven so far.

    Args:
        tolerance: an architecture may err so much more than one that it contains.
        guess: predicts all errors; it decides what is measured next, and proves nothing.

    Attributes:
        open: which candidates (their numbers, ascending) are neither measured nor proven covered.
    """

    def __init__(
        self,
        candidates: Sequence[Placed],
        epsilon: float,
        tolerance: float = 0.0,
        guess: Guess | None = None,
    ) -> None:
        self._epsilon, self._tolerance, self._guess = epsilon, tolerance, guess
        self._number = {xi: number for number, xi in enumerate(candidates)}
        self.open = np.arange(len(candidates))
        # Of the open ones only, since what is proven stays so: costs, and places in the order, one
        # row an axis (numpy compares whole rows faster than it reduces short ones).
        self._costs = np.array([(xi.p, xi.i) for xi in candidates]).T
        self._places = np.array([xi.order for xi in candidates], dtype=float).T
        self._measured = np.zeros(len(candidates), dtype=bool)
        (self._p, self._i), self._order = self._costs, self._places
        # Their errors are at least `_least`; the lowest error of what is measured and stands in for
        # them in p and i is `_nearest`.
        self._least = np.full(len(candidates), -np.inf)
        self._nearest = np.full(len(candidates), np.inf)

    def tell(self, xi: Placed, error: float) -> None:
        """Learn that e(xi) is `error`: one pass over all that is open."""
        limit = 1 + self._epsilon
        stands_in = (self._p >= xi.p / limit) & (self._i >= xi.i / limit)
        self._nearest[stands_in] = np.minimum(self._nearest[stands_in], error)
        if xi.order:  # without a place in the order it is not known to contain anything
            axes = zip(self._order, xi.order, strict=True)
            inside = np.logical_and.reduce([places <= place for places, place in axes])
            self._least[inside] = np.maximum(self._least[inside], error - self._tolerance)
        # The lower bound is the worst case: at any larger error a candidate is nearer to covered.
        # The last digits of a difference are not what a promise should break on.
        left = ~(self._nearest - self._least <= self._epsilon + 1e-12)
        self._measured[self._number[xi]] = True
        self._keep(left & (self.open != self._number[xi]))

    def _keep(self, left: np.ndarray) -> None:
        if not left.all():
            self.open, self._order = self.open[left], self._order[:, left]
            self._p, self._i = self._p[left], self._i[left]
            self._least, self._nearest = self._least[left], self._nearest[left]

    def next(self, errors: Mapping[Any, float]) -> int:
        """Return what to measure next: it likely narrows the open candidates' gaps the most.

        A gap is how much the nearest that is measured errs above the lower bound: at most epsilon,
        and it is closed. Looked at is what could narrow the gap of the likely farthest from
        covered: what stands in for it, what contains it, itself. Without a guess it is itself.
        """
        guessed = self._guess(errors) if self._guess else np.array([-np.inf])
        worst = self._likely_worst(guessed)
        if not np.isfinite(guessed).all():
            return worst
        helpers = np.flatnonzero(~self._measured & self._may_help(worst))
        helpers = np.append(helpers[:: len(helpers) // MOST_HELPERS + 1], worst)
        some = slice(None, None, len(self.open) // MOST_OPEN + 1)
        # From here on, a row for each helper and a column for each of some that are open.
        error, limit = guessed[helpers, None], 1 + self._epsilon
        p, i = self._costs[:, helpers, None]
        stands_in = (p <= limit * self._p[some]) & (i <= limit * self._i[some])
        nearest = np.where(stands_in, error + CAUTION, np.inf)
        least = np.full(nearest.shape, -np.inf)
        if len(self._places):
            axes = zip(self._order[:, some], self._places[:, helpers, None], strict=True)
            inside = np.logical_and.reduce([places <= place for places, place in axes])
            least[inside] = np.broadcast_to(error - CAUTION - self._tolerance, least.shape)[inside]
        gaps = np.minimum(nearest, self._nearest[some]) - np.maximum(least, self._least[some])
        gaps[helpers[:, None] == self.open[some]] = self._epsilon  # what is measured is covered
        # One that is over by the errors' whole scale is as good as an infinite one.
        gaps = gaps.clip(self._epsilon, self._epsilon + 1)
        return int(helpers[gaps.sum(axis=1).argmin()])

    def _may_help(self, number: int) -> np.ndarray:
        """Return which candidates could stand in for one, or contain it, shape (n,)."""
        limits = (1 + self._epsilon) * self._costs[:, [number]]
        helps = np.logical_and.reduce(self._costs <= limits)
        if len(self._places):
            helps |= np.logical_and.reduce(self._places >= self._places[:, [number]])
        return helps

    def _likely_worst(self, guessed: np.ndarray) -> int:
        """Return which open candidate is likely the farthest from covered.

        A guess below the lower bound is raised to it. Ties go to what could be farther by the lower
        bound, then to the larger p, then to the later one.
        """
        proven = likely = self._nearest - self._least
        if self._guess is not None:
            likely = self._nearest - np.maximum(guessed[self.open], self._least)
        rows = np.arange(len(self.open))
        for values in (likely, proven, self._p):
            rows = rows[values[rows] == values[rows].max()]
        return int(self.open[rows[-1]])

    def suppose(self, xi: Placed, errors: dict[Any, float]) -> None:
        """Take a candidate for measured, at its guessed error; add that to `errors`.

        Without a guess nothing is learnt of the others.
        """
        number = self._number[xi]
        guessed = self._guess(errors)[number] if self._guess else -np.inf
        if np.isfinite(guessed):
            errors[xi] = max([guessed, *self._least[self.open == number]])
            self.tell(xi, errors[xi])
        else:
            self._measured[number] = True
            self._keep(self.open != number)

    def copy(self) -> Proofs:
        """Return the same proofs, to which other errors can be told."""
        other = copy(self)
        other._least, other._nearest = self._least.copy(), self._nearest.copy()
        other._measured = self._measured.copy()
        return other
