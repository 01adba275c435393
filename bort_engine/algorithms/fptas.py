"""The FPTAS: from candidates with known costs and an error one must train for, to an epsilon-cover.

Beside the paper (de Wynter 2020, [OSE], Algorithm 1). Letters as there:

    xi   a candidate architecture          p(xi)   parameter size
    Xi   all candidates                    i(xi)   inference cost
    T    the maximum point                 e(xi)   error of xi, on a scale of its own
    W    the coefficient to maximise       epsilon what is tolerated

Nothing here knows of BERT, torch or text: any AB^nC family comes as `Candidate`s and an error
function. The paper's own selection, every k-th architecture by size, is `selection="stride"`. The
default, `"cover"`, is an approximation scheme in the usual sense. It returns a set S such that
every xi has an s in S with

    p(s) <= (1 + epsilon) p(xi),   i(s) <= (1 + epsilon) i(xi),   e(s) <= e(xi) + epsilon.

That is a theorem if e never rises by more than the tolerance from an architecture to one that
contains it. Costs fall into at most polynomially many cells in 1/epsilon; a cell is settled when
every one of its members is covered, not its largest alone: two members of which neither contains
the other say nothing of each other's errors.

In reading order: T and W; the cells and their maximal members; `Cover`, the state of a search;
`extract` and `refine`, the two loops over it. guarantee.py checks the result.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from statistics import mode
from typing import Any

import numpy as np

from bort_engine.algorithms.lazy import Guess, Proofs
from bort_engine.algorithms.pareto import nondominated

SELECTIONS = ("cover", "stride", "exhaustive")
LEAST_EPSILON = 0.01  # below it, cells are finer than any measurement
# How much more an architecture may err than one that it contains, on the errors' own scale.
TOLERANCE = 0.03
# How many are chosen together, so that workers can share them: up to 4 take hardly more evaluations
# than one after another, 8 a quarter more (three tables of students of 300 steps).
AT_ONCE = 4
ERROR_FLOOR = 1e-3  # W divides by the error: below this, errors count as equal
# What `refine` goes through. From 0.05: coarser ones first prove what finer ones have no use for
# (six tables: an achieved 0.1 after 20 to 26 evaluations; from 0.3, after 22 to 47).
EPSILONS = (0.05, 0.02)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One xi: the error function is asked for `key`, which is hashable; p and i are its costs.

    `order` places it in the AB^nC order: componentwise not above another's means contained in it;
    without one, nothing measured says anything of its error.
    `tie` decides between candidates of equal p (larger wins).
    """

    key: Any
    p: float
    i: float
    order: tuple[float, ...] = ()
    tie: tuple[float, ...] = ()


Cell = tuple[int, int]
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


def maximal(members: Sequence[Candidate]) -> list[Candidate]:
    """Return those of a cell's members that no other one contains: none errs less than all of them.

    Measuring them covers the cell: each member is contained in one of them, which costs less than
    1 + epsilon times as much and errs no more. Along one axis that is one a cell, the largest.
    """
    if len(members) < 2 or not all(xi.order for xi in members):
        return list(members)
    # To be contained in another is to be dominated by it, where more is better.
    mask = nondominated(-np.array([xi.order for xi in members], dtype=float))
    return [xi for xi, on in zip(members, mask, strict=True) if on]


