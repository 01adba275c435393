"""The epsilon dial: what the FPTAS trains at an epsilon, what it skips, and what that achieves.

It is run on a recorded table of a whole space's errors, so that its promise can be held against
every shape there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from bort_engine.algorithms import fptas
from bort_engine.algorithms.pareto import factors, nondominated
from bort_engine.lab import ground_truth
from bort_engine.search.candidates import candidate
from bort_engine.search.predictor import guesser
from bort_engine.show.lessons.table import SOURCE, Table
from bort_engine.show.theme import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    add_dots,
    laid_out,
    log_axis,
    millions,
    pale,
)

EPSILONS = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05)
COSTS = ("latency", "operations")
WORSE = 3  # times: how much more the made-up errors let a cell's largest shape err


@dataclass(frozen=True, slots=True)
class DialCover:
    """What the FPTAS trained at an epsilon; shapes are named by their row of `table.points`.

    Attributes:
        costs: size, latency or operations, and error ê of every shape, shape (n, 3).
        order: how often a larger shape errs more than one that it contains.
        cells: every cell, and whether its largest shape was trained.
        trained, skipped: the largest shapes of the cells that were, or that need not be.
        front: of the trained ones, those that no other trained one beats.
        bound: the most cells there can be.
        achieved: the least epsilon for which the trained ones cover the whole table.
        worst, stand_in: the shape that is covered worst, and the trained one nearest to it.
    """

    table: Table
    epsilon: float
    cost: str
    made_up: bool
    costs: np.ndarray
    order: ground_truth.Order
    cells: dict[fptas.Cell, bool]
    trained: tuple[int, ...]
    skipped: tuple[int, ...]
    front: tuple[int, ...]
    bound: float
    achieved: float
    worst: int
    stand_in: int

    @property
    def kept(self) -> bool:
        """Is the promise kept on the whole table?"""
        return self.achieved <= self.epsilon + 1e-9

    @property
    def errors_are(self) -> str:
        return "made up" if self.made_up else "recorded"

    @property
    def cost_label(self) -> str:
        at = self.table.calibration.settings
        if self.cost == "operations":
            return f"Operations (multiply-adds, {at.sequence_length} tokens)"
        return f"Latency (ms, batch {at.batch_size}, {at.sequence_length} tokens)"


def cover(
    table: Table, epsilon: float, lazy: bool = True, cost: str = "latency", made_up: bool = False
) -> DialCover:
    """Run the FPTAS on a table, and hold what it trained against all of it.

    Raises:
        ValueError: the cost is neither latency nor operations, or epsilon is out of range.
    """
    if cost not in COSTS:
        raise ValueError(f"cost is {cost!r}; allowed: {', '.join(COSTS)}.")
    candidates = [candidate(point) for point in table.points]
    if cost == "operations":
        candidates = [
            replace(xi, i=float(point.operations))
            for xi, point in zip(candidates, table.points, strict=True)
        ]
    T = fptas.maximum_point(candidates, SOURCE.architecture)
    grouped = fptas.cells(candidates, epsilon)
    largest = {cell: fptas.representative(members, T) for cell, members in grouped.items()}
    errors = {xi.key: p.error for xi, p in zip(candidates, table.points, strict=True)}
    if made_up:
        errors |= {xi.key: WORSE * errors[xi.key] for xi in largest.values() if xi != T}
    extraction = fptas.extract(
        candidates,
        lambda keys: [errors[key] for key in keys],
        epsilon=epsilon,
        lazy=lazy,
        own=SOURCE.architecture,
        guess=guesser(candidates),
    )
    row = {xi: number for number, xi in enumerate(candidates)}
    trained = np.array([row[xi] for xi in extraction.evaluated])
    costs = np.array([(xi.p, xi.i, max(errors[xi.key], fptas.ERROR_FLOOR)) for xi in candidates])
    # By which factor each trained shape misses each shape of the table, at the worst of the three.
    missed_by = factors(costs[trained], costs)
    nearest = missed_by.min(axis=0)  # minus one, its largest is the epsilon that is achieved
    worst = int(nearest.argmax())
    return DialCover(
        table,
        epsilon,
        cost,
        made_up,
        costs,
        ground_truth.order(candidates, costs[:, 2].tolist()),
        cells={cell: cell not in extraction.skipped for cell in grouped},
        trained=tuple(trained.tolist()),
        skipped=tuple(row[largest[cell]] for cell in extraction.skipped),
        front=tuple(trained[nondominated(costs[trained])].tolist()),
        bound=extraction.bound,
        achieved=max(0.0, float(nearest[worst]) - 1),
        worst=worst,
        stand_in=int(trained[missed_by[:, worst].argmin()]),
    )


def compare(lazily: DialCover, every_cell: DialCover) -> pd.DataFrame:
    """Return what each way of going about it trains, and the epsilon that it achieves."""
    rows = [
        ("One a cell, lazily", len(lazily.trained), lazily.achieved),
        ("One a cell", len(every_cell.trained), every_cell.achieved),
        ("Every shape", len(lazily.costs), 0.0),
    ]
    return pd.DataFrame(rows, columns=["Way", "Trainings", "Achieved epsilon"])


def to_frame(cover: DialCover) -> pd.DataFrame:
    """Return every shape with its costs, its cell's fate, and whether it is on the front."""
    roles = dict.fromkeys(cover.trained, "trained")
    roles |= dict.fromkeys(cover.skipped, "its cell was skipped")
    points, rows = cover.table.points, range(len(cover.costs))
    return pd.DataFrame(
        {
            "D,A,H,I": [str(point.architecture) for point in points],
            "Parameters": [point.n_parameters for point in points],
            cover.cost_label: cover.costs[:, 1],
            "Error (nats)": cover.costs[:, 2].round(6),
            "Errors are": cover.errors_are,
            "Role": [roles.get(row, "not trained") for row in rows],
            "On the front": [row in cover.front for row in rows],
        }
    )


