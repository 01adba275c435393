"""A race's result and its scores: how near each search is to the truth, evaluation by evaluation.

Everything is minimised. Costs are (size, latency, r), where r is the error from the source's (0) to
guessing's (1). The truth is everything that was measured with the same training seed: the whole
space where it is on record.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from bort_engine.algorithms.pareto import achieved_epsilons, hypervolume, nondominated
from bort_engine.encoder.latency import LatencyReport
from bort_engine.runs import records
from bort_engine.runs.provenance import Origin, Provenance
from bort_engine.runs.records import Count, NonNegative, PositiveCount, Share
from bort_engine.search.evaluate import BriefTraining, OracleName
from bort_engine.search.result import Costs, Size
from bort_engine.search.scale import Scale
from bort_engine.training.teacher import TeacherReport


class Names(dict[str, str]):
    """What each search is called; a sampler of one's own by the name it was given."""

    def __missing__(self, name: str) -> str:
        return name


OURS = "fptas"
NAMES = Names(
    {
        OURS: "FPTAS",
        "random": "Random search",
        "tpe": "TPE",
        "nsga2": "NSGA-II",
        "local": "Local search",
        "brute": "Brute force",
        "surface": "Surface alone",
        "gp": "Gaussian process",
        "fptas-no-surface": "FPTAS, no surface",
        "grid": "Random by cell",
        "stride": "Stride (paper)",
    }
)
OWN_NAME = re.compile(r"[a-z][a-z0-9-]{0,16}")  # what a sampler of one's own may be called
GOALS = (0.1, 0.2)  # achieved epsilons whose price in evaluations is reported
MOST_BYTES = 16 * 2**20
REFERENCE = 1.1  # the hypervolume's reference point, with costs scaled to 0..1 over the truth


class Truth:
    """What a search is scored against: all costs that were measured with one training seed."""

    def __init__(self, costs: np.ndarray) -> None:
        self.costs = costs
        known = costs[~np.isnan(costs).any(axis=1)]
        self.front = known[nondominated(known)]
        self._low = known.min(axis=0)
        self._spread = np.maximum(np.ptp(known, axis=0), 1e-12)
        self._whole = self._volume(self.front)

    def _volume(self, costs: np.ndarray) -> float:
        scaled = (costs - self._low) / self._spread
        return hypervolume(scaled, np.full(scaled.shape[1], REFERENCE))

    def epsilons(self, trace: Sequence[int]) -> np.ndarray:
        """Return the achieved epsilon after each evaluation of a trace (its rows, in order).

        The epsilon-indicator of what is trained against the truth (see pareto.py).
        """
        return achieved_epsilons(self.costs[list(trace)], self.front)

    def hypervolumes(self, trace: Sequence[int]) -> np.ndarray:
        """Return the share of the truth's hypervolume that is dominated after each evaluation.

        Costs are scaled to 0..1 over the truth; the reference point is 1.1 in all of them.
        """
        shares: list[float] = []
        front = np.empty((0, self.costs.shape[1]))
        for row in trace:
            costs = self.costs[row]
            if not (front <= costs).all(axis=1).any():
                front = np.vstack([front[~(front >= costs).all(axis=1)], costs])
                shares.append(self._volume(front) / self._whole)
            else:
                shares.append(shares[-1])
        return np.array(shares)


@dataclass(frozen=True, slots=True)
class Curves:
    """One search's scores over seeds, shapes (seeds, budget); `seconds` add up along a trace."""

    hypervolume: np.ndarray
    epsilon: np.ndarray
    seconds: np.ndarray

    def evaluations_to(self, goal: float) -> float | None:
        """Return the median number of evaluations until the achieved epsilon is below `goal`.

        None where half of the seeds or more need more than the budget.
        """
        below = self.epsilon < goal
        evaluations = np.where(below.any(axis=1), below.argmax(axis=1) + 1.0, np.inf)
        median = float(np.median(evaluations))
        return median if math.isfinite(median) else None


@dataclass(frozen=True, slots=True)
class RaceProvenance:
    """Where a race comes from: the space, the trainings whose errors it saw, and how long it took.

    `made` and `teacher` are those of the first training seed.
    """

    made: Provenance
    space: str
    training_seeds: tuple[Count, ...]
    training: BriefTraining
    teacher: TeacherReport
    note: str
    seconds: NonNegative


