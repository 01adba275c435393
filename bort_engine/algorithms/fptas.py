"""The FPTAS: from candidates with known costs and an error one must train for, to an epsilon-cover.

Beside the paper (de Wynter 2020, [OSE], Algorithm 1). Letters as there:

    xi   a candidate architecture          p(xi)   parameter size
    Xi   all candidates                    i(xi)   inference cost
    T    the maximum point                 e(xi)   surrogate error of xi, measured by brief training
    W    the coefficient to maximise       epsilon the tolerated factor, 1 + epsilon

Nothing here knows of BERT, torch or text: any AB^nC family comes as `Candidate`s and an error
function. The paper's own selection, every k-th architecture by size, is `selection="stride"`. The
default, `"cover"`, is an approximation scheme in the usual sense: at most polynomially many cells
in 1/epsilon are trained, and the result is within a factor 1 + epsilon of everything else.

In reading order: T and W; the cells and their representatives; `Cover`, the state of a search;
`extract` and `refine`, the two loops over it. guarantee.py checks the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bort_engine.algorithms.lazy import Cell, Guess, Laziness

SELECTIONS = ("cover", "stride", "exhaustive")
# Of the errors' noise: on the recorded table two training seeds differ by 1.9 % in the median and
# by 8.2 % at the 95th percentile.
TOLERANCE = 0.05
ERROR_FLOOR = 1e-3  # W divides by the error: below this, errors count as equal
# What `refine` goes through. From 0.3: on the recorded table, wider ones first prove what the finer
# ones have no use for.
EPSILONS = (0.3, 0.2, 0.1, 0.05, 0.02)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One xi: the error function is asked for `key`, which is hashable; p and i are its costs.

    `order` places it in the AB^nC order: componentwise not above another's means contained in it;
    without one, laziness saves nothing.
    `tie` decides between candidates of equal p (larger wins).
    """

    key: Any
    p: float
    i: float
    order: tuple[float, ...] = ()
    tie: tuple[float, ...] = ()


Errors = Callable[[Sequence[Any]], Iterable[float]]  # of candidates' keys, in order


def maximum_point(candidates: Iterable[Candidate], own: Any = None) -> Candidate:
    """Return T, the most parameters and the longest inference ([OSE], Definition 8).

    Where several tie in p (they differ in the number of heads), `own`, the source itself, is taken
    if it is among them, else the largest `tie`.
    """
    return max(candidates, key=lambda xi: (xi.p, xi.key == own, xi.tie, xi.i))


def w_coefficient(p: float, i: float, e: float, T: Candidate) -> float:
    """Return W(xi), to be maximised ([OSE], as restated in the QOSE white paper, eq. 1).

    The share of T's parameters saved, times the share of its inference cost saved, over the error.
    It is 0 where p or i reaches T's, so that two negative factors never make a positive one.
    """
    if p >= T.p or i >= T.i:
        return 0.0
    # The floor keeps W finite, and differences between tiny errors from deciding it.
    return (T.p - p) / T.p * (T.i - i) / T.i / max(e, ERROR_FLOOR)


def w_optimum(errors: dict[Candidate, float], T: Candidate) -> Candidate:
    """Return the W-maximiser; ties go to the smaller error, p and i, so that it is on the front."""
    return max(
        errors,
        key=lambda xi: (w_coefficient(xi.p, xi.i, errors[xi], T), -errors[xi], -xi.p, -xi.i),
    )


def cells(candidates: Iterable[Candidate], epsilon: float) -> dict[Cell, list[Candidate]]:
    """Group candidates by (floor(log p / log(1 + eps)), floor(log i / log(1 + eps)))."""
    # On logarithmic axes all cells are equally wide: two members of one differ by less than a
    # factor 1 + epsilon in p and in i, so any of them covers the others in both.
    width = math.log1p(epsilon)
    grouped: dict[Cell, list[Candidate]] = {}
    for xi in candidates:
        cell = (math.floor(math.log(xi.p) / width), math.floor(math.log(xi.i) / width))
        grouped.setdefault(cell, []).append(xi)
    return grouped


def cell_bound(candidates: Sequence[Candidate], epsilon: float) -> float:
    """Return the most cells there can be: polynomial in 1/epsilon and in the input's size."""
    # The range of log p holds so many whole cells, and reaches into at most two more; so for i.
    width = math.log1p(epsilon)
    p, i = [xi.p for xi in candidates], [xi.i for xi in candidates]
    return (2 + math.log(max(p) / min(p)) / width) * (2 + math.log(max(i) / min(i)) / width)


def representative(members: Iterable[Candidate], T: Candidate) -> Candidate:
    """Return a cell's largest member, or T if that is one of them."""
    # Any member covers the others in p and i. For e, take the one that should err least: whatever
    # contains another has the larger p (or tie), so nothing in the cell contains its largest.
    return max(members, key=lambda xi: (xi is T, xi.p, xi.tie, xi.i))


