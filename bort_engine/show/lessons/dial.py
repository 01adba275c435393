"""The epsilon dial: what the FPTAS trains at an epsilon, what it skips, and what that achieves.

It is run on a recorded table of a whole space's errors, so that its promise can be held against
every shape there is. Compute, then draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_engine.algorithms import fptas
from bort_engine.algorithms.pareto import achieved_epsilon, nondominated
from bort_engine.lab import ground_truth
from bort_engine.search.candidates import candidate
from bort_engine.search.predictor import guesser
from bort_engine.show.lessons.table import SOURCE, Table
from bort_engine.show.theme import (
    BLUE,
    GREEN,
    GREY,
    LEGEND,
    ORANGE,
    SKY,
    VERMILION,
    log_axis,
    millions,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

EPSILONS = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05)
COSTS = ("latency", "operations")
WORSE = 3  # times: how much more the made-up errors let a cell's largest shape err


@dataclass(frozen=True, slots=True)
class Turn:
    """One position of the dial; shapes are named by their row of `table.points`.

    Attributes:
        costs: size, latency or operations, and error ê of every shape, shape (n, 3).
        cells: every cell, and whether its largest shape was trained.
        trained, skipped: the largest shapes of the cells that were, or that need not be.
        front: of the trained ones, those that no other trained one beats.
        bound: the most cells there can be.
        achieved: the least epsilon for which the trained ones cover the whole table.
        worst, stand_in: the shape that is covered worst, and the trained one nearest to it.
    """

    table: Table
    epsilon: float
    lazy: bool
    cost: str
    made_up: bool
    costs: np.ndarray
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


def turn(
    table: Table,
    epsilon: float,
    lazy: bool = True,
    cost: str = "latency",
    made_up: bool = False,
) -> Turn:
    """Run the FPTAS on a table, and hold what it trained against all of it.

    Raises:
        ValueError: the cost is neither latency nor operations, or epsilon is out of range.
    """
    if cost not in COSTS:
        raise ValueError(f"cost is {cost!r}; allowed: {', '.join(COSTS)}.")
    candidates = [candidate(point, "total") for point in table.points]
    if cost == "operations":
        work = [float(point.operations) for point in table.points]
        candidates = [replace(xi, i=i) for xi, i in zip(candidates, work, strict=True)]
    T = fptas.maximum_point(candidates, SOURCE.architecture)
    grouped = fptas.cells(candidates, epsilon)
    largest = {cell: fptas.representative(members, T) for cell, members in grouped.items()}
    errors = {xi.key: p.error for xi, p in zip(candidates, table.points, strict=True)}
    if made_up:
        errors |= {xi.key: WORSE * errors[xi.key] for xi in largest.values() if xi != T}
    found = fptas.extract(
        candidates,
        lambda keys: [errors[key] for key in keys],
        epsilon=epsilon,
        lazy=lazy,
        own=SOURCE.architecture,
        guess=guesser(candidates),
    )
    row = {xi: number for number, xi in enumerate(candidates)}
    trained = [row[xi] for xi in found.evaluated]
    costs = np.array([(xi.p, xi.i, max(errors[xi.key], fptas.ERROR_FLOOR)) for xi in candidates])
    # By which factor each trained shape misses each shape of the table, at the worst of the three.
    factors = (costs[trained][:, None] / costs[None]).max(axis=2)
    worst = int(factors.min(axis=0).argmax())
    return Turn(
        table,
        epsilon,
        lazy,
        cost,
        made_up,
        costs,
        {cell: cell not in found.skipped for cell in grouped},
        tuple(trained),
        tuple(row[largest[cell]] for cell in found.skipped),
        tuple(np.array(trained)[nondominated(costs[trained])].tolist()),
        found.bound,
        achieved_epsilon(costs[trained], costs),
        worst,
        trained[int(factors[:, worst].argmin())],
    )


def order(turned: Turn) -> ground_truth.Order:
    """Count the pairs of shapes that break the assumption under the promise for the error."""
    candidates = [candidate(point, "total") for point in turned.table.points]
    return ground_truth.order(candidates, turned.costs[:, 2].tolist())


def compare(lazily: Turn, plainly: Turn) -> pd.DataFrame:
    """Return what each way of going about it trains, and the epsilon that it achieves."""
    import pandas as pd

    ways = {
        "One a cell, lazily": (len(lazily.trained), lazily.achieved),
        "One a cell": (len(plainly.trained), plainly.achieved),
        "Every shape": (len(lazily.costs), 0.0),
    }
    rows = [(name, trained, achieved) for name, (trained, achieved) in ways.items()]
    return pd.DataFrame(rows, columns=["Way", "Trainings", "Achieved epsilon"])


def to_frame(turned: Turn) -> pd.DataFrame:
    """Return every shape with its costs, its cell's fate, and whether it is on the front."""
    import pandas as pd

    roles = dict.fromkeys(turned.trained, "trained")
    roles |= dict.fromkeys(turned.skipped, "its cell was skipped")
    rows = [
        {
            "D,A,H,I": str(point.architecture),
            "Parameters": point.n_parameters,
            cost_label(turned): cost,
            "Error (nats)": round(float(error), 6),
            "Errors are": "made up" if turned.made_up else "recorded",
            "Role": roles.get(row, "not trained"),
            "On the front": row in turned.front,
        }
        for row, (point, (_, cost, error)) in enumerate(
            zip(turned.table.points, turned.costs, strict=True)
        )
    ]
    return pd.DataFrame(rows)