@dataclass(frozen=True)
class Race:
    """Who trained what, in which order, and what it cost.

    Attributes:
        points: the space with its costs.
        oracle: how errors were made.
        errors: by training seed and point, the share of wrong answers on dev, None where it was
            not measured; `scale` turns them into r.
        seconds: what measuring that took.
        traces: by searcher and seed, the rows of `points` in the order they were trained. Seed k
            sees the errors of training seed k modulo their number.
        finished: by training seed, after how many evaluations the FPTAS had an epsilon's cover.

    Raises:
        ValueError: a table or a trace does not fit the others.
    """

    source: str
    task: str
    origin: Origin
    oracle: OracleName
    size: Size
    budget: PositiveCount
    points: tuple[Costs, ...]
    errors: tuple[tuple[Share | None, ...], ...]
    seconds: tuple[tuple[NonNegative | None, ...], ...]
    traces: dict[str, tuple[tuple[Count, ...], ...]]
    finished: tuple[dict[float, PositiveCount], ...]
    latency: LatencyReport
    scale: Scale
    provenance: RaceProvenance
    schema: Literal[4] = 4

    AGAIN: ClassVar[str] = "delete it and run `race` again to make one"

    def __post_init__(self) -> None:
        n = len(self.points)
        own = self.traces.keys() - NAMES.keys()
        if OURS not in self.traces or not all(map(OWN_NAME.fullmatch, own)):
            raise ValueError("a searcher's name is no name, or the FPTAS is missing")
        if len(self.traces) > len(NAMES):  # figures have no more colours
            raise ValueError(f"it has {len(self.traces)} searchers; allowed: {len(NAMES)}")
        tables = (self.errors, self.seconds)
        if not self.errors or {len(row) for table in tables for row in table} != {n}:
            raise ValueError("a table is not as long as the space")
        if not len(self.errors) == len(self.seconds) == len(self.finished):
            raise ValueError("errors, seconds and finished are of different seeds")
        for traces in self.traces.values():
            if not traces:
                raise ValueError("a searcher has no trace")
            for seed, trace in enumerate(traces):
                if len(trace) != self.budget or len(set(trace)) != len(trace):
                    raise ValueError("a trace is not as long as the budget, or repeats itself")
                if max(trace) >= n:
                    raise ValueError("a trace names a point that does not exist")
                if any(self.errors[self.table(seed)][row] is None for row in trace):
                    raise ValueError("a trace names a point that was not measured")

    @property
    def searchers(self) -> tuple[str, ...]:
        return tuple(self.traces)

    @property
    def seeds(self) -> int:
        """How many times each sampler searched."""
        others = (len(traces) for name, traces in self.traces.items() if name != OURS)
        return max(others, default=len(self.traces[OURS]))

    def table(self, seed: int) -> int:
        """Return which training seed's errors a search saw."""
        return seed % len(self.errors)

    def trace(self, name: str, seed: int) -> tuple[int, ...]:
        """Return what a searcher trained; the FPTAS draws nothing, so its traces come round."""
        return self.traces[name][seed % len(self.traces[name])]

    @cached_property
    def truths(self) -> tuple[Truth, ...]:
        costs = [(point.size(self.size), point.latency_ms) for point in self.points]
        # None, which was not measured, becomes nan.
        columns = [self.scale.r(np.array(table, dtype=float)) for table in self.errors]
        return tuple(Truth(np.column_stack([costs, column])) for column in columns)

    @cached_property
    def curves(self) -> dict[str, Curves]:
        """Each searcher's scores after every evaluation."""
        curves = {}
        for name, traces in self.traces.items():
            scores = []
            for seed, trace in enumerate(traces):
                truth, seconds = self.truths[self.table(seed)], self.seconds[self.table(seed)]
                sums = np.cumsum([seconds[row] or 0.0 for row in trace])
                scores.append((truth.hypervolumes(trace), truth.epsilons(trace), sums))
            curves[name] = Curves(*map(np.array, zip(*scores, strict=True)))
        return curves

    def summary(self) -> dict[str, Any]:
        """Return the scores at the end of the budget, and what the goals took, as plain values."""
        scores = {name: _summary(curves) for name, curves in self.curves.items()}
        ours = scores.pop(OURS)
        return {"budget": self.budget, "seeds": self.seeds, "samplers": scores, OURS: ours}

    def save(self, path: str | Path) -> Path:
        """Write the race as JSON, whole or not at all."""
        return records.write(path, self)

    @classmethod
    def load(cls, path: str | Path) -> Race:
        """Read a race; a ValueError says that the file is not there, or where it is damaged."""
        return records.read(path, cls, MOST_BYTES)

    def __str__(self) -> str:
        head = (
            f"{self.source} on {self.task}: {self.budget} evaluations each in a space of "
            f"{len(self.points):,}, {self.seeds} seeds, errors {self.origin}"
        )
        title = f"{'':>17} hypervolume   quartiles        epsilon  to 0.2  to 0.1"
        lines = [_line(name, _summary(curves)) for name, curves in self.curves.items()]
        foot = (
            "medians over seeds; hypervolume as a share of the truth's, epsilon against the truth; "
            "“to”: evaluations until the achieved epsilon is below that, a dash where the budget "
            "ends first"
        )
        return "\n".join([head, title, *lines, foot])


def _line(name: str, row: dict[str, Any]) -> str:
    low, high = row["hypervolume_iqr"]
    evaluations = [row[f"evaluations_to_{goal}"] for goal in sorted(GOALS, reverse=True)]
    return (
        f"{NAMES[name]:>17} {row['hypervolume_median']:>11.4f}   {low:.4f} to {high:.4f} "
        f"{row['epsilon_median']:>7.3f} "
        + " ".join(f"{'-' if n is None else format(n, 'g'):>7}" for n in evaluations)
    )


def _summary(curves: Curves) -> dict[str, Any]:
    last = curves.hypervolume[:, -1]
    low, high = np.percentile(last, [25, 75])
    return {
        "hypervolume_median": round(float(np.median(last)), 6),
        "hypervolume_iqr": [round(float(low), 6), round(float(high), 6)],
        "epsilon_median": round(float(np.median(curves.epsilon[:, -1])), 6),
    } | {f"evaluations_to_{goal}": curves.evaluations_to(goal) for goal in GOALS}
