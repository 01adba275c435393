"""Dominance, hypervolume and the achieved epsilon, and `Front`: measured points with their origin.

Everything is minimised: every row of costs is (size, inference cost, error), all positive.
moocore does the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_engine.algorithms.pareto import nondominated
from bort_engine.encoder.latency import LatencyReport
from bort_engine.encoder.space import Architecture
from bort_engine.runs.records import read_json, write_json

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Point:
    """One architecture with its costs and error.

    `latency_ms` is the AB^nC prediction at the front's batch, length and threads. `error` is the
    surrogate the FPTAS works on (see `Front.error_kind`); `dev_error` the misclassification rate on
    the dev split after the brief training, None where nothing was trained. `role` is
    "representative", "spot-check" (measured to test the guarantee) or "known" (from an earlier
    run of the same record).
    """

    architecture: Architecture
    n_parameters: int
    n_encoder_parameters: int
    operations: int
    latency_ms: float
    error: float
    dev_error: float | None = None
    w: float = 0.0
    pareto: bool = False
    at_chance: bool = False
    role: str = "representative"

    def size(self, kind: str = "total") -> int:
        """Parameters: `total`, or `effective` (encoder only, the Bort article's emphasis)."""
        return self.n_parameters if kind == "total" else self.n_encoder_parameters

    @property
    def shown_error(self) -> float:
        """The error a person reads: on dev where it was measured, else the predicted one."""
        return self.error if self.dev_error is None else self.dev_error


SCHEMA = 1
KINDS = ("cross-entropy", "published")


@dataclass(frozen=True, slots=True)
class Front:
    """What the FPTAS returned: the points, the guarantee, and where every number comes from.

    `maximum` is T's architecture; `best` the W-optimum. `error_kind` is "cross-entropy" (measured:
    against T's predictions) or "published" (predicted from published GLUE scores). `origin` is
    "measured", "recorded" or "predicted". `guarantee` and `provenance` are plain dictionaries, as
    written by `fptas` and `extract`.
    """

    source: str
    task: str
    epsilon: float
    selection: str
    lazy: bool
    space_size: int
    n_cells: int
    n_evaluated: int
    achieved_epsilon: float
    points: tuple[Point, ...]
    maximum: Architecture
    best: Architecture
    error_kind: str
    origin: str
    latency: LatencyReport
    guarantee: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def pareto(self) -> tuple[Point, ...]:
        """The points that no measured point dominates in size, latency and error."""
        return tuple(point for point in self.points if point.pareto)

    @property
    def source_point(self) -> Point:
        """T, the maximum point."""
        return self[self.maximum]

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
        measure: dict[str, Callable[[Point], float]] = {
            "error": lambda p: p.shown_error,
            "latency": lambda p: p.latency_ms,
            "size": lambda p: p.n_parameters,
        }
        if prefer not in measure:
            raise ValueError(f"prefer is {prefer!r}; allowed: {', '.join(measure)}.")
        limit = self.source_point.shown_error + max_error_gain
        fitting = [
            p
            for p in self.pareto
            if not p.at_chance
            and p.latency_ms <= max_latency_ms
            and p.n_parameters <= max_parameters
            and p.shown_error <= limit + 1e-12
        ]
        return min(fitting, key=lambda p: (measure[prefer](p), p.latency_ms), default=None)

    @property
    def knee(self) -> Point | None:
        """The front point farthest below the plane through the extremes (Das 1999), in logs."""
        able = [p for p in self.pareto if not p.at_chance]
        if not able:
            return None
        logs = np.log([(p.n_parameters, p.latency_ms, max(p.shown_error, 1e-6)) for p in able])
        spread = np.ptp(logs, axis=0)
        scaled = (logs - logs.min(axis=0)) / np.where(spread > 0, spread, 1.0)
        return able[int(scaled.sum(axis=1).argmin())]

    def rivals(self, point: Point) -> list[tuple[Point, list[str]]]:
        """Return the nearest front neighbours in size and the axes on which `point` beats each."""
        axes = {"smaller": "n_parameters", "faster": "latency_ms", "more accurate": "error"}
        others = sorted(
            (p for p in self.pareto if p != point),
            key=lambda p: abs(math.log(p.n_parameters / point.n_parameters)),
        )
        beaten = [
            (p, [word for word, field in axes.items() if getattr(point, field) < getattr(p, field)])
            for p in others[:2]
        ]
        return [(p, words) for p, words in beaten if words]

    def to_frame(self) -> pd.DataFrame:
        """Return the points as a table, smallest first, units in the column names."""
        import pandas as pd

        rows = [asdict(p) | {"architecture": str(p.architecture)} for p in self.points]
        return pd.DataFrame(rows).sort_values("n_parameters", ignore_index=True)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`; `from_json` reads them back."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain |= {"maximum": str(self.maximum), "best": str(self.best)}
        plain["latency"] = asdict(self.latency)
        plain["points"] = [asdict(p) | {"architecture": str(p.architecture)} for p in self.points]
        return {"schema": SCHEMA} | plain

    @classmethod
    def from_json(cls, plain: Any) -> Front:
        """Rebuild a front; it is untrusted input, so every field is checked.

        Raises:
            ValueError: another schema, or a field is missing, unknown or out of range.
        """
        if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
            raise ValueError(f"not a front of schema {SCHEMA}; run `front` again to make one.")
        try:
            values = {key: value for key, value in plain.items() if key != "schema"}
            points = tuple(
                Point(**(p | {"architecture": Architecture.parse(p["architecture"])}))
                for p in values["points"]
            )
            shapes: dict[str, Any] = {
                key: Architecture.parse(values[key]) for key in ("maximum", "best")
            }
            latency = LatencyReport(**values["latency"])
            front = cls(**(values | shapes | {"latency": latency, "points": points}))
            front._check()
        except (KeyError, TypeError, AttributeError) as e:
            raise ValueError(f"damaged front record ({e}); run `front` again to make one.") from e
        return front

    def _check(self) -> None:
        for record in (self, self.latency, *self.points):
            check_types(record)
        costs = [
            (p.n_parameters, p.n_encoder_parameters, p.operations, p.latency_ms, p.error)
            for p in self.points
        ]
        if not costs or np.min(costs) <= 0:
            raise TypeError("points are missing, or a cost is not positive")
        if self.error_kind not in KINDS:
            raise TypeError(f"error kind {self.error_kind!r} is unknown")
        for architecture in (self.maximum, self.best):
            self[architecture]

    def save(self, path: str | Path) -> Path:
        """Write the front as JSON, whole or not at all."""
        return write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Front:
        """Read a front written by `save`.

        Raises:
            ValueError: there is no such file, or it is damaged.
        """
        return read_json(path, cls.from_json)

    def __str__(self) -> str:
        head = (
            f"{self.source} on {self.task}: {len(self.pareto)} non-dominated of "
            f"{self.n_evaluated} evaluated ({self.space_size} in the space); "
            f"epsilon {self.epsilon:g}, achieved {self.achieved_epsilon:.3f}"
        )
        title = (
            f"{'D,A,H,I':>14} {'parameters':>12} {'ms':>8} {'error':>7} {'dev error':>9} {'W':>6}"
        )
        rows = [
            f"{p.architecture!s:>14} {p.n_parameters:>12,} {p.latency_ms:>8.2f} {p.error:>7.3f} "
            f"{'-' if p.dev_error is None else format(p.dev_error, '.3f'):>9} {p.w:>6.3f}"
            f"{'  best' if p.architecture == self.best else ''}{'  at chance' * p.at_chance}"
            for p in sorted(self.pareto, key=lambda p: p.n_parameters)
        ]
        report = self.latency
        foot = (
            f"errors {self.origin}; ms predicted from parts timed "
            f"{'elsewhere' if report.recorded else 'here'} ({report.device}, {report.threads} "
            f"threads, batch {report.batch_size}, {report.sequence_length} tokens), median error "
            f"{report.median_relative_error:.1%} on {report.n_held_out} held-out shapes"
        )
        return "\n".join([head, title, *rows, foot])


_TYPES: dict[str, Any] = {
    "str": str,
    "str | None": str | None,
    "bool": bool,
    "int": int,
    "float": int | float,
    "float | None": int | float | None,
    "dict[str, Any]": dict,
}


def check_types(record: Front | LatencyReport | Point) -> None:
    """Raise TypeError where a value is not of its field's type, or a number not of this world."""
    for field in fields(record):
        value, kind = getattr(record, field.name), _TYPES.get(str(field.type), object)
        fits = isinstance(value, kind) and (kind in (bool, object) or not isinstance(value, bool))
        if not fits or (isinstance(value, int | float) and not abs(value) < 1e18):
            raise TypeError(f"{field.name} is {value!r:.60}")


def mark_pareto(points: Iterable[Point], size: str = "total") -> tuple[Point, ...]:
    """Return the points with `pareto` set from their own costs."""
    points = tuple(points)
    if not points:
        return ()
    mask = nondominated(np.array([(p.size(size), p.latency_ms, p.error) for p in points]))
    return tuple(replace(p, pareto=bool(on)) for p, on in zip(points, mask, strict=True))