def verdict(cover: DialCover) -> str:
    """Say what was promised, what was achieved, and which shape fares worst."""
    shapes, outcome = cover.table.points, "kept" if cover.kept else "broken"
    worst, near = shapes[cover.worst].architecture, shapes[cover.stand_in].architecture
    ratios = cover.costs[cover.stand_in] / cover.costs[cover.worst]
    scales = ("as large", "as slow" if cover.cost == "latency" else "as much work", "as wrong (ê)")
    more = [(ratio, scale) for ratio, scale in zip(ratios, scales, strict=True) if ratio >= 1.005]
    times = ", ".join(f"{ratio:.2f} times {scale}" for ratio, scale in more)
    return (
        f"**The promise of {cover.epsilon:g} is {outcome}: {cover.achieved:.2f} is achieved** on "
        f"all {len(shapes)} shapes. Covered worst is {worst}: the trained {near} stands in for it, "
        f"{times or 'no worse in anything'}."
    )


def assumption(cover: DialCover) -> str:
    """Say how often a larger network errs more than one it contains."""
    order = cover.order
    return (
        f"Larger should err less. Of {order.pairs:,} pairs of which one shape contains the other, "
        f"**{order.violations:,}** break that by more than {100 * fptas.TOLERANCE:.0f} % "
        f"(errors: {cover.errors_are}), at worst by {100 * order.worst:.0f} %."
    )


def summary(cover: DialCover) -> str:
    """Say what the picture shows, for those who cannot see it."""
    return (
        f"{len(cover.costs)} shapes by parameters and {cover.cost}, in {len(cover.cells)} cells "
        f"of epsilon {cover.epsilon:g}: {len(cover.trained)} shapes are trained, "
        f"{len(cover.skipped)} cells skipped, {len(cover.front)} of the trained are on the "
        f"front. Errors are {cover.errors_are}; the achieved epsilon is {cover.achieved:.2f}."
    )


def figure(cover: DialCover) -> go.Figure:
    """Draw the cells on logarithmic axes, the shapes in them, and what became of each."""
    chart, units = go.Figure(), _units(cover)
    for name, is_trained, colour, dash in (
        ("Cell, trained", True, ORANGE, "solid"),
        ("Cell, skipped", False, SKY, "dot"),
    ):
        xs, ys = outlines([c for c, trained in cover.cells.items() if trained == is_trained], cover)
        line = {"color": colour, "width": 1, "dash": dash}
        if xs:
            chart.add_scatter(
                x=xs, y=ys, mode="lines", line=line, fill="toself", fillcolor=pale(colour),
                hoverinfo="skip", name=name,
            )  # fmt: skip
    rest = sorted({*range(len(cover.costs))} - {*cover.trained, *cover.skipped})
    ring: dict[str, Any] = {"line": {"width": 2}}
    layers: tuple[tuple[str, Sequence[int], dict[str, Any]], ...] = (
        ("Not trained", rest, {"symbol": "circle", "color": GREY, "size": 4}),
        ("Skipped", cover.skipped, {"symbol": "diamond-open", "color": BLUE, "size": 9} | ring),
        ("Trained", cover.trained, {"symbol": "square", "color": ORANGE, "size": 8}),
        ("Front", cover.front, {"symbol": "circle-open", "color": GREEN, "size": 16} | ring),
        ("Covered worst", [cover.worst], {"symbol": "x", "color": VERMILION, "size": 11}),
    )
    places = cover.costs[:, :2] / units
    for name, rows, marker in layers:
        add_dots(chart, places, rows, name, marker, lambda row: _hover(cover, row))
    label = "Operations (millions)" if cover.cost == "operations" else cover.cost_label
    (left, low), (right, high) = places.min(axis=0), places.max(axis=0)
    chart.update_xaxes(title="Parameters (millions)", showgrid=False, **log_axis(left, right))
    chart.update_yaxes(title=label, showgrid=False, **log_axis(low, high))
    return laid_out(chart, 540, entrywidth=90)  # two beside each other on a narrow screen


def outlines(cells: Iterable[fptas.Cell], cover: DialCover) -> tuple[list[Any], list[Any]]:
    """Return the cells' borders as closed lines, None between them, in the picture's units."""
    xs, ys = [], []
    for cell in cells:
        # Cell k holds the costs from (1 + epsilon)^k up to (1 + epsilon)^(k + 1).
        corners = [[(1 + cover.epsilon) ** (k + step) for step in (0, 1)] for k in cell]
        (left, right), (low, high) = np.array(corners) / np.array(_units(cover))[:, None]
        xs += [left, right, right, left, left, None]
        ys += [low, low, high, high, low, None]
    return xs[:-1], ys[:-1]


def _units(cover: DialCover) -> tuple[float, float]:
    return 1e6, 1e6 if cover.cost == "operations" else 1.0


def _hover(cover: DialCover, row: int) -> str:
    point, error, cost = cover.table.points[row], cover.costs[row, 2], cover.costs[row, 1]
    work = f"{millions(cost)} operations" if cover.cost == "operations" else f"{cost:.2f} ms"
    return (
        f"<b>{point.architecture}</b><br>{millions(point.n_parameters)} parameters · {work} · "
        f"ê {error:.3f}{' (made up)' * cover.made_up}"
    )