class Cover:
    """The state of a search: what is measured, and which cells are not settled yet.

    `ask` for candidates, measure them and `tell` their errors, until none is asked for.

    Attributes:
        errors: e of everything that is measured or was known before.
        evaluated: e of the representatives that were needed, in the order they were asked for.
        skipped: the cells that are proven covered, and their members.
    """

    def __init__(
        self,
        groups: dict[Cell, list[Candidate]],
        T: Candidate,
        known: Mapping[Candidate, float],
        laziness: Laziness | None = None,
    ) -> None:
        self.errors = dict(known)
        self.evaluated: dict[Candidate, float] = {}
        self.skipped: dict[Cell, list[Candidate]] = {}
        self._groups, self._laziness = groups, laziness
        self._open = {cell: representative(members, T) for cell, members in groups.items()}
        if laziness is None:
            by_size = sorted(self._open.items(), key=lambda item: (item[1] is not T, -item[1].p))
            self._open = dict(by_size)
            self._first = list(self._open.values())
        else:
            # T first: it contains all others, so its error bounds theirs from below. Then the
            # smallest: nearly all others cost more, so it covers them if its error is low enough.
            self._first = [T, min(self._open.values(), key=lambda xi: (xi.p * xi.i, xi.p))]
            for xi, error in known.items():
                laziness.tell(xi, error)

    def ask(self) -> list[Candidate]:
        """Return what to measure next: all at once or, lazily, one; none if all is settled."""
        unmeasured = [xi for xi in self._first if xi not in self.errors]
        if unmeasured:
            return unmeasured if self._laziness is None else unmeasured[:1]
        for cell, xi in list(self._open.items()):
            if xi in self.errors:  # just told, or known before: that counts, but is not asked for
                self.evaluated[xi] = self.errors[xi]
                del self._open[cell]
        if self._laziness is None:
            return []
        # One at a time from here on, since each error may prove further cells covered.
        for cell in self._laziness.covered(self._open):
            self.skipped[cell] = self._groups[cell]
            del self._open[cell]
        still_open = list(self._open.values())
        return [self._laziness.farthest(still_open, self.errors)] if still_open else []

    def tell(self, xi: Candidate, error: float) -> None:
        """Learn the error of a candidate that was asked for."""
        self.errors[xi] = self.evaluated[xi] = error
        if self._laziness is not None:
            self._laziness.tell(xi, error)


@dataclass(frozen=True, slots=True)
class Extraction:
    """What `extract` found.

    Attributes:
        maximum: T.
        evaluated: e of everything that was trained for the cover, in the order it was asked for.
        known: e of what was known before and is no part of the above.
        checks: e of the spot-checked candidates; they test the cover and are no part of it.
        n_cells: how many trainings the selection allows (cells; or strided, or all, candidates).
        bound: the stated upper bound of n_cells.
        skipped: the cells that laziness proved covered, and their members.
    """

    maximum: Candidate
    evaluated: dict[Candidate, float]
    known: dict[Candidate, float]
    checks: dict[Candidate, float]
    n_cells: int
    bound: float
    skipped: dict[Cell, list[Candidate]]

    @property
    def measured(self) -> dict[Candidate, float]:
        return self.evaluated | self.known | self.checks

    @property
    def cover(self) -> dict[Candidate, float]:
        """The returned set S."""
        return self.evaluated | self.known


def extract(
    candidates: Sequence[Candidate],
    errors: Errors,
    *,
    epsilon: float = 0.2,
    selection: str = "cover",
    interval: int = 8,
    lazy: bool = True,
    tolerance: float = TOLERANCE,
    spot_checks: int = 0,
    known: Mapping[Any, float] | None = None,
    own: Any = None,
    seed: int = 0,
    guess: Guess | None = None,
    on_settled: Callable[[int, int], None] = lambda done, total: None,
) -> Extraction:
    """Train as few candidates as the selection needs ([OSE], Algorithm 1).

    Args:
        errors: maps keys to their errors, in order; asked with one key at a time when lazy, else
            with all of them, so that several workers can share them.
        epsilon: the tolerated factor minus one, in (0, 1].
        selection: "cover" (one representative a cell), "stride" (the published one: sorted by p,
            every `interval`-th from T down; the paper calls the interval epsilon and states the
            bound rho <= |1 - epsilon| for it) or "exhaustive" (all: the ground truth).
        lazy: skip cells that are proven covered while the error falls along the AB^nC order.
        tolerance: relative noise of the errors that laziness allows for.
        spot_checks: how many further candidates to measure, at random, to test the cover.
        known: errors from an earlier run over the same candidates; never asked for again, and kept
            in the cover, so refining epsilon step by step never worsens what was achieved. (Two
            separate runs can: their cells are not nested.)
        own: the source's own key, the preferred T.
        guess: predicts the errors of all candidates, shape (n,), in their order, from what is
            measured. When lazy, what it takes for the farthest from covered comes next; it never
            counts as a proof.
        on_settled: told how many cells are measured or proven covered, and how many there are.

    Raises:
        ValueError: epsilon, the selection, the interval or spot_checks is out of range, or there
            are no candidates.
    """
    _check(candidates, epsilon, selection, interval, spot_checks)
    T = maximum_point(candidates, own)
    groups, laziness = cells(candidates, epsilon), None
    if selection != "cover":
        # Each of those selected has a cell to itself, so that the same loop measures them all.
        every = _by_size(candidates, T)[:: interval if selection == "stride" else 1]
        groups = {(rank, 0): [xi] for rank, xi in enumerate(every)}
    elif lazy:
        laziness = Laziness(candidates, groups, epsilon, tolerance, ERROR_FLOOR, guess)
    # What is known of others than these candidates is none of ours.
    known_errors = {xi: known[xi.key] for xi in candidates if known and xi.key in known}
    cover = Cover(groups, T, known_errors, laziness)
    on_settled(0, len(groups))
    while batch := cover.ask():
        for xi, error in _measured(batch, errors):
            cover.tell(xi, error)
            on_settled(len(cover.evaluated) + len(cover.skipped), len(groups))
    on_settled(len(groups), len(groups))  # also where the last was known, or proven covered
    # The spot-checks are drawn from all that the cover stands for without having measured it.
    unmeasured = [xi for xi in candidates if xi not in cover.errors]
    sample = np.random.default_rng(seed).permutation(len(unmeasured))[:spot_checks]
    return Extraction(
        maximum=T,
        evaluated=cover.evaluated,
        known={xi: error for xi, error in known_errors.items() if xi not in cover.evaluated},
        checks=dict(_measured([unmeasured[row] for row in sample], errors)),
        n_cells=len(groups),
        bound=cell_bound(candidates, epsilon) if selection == "cover" else float(len(groups)),
        skipped=cover.skipped,
    )


