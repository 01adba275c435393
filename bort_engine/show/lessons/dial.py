"""The epsilon dial: what the FPTAS evaluates at an epsilon, what it skips, and what that achieves.

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
from bort_engine.algorithms.pareto import gaps, nondominated
from bort_engine.lab import ground_truth
from bort_engine.search.candidates import candidate
from bort_engine.search.predictor import guesser
from bort_engine.show.lessons.table import SOURCE, Table
from bort_engine.show.theme import (
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

EPSILONS = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02)
COSTS = ("latency", "operations")


@dataclass(frozen=True, slots=True)
class DialCover:
    """What the FPTAS evaluated at an epsilon; shapes are named by their row of `table.points`.

    Attributes:
        costs: size, latency or operations, and r of every shape, shape (n, 3).
        order: how often a shape errs more than one that it contains.
        cells: every cell, and whether a shape in it was evaluated.
        front: of the evaluated ones, those that no other evaluated one beats.
        bound: the most cells there can be.
        achieved: the least epsilon for which the evaluated ones cover the whole table.
        worst, stand_in: the shape that is covered worst, and the evaluated one nearest to it.
    """

    table: Table
    epsilon: float
    cost: str
    costs: np.ndarray
    order: ground_truth.Order
    cells: dict[fptas.Cell, bool]
    evaluated: tuple[int, ...]
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
    def n_skipped(self) -> int:
        """How many cells were settled without an evaluation in them."""
        return len(self.cells) - sum(self.cells.values())

    @property
    def cost_label(self) -> str:
        at = self.table.calibration.settings
        if self.cost == "operations":
            return f"Operations (multiply-adds, {at.sequence_length} tokens)"
        return f"Latency (ms, batch {at.batch_size}, {at.sequence_length} tokens)"


def cover(table: Table, epsilon: float, lazy: bool = True, cost: str = "latency") -> DialCover:
    """Run the FPTAS on a table, and hold what it evaluated against all of it.

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
    errors = {point.architecture: point.r for point in table.points}
    extraction = fptas.extract(
        candidates,
        lambda keys: [errors[key] for key in keys],
        epsilon=epsilon,
        lazy=lazy,
        own=SOURCE.architecture,
        guess=guesser(candidates),
        at_once=fptas.AT_ONCE,
    )
    row = {xi: number for number, xi in enumerate(candidates)}
    evaluated = np.array([row[xi] for xi in extraction.evaluated])
    costs = np.array([(xi.p, xi.i, errors[xi.key]) for xi in candidates])
    missed_by = gaps(costs[evaluated], costs)
    nearest = missed_by.min(axis=0)  # its largest is the epsilon that is achieved
    worst = int(nearest.argmax())
    return DialCover(
        table,
        epsilon,
        cost,
        costs,
        ground_truth.order(candidates, costs[:, 2].tolist()),
        cells={cell: cell not in extraction.skipped for cell in fptas.cells(candidates, epsilon)},
        evaluated=tuple(evaluated.tolist()),
        front=tuple(evaluated[nondominated(costs[evaluated])].tolist()),
        bound=extraction.bound,
        achieved=max(0.0, float(nearest[worst])),
        worst=worst,
        stand_in=int(evaluated[missed_by[:, worst].argmin()]),
    )


def compare(lazily: DialCover, every_cell: DialCover) -> pd.DataFrame:
    """Return what each way of going about it evaluates, and the epsilon that it achieves."""
    rows = [
        ("Every cell, lazily", len(lazily.evaluated), lazily.achieved),
        ("Every cell", len(every_cell.evaluated), every_cell.achieved),
        ("Every shape", len(lazily.costs), 0.0),
    ]
    return pd.DataFrame(rows, columns=["Way", "Evaluations", "Achieved epsilon"])


def to_frame(cover: DialCover) -> pd.DataFrame:
    """Return every shape, its costs, whether it was evaluated, and whether it is on the front."""
    points, rows = cover.table.points, range(len(cover.costs))
    return pd.DataFrame(
        {
            "D,A,H,I": [str(point.architecture) for point in points],
            "Parameters": [point.n_parameters for point in points],
            cover.cost_label: cover.costs[:, 1],
            "Wrong on dev": [point.shown_error for point in points],
            "r": cover.costs[:, 2].round(6),
            "Evaluated": [row in cover.evaluated for row in rows],
            "On the front": [row in cover.front for row in rows],
        }
    )