class Cover:
    """The state of a search: what is measured, and which cells are not settled yet.

    `ask` for candidates, measure them and `tell` their errors, until none is asked for.

    Attributes:
        errors: e of everything that is measured or was known before.
        evaluated: e of what was needed, in the order it was asked for.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        groups: dict[Cell, list[Candidate]],
        T: Candidate,
        known: Mapping[Candidate, float],
        proofs: Proofs | None = None,
        at_once: int = 1,
    ) -> None:
        self.errors = dict(known)
        self.evaluated: dict[Candidate, float] = {}
        self._candidates, self._groups, self._proofs = candidates, groups, proofs
        self._at_once = at_once
        number = {xi: n for n, group in enumerate(groups.values()) for xi in group}
        if proofs is None:
            needed = [xi for group in groups.values() for xi in maximal(group)]
            self._first = by_size(dict.fromkeys([T, *needed]), T)
            number = {xi: number[xi] for xi in needed}  # T may be beyond what its cell needs
            # By cell, how many are still to be measured.
            self._missing = np.bincount([number[xi] for xi in needed if xi not in known])
            self._missing.resize(len(groups))
        else:
            # T first: it contains all others, so its error bounds theirs from below. Then the
            # smallest: nearly all others cost more, so it covers them if its error is low enough.
            smallest = min(candidates, key=lambda xi: (xi.p * xi.i, xi.p))
            self._first = list(dict.fromkeys([T, smallest]))
            for xi, error in known.items():
                proofs.tell(xi, error)
            self._cell = np.array([number[xi] for xi in candidates])
        self._number = number  # of a candidate's cell

    def ask(self) -> list[Candidate]:
        """Return what to measure next: all at once or, lazily, a few; none if all is settled."""
        for xi in self._first:  # known before: that counts, but is not asked for
            if xi in self.errors and xi not in self.evaluated:
                self.evaluated[xi] = self.errors[xi]
        unmeasured = [xi for xi in self._first if xi not in self.errors]
        if self._proofs is None:
            return unmeasured
        if unmeasured:
            return unmeasured[: self._at_once]
        # Each error may prove others covered; of several, the later ones are chosen as if those
        # before them erred as guessed.
        proofs, errors, batch = self._proofs.copy(), dict(self.errors), []
        while len(batch) < self._at_once and len(proofs.open):
            batch.append(xi := self._candidates[proofs.next(errors)])
            proofs.suppose(xi, errors)
        return sorted(batch, key=lambda xi: -xi.i)  # the slowest first: workers then end together

    def tell(self, xi: Candidate, error: float) -> None:
        """Learn the error of a candidate that was asked for."""
        self.errors[xi] = self.evaluated[xi] = error
        if self._proofs is not None:
            self._proofs.tell(xi, error)
        elif xi in self._number:
            self._missing[self._number[xi]] -= 1

    @property
    def n_settled(self) -> int:
        """How many cells have no member that is neither measured nor proven covered."""
        if self._proofs is None:
            return int((self._missing == 0).sum())
        return len(self._groups) - len(np.unique(self._cell[self._proofs.open]))

    def skipped(self) -> dict[Cell, list[Candidate]]:
        """Return the cells of which no member was measured, with their members."""
        return {
            cell: group
            for cell, group in self._groups.items()
            if not any(xi in self.errors for xi in group)
        }


@dataclass(frozen=True, slots=True)
class Extraction:
    """What `extract` found.

    Attributes:
        maximum: T.
        evaluated: e of everything that was trained for the cover, in the order it was asked for.
        known: e of what was known before and is no part of the above.
        checks: e of the spot-checked candidates; they test the cover and are no part of it.
        n_cells: how many cells there are (or strided, or all, candidates).
        bound: the stated upper bound of n_cells.
        skipped: the cells that were proven covered without a measurement in them, with their
            members.
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
    at_once: int = 1,
    on_settled: Callable[[int, int], None] = lambda done, total: None,
) -> Extraction:
    """Measure as few candidates as the selection needs ([OSE], Algorithm 1).

    Args:
        errors: maps keys to their errors, in order; asked with `at_once` keys at a time when lazy,
            else with all of them, so that several workers can share them.
        epsilon: what is promised, in (0, 1]: a share of size and cost, and of the errors' scale.
        selection: "cover" (every cell is covered), "stride" (the published one: sorted by p, every
            `interval`-th from T down; the paper calls the interval epsilon and states the bound
            rho <= |1 - epsilon| for it; ours steps on by one more where equal p would come round)
            or "exhaustive" (all: the ground truth).
        lazy: measure a few after another, and only what is not proven covered by then; else the
            maximal members of every cell.
        tolerance: how much more an architecture may err than one that it contains. The promise
            holds for errors that rise by no more (not lazily, only for an epsilon of at least it).
        spot_checks: how many further candidates to measure, at random, to test the cover.
        known: errors from an earlier run over the same candidates; never asked for again, and kept
            in the cover, so refining epsilon step by step never worsens what was achieved. (Two
            separate runs can: their cells are not nested.)
        own: the source's own key, the preferred T.
        guess: predicts the errors of all candidates, shape (n,), in their order, from what is
            measured. When lazy, what likely proves the most by it comes next; it never counts as a
            proof.
        at_once: when lazy, how many are chosen together, before their errors are known.
        on_settled: told how many cells are settled and checks made, and how many are to be.

    Raises:
        ValueError: epsilon, the selection, the interval or spot_checks is out of range, or there
            are no candidates.
    """
    _check(candidates, epsilon, selection, interval, spot_checks)
    T = maximum_point(candidates, own)
    groups, proofs = cells(candidates, epsilon), None
    if selection != "cover":
        # Each of those selected has a cell to itself, so that the same loop measures them all.
        step = _interval(candidates, interval) if selection == "stride" else 1
        groups = {(rank, 0): [xi] for rank, xi in enumerate(by_size(candidates, T)[::step])}
    elif lazy:
        proofs = Proofs(candidates, epsilon, tolerance, guess)
    # What is known of others than these candidates is none of ours.
    known_errors = {xi: known[xi.key] for xi in candidates if known and xi.key in known}
    cover = Cover(candidates, groups, T, known_errors, proofs, at_once)
    total = len(groups) + spot_checks
    on_settled(0, total)
    while batch := cover.ask():
        for xi, error in _measured(batch, errors):
            cover.tell(xi, error)
            on_settled(cover.n_settled, total)
    # The spot-checks are drawn from all that the cover stands for without having measured it.
    unmeasured = [xi for xi in candidates if xi not in cover.errors]
    sample = np.random.default_rng(seed).permutation(len(unmeasured))[:spot_checks]
    checks: dict[Candidate, float] = {}
    for xi, error in _measured([unmeasured[row] for row in sample], errors):
        checks[xi] = error
        on_settled(len(groups) + len(checks), total)
    on_settled(total, total)  # also where the last was known, or proven covered
    return Extraction(
        maximum=T,
        evaluated=cover.evaluated,
        known={xi: error for xi, error in known_errors.items() if xi not in cover.evaluated},
        checks=checks,
        n_cells=len(groups),
        bound=cell_bound(candidates, epsilon) if selection == "cover" else float(len(groups)),
        skipped=cover.skipped(),
    )


