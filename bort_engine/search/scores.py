"""A race's result and its scores: how near each search is to the truth, training by training.

Everything is minimised. Costs are (size, latency, error). The truth is everything that was measured
with the same training seed: the whole space where it is on record. moocore does the work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bort_engine.algorithms import fptas
from bort_engine.algorithms.pareto import hypervolume, nondominated
from bort_engine.encoder.latency import LatencyReport
from bort_engine.encoder.space import Architecture
from bort_engine.runs.records import read_json, write_json
from bort_engine.search.result import Front, Point, check_types, mark_pareto

OURS = "fptas"
NAMES = {
    OURS: "FPTAS",
    "random": "Random search",
    "tpe": "TPE",
    "nsga2": "NSGA-II",
    "local": "Local search",
    "brute": "Brute force",
}
GOALS = (0.1, 0.2)  # achieved epsilons whose price in trainings is reported
REFERENCE = 1.1  # the hypervolume's reference point, with costs scaled to 0..1 over the truth
COSTS = ("n_parameters", "n_encoder_parameters", "operations", "latency_ms")
SCHEMA = 1
MOST_BYTES = 16 * 2**20


class Truth:
    """What a search is scored against: all costs that were measured with one training seed."""

    def __init__(self, costs: np.ndarray) -> None:
        self.costs = costs
        known = costs[~np.isnan(costs).any(axis=1)]
        self.front = known[nondominated(known)]
        self._low = known.min(axis=0)
        self._spread = np.maximum(np.ptp(known, axis=0), 1e-12)
        self._whole = self._volume(self.front)
        # By which factor row j must be allowed to be worse to stand in for a point of the front.
        self._factor = (costs[:, None, :] / self.front[None, :, :]).max(axis=2)

    def _volume(self, costs: np.ndarray) -> float:
        scaled = (costs - self._low) / self._spread
        return hypervolume(scaled, np.full(scaled.shape[1], REFERENCE))

    def epsilons(self, trace: Sequence[int]) -> np.ndarray:
        """Return the achieved epsilon after each training of a trace (its rows, in order).

        The multiplicative epsilon-indicator of what is trained against the truth, minus one
        (Zitzler et al. 2003).
        """
        best = np.minimum.accumulate(self._factor[list(trace)], axis=0)
        return np.maximum(best.max(axis=1) - 1, 0.0)

    def hypervolumes(self, trace: Sequence[int]) -> np.ndarray:
        """Return the share of the truth's hypervolume that is dominated after each training.

        Costs are scaled to 0..1 over the truth; the reference point is 1.1 in all of them.
        """
        found: list[float] = []
        front = np.empty((0, self.costs.shape[1]))
        for row in trace:
            costs = self.costs[row]
            if not (front <= costs).all(axis=1).any():
                front = np.vstack([front[~(front >= costs).all(axis=1)], costs])
                found.append(self._volume(front) / self._whole)
            else:
                found.append(found[-1])
        return np.array(found)


@dataclass(frozen=True, slots=True)
class Curves:
    """One search's scores over seeds, shapes (seeds, budget); `seconds` add up along a trace."""

    hypervolume: np.ndarray
    epsilon: np.ndarray
    seconds: np.ndarray

    def trainings_to(self, goal: float) -> float | None:
        """Return the median number of trainings until the achieved epsilon is below `goal`.

        None where half of the seeds or more need more than the budget.
        """
        below = self.epsilon < goal
        needed = np.where(below.any(axis=1), below.argmax(axis=1) + 1.0, np.inf)
        median = float(np.median(needed))
        return median if math.isfinite(median) else None