def verdict(cover: DialCover) -> str:
    """Say what was promised, what was achieved, and which shape fares worst."""
    shapes, outcome = cover.table.points, "kept" if cover.kept else "broken"
    worst, near = shapes[cover.worst].architecture, shapes[cover.stand_in].architecture
    slower = "slower" if cover.cost == "latency" else "more work"
    most, points = f"at most {100 * cover.epsilon:.0f} %", cover.table.scale.points
    stand_in, missed = cover.costs[cover.stand_in], cover.costs[cover.worst]
    shares = zip(100 * (stand_in / missed - 1)[:2], ("larger", slower), strict=True)
    more = [f"{share:.0f} % {word}" for share, word in shares if share >= 0.5]
    if (lost := points(stand_in[2] - missed[2])) >= 0.05:
        more.append(f"{lost:.1f} points less accurate")
    return (
        f"For each of the {len(shapes):,} shapes, an evaluated one is to be {most} larger, {most} "
        f"{slower}, and at most {points(cover.epsilon):.1f} points less accurate. **The promise of "
        f"{cover.epsilon:g} is {outcome}: {cover.achieved:.4f} is achieved.** Covered worst is "
        f"{worst}: the evaluated {near} stands in for it, "
        f"{', '.join(more) or 'no worse in anything'}."
    )


def assumption(cover: DialCover) -> str:
    """Say how often a shape errs more than one that it contains."""
    order, points = cover.order, cover.table.scale.points
    return (
        "No shape should err more than one that it contains. Of "
        f"{order.pairs:,} such pairs **{order.violations:,}** break that by more than "
        f"{points(fptas.TOLERANCE):.1f} points, at worst by {points(order.worst):.1f}."
    )


def summary(cover: DialCover) -> str:
    """Say what the picture shows, for those who cannot see it."""
    return (
        f"{len(cover.costs):,} shapes by parameters and {cover.cost}, in {len(cover.cells):,} "
        f"cells of epsilon {cover.epsilon:g}: {len(cover.evaluated):,} shapes are evaluated, "
        f"{cover.n_skipped:,} cells skipped, {len(cover.front)} of the evaluated are on the front. "
        f"The achieved epsilon is {cover.achieved:.4f}."
    )


def figure(cover: DialCover) -> go.Figure:
    """Draw the cells on logarithmic axes, the shapes in them, and what became of each."""
    chart, units = go.Figure(), _units(cover)
    for name, is_evaluated, colour, dash in (
        ("Evaluated cell", True, ORANGE, "solid"),
        ("Skipped cell", False, SKY, "dot"),
    ):
        xs, ys = outlines(
            [c for c, evaluated in cover.cells.items() if evaluated == is_evaluated], cover
        )
        line = {"color": colour, "width": 1, "dash": dash}
        if xs:
            chart.add_scatter(
                x=xs, y=ys, mode="lines", line=line, fill="toself", fillcolor=pale(colour),
                hoverinfo="skip", name=name,
            )  # fmt: skip
    rest = sorted({*range(len(cover.costs))} - {*cover.evaluated})
    ring: dict[str, Any] = {"line": {"width": 2}}
    layers: tuple[tuple[str, Sequence[int], dict[str, Any]], ...] = (
        ("Not evaluated", rest, {"symbol": "circle", "color": GREY, "size": 4}),
        ("Evaluated", cover.evaluated, {"symbol": "square", "color": ORANGE, "size": 8}),
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
    point, cost = cover.table.points[row], cover.costs[row, 1]
    work = f"{millions(cost)} operations" if cover.cost == "operations" else f"{cost:.2f} ms"
    return (
        f"<b>{point.architecture}</b><br>{millions(point.n_parameters)} parameters · {work} · "
        f"{100 * point.shown_error:.1f} % wrong on dev"
    )