@dataclass(frozen=True, slots=True)
class Refinement:
    """What `refine` found: e of what was trained, in that order, and what each epsilon took.

    `finished` maps an epsilon to the number of evaluations after which its cover was whole.
    """

    errors: dict[Candidate, float]
    finished: dict[float, int]


def refine(
    candidates: Sequence[Candidate],
    errors: Errors,
    budget: int,
    *,
    epsilons: Sequence[float] = EPSILONS,
    tolerance: float = TOLERANCE,
    own: Any = None,
    guess: Guess | None = None,
) -> Refinement:
    """Spend a budget of evaluations: covers of smaller and smaller epsilon, keeping what is known.

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
        proofs = Proofs(candidates, epsilon, tolerance, guess)
        # Cells of two epsilons are not nested, so each cover begins anew, but trains nothing twice.
        cover = Cover(candidates, groups, T, dict(trained), proofs)
        while batch := cover.ask():
            if len(trained) == budget:
                return Refinement(trained, finished)
            for xi, error in _measured(batch, errors):
                trained[xi] = error
                cover.tell(xi, error)
        finished[epsilon] = len(trained)
    rest = [xi for xi in by_size(candidates, T) if xi not in trained]
    trained |= _measured(rest[: budget - len(trained)], errors)
    return Refinement(trained, finished)


def _measured(batch: Sequence[Candidate], errors: Errors) -> Iterator[tuple[Candidate, float]]:
    """Yield each candidate of a batch with its error, as soon as that is there."""
    # `errors` may be a generator that trains: what it has yielded is told before the next starts.
    return zip(batch, errors([xi.key for xi in batch]) if batch else (), strict=True)


def by_size(candidates: Iterable[Candidate], T: Candidate) -> list[Candidate]:
    """Sort candidates by p and then i, the largest first, and T before all."""
    return sorted(candidates, key=lambda xi: (xi is not T, -xi.p, -xi.i))


def _interval(candidates: Sequence[Candidate], interval: int) -> int:
    """Return the step of a stride: the interval, or the next that is coprime to the ties in p.

    BERT's heads add no parameters. With four head counts, every 8th by size is always the same one.
    """
    sizes = [xi.p for xi in candidates]
    ties = mode(Counter(sizes).values())
    while interval > 1 and gcd(interval, ties) > 1:
        interval += 1
    return interval


def check_epsilon(epsilon: float) -> None:
    """Raise a ValueError unless epsilon is from 0.01 to 1."""
    if not LEAST_EPSILON <= epsilon <= 1:
        raise ValueError(f"epsilon is {epsilon!r}; allowed: {LEAST_EPSILON} to 1. Try 0.2.")


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