@dataclass(frozen=True, slots=True)
class Refinement:
    """What `refine` found: e of what was trained, in that order, and what each epsilon took.

    `finished` maps an epsilon to the number of trainings after which its cover was whole.
    """

    errors: dict[Candidate, float]
    finished: dict[float, int]


def refine(
    candidates: Sequence[Candidate],
    errors: Errors,
    budget: int,
    *,
    epsilons: Sequence[float] = EPSILONS,
    own: Any = None,
    guess: Guess | None = None,
) -> Refinement:
    """Spend a budget of trainings: covers of smaller and smaller epsilon, keeping what is known.

    Ours: so the scheme can be stopped at any time, and compared with searches that are given a
    budget and no epsilon. What is left of the budget after the last epsilon goes to the rest.
    """
    for epsilon in epsilons:
        _check(candidates, epsilon)
    T = maximum_point(candidates, own)
    trained: dict[Candidate, float] = {}
    finished: dict[float, int] = {}
    for epsilon in epsilons:
        groups = cells(candidates, epsilon)
        laziness = Laziness(candidates, groups, epsilon, TOLERANCE, ERROR_FLOOR, guess)
        # Cells of two epsilons are not nested, so each cover begins anew, but trains nothing twice.
        known = {xi: trained[xi] for xi in candidates if xi in trained}
        cover = Cover(groups, T, known, laziness)
        while batch := cover.ask():
            if len(trained) == budget:
                return Refinement(trained, finished)
            for xi, error in _measured(batch, errors):
                trained[xi] = error
                cover.tell(xi, error)
        finished[epsilon] = len(trained)
    rest = [xi for xi in _by_size(candidates, T) if xi not in trained]
    trained |= _measured(rest[: budget - len(trained)], errors)
    return Refinement(trained, finished)


def _measured(batch: Sequence[Candidate], errors: Errors) -> Iterator[tuple[Candidate, float]]:
    """Yield each candidate of a batch with its error, as soon as that is there."""
    # `errors` may be a generator that trains: what it has yielded is told before the next starts.
    return zip(batch, errors([xi.key for xi in batch]) if batch else (), strict=True)


def _by_size(candidates: Iterable[Candidate], T: Candidate) -> list[Candidate]:
    return sorted(candidates, key=lambda xi: (xi is not T, -xi.p, -xi.i))


def check_epsilon(epsilon: float) -> None:
    """Raise a ValueError unless epsilon is above 0 and at most 1."""
    if not 0 < epsilon <= 1:
        raise ValueError(f"epsilon is {epsilon!r}; allowed: above 0, at most 1. Try 0.2.")


def _check(
    candidates: Sequence[Candidate],
    epsilon: float,
    selection: str = "cover",
    interval: int = 1,
    spot_checks: int = 0,
) -> None:
    check_epsilon(epsilon)
    if selection not in SELECTIONS:
        raise ValueError(f"selection is {selection!r}; allowed: {', '.join(SELECTIONS)}.")
    if type(interval) is not int or interval < 1:
        raise ValueError(f"interval is {interval!r}; it must be an integer of at least 1.")
    if spot_checks < 0:
        raise ValueError(f"spot_checks is {spot_checks!r}; it must be at least 0.")
    if not candidates:
        raise ValueError("there are no candidates; widen the search space.")
    assert all(xi.p > 0 and xi.i > 0 for xi in candidates), "costs must be positive"
