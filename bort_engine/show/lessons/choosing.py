"""Choosing a point: what W, the knee and a budget each pick from the front of a whole space.

    W(xi) = (p(T) - p)/p(T) * (i(T) - i)/i(T) * 1/e

T is the source, p a shape's parameters, i its inference cost, e its error. So W is what is saved,
share times share, over the error: in a picture of the error against what is saved, shapes of equal
W lie on a straight line through the origin (`choosing_figures` draws it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bort_engine.algorithms import fptas
from bort_engine.algorithms.pareto import knee, nondominated
from bort_engine.encoder.costs import n_operations
from bort_engine.encoder.latency import Calibration, recorded_calibration
from bort_engine.encoder.space import Architecture
from bort_engine.search.result import SIZES, W_ERRORS, Point, Size
from bort_engine.show.lessons.table import SOURCE, SPACE, Table

LENGTHS = (16, 64, 512)
BATCHES = (1, 8, 32)
RULES = ("Best W", "Knee", "In budget", "Source", "Best guesser")
FORMATS = {
    "Behind source (points)": "%.1f",
    "Wrong on dev (%)": "%.1f",
    "Size (M)": "%.1f",
    "Encoder (M)": "%.2f",
    "Latency (ms)": "%.2f",
    "W": "%.2f",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What counts in W, and at which batch and length the cost does.

    `size` is "effective" (the encoder's parameters) or "total"; `error` is "excess" (beyond T's
    own entropy) or "cross-entropy". As published: total and cross-entropy.

    Raises:
        ValueError: a value is not allowed.
    """

    size: Size = "effective"
    error: str = "excess"
    length: int = 64
    batch: int = 1

    def __post_init__(self) -> None:
        allowed = {"size": SIZES, "error": W_ERRORS, "length": LENGTHS, "batch": BATCHES}
        for name, values in allowed.items():
            if (value := getattr(self, name)) not in values:
                words = ", ".join(map(str, values))
                raise ValueError(f"{name} is {value!r}; allowed: {words}.")


DEFAULT = Rule()


@dataclass(frozen=True, slots=True)
class ValuedShape:
    """A shape of the table as a rule values it.

    Attributes:
        point: its real sizes, recorded latency, and error on dev.
        p: the parameters that count.
        i: the inference cost that counts, in the unit of the choice.
        e: the error that counts, in nats.
        saved: the share of T's p that is saved, times the share of its i; 0 where nothing is.
        w: W, to be maximised.
        pareto: no other shape beats it in p, i and e.
    """

    point: Point
    p: float
    i: float
    e: float
    saved: float
    w: float
    pareto: bool

    @property
    def architecture(self) -> Architecture:
        return self.point.architecture

    @property
    def at_chance(self) -> bool:
        return self.point.at_chance

    @property
    def wrong(self) -> float:
        """The share of dev that it gets wrong."""
        return self.point.shown_error


@dataclass(frozen=True, slots=True)
class Choice:
    """The whole space under a rule.

    Attributes:
        shapes: in the table's order.
        source: T.
        best: W's maximiser, guessing or not.
        guesser: the shape that W rates highest among those that are no better than guessing.
        unit: of i: "ms" where latencies at the rule's batch and length are recorded, else
            "operations".
    """

    table: Table
    rule: Rule
    shapes: tuple[ValuedShape, ...]
    source: ValuedShape
    best: ValuedShape
    guesser: ValuedShape | None
    unit: str


def calibration_for(table: Table, rule: Rule) -> Calibration | None:
    """Return the recorded latencies at a rule's batch and length, None where there are none."""
    settings = replace(
        table.calibration.settings, batch_size=rule.batch, sequence_length=rule.length
    )
    if settings == table.calibration.settings:
        return table.calibration
    return recorded_calibration(SOURCE, SPACE, settings)


def choose(table: Table, rule: Rule = DEFAULT) -> Choice:
    """Value every shape of a table by a rule, and find the front and W's maximiser."""
    latency = calibration_for(table, rule)
    floor = table.floor if rule.error == "excess" else 0.0
    errors: dict[fptas.Candidate, float] = {}
    for point in table.points:
        a = point.architecture
        operations = n_operations(a, SOURCE, rule.length).total
        i = latency.predict_ms(a) if latency else float(operations)
        errors[fptas.Candidate(a, point.size(rule.size), i)] = point.error - floor
    T = fptas.maximum_point(errors, SOURCE.architecture)
    front = nondominated(np.array([(xi.p, xi.i, e) for xi, e in errors.items()]))
    shapes = {
        xi: ValuedShape(
            point,
            p=xi.p,
            i=xi.i,
            e=e,
            saved=max(0.0, 1 - xi.p / T.p) * max(0.0, 1 - xi.i / T.i),
            w=fptas.w_coefficient(xi.p, xi.i, e, T),
            pareto=bool(pareto),
        )
        for point, (xi, e), pareto in zip(table.points, errors.items(), front, strict=True)
    }
    guessing = (shape for shape in shapes.values() if shape.at_chance)
    return Choice(
        table,
        rule,
        shapes=tuple(shapes.values()),
        source=shapes[T],
        best=shapes[fptas.w_optimum(errors, T)],
        guesser=max(guessing, key=lambda shape: (shape.w, -shape.e), default=None),
        unit="ms" if latency else "operations",
    )


