"""Choosing a point: what W, the knee and a budget each pick from the front of a whole space.

    W(xi) = (p(T) - p)/p(T) * (i(T) - i)/i(T) * 1/e

T is the source, p a shape's parameters, i its inference cost, e its error. So W is what is saved,
share times share, over the error: in a picture of the error against what is saved, shapes of equal
W lie on a straight line through the origin (`choosing_figures` draws it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bort_engine.algorithms import fptas
from bort_engine.encoder.costs import n_operations
from bort_engine.encoder.latency import Calibration
from bort_engine.runs.provenance import Provenance
from bort_engine.search import candidates as latencies
from bort_engine.search.result import (
    SIZES,
    W_ERRORS,
    Front,
    FrontGuarantee,
    FrontProvenance,
    Point,
    Search,
    Size,
    mark_pareto,
)
from bort_engine.show.lessons.table import SOURCE, SPACE, TASK, Table

if TYPE_CHECKING:
    import pandas as pd

LENGTHS = (16, 128, 512)
BATCHES = (1, 8, 32)
RULES = ("Best W", "Knee", "In budget", "Source", "Best guesser")


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
    length: int = 128
    batch: int = 1

    def __post_init__(self) -> None:
        for name, allowed in (
            ("size", SIZES),
            ("error", W_ERRORS),
            ("length", LENGTHS),
            ("batch", BATCHES),
        ):
            if getattr(self, name) not in allowed:
                words = ", ".join(map(str, allowed))
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: {words}.")

    @property
    def published(self) -> bool:
        return (self.size, self.error) == ("total", "cross-entropy")


DEFAULT = Rule()


@dataclass(frozen=True, slots=True)
class Choice:
    """The whole space under a rule.

    Attributes:
        front: its points hold the rule's own p, i and W: p in `n_parameters`, i in `latency_ms`,
            be it milliseconds or operations. `best` is W's maximiser, guessing or not.
        latency: the calibration that i comes from; None where i is operations.
        errors: e by row of `front.points`, as the rule counts it.
        saved: the share of p that is saved times the share of i, by row; 0 where nothing is.
    """

    table: Table
    rule: Rule
    front: Front
    latency: Calibration | None
    errors: tuple[float, ...]
    saved: tuple[float, ...]

    def row(self, point: Point) -> int:
        return self.front.points.index(point)

    def original(self, point: Point) -> Point:
        """Return a point with its real parameters and recorded latency."""
        return self.table.points[self.row(point)]


def calibration_for(table: Table, rule: Rule) -> Calibration | None:
    """Return the recorded latencies at a rule's batch and length, None where there are none."""
    settings = replace(
        table.calibration.settings, batch_size=rule.batch, sequence_length=rule.length
    )
    if settings == table.calibration.settings:
        return table.calibration
    try:
        return latencies.calibration_for(SOURCE, SPACE, settings, "recorded")
    except ValueError:
        return None


def choose(table: Table, rule: Rule = DEFAULT) -> Choice:
    """Value every shape of a table by a rule, and find the front and the rules' picks."""
    latency = calibration_for(table, rule)
    costs = [
        latency.predict_ms(p.architecture)
        if latency
        else float(n_operations(p.architecture, SOURCE, rule.length).total)
        for p in table.points
    ]
    candidates = [
        fptas.Candidate(p.architecture, p.size(rule.size), i)
        for p, i in zip(table.points, costs, strict=True)
    ]
    floor = table.floor if rule.error == "excess" else 0.0
    errors = {xi: p.error - floor for xi, p in zip(candidates, table.points, strict=True)}
    T = fptas.maximum_point(candidates, SOURCE.architecture)
    points = [
        replace(p, n_parameters=int(xi.p), latency_ms=xi.i, w=fptas.w_coefficient(xi.p, xi.i, e, T))
        for p, (xi, e) in zip(table.points, errors.items(), strict=True)
    ]
    front = Front(
        source=SOURCE.name,
        task=TASK,
        epsilon=0.0,
        selection="exhaustive",
        lazy=False,
        space_size=len(points),
        n_evaluated=len(points),
        points=mark_pareto(points),
        maximum=T.key,
        best=fptas.w_optimum(errors, T).key,
        oracle="brief",
        origin="recorded",
        size="total",
        latency=table.calibration.report(),
        guarantee=FrontGuarantee(0.0, len(points), 0, 0, 0.0, len(points), 0.0, 0, 0),
        provenance=FrontProvenance(
            Provenance("", "", ""), table.seed, 0.0, "", Search(), len(points)
        ),
    )
    saved = [max(0.0, 1 - xi.p / T.p) * max(0.0, 1 - xi.i / T.i) for xi in errors]
    return Choice(table, rule, front, latency, tuple(errors.values()), tuple(saved))


