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
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bort_engine.algorithms.pareto import achieved_epsilon

SELECTIONS = ("cover", "stride", "exhaustive")
# Of the errors' noise: on the recorded table two training seeds differ by 1.9 % in the median and
# by 8.2 % at the 95th percentile.
TOLERANCE = 0.05
ERROR_FLOOR = 1e-3  # W divides by the error: below this, errors count as equal


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


Errors = Callable[[Sequence[Any]], Iterable[float]]
Guess = Callable[[Mapping[Candidate, float]], np.ndarray]  # from what is measured, e of all
Cell = tuple[int, int]


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
    return (T.p - p) / T.p * (T.i - i) / T.i / max(e, ERROR_FLOOR)


def w_optimum(errors: dict[Candidate, float], T: Candidate) -> Candidate:
    """Return the W-maximiser; ties go to the smaller error, p and i, so that it is on the front."""
    return max(
        errors,
        key=lambda xi: (w_coefficient(xi.p, xi.i, errors[xi], T), -errors[xi], -xi.p, -xi.i),
    )


def cells(candidates: Iterable[Candidate], epsilon: float) -> dict[Cell, list[Candidate]]:
    """Group candidates by (floor(log p / log(1 + eps)), floor(log i / log(1 + eps)))."""
    width = math.log1p(epsilon)
    grouped: dict[Cell, list[Candidate]] = {}
    for xi in candidates:
        cell = (math.floor(math.log(xi.p) / width), math.floor(math.log(xi.i) / width))
        grouped.setdefault(cell, []).append(xi)
    return grouped


def cell_bound(candidates: Sequence[Candidate], epsilon: float) -> float:
    """Return the most cells there can be: polynomial in 1/epsilon and in the input's size."""
    width = math.log1p(epsilon)
    p, i = [xi.p for xi in candidates], [xi.i for xi in candidates]
    return (2 + math.log(max(p) / min(p)) / width) * (2 + math.log(max(i) / min(i)) / width)


def representative(members: Iterable[Candidate], T: Candidate) -> Candidate:
    """Return a cell's largest member: by the AB^nC ordering the one with the least error."""
    return max(members, key=lambda xi: (xi is T, xi.p, xi.tie, xi.i))


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
    e = {xi: known[xi.key] for xi in candidates if known and xi.key in known}
    grouped = _select(candidates, T, epsilon, selection, interval)
    wanted = {cell: representative(members, T) for cell, members in grouped.items()}
    asked: dict[Candidate, float] = {}
    skipped: dict[Cell, list[Candidate]] = {}
    on_settled(0, len(grouped))

    def ask(batch: Sequence[Candidate]) -> None:
        fresh = [xi for xi in batch if xi not in e]
        for xi, error in zip(fresh, errors([xi.key for xi in fresh]) if fresh else (), strict=True):
            e[xi] = error
            asked[xi] = error
            on_settled(len(asked) + len(skipped), len(grouped))
        asked.update((xi, e[xi]) for xi in batch)

    if lazy and selection == "cover":
        _ask_lazily(candidates, grouped, wanted, T, e, ask, skipped, epsilon, tolerance, guess)
    else:
        ask(sorted(wanted.values(), key=lambda xi: (xi is not T, -xi.p)))
    on_settled(len(grouped), len(grouped))  # also where the last was known, or proven covered
    others = {xi: error for xi, error in e.items() if xi not in asked}
    rest = [xi for xi in candidates if xi not in e]
    chosen = np.random.default_rng(seed).permutation(len(rest))[:spot_checks]
    checks = [rest[int(index)] for index in chosen]
    found = dict(zip(checks, errors([xi.key for xi in checks]) if checks else (), strict=True))
    bound = cell_bound(candidates, epsilon) if selection == "cover" else float(len(grouped))
    return Extraction(T, asked, others, found, len(grouped), bound, skipped)


# From 0.3: on the recorded table, wider ones first prove what the finer ones have no use for.
EPSILONS = (0.3, 0.2, 0.1, 0.05, 0.02)


@dataclass(frozen=True, slots=True)
class Refinement:
    """What `refine` found: e of what was trained, in that order, and what each epsilon took.

    `finished` maps an epsilon to the number of trainings after which its cover was whole.
    """

    errors: dict[Candidate, float]
    finished: dict[float, int]


class _Spent(Exception):
    """The budget is used up."""


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
    """Spend a budget of trainings: covers of smaller and smaller epsilon, keeping what is known.

    Ours: so the scheme can be stopped at any time, and compared with searches that are given a
    budget and no epsilon. What is left of the budget after the last epsilon goes to the rest.
    """
    by_key = {xi.key: xi for xi in candidates}
    known: dict[Any, float] = {}
    finished: dict[float, int] = {}

    def ask(keys: Sequence[Any]) -> Iterable[float]:
        for key in keys:
            if len(known) == budget:
                raise _Spent
            (known[key],) = errors([key])
            yield known[key]

    try:
        for epsilon in epsilons:
            extract(
                candidates,
                ask,
                epsilon=epsilon,
                tolerance=tolerance,
                known=dict(known),
                own=own,
                guess=guess,
            )
            finished[epsilon] = len(known)
        extract(candidates, ask, selection="exhaustive", known=dict(known), own=own)
    except _Spent:
        pass
    return Refinement({by_key[key]: error for key, error in known.items()}, finished)