# Words.


def cost_label(turned: Turn) -> str:
    at = turned.table.calibration.settings
    if turned.cost == "operations":
        return f"Operations (multiply-adds, {at.sequence_length} tokens)"
    return f"Latency (ms, batch {at.batch_size}, {at.sequence_length} tokens)"


def verdict(turned: Turn) -> str:
    """Say what was promised, what was achieved, and which shape fares worst."""
    shapes, kept = turned.table.points, "kept" if turned.kept else "broken"
    worst, near = shapes[turned.worst].architecture, shapes[turned.stand_in].architecture
    ratios = turned.costs[turned.stand_in] / turned.costs[turned.worst]
    named = ("as large", "as slow" if turned.cost == "latency" else "as much work", "as wrong (ê)")
    more = [(ratio, name) for ratio, name in zip(ratios, named, strict=True) if ratio >= 1.005]
    said = ", ".join(f"{ratio:.2f} times {name}" for ratio, name in more)
    return (
        f"**The promise of {turned.epsilon:g} is {kept}: {turned.achieved:.2f} is achieved** on "
        f"all {len(shapes)} shapes. Covered worst is {worst}: the trained {near} stands in for it, "
        f"{said or 'no worse in anything'}."
    )


def assumption(turned: Turn) -> str:
    """Say how often a larger network errs more than one it contains."""
    found, made = order(turned), "made-up" if turned.made_up else "recorded"
    return (
        f"Larger should err less. Of {found.pairs:,} pairs of which one shape contains the other, "
        f"**{found.violations:,}** break that by more than {100 * fptas.TOLERANCE:.0f} % in the "
        f"{made} errors, at worst by {100 * found.worst:.0f} %."
    )


def summary(turned: Turn) -> str:
    """Say what the picture shows, for those who cannot see it."""
    made = "made-up" if turned.made_up else "recorded"
    return (
        f"{len(turned.costs)} shapes by parameters and {turned.cost}, in {len(turned.cells)} cells "
        f"of epsilon {turned.epsilon:g}: {len(turned.trained)} shapes are trained, "
        f"{len(turned.skipped)} cells skipped, {len(turned.front)} of the trained are on the "
        f"front. With {made} errors the achieved epsilon is {turned.achieved:.2f}."
    )


# The picture.