def picks(choice: Choice, lost: float) -> dict[str, Point]:
    """Return what each rule picks, and beside it the guesser that W rates highest, if one guesses.

    The budget is points of dev accuracy lost; within it, the least i is picked.
    """
    front = choice.front
    within = front.cheapest("latency", max_error_gain=lost / 100)
    named = (front[front.best], front.knee, within, front.source_point, best_guesser(choice))
    return {name: p for name, p in zip(RULES, named, strict=True) if p is not None}


def best_guesser(choice: Choice) -> Point | None:
    """Return the shape that W rates highest among those that are no better than guessing."""
    guessing = [p for p in choice.front.points if p.at_chance]
    return max(guessing, key=lambda p: (p.w, -p.error), default=None)


def behind(choice: Choice, point: Point) -> float:
    """Return how many points of dev accuracy a point is behind the source."""
    return 100 * (point.shown_error - choice.front.source_point.shown_error)


def to_frame(choice: Choice, picked: dict[str, Point]) -> pd.DataFrame:
    """Return what each rule picks, in the units that a person reads."""
    import pandas as pd

    rows = []
    for name, point in picked.items():
        real = choice.original(point)
        rows.append(
            {
                "Rule": name,
                "D,A,H,I": str(point.architecture),
                "Behind source (points)": behind(choice, point),
                "Wrong on dev (%)": 100 * point.shown_error,
                "Size (M)": real.n_parameters / 1e6,
                "Encoder (M)": real.n_encoder_parameters / 1e6,
                "Latency (ms)": real.latency_ms,
                "W": point.w,
                "Note": "no better than guessing" if point.at_chance else "",
            }
        )
    return pd.DataFrame(rows)


FORMATS = {
    "Behind source (points)": "%.1f",
    "Wrong on dev (%)": "%.1f",
    "Size (M)": "%.1f",
    "Encoder (M)": "%.2f",
    "Latency (ms)": "%.2f",
    "W": "%.2f",
}


def numbers(choice: Choice) -> pd.DataFrame:
    """Return every shape as the picture shows it."""
    import pandas as pd

    rows = [
        {
            "D,A,H,I": str(p.architecture),
            "p": p.n_parameters,
            f"i ({'ms' if choice.latency else 'operations'})": p.latency_ms,
            "e (nats)": round(e, 6),
            "Saved share": round(s, 6),
            "W": round(p.w, 6),
            "Wrong on dev": p.dev_error,
            "On the front": p.pareto,
            "No better than guessing": p.at_chance,
        }
        for p, e, s in zip(choice.front.points, choice.errors, choice.saved, strict=True)
    ]
    return pd.DataFrame(rows)


# Words.


def cost_words(choice: Choice) -> str:
    """Say what i is, and why."""
    rule = choice.rule
    at = f"batch {rule.batch}, {rule.length} tokens"
    if choice.latency:
        return f"i is the latency at {at} (recorded)."
    return (
        f"Latencies at {at} are **not recorded**, so i is the operations at {rule.length} tokens, "
        "the same at any batch. The errors stay those measured on the task's own sentences."
    )


def verdict(choice: Choice) -> str:
    """Say what W picks, whether that is any good, and how near a guesser comes to it."""
    best = choice.front[choice.front.best]
    how = "As published, W" if choice.rule.published else "W"
    wrong, chance = 100 * best.shown_error, 100 * choice.table.chance
    if best.at_chance:
        return (
            f"**{how} picks {best.architecture}, which guesses:** it is wrong on {wrong:.1f} % of "
            f"dev, and always naming the more frequent class is wrong on {chance:.1f} %."
        )
    guesser = best_guesser(choice)
    rated = ""
    if guesser and best.w:
        rated = (
            f" The best of those that guess, {guesser.architecture}, comes to "
            f"{100 * guesser.w / best.w:.0f} % of that W."
        )
    return (
        f"**{how} picks {best.architecture}:** wrong on {wrong:.1f} % of dev, "
        f"{behind(choice, best):.1f} points behind the source (guessing: {chance:.1f} %).{rated}"
    )


def spread(choice: Choice) -> str:
    """Say how much the error that counts tells the shapes apart."""
    others = [
        max(e, fptas.ERROR_FLOOR)
        for e, p in zip(choice.errors, choice.front.points, strict=True)
        if p.architecture != choice.front.maximum
    ]
    return (
        f"From the best shape to the worst, the source aside, the error that counts grows "
        f"{max(others) / min(others):.1f} times. The less it differs, the more the savings decide."
    )


def changes(choice: Choice, usual: Choice, lost: float) -> str:
    """Say which picks differ from those of the usual rule at one sentence of 128 tokens."""
    here, there = picks(choice, lost), picks(usual, lost)
    said = [
        f"{name} {there[name].architecture} → {here[name].architecture}"
        for name in RULES[:3]
        if name in here and name in there and here[name].architecture != there[name].architecture
    ]
    if not said:
        return "The picks are those that this project's own rule makes."
    return f"Against this project's own rule, what is picked moves: {'; '.join(said)}."
