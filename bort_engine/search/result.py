"""`Front`: evaluated points, the guarantee, and where every number comes from.

Everything is minimised: the costs of a point are its size, its latency and its error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
from annotated_types import Gt, Lt

from bort_engine.algorithms import fptas
from bort_engine.algorithms.pareto import knee, nondominated
from bort_engine.encoder.latency import LatencyReport
from bort_engine.encoder.space import Architecture
from bort_engine.runs import records
from bort_engine.runs.provenance import Origin, Provenance
from bort_engine.runs.records import Count, NonNegative, Positive, PositiveCount, Share
from bort_engine.search.evaluate import BriefTraining, OracleName
from bort_engine.search.predictor import ErrorPredictor
from bort_engine.search.scale import Scale
from bort_engine.training.teacher import TeacherReport

if TYPE_CHECKING:
    import pandas as pd

Size = Literal["total", "effective"]
Role = Literal["representative", "spot-check", "known", "other"]
SIZES: tuple[Size, ...] = ("total", "effective")
W_ERRORS = ("excess", "cross-entropy")
MOST_CHECKS = 1_000_000
AFFORDABLE = 0.01  # what the recommended point may lose: one percentage point


def check_choice(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raise a ValueError where a value is none of the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}.")


@dataclass(frozen=True, slots=True)
class Costs:
    """What an architecture costs: exact counts, and the latency that AB^nC predicts."""

    architecture: Architecture
    n_parameters: PositiveCount
    n_encoder_parameters: PositiveCount
    operations: PositiveCount
    latency_ms: Positive

    def size(self, kind: Size = "total") -> int:
        """Parameters: `total`, or `effective` (encoder only, the Bort article's emphasis)."""
        return self.n_parameters if kind == "total" else self.n_encoder_parameters

    def point(
        self,
        error: float,
        dev_error: float | None = None,
        **more: Any,
    ) -> Point:
        """Return this architecture, evaluated."""
        costs = {name: getattr(self, name) for name in Costs.__slots__}
        return Point(**costs, error=error, dev_error=dev_error, **more)


@dataclass(frozen=True, slots=True)
class Point(Costs):
    """An evaluated architecture.

    `dev_error` is the share of wrong answers on dev, None where nothing was trained, and `r` the
    same from 0 (the source's) to 1 (guessing), which is what the search works on. `error`, which W
    divides by, is the cross-entropy against T's predictions (nats), or a predicted GLUE error.
    `role` is "representative", "spot-check" (evaluated to test the guarantee), "known" (from an
    earlier search in the same folder) or "other" (from a closer look, or from checking all).
    """

    error: Positive
    dev_error: Share | None = None
    r: Annotated[float, Gt(-1e18), Lt(1e18)] = 0.0  # finite
    w: NonNegative = 0.0
    pareto: bool = False
    at_chance: bool = False
    role: Role = "representative"

    @property
    def shown_error(self) -> float:
        """The error a person reads: on dev where it was measured, else the predicted one."""
        return self.error if self.dev_error is None else self.dev_error


class Evaluated(Protocol):
    """What a person compares: a point, or a shape whose layers differ."""

    @property
    def n_parameters(self) -> int: ...
    @property
    def n_encoder_parameters(self) -> int: ...
    @property
    def latency_ms(self) -> float: ...
    @property
    def error(self) -> float: ...
    @property
    def shown_error(self) -> float: ...


Shown = TypeVar("Shown", bound=Evaluated)


def cheapest(
    points: Iterable[Shown],
    prefer: str,
    max_latency_ms: float,
    max_parameters: float,
    max_error: float,
) -> Shown | None:
    """Return the one with the least of what is preferred among those that fit; see `Front`."""
    measure: dict[str, Callable[[Shown], float]] = {
        "error": lambda p: p.shown_error,
        "latency": lambda p: p.latency_ms,
        "size": lambda p: p.n_parameters,
    }
    check_choice("prefer", prefer, measure)
    fitting = [
        p
        for p in points
        if p.latency_ms <= max_latency_ms
        and p.n_parameters <= max_parameters
        and p.shown_error <= max_error + 1e-12  # 0.12 + 0.02 is below 0.14 in floating point
    ]
    return min(fitting, key=lambda p: (measure[prefer](p), p.latency_ms), default=None)


@dataclass(frozen=True, slots=True)
class Search:
    """How a front is searched for.

    Args:
        space: default, fine, bort, or a grid such as D=1-6 A=2,12 H=96,384 I=192,1536; layers
            hands over to the command of that name.
        selection: cover (every cell is covered), stride (the published one) or exhaustive.
        interval: of the stride: every so-manyth architecture by size.
        lazy: evaluate a few after another, and only what is not proven covered by then.
        at_once: how many are chosen together, so that workers can share them; more are less apt.
        tolerance: in r, how much more an architecture may err than one that it contains.
        spot_checks: how many further candidates are evaluated, at random, to test the cover.
        closer: how many more are evaluated where one that loses at most a point is likely faster.
        check_all: once the front is there, evaluate all the others too, until a stop.
        size: total parameters, or effective (encoder only).
        w_size: the size that W counts, total or effective.
        w_error: the error that W divides by: excess (beyond T's own entropy) or cross-entropy.

    Raises:
        ValueError: an option is not one of the allowed values.
    """

    space: str = "default"
    selection: str = "cover"
    interval: int = 8
    lazy: bool = True
    at_once: int = fptas.AT_ONCE
    tolerance: float = fptas.TOLERANCE
    spot_checks: int = 30
    closer: int = 20
    check_all: bool = False
    size: Size = "total"
    w_size: Size = "effective"
    w_error: str = "excess"

    def __post_init__(self) -> None:
        check_choice("selection", self.selection, fptas.SELECTIONS)
        check_choice("size", self.size, SIZES)
        check_choice("w_size", self.w_size, SIZES)
        check_choice("w_error", self.w_error, W_ERRORS)
        for name, least in (("interval", 1), ("at_once", 1), ("spot_checks", 0), ("closer", 0)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= MOST_CHECKS:
                raise ValueError(f"{name} is {value!r:.40}; allowed: {least} to {MOST_CHECKS:,}.")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance is {self.tolerance!r}; allowed: 0 up to, not with, 1.")


@dataclass(frozen=True, slots=True)
class FrontGuarantee:
    """What was promised, and how it stood up to checking (see algorithms/guarantee.py).

    `achieved` is the smallest epsilon for which the cover covers everything evaluated, and
    `n_uncovered` are not covered at the promised one. Of the spot-checks, which are random,
    `n_missed` are not, so at most the share `most_uncovered` of what was not evaluated is not
    either (95 %). `order_*` count pairs of which one contains the other, and those where the larger
    one errs more; `cell_bound` is the most cells there can be.
    """

    achieved: NonNegative
    n_evaluated: Count
    order_pairs: Count
    order_violations: Count
    worst_violation: NonNegative
    n_cells: Count
    cell_bound: NonNegative
    n_skipped_cells: Count
    n_spot_checks: Count
    n_missed: Count
    most_uncovered: Share
    n_uncovered: Count | None = None  # None in fronts that did not count them


@dataclass(frozen=True, slots=True)
class FrontProvenance:
    """Where a front comes from: when and where its errors were made, from what, and how.

    `training` and `teacher` are None where nothing was trained. `predictor` predicts the error of
    an architecture that was not evaluated; None where there are too few points to fit one.
    `whole_space_size` counts the architectures of the space, on record or not. So many `workers`
    evaluated side by side.
    """

    made: Provenance
    seed: Count
    seconds: NonNegative
    note: str
    search: Search
    whole_space_size: PositiveCount
    training: BriefTraining | None = None
    teacher: TeacherReport | None = None
    predictor: ErrorPredictor | None = None
    workers: PositiveCount = 1


@dataclass(frozen=True, slots=True)
class Front:
    """What the FPTAS returned. `maximum` is T's architecture; `scale` is that of r.

    `oracle` says how errors are made: "brief" (short distillation from slices of T), "scratch"
    (the same from random weights), "elastic" (slices of one student) or "glue" (a line through
    published scores); `origin` where these come from. `size` is what the search counted, and
    latencies are in `latency_unit`. A `partial` front is of a search that was stopped: it holds
    what was evaluated until then, and promises nothing.

    Raises:
        ValueError: `maximum` is not among the points, or a point is there twice.
    """

    source: str
    task: str
    epsilon: Share
    oracle: OracleName
    origin: Origin
    selection: str
    lazy: bool
    size: Size
    space_size: PositiveCount
    n_evaluated: Count
    points: tuple[Point, ...]
    maximum: Architecture
    scale: Scale
    latency: LatencyReport
    guarantee: FrontGuarantee
    provenance: FrontProvenance
    partial: bool = False
    latency_unit: Literal["ms"] = "ms"
    schema: Literal[3] = 3

    AGAIN: ClassVar[str] = "delete it and run `front` again to make one"

    def __post_init__(self) -> None:
        self[self.maximum]  # raises
        if len({point.architecture for point in self.points}) < len(self.points):
            raise ValueError("an architecture is among the points twice.")

    @property
    def achieved_epsilon(self) -> float:
        return self.guarantee.achieved

    @property
    def n_cells(self) -> int:
        return self.guarantee.n_cells

    @property
    def pareto(self) -> tuple[Point, ...]:
        """The points that no evaluated point dominates in size, latency and error."""
        return tuple(point for point in self.points if point.pareto)

    @property
    def above_chance(self) -> tuple[Point, ...]:
        """The front's points that answer better than by guessing.

        To guess is to err by more than a limit, so there is one where any evaluated point does not.
        """
        return tuple(point for point in self.pareto if not point.at_chance)

    @property
    def source_point(self) -> Point:
        """T, the maximum point."""
        return self[self.maximum]

    @property
    def promised_points(self) -> float:
        """How many points of accuracy, or of correlation, epsilon is."""
        return self.scale.points(self.epsilon)

    def __getitem__(self, architecture: Architecture) -> Point:
        for point in self.points:
            if point.architecture == architecture:
                return point
        raise ValueError(f"{architecture} is not a point of this front; see its table.")

    def cheapest(
        self,
        prefer: str = "error",
        max_latency_ms: float = math.inf,
        max_parameters: float = math.inf,
        max_error_gain: float = math.inf,
    ) -> Point | None:
        """Return the best front point under budgets, or None; points at chance are never named.

        Args:
            prefer: what to minimise among those that fit: "error", "latency" or "size".
            max_error_gain: how much larger than T's the error may be (0.02 is two points).
        """
        limit = self.source_point.shown_error + max_error_gain
        return cheapest(self.above_chance, prefer, max_latency_ms, max_parameters, limit)

    @property
    def knee(self) -> Point | None:
        """The front point farthest below the line through its ends, if any is (see pareto.py)."""
        if not (points := self.above_chance):
            return None
        row = knee(np.array([(p.n_parameters, p.latency_ms, p.r) for p in points]))
        return None if row is None else points[row]

    @property
    def best(self) -> Point:
        """The W-optimum of the front; one that guesses only where all do."""
        return max(self.above_chance or self.points, key=lambda p: (p.w, -p.error, -p.latency_ms))

    @property
    def recommended(self) -> Point:
        """What to look at first: the fastest that loses at most a point, else the source."""
        return self.cheapest("latency", max_error_gain=AFFORDABLE) or self.source_point

    def rivals(self, point: Point) -> list[tuple[Point, list[str]]]:
        """Return the nearest front neighbours in size and the axes on which `point` beats each."""
        axes: dict[str, Callable[[Point], float]] = {
            "smaller": lambda p: p.size(self.size),
            "faster": lambda p: p.latency_ms,
            "more accurate": lambda p: p.r,
        }
        nearest = sorted(
            (p for p in self.pareto if p != point),
            key=lambda p: abs(math.log(p.size(self.size) / point.size(self.size))),
        )[:2]
        beaten = [
            (rival, [word for word, cost in axes.items() if cost(point) < cost(rival)])
            for rival in nearest
        ]
        return [(rival, words) for rival, words in beaten if words]

    def to_frame(self) -> pd.DataFrame:
        """Return the points as a table, smallest first, units in the column names."""
        import pandas as pd

        rows = [asdict(p) | {"architecture": str(p.architecture)} for p in self.points]
        return pd.DataFrame(rows).sort_values("n_parameters", ignore_index=True)

    def save(self, path: str | Path) -> Path:
        """Write the front as JSON, whole or not at all."""
        return records.write(path, self)

    @classmethod
    def load(cls, path: str | Path) -> Front:
        """Read a front; a ValueError says that the file is not there, or where it is damaged."""
        return records.read(path, cls)

    def __str__(self) -> str:
        promise = (
            f"epsilon {self.epsilon:g} ({self.promised_points:.1f} points of {self.scale.unit}), "
            f"achieved {self.achieved_epsilon:.3f}"
        )
        if self.partial:
            promise = "stopped before the promise of its epsilon was kept"
        head = (
            f"{self.source} on {self.task}: {len(self.pareto)} non-dominated of "
            f"{len(self.points):,} evaluated, {self.n_evaluated:,} of them for the cover "
            f"({self.space_size:,} in the space); {promise}"
        )
        title = f"{'D,A,H,I':>14} {'parameters':>12} {'ms':>8} {'error':>7} {'r':>6} {'W':>6}"
        marked = {self.recommended.architecture: "  recommended"}
        if self.knee:
            marked[self.knee.architecture] = marked.get(self.knee.architecture, "") + "  knee"
        rows = [
            f"{p.architecture!s:>14} {p.n_parameters:>12,} {p.latency_ms:>8.2f} "
            f"{p.shown_error:>7.1%} {p.r:>6.3f} {p.w:>6.3f}"
            f"{'  at chance' if p.at_chance else marked.get(p.architecture, '')}"
            for p in sorted(self.pareto, key=lambda p: p.n_parameters)
        ]
        report = self.latency
        place = "elsewhere" if report.origin == "recorded" else "here"
        foot = (
            f"error: {self.scale.error_name} on dev, {self.origin}, by the oracle {self.oracle}; "
            f"recommended: the fastest that loses at most {100 * AFFORDABLE:g} point; ms predicted "
            f"from parts timed {place} in {report.runtime} ({report.device}, {report.threads} "
            f"threads, batch {report.batch_size}, {report.sequence_length} tokens), median error "
            f"{report.median_relative_error:.1%} on {report.n_held_out} held-out shapes"
        )
        return "\n".join([head, title, *rows, foot, *self._guessing()])

    def _guessing(self) -> list[str]:
        """Say in a line what guessing is worth, and where no point is better, that."""
        teacher, parts = self.provenance.teacher, []
        if teacher and teacher.kind == "class":
            right = f"{1 - teacher.chance_error:.1%} of dev"
            parts = [f"always naming the most frequent class is right on {right}"]
        if not self.above_chance:
            parts.append("no point here is better than guessing, so none is recommended")
        return ["; ".join(parts)] if parts else []


def mark_pareto(
    points: Iterable[Point], size: Size = "total", tie: float = 0.0
) -> tuple[Point, ...]:
    """Return the points with `pareto` set from their own costs.

    Latencies that differ by less than the share `tie` are equal.
    """
    points = tuple(points)
    mask = nondominated(np.array([(p.size(size), p.latency_ms, p.r) for p in points]), tie)
    return tuple(replace(p, pareto=bool(on)) for p, on in zip(points, mask, strict=True))