@dataclass(frozen=True)
class Race:
    """Who trained what, in which order, and what it cost.

    Attributes:
        points: the space with its costs; their `error` is not read.
        errors: by training seed and point, None where it was not measured.
        seconds: what measuring that took.
        traces: by searcher and seed, the rows of `points` in the order they were trained. Seed k
            sees the errors of training seed k modulo their number.
        finished: by training seed, after how many trainings the FPTAS had its cover for an epsilon.
        origin: "recorded" or "measured".
    """

    source: str
    task: str
    origin: str
    size: str
    budget: int
    points: tuple[Point, ...]
    errors: tuple[tuple[float | None, ...], ...]
    seconds: tuple[tuple[float | None, ...], ...]
    traces: dict[str, tuple[tuple[int, ...], ...]]
    finished: tuple[dict[float, int], ...]
    latency: LatencyReport
    provenance: dict[str, Any]

    @property
    def searchers(self) -> tuple[str, ...]:
        return tuple(self.traces)

    @property
    def seeds(self) -> int:
        """How many times each sampler searched."""
        return max(len(found) for found in self.traces.values())

    def table(self, seed: int) -> int:
        """Return which training seed's errors a search saw."""
        return seed % len(self.errors)

    def trace(self, name: str, seed: int) -> tuple[int, ...]:
        """Return what a searcher trained; the FPTAS draws nothing, so its traces come round."""
        return self.traces[name][seed % len(self.traces[name])]

    @cached_property
    def truths(self) -> tuple[Truth, ...]:
        costs = [(point.size(self.size), point.latency_ms) for point in self.points]
        columns = [np.array(table, dtype=float) for table in self.errors]
        return tuple(Truth(np.column_stack([costs, column])) for column in columns)

    @cached_property
    def curves(self) -> dict[str, Curves]:
        """Return each searcher's scores after every training."""
        return {name: self._curves(name) for name in self.traces}

    def _curves(self, name: str) -> Curves:
        scored = []
        for seed, trace in enumerate(self.traces[name]):
            truth, took = self.truths[self.table(seed)], self.seconds[self.table(seed)]
            spent = np.cumsum([took[row] or 0.0 for row in trace])
            scored.append((truth.hypervolumes(trace), truth.epsilons(trace), spent))
        return Curves(*(np.array(column) for column in zip(*scored, strict=True)))

    def summary(self) -> dict[str, Any]:
        """Return the scores at the end of the budget, and what the goals took, as plain values."""
        told = {name: _told(curves) for name, curves in self.curves.items()}
        return {
            "budget": self.budget,
            "seeds": self.seeds,
            "samplers": {name: scores for name, scores in told.items() if name != OURS},
            OURS: told[OURS],
        }

    def front(self, name: str, seed: int = 0, trainings: int = 0) -> Front:
        """Return what a searcher had after so many trainings (0: all of its budget), as a front.

        Its epsilon is the one it achieved, held against the truth.
        """
        table = self.table(seed)
        rows = self.trace(name, seed)[: trainings or None]
        achieved = float(self.truths[table].epsilons(rows)[-1])
        points = self._valued(rows, table)
        best = max((p for p in points if p.pareto), key=lambda p: (p.w, -p.error))
        return Front(
            source=self.source,
            task=self.task,
            epsilon=achieved,
            selection=name,
            lazy=name == OURS,
            space_size=len(self.points),
            n_cells=len(rows),
            n_evaluated=len(rows),
            achieved_epsilon=achieved,
            points=points,
            maximum=_largest(points).architecture,
            best=best.architecture,
            error_kind="cross-entropy",
            origin=self.origin,
            latency=self.latency,
            guarantee={},
            provenance=self.provenance | {"seed": seed},
        )

    def truth_points(self, seed: int = 0) -> tuple[Point, ...]:
        """Return everything measured with the errors that a seed saw; its front is marked."""
        table = self.table(seed)
        rows = [row for row, error in enumerate(self.errors[table]) if error is not None]
        return self._valued(rows, table)

    def _valued(self, rows: Sequence[int], table: int) -> tuple[Point, ...]:
        """Return points with their errors, W (effective size, excess error) and front marked."""
        T = _largest(self.points)
        own = fptas.Candidate(T.architecture, T.n_encoder_parameters, T.latency_ms)
        floor = self.provenance["teacher"]["error"]
        found = []
        for row in rows:
            point, error = self.points[row], self.errors[table][row]
            assert error is not None, "a trace holds what was measured"
            w = fptas.w_coefficient(
                point.n_encoder_parameters, point.latency_ms, error - floor, own
            )
            found.append(replace(point, error=error, w=w))
        return mark_pareto(found, self.size)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`; `from_json` reads them back."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["latency"] = asdict(self.latency)
        plain["points"] = [
            [str(p.architecture), *(getattr(p, name) for name in COSTS)] for p in self.points
        ]
        plain["finished"] = [list(map(list, found.items())) for found in self.finished]
        return {"schema": SCHEMA} | plain

    @classmethod
    def from_json(cls, plain: Any) -> Race:
        """Rebuild a race; it is untrusted input, so every field is checked.

        Raises:
            ValueError: another schema, or a field is missing, unknown or out of range.
        """
        if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
            raise ValueError(f"not a race of schema {SCHEMA}; run `race` again to make one.")
        try:
            values = {key: value for key, value in plain.items() if key != "schema"}
            values["points"] = tuple(
                Point(Architecture.parse(shape), **dict(zip(COSTS, costs, strict=True)), error=1.0)
                for shape, *costs in values["points"]
            )
            values["latency"] = LatencyReport(**values["latency"])
            for name in ("errors", "seconds"):
                values[name] = tuple(map(tuple, values[name]))
            values["finished"] = tuple(dict(found) for found in values["finished"])
            values["traces"] = {
                name: tuple(map(tuple, found)) for name, found in values["traces"].items()
            }
            race = cls(**values)
            race._check()
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as e:
            raise ValueError(f"damaged race record ({e}); run `race` again to make one.") from e
        return race

    def _check(self) -> None:
        n = len(self.points)
        numbers = [getattr(p, name) for p in self.points for name in COSTS]
        measured = [x for table in (*self.errors, *self.seconds) for x in table if x is not None]
        texts = (self.source, self.task, self.origin, self.size, *self.traces)
        whole = [row for found in self.traces.values() for trace in found for row in trace]
        if not all(isinstance(text, str) for text in texts) or OURS not in self.traces:
            raise TypeError("a name is no text, or the FPTAS is missing")
        if self.size not in ("total", "effective") or not set(self.traces) <= NAMES.keys():
            raise TypeError("an unknown size or searcher")
        if not n or not all(0 < float(x) < 1e18 for x in numbers):
            raise TypeError("points are missing, or a cost is not positive")
        errors = [x for table in self.errors for x in table if x is not None]
        if not errors or not all(0 <= float(x) < 1e18 for x in measured) or not min(errors) > 0:
            raise TypeError("an error or its seconds are impossible")
        shapes = [[len(x) for x in table] for table in (self.errors, self.seconds)]
        if not self.errors or any(shape != [n] * len(self.errors) for shape in shapes):
            raise TypeError("a table is not as long as the space")
        if not all(type(row) is int and 0 <= row < n for row in whole):
            raise TypeError("a trace names a point that does not exist")
        if type(self.budget) is not int or self.budget < 1 or not all(self.traces.values()):
            raise TypeError("the budget is not positive, or a searcher has no trace")
        for found in self.traces.values():
            for seed, trace in enumerate(found):
                if len(trace) != self.budget or len(set(trace)) != len(trace):
                    raise TypeError("a trace is not as long as the budget, or repeats itself")
                if any(self.errors[self.table(seed)][row] is None for row in trace):
                    raise TypeError("a trace names a point that was not measured")
        float(self.provenance["teacher"]["error"])
        check_types(self.latency)
        counts = [pair for found in self.finished for pair in found.items()]
        if len(self.finished) != len(self.errors) or not all(
            isinstance(epsilon, float) and type(n) is int and n > 0 for epsilon, n in counts
        ):
            raise TypeError("finished is no table of epsilons and trainings")

    def save(self, path: str | Path) -> Path:
        """Write the race as JSON, whole or not at all."""
        return write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Race:
        """Read a race written by `save`.

        Raises:
            ValueError: there is no such file, or it is damaged.
        """
        return read_json(path, cls.from_json, MOST_BYTES)

    def __str__(self) -> str:
        told = self.summary()
        head = (
            f"{self.source} on {self.task}: {self.budget} trainings each in a space of "
            f"{len(self.points)}, {self.seeds} seeds, errors {self.origin}"
        )
        title = f"{'':>14} hypervolume   quartiles        epsilon  to 0.2  to 0.1"
        lines = [
            _line(name, told[OURS] if name == OURS else told["samplers"][name])
            for name in self.traces
        ]
        foot = (
            "medians over seeds; hypervolume as a share of the truth's, epsilon against the truth; "
            "“to”: trainings until the achieved epsilon is below that, a dash where the budget "
            "ends first"
        )
        return "\n".join([head, title, *lines, foot])


def _line(name: str, row: dict[str, Any]) -> str:
    low, high = row["hypervolume_iqr"]
    needed = [row[f"trainings_to_{goal}"] for goal in sorted(GOALS, reverse=True)]
    return (
        f"{NAMES[name]:>14} {row['hypervolume_median']:>11.4f}   {low:.4f} to {high:.4f} "
        f"{row['epsilon_median']:>7.3f} "
        + " ".join(f"{'-' if n is None else format(n, 'g'):>7}" for n in needed)
    )


def _largest(points: Sequence[Point]) -> Point:
    return max(points, key=lambda p: (p.n_parameters, p.operations, p.latency_ms))


def _told(curves: Curves) -> dict[str, Any]:
    last = curves.hypervolume[:, -1]
    low, high = np.percentile(last, [25, 75])
    return {
        "hypervolume_median": round(float(np.median(last)), 6),
        "hypervolume_iqr": [round(float(low), 6), round(float(high), 6)],
        "epsilon_median": round(float(np.median(curves.epsilon[:, -1])), 6),
    } | {f"trainings_to_{goal}": curves.trainings_to(goal) for goal in GOALS}
