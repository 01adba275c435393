"""What the verb `layers` returns: measured shapes whose layers differ, and what they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Gt, Lt, MinLen

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.layer_latency import LayerLatency
from bort_engine.encoder.sources import Source
from bort_engine.encoder.uneven import Uneven, uneven_parameters
from bort_engine.runs import records
from bort_engine.runs.checks import check_whole
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import Count, NonNegative, Positive, PositiveCount, Share
from bort_engine.search.evaluate import BriefTraining
from bort_engine.search.layer_losses import Finite, LayerLosses, count
from bort_engine.search.result import AFFORDABLE
from bort_engine.search.scale import Scale
from bort_engine.training.teacher import TeacherReport

RECORDED = ASSETS / "recorded"
FoundBy = Literal["source", "search", "local search"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How many shapes are measured for what.

    Args:
        fit: random shapes that the layers' losses are learned from, at first.
        audit: others that the sums are held against.
        measure: how many of the shapes found are measured, each time.
        rounds: how often what was found and measured is learned from, and the search done again:
            a search finds first where the sums are too low.
        improve: further ones, tried by local search.

    Raises:
        ValueError: a number is out of range.
    """

    fit: int = 300
    audit: int = 50
    measure: int = 40
    rounds: int = 8
    improve: int = 40

    def __post_init__(self) -> None:
        for name, least in (
            ("fit", 20),
            ("audit", 3),
            ("measure", 1),
            ("rounds", 0),
            ("improve", 0),
        ):
            check_whole(name, getattr(self, name), least, 10_000)

    @property
    def n_shapes(self) -> int:
        """How many shapes are measured in all, at most."""
        return self.fit + self.audit + (self.rounds + 1) * self.measure + self.improve


@dataclass(frozen=True, slots=True)
class UnevenPoint:
    """A measured shape. `loss` is the summed one (log KL); the others are as in `result.Point`."""

    shape: Uneven
    n_parameters: PositiveCount
    latency_ms: Positive
    loss: Finite
    error: Positive
    dev_error: Share
    r: Annotated[float, Gt(-1e18), Lt(1e18)]
    found_by: FoundBy
    pareto: bool = False


@dataclass(frozen=True, slots=True)
class Audited:
    """A random shape that no loss was learned from: its summed and its measured log KL."""

    shape: Uneven
    summed: Finite
    measured: Finite


@dataclass(frozen=True)
class LayersFront:
    """What `layers` found.

    Attributes:
        points: measured shapes; `pareto` marks those that no other measured one beats.
        n_found: how many shapes the search returned at this epsilon, of `n_shapes`.
        n_states: the most states that were kept after a layer.
        losses, latency: what the sums are made of: a search at another epsilon needs no more.
    """

    source: str
    task: str
    epsilon: Positive
    effort: Effort
    n_found: PositiveCount
    n_states: PositiveCount
    search_seconds: NonNegative
    points: Annotated[tuple[UnevenPoint, ...], MinLen(1)]
    audit: Annotated[tuple[Audited, ...], MinLen(1)]
    losses: LayerLosses
    latency: LayerLatency
    scale: Scale
    teacher: TeacherReport
    made: Provenance
    seed: Count
    seconds: NonNegative
    training: BriefTraining | None = None  # None in records that do not say
    schema: Literal[1] = 1

    AGAIN: ClassVar[str] = "delete it and run `layers` again"

    @property
    def n_shapes(self) -> int:
        """How many shapes there are."""
        return count(self.losses.whole, self.latency)

    @property
    def source_point(self) -> UnevenPoint:
        return next(p for p in self.points if p.found_by == "source")

    @property
    def pareto(self) -> tuple[UnevenPoint, ...]:
        return tuple(p for p in self.points if p.pareto)

    @property
    def recommended(self) -> UnevenPoint:
        """The fastest that loses at most one point."""
        limit = self.source_point.dev_error + AFFORDABLE + 1e-12
        return min((p for p in self.pareto if p.dev_error <= limit), key=lambda p: p.latency_ms)

    @property
    def tau(self) -> float:
        """Kendall's tau of summed and measured losses in the audit; 1 is the same order."""
        from scipy.stats import kendalltau

        pairs = [(row.summed, row.measured) for row in self.audit]
        return float(kendalltau(*zip(*pairs, strict=True)).statistic)  # type: ignore

    def bias(self) -> list[tuple[float, float]]:
        """Return, by thirds of the audit from small to large, the mean share of the source's layer
        parameters that is left, and the mean of summed less measured log KL."""
        source = Source.load(self.source)
        whole = n_parameters(source.architecture, source).encoder
        rows = [(uneven_parameters(a.shape, source).encoder / whole, a) for a in self.audit]
        rows.sort(key=lambda row: row[0])
        thirds = np.array_split(np.array([(x, a.summed - a.measured) for x, a in rows]), 3)
        return [(float(x), float(gap)) for x, gap in (third.mean(axis=0) for third in thirds)]

    def save(self, path: str | Path) -> Path:
        return records.write(path, self)

    @classmethod
    def load(cls, path: str | Path) -> LayersFront:
        """Read a front; a ValueError says that the file is not there, or where it is damaged."""
        return records.read(path, cls)

    def __str__(self) -> str:
        origin, best = self.source_point, self.recommended
        head = (
            f"{self.source} on {self.task}: {self.n_found} of {self.n_shapes:.1e} shapes at "
            f"epsilon {self.epsilon:g} in {self.search_seconds:.1f} s (at most {self.n_states} "
            f"states); {len(self.points)} measured, {len(self.pareto)} of them on the front"
        )
        rows = [f"{'parameters':>12} {'ms':>7} {'wrong':>7}  hidden: heads x neurons by layer"]
        for p in sorted(self.pareto, key=lambda p: p.latency_ms):
            mark = " <- recommended" if p == best else ""
            line = f"{p.n_parameters:>12,} {p.latency_ms:>7.2f} {p.dev_error:>7.2%}  {p.shape}"
            rows.append(line + mark)
        foot = (
            f"recommended: {origin.latency_ms / best.latency_ms:.1f} times as fast as the source, "
            f"{best.n_parameters / origin.n_parameters:.0%} of its parameters, "
            f"{100 * (best.dev_error - origin.dev_error):+.1f} points wrong on dev\n"
            f"audit: Kendall tau of summed and measured losses {self.tau:.2f} on {len(self.audit)} "
            "random shapes; size and latency hold within 1 + epsilon for all shapes, the error "
            "only as far as losses add up"
        )
        return "\n".join([head, *rows, foot])


def shipped(source: str, task: str, seed: int) -> Path:
    """Return where the front of a source, a task and a seed ships, if it does."""
    return RECORDED / f"layers-{source}-{task}-seed{seed}.json"