def check_epsilon(epsilon: float) -> None:
    """Raise ValueError where epsilon is out of range."""
    if not 0 < epsilon <= 1:
        raise ValueError(f"epsilon is {epsilon!r}; allowed: above 0, at most 1. Try 0.2.")


def _check(
    candidates: Sequence[Candidate], epsilon: float, selection: str, interval: int, spot_checks: int
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


def _select(
    candidates: Sequence[Candidate], T: Candidate, epsilon: float, selection: str, interval: int
) -> dict[Cell, list[Candidate]]:
    """Return groups of which one member each is wanted."""
    if selection == "cover":
        return cells(candidates, epsilon)
    by_size = sorted(candidates, key=lambda xi: (xi is not T, -xi.p, -xi.i))
    every = by_size[:: interval if selection == "stride" else 1]
    return {(rank, 0): [xi] for rank, xi in enumerate(every)}


def _ask_lazily(
    candidates: Sequence[Candidate],
    grouped: dict[Cell, list[Candidate]],
    wanted: dict[Cell, Candidate],
    T: Candidate,
    e: dict[Candidate, float],
    ask: Callable[[Sequence[Candidate]], None],
    skipped: dict[Cell, list[Candidate]],
    epsilon: float,
    tolerance: float,
    guess: Guess | None,
) -> None:
    """Measure T and the smallest, then always what is likely the farthest from covered.

    Ours. A cell is closed without training when each member is proven covered within 1 + epsilon;
    it then goes into `skipped`. The guess decides the order only, never what counts as proven.
    """
    known = _Known(candidates, tolerance)
    row = {xi: n for n, xi in enumerate(candidates)}
    members = {cell: [row[xi] for xi in group] for cell, group in grouped.items()}
    for s in e:
        known.note(s, e[s])
    still_open = dict(wanted)
    following = [T, min(wanted.values(), key=_volume)]
    while following:
        for xi in following:
            if xi not in e:
                ask([xi])
                known.note(xi, e[xi])
        proven = likely = known.factors(known.floor)
        for cell, xi in list(still_open.items()):
            if xi in e:
                ask([xi])  # already known: counted, not trained
                del still_open[cell]
            elif (proven[members[cell]] <= 1 + epsilon).all():
                skipped[cell] = grouped[cell]
                del still_open[cell]
        if guess is not None and still_open:
            likely = known.factors(np.maximum(known.floor, guess(e)))
        farthest = [(likely[row[xi]], proven[row[xi]], xi.p, xi) for xi in still_open.values()]
        following = [xi for *_, xi in sorted(farthest, key=lambda far: far[:-1])[-1:]]


class _Known:
    """What measured architectures tell of all, while e does not rise along the AB^nC order.

    `floor` is what the error of each candidate is at least, shape (n,): a measured one bounds the
    errors of all that it contains from below, but for the tolerance.
    """

    def __init__(self, candidates: Sequence[Candidate], tolerance: float) -> None:
        self.floor = np.zeros(len(candidates))
        self._p = np.array([xi.p for xi in candidates])
        self._i = np.array([xi.i for xi in candidates])
        self._order = np.array([xi.order for xi in candidates])
        self._tolerance = tolerance
        self._costs: list[np.ndarray] = []  # for each measured one, its factor in p and i over all
        self._errors: list[float] = []

    def note(self, s: Candidate, e: float) -> None:
        """Learn that e(s) is e."""
        self._costs.append(np.maximum(s.p / self._p, s.i / self._i))
        self._errors.append(e)
        inside = (self._order <= np.array(s.order)).all(axis=1) & bool(s.order)  # none, no bound
        self.floor[inside] = np.maximum(self.floor[inside], e * (1 - self._tolerance))

    def factors(self, errors: np.ndarray) -> np.ndarray:
        """Return how far the nearest measured one is from each candidate, if those are the errors.

        It is at most that times as large, as slow and as wrong. Shapes (n,).
        """
        own = np.maximum(self._errors, ERROR_FLOOR)[:, None]
        return np.maximum(self._costs, own / np.maximum(errors, ERROR_FLOOR)).min(axis=0)


def _volume(xi: Candidate) -> tuple[float, float]:
    return (xi.p * xi.i, xi.p)


@dataclass(frozen=True, slots=True)
class Guarantee:
    """The promise of an extraction, checked against everything that was measured.

    In p and i the promise is a theorem (the representative shares the cell); in e it holds where
    the error falls along the AB^nC order, so that is what is counted here.

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

    def costs(errors: dict[Candidate, float]) -> np.ndarray:
        return np.array([(xi.p, xi.i, max(errors[xi], ERROR_FLOOR)) for xi in errors])

    order = np.array([xi.order for xi in measured])
    e = np.array(list(measured.values()))
    inside = (order[:, None, :] <= order[None, :, :]).all(axis=2)
    inner, outer = np.nonzero(inside & ~inside.T)
    excess = e[outer] / np.maximum(e[inner], ERROR_FLOOR) - 1
    return Guarantee(
        achieved=achieved_epsilon(costs(extraction.cover), costs(measured)),
        n_measured=len(measured),
        order_pairs=len(excess),
        order_violations=int((excess > tolerance).sum()),
        worst_violation=max(0.0, float(excess.max(initial=0.0))),
    )