def picks(choice: Choice, lost: float) -> dict[str, ValuedShape]:
    """Return what each rule picks, and beside it the guesser that W rates highest, if one guesses.

    The budget is points of dev accuracy lost; within it, the least i is picked.
    """
    able = [shape for shape in choice.shapes if shape.pareto and not shape.at_chance]
    bend = knee(np.array([(shape.p, shape.i, shape.wrong) for shape in able])) if able else None
    limit = choice.source.wrong + lost / 100 + 1e-12
    within = [shape for shape in able if shape.wrong <= limit]
    shapes = (
        choice.best,
        None if bend is None else able[bend],
        min(within, key=lambda shape: shape.i, default=None),
        choice.source,
        choice.guesser,
    )
    return {name: shape for name, shape in zip(RULES, shapes, strict=True) if shape}


def behind(choice: Choice, shape: ValuedShape) -> float:
    """Return how many points of dev accuracy a shape is behind the source."""
    return 100 * (shape.wrong - choice.source.wrong)


def to_frame(choice: Choice, picks: Mapping[str, ValuedShape]) -> pd.DataFrame:
    """Return what each rule picks, in the units that a person reads."""
    rows = [
        {
            "Rule": name,
            "D,A,H,I": str(shape.architecture),
            "Behind source (points)": behind(choice, shape),
            "Wrong on dev (%)": 100 * shape.wrong,
            "Size (M)": shape.point.n_parameters / 1e6,
            "Encoder (M)": shape.point.n_encoder_parameters / 1e6,
            "Latency (ms)": shape.point.latency_ms,
            "W": shape.w,
            "Note": "no better than guessing" if shape.at_chance else "",
        }
        for name, shape in picks.items()
    ]
    return pd.DataFrame(rows)


def numbers(choice: Choice) -> pd.DataFrame:
    """Return every shape as the picture shows it."""
    rows = [
        {
            "D,A,H,I": str(shape.architecture),
            "p": shape.p,
            f"i ({choice.unit})": shape.i,
            "e (nats)": round(shape.e, 6),
            "Saved share": round(shape.saved, 6),
            "W": round(shape.w, 6),
            "Wrong on dev": shape.wrong,
            "On the front": shape.pareto,
            "No better than guessing": shape.at_chance,
        }
        for shape in choice.shapes
    ]
    return pd.DataFrame(rows)


def cost_words(choice: Choice) -> str:
    """Say what i is, and why."""
    at = f"batch {choice.rule.batch}, {choice.rule.length} tokens"
    if choice.unit == "ms":
        return f"i is the latency at {at} (recorded)."
    return (
        f"Latencies at {at} are **not recorded**, so i is the operations at {choice.rule.length} "
        "tokens, the same at any batch. The errors stay those measured on the task's own sentences."
    )


def verdict(choice: Choice) -> str:
    """Say what W picks, whether that is any good, and how near a guesser comes to it."""
    best, guesser, rule = choice.best, choice.guesser, choice.rule
    published = (rule.size, rule.error) == ("total", "cross-entropy")
    how = "As published, W" if published else "W"
    scale = choice.table.scale
    guessing = 100 * (scale.source_error + scale.span)
    chance = f"always naming the more frequent class: {guessing:.1f} %"
    if best.at_chance:
        return (
            f"**{how} picks {best.architecture}, which guesses:** it is wrong on "
            f"{100 * best.wrong:.1f} % of dev ({chance})."
        )
    near = ""
    if guesser and best.w:
        near = (
            f" The best of those that guess, {guesser.architecture}, comes to "
            f"{100 * guesser.w / best.w:.0f} % of that W."
        )
    return (
        f"**{how} picks {best.architecture}:** wrong on {100 * best.wrong:.1f} % of dev, "
        f"{behind(choice, best):.1f} points behind the source ({chance}).{near}"
    )


def spread(choice: Choice) -> str:
    """Say how much the error that counts tells the shapes apart."""
    others = [max(s.e, fptas.ERROR_FLOOR) for s in choice.shapes if s is not choice.source]
    return (
        f"From the best shape to the worst, the source aside, the error that counts grows "
        f"{max(others) / min(others):.1f} times. The less it differs, the more the savings decide."
    )


def other_seed(choice: Choice, other: Choice) -> str:
    """Say what W picks by another training seed's errors, and where it puts this one's pick."""
    here = choice.best.architecture
    w = next(shape.w for shape in other.shapes if shape.architecture == here)
    place = 1 + sum(shape.w > w for shape in other.shapes)
    text = f"With training seed {other.table.seed} instead of {choice.table.seed}, W picks "
    if place == 1:
        return f"{text}the same."
    return (
        f"{text}{other.best.architecture}, and {here} is number {place:,} of "
        f"{len(other.shapes):,}: the seed alone moves W's choice."
    )


def changes(picks: Mapping[str, ValuedShape], usual: Mapping[str, ValuedShape]) -> str:
    """Say which picks differ from those of this project's own rule."""
    moves = [
        f"{name} {usual[name].architecture} → {picks[name].architecture}"
        for name in RULES[:3]
        if name in picks and name in usual
        if picks[name].architecture != usual[name].architecture
    ]
    if moves:
        return f"Against this project's own rule, what is picked moves: {'; '.join(moves)}."
    return "The picks are those that this project's own rule makes."
