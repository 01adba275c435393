"""Laziness: which cells are covered without an evaluation, and which candidate to evaluate next.

Ours, not the paper's. It rests on the paper's assumption that the error never rises from an
architecture to one that contains it (the AB^nC order). So a measured architecture bounds from below
the error of all that it contains. A candidate is proven covered if something measured is at most
1 + epsilon times as large and as slow, and errs at most 1 + epsilon times as much as that lower
bound: however well the candidate did, it need not be trained. A tolerance allows for noisy errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from bort_engine.algorithms.pareto import factors


class Placed(Protocol):
    """What laziness knows of a candidate: its costs, and its place in the AB^nC order, if any."""

    @property
    def p(self) -> float: ...
    @property
    def i(self) -> float: ...
    @property
    def order(self) -> tuple[float, ...]: ...


Xi = TypeVar("Xi", bound=Placed)
Cell = tuple[int, int]
Guess = Callable[[Mapping[Any, float]], np.ndarray]  # from what is measured, e of all candidates


class Laziness:
    """What the measured candidates prove of all; arrays are by candidate, in the given order.

    Args:
        error_floor: errors below it count as equal.
        guess: predicts all errors; it decides what is evaluated next, and proves nothing.
    """

    def __init__(
        self,
        candidates: Sequence[Placed],
        cells: Mapping[Cell, Iterable[Placed]],
        epsilon: float,
        tolerance: float,
        error_floor: float,
        guess: Guess | None = None,
    ) -> None:
        self._epsilon, self._tolerance, self._error_floor = epsilon, tolerance, error_floor
        self._guess = guess
        self._row = {xi: row for row, xi in enumerate(candidates)}
        self._rows = {cell: [self._row[xi] for xi in group] for cell, group in cells.items()}
        self._costs = np.array([(xi.p, xi.i) for xi in candidates])
        self._order = np.array([xi.order for xi in candidates])
        self._measured: list[tuple[float, float, float]] = []  # p, i and e of each measured one
        self._least = np.full(len(candidates), error_floor)  # lower bounds of the errors
        self._proven = np.full(len(candidates), np.inf)  # distances at errors equal to `_least`

    def tell(self, xi: Placed, error: float) -> None:
        """Learn that e(xi) is `error`."""
        self._measured.append((xi.p, xi.i, max(error, self._error_floor)))
        if xi.order:  # without a place in the order it is not known to contain anything
            inside = (self._order <= np.array(xi.order)).all(axis=1)
            bound = error * (1 - self._tolerance)
            self._least[inside] = np.maximum(self._least[inside], bound)

    def covered(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return those of the cells that are proven covered, by all that was told so far.

        Each member must be covered, not the representative alone: nobody looks there again.
        """
        self._proven = self._distances(self._least)
        # The lower bound is the worst case: at any larger error a candidate is nearer to covered.
        limit = 1 + self._epsilon
        return [cell for cell in cells if (self._proven[self._rows[cell]] <= limit).all()]

    def farthest(self, candidates: Sequence[Xi], errors: Mapping[Any, float]) -> Xi:
        """Return which candidate is likely the farthest from covered: it must be trained anyway.

        A guess below the lower bound is raised to it. Ties go to what `covered` found farther, then
        to the larger p, then to the later one.
        """
        likely = self._proven
        if self._guess is not None:
            likely = self._distances(np.maximum(self._least, self._guess(errors)))
        rows = [self._row[xi] for xi in candidates]
        # lexsort sorts by its last key first and keeps the order of equals; the largest stands last
        ascending = np.lexsort((self._costs[rows, 0], self._proven[rows], likely[rows]))
        return candidates[ascending[-1]]

    def _distances(self, errors: np.ndarray) -> np.ndarray:
        """Return by which factor each, if it errs so much, is missed by the nearest measured."""
        wanted = np.column_stack([self._costs, errors])
        return factors(np.array(self._measured), wanted).min(axis=0)