def figure(turned: Turn) -> go.Figure:
    """Draw the cells on logarithmic axes, the shapes in them, and what became of each."""
    import plotly.graph_objects as go

    drawn = go.Figure()
    boxes = (
        ("Cell, trained", True, "rgba(230,159,0,0.16)", ORANGE, "solid"),
        ("Cell, skipped", False, "rgba(86,180,233,0.16)", SKY, "dot"),
    )
    for name, kept, fill, colour, dash in boxes:
        xs, ys = outlines([c for c, t in turned.cells.items() if t == kept], turned)
        line = {"color": colour, "width": 1, "dash": dash}
        if xs:
            drawn.add_scatter(
                x=xs, y=ys, mode="lines", line=line, fill="toself", fillcolor=fill,
                hoverinfo="skip", name=name,
            )  # fmt: skip
    named = {*turned.trained, *turned.skipped}
    rest = [row for row in range(len(turned.costs)) if row not in named]
    ring: dict[str, Any] = {"line": {"width": 2}}
    layers: list[tuple[str, Sequence[int], dict[str, Any]]] = [
        ("Not trained", rest, {"symbol": "circle", "color": GREY, "size": 4}),
        ("Skipped", turned.skipped, {"symbol": "diamond-open", "color": BLUE, "size": 9} | ring),
        ("Trained", turned.trained, {"symbol": "square", "color": ORANGE, "size": 8}),
        ("Front", turned.front, {"symbol": "circle-open", "color": GREEN, "size": 16} | ring),
        ("Covered worst", [turned.worst], {"symbol": "x", "color": VERMILION, "size": 11}),
    ]
    x, y = _drawn(turned)
    for name, rows, marker in layers:
        if len(rows):
            drawn.add_scatter(
                x=x[list(rows)].tolist(),
                y=y[list(rows)].tolist(),
                name=name,
                mode="markers",
                marker=marker,
                text=[f"{_hover(turned, row)}<br>{name}" for row in rows],
                hovertemplate="%{text}<extra></extra>",
            )
    label = "Operations (millions)" if turned.cost == "operations" else cost_label(turned)
    drawn.update_xaxes(title="Parameters (millions)", showgrid=False, **log_axis(x.min(), x.max()))
    drawn.update_yaxes(title=label, showgrid=False, **log_axis(y.min(), y.max()))
    return drawn.update_layout(
        height=540,
        margin={"l": 10, "r": 20, "t": 10, "b": 10},
        legend=LEGEND | {"entrywidth": 90},  # two beside each other on a narrow screen
        hovermode="closest",
    )


def outlines(cells: Iterable[fptas.Cell], turned: Turn) -> tuple[list[Any], list[Any]]:
    """Return the cells' borders as closed lines, None between them, in the picture's units."""
    width, (in_x, in_y) = math.log1p(turned.epsilon), _units(turned)
    xs: list[float | None] = []
    ys: list[float | None] = []
    for column, line in cells:
        left, right = (math.exp(k * width) / in_x for k in (column, column + 1))
        low, high = (math.exp(k * width) / in_y for k in (line, line + 1))
        xs += [left, right, right, left, left, None]
        ys += [low, low, high, high, low, None]
    return xs[:-1], ys[:-1]


def _units(turned: Turn) -> tuple[float, float]:
    return 1e6, 1e6 if turned.cost == "operations" else 1.0


def _drawn(turned: Turn) -> tuple[np.ndarray, np.ndarray]:
    x, y = (turned.costs[:, axis] / unit for axis, unit in enumerate(_units(turned)))
    return x, y


def _hover(turned: Turn, row: int) -> str:
    point, error = turned.table.points[row], turned.costs[row, 2]
    cost = f"{point.latency_ms:.2f} ms"
    if turned.cost == "operations":
        cost = f"{millions(point.operations)} operations"
    made = " (made up)" if turned.made_up else ""
    return (
        f"<b>{point.architecture}</b><br>{millions(point.n_parameters)} parameters · {cost} · "
        f"ê {error:.3f}{made}"
    )
