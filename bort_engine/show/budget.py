"""What a person can afford, and which point of a front to take for it, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from bort_engine.encoder.costs import n_parameters
from bort_engine.search.result import AFFORDABLE, Front, Point, Shown, cheapest
from bort_engine.show import front as words
from bort_engine.show.theme import listed


class Limit(NamedTuple):
    """A field of a budget: its key, its label, the value it opens with, and its step."""

    key: str
    label: str
    value: float | None
    step: float
    what: str


def limits(front: Front) -> list[Limit]:
    """Return what can be asked for: most accuracy lost, most latency, most parameters."""
    unit = (
        "GLUE points, predicted"
        if words.predicted(front)
        else f"points of {front.scale.unit}, on dev"
    )
    return [
        Limit(
            "lose",
            "Lose (points)",
            100 * AFFORDABLE,
            0.5,
            f"At most, in {unit}, against {words.reference(front)}.",
        ),
        Limit("ms", "Take (ms)", None, 1.0, "Predicted milliseconds of a forward pass, at most."),
        Limit("size", "Hold (M)", None, 1.0, "Million parameters at most, embeddings included."),
    ]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a person can afford, and which of the points that fit is then the best.

    Attributes:
        prefer: latency, size or error: what should be least.
        lose: points of accuracy, correlation or GLUE.
        ms: of a forward pass.
        size: millions of parameters. None is no limit.
    """

    prefer: str = "latency"
    lose: float | None = 100 * AFFORDABLE
    ms: float | None = None
    size: float | None = None

    def best(self, front: Front) -> Point | None:
        """Return the best point that fits, if any does."""
        return self.best_of(front.above_chance, words.source_error(front))

    def best_of(self, points: Iterable[Shown], source_error: float) -> Shown | None:
        """Return the best of some points, or shapes, that fits, if any does."""
        lose, ms, size = (math.inf if x is None else x for x in (self.lose, self.ms, self.size))
        return cheapest(points, self.prefer, ms, size * 1e6, source_error + lose / 100)

    def misses(self, front: Front, point: Point) -> dict[str, float]:
        """Return by how much a point misses each limit, in its unit."""
        lost = 100 * (point.shown_error - words.source_error(front))
        values = {"points": lost, "ms": point.latency_ms, "M": point.n_parameters / 1e6}
        limits = zip(values.items(), (self.lose, self.ms, self.size), strict=True)
        return {unit: x - most for (unit, x), most in limits if most is not None and x > most}

    def nearest(self, front: Front) -> Point:
        """Return the point whose worst miss is least, as a share of the front's largest value."""
        points = front.above_chance
        largest = {
            "points": 100 * max(p.shown_error for p in points),
            "ms": max(p.latency_ms for p in points),
            "M": max(p.n_parameters for p in points) / 1e6,
        }

        def worst(point: Point) -> float:
            return max(by / largest[unit] for unit, by in self.misses(front, point).items())

        return min(points, key=worst)


@dataclass(frozen=True, slots=True)
class NamedBudget:
    """A budget with a name, an icon and a sentence; `time` is a share of the source's latency."""

    icon: str
    what: str
    prefer: str
    lose: float | None
    time: float | None = None

    def of(self, front: Front) -> Budget:
        ms = round(self.time * front.source_point.latency_ms, 2) if self.time else None
        return Budget(self.prefer, self.lose, ms)


BUDGETS = {
    "Laptop": NamedBudget("laptop", "The fastest that loses at most 1 point.", "latency", 1.0),
    "Phone": NamedBudget("smartphone", "The smallest that loses at most 3 points.", "size", 3.0),
    "Server": NamedBudget(
        "dns",
        "The most accurate in half the source's time (the largest's, where that was not timed).",
        "error",
        None,
        0.5,
    ),
}


def recommendation(front: Front, budget: Budget) -> str:
    """Say in a sentence or two what to take within a budget, or what comes nearest."""
    best, source = budget.best(front), front.source_point
    if not front.above_chance:
        return "No point here is better than guessing, so none can be recommended."
    if best is None:
        near = budget.nearest(front)
        by = listed([f"{x:.1f} {unit}" for unit, x in budget.misses(front, near).items()])
        return (
            f"Nothing here meets all of that. Nearest is {near.architecture}, which misses "
            f"by {by}: {gains(front, near)}."
        )
    if best == source and not words.measured_against(front):
        return f"Nothing smaller fits: take {words.reference(front)}, as it is."
    return f"Take {best.architecture}: {gains(front, best)}."


def gains(front: Front, point: Point) -> str:
    """Say what a point gains on the source, and what it loses."""
    source, lost = front.source_point, point.shown_error - words.source_error(front)
    encoder = source.n_encoder_parameters
    speed = f"{source.latency_ms / point.latency_ms:.1f} times as fast"
    if outside := words.measured_against(front):
        encoder = n_parameters(outside.architecture, outside).encoder
        speed = f"{point.latency_ms:.2f} ms"
    share = point.n_encoder_parameters / encoder
    change = f"loses {100 * lost:.1f}" if lost >= 0 else f"gains {-100 * lost:.1f}"
    unit = "GLUE points (predicted)" if words.predicted(front) else f"points of {front.scale.unit}"
    text = f"predicted {speed}, {share:.0%} of the encoder, {change} {unit}"
    return text if words.source_is_maximum(front) else f"{text}, against {words.reference(front)}"
