"""The toy's three networks as a figure and a table: T, T pruned, and what the FPTAS chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bort_engine.algorithms.guarantee import Guarantee
from bort_engine.lab.toy import EPSILON, Comparison, Network, ToyShape, idle
from bort_engine.show.theme import BLUE, GREEN, GREY, VERMILION, laid_out

NAMES = ("T", "T, pruned", "FPTAS's choice")
KINDS = {
    "Input": ("square", BLUE),
    "Unit at work": ("circle", GREEN),
    "Idle unit": ("x", VERMILION),
    "Wire at 0": ("circle-open", GREY),
}
EDGES = {
    "Weight": ({"color": GREY, "width": 1.6}, 0.9),
    "Weight at zero": ({"color": GREY, "width": 1, "dash": "dot"}, 0.45),
}
LEGEND_ORDER = [*KINDS, *EDGES]


def to_frame(comparison: Comparison) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Network": NAMES,
            "Shape (n,a,b,c,d)": [str(network.shape) for network in comparison.networks],
            "Parameters stored": [network.n_stored for network in comparison.networks],
            "Of them zero": [network.n_zero for network in comparison.networks],
            "Multiplications": [network.shape.n_operations for network in comparison.networks],
            "Error": [percent(error) for error in comparison.errors],
        }
    )


def draws(promises: Sequence[Guarantee]) -> pd.DataFrame:
    """Return what becomes of the promise, and of the assumption under it, in every draw."""
    return pd.DataFrame(
        {
            "Draw": range(len(promises)),
            "Achieved epsilon": [promise.achieved for promise in promises],
            "Promise": ["broken" if promise.achieved > EPSILON else "kept" for promise in promises],
            "Pairs out of order": [promise.order_violations for promise in promises],
            "At worst by": [percent(promise.worst_violation) for promise in promises],
        }
    )


def percent(error: float) -> str:
    """Return an error in percent; below 0.001 % it is rounding and what has faded."""
    return "below 0.001 %" if error < 1e-5 else f"{100 * error:.3g} %"


def summary(comparison: Comparison) -> str:
    """Say what the picture shows."""
    T, pruned, chosen = comparison.networks
    return (
        f"Three networks of units and weights. T, {T.shape}: {T.n_stored} parameters. T pruned, "
        f"the same shape: {pruned.n_zero} of {pruned.n_stored} parameters are zero. The FPTAS's "
        f"choice, {chosen.shape}: {chosen.n_stored} parameters in fewer units."
    )


def figure(comparison: Comparison) -> go.Figure:
    """Draw the three networks from top to bottom, units where they are in T."""
    T, pruned, _ = comparison.networks
    titles = [
        f"<b>{name}</b><br>{network.shape}<br>{network.n_stored} parameters"
        for name, network in zip(NAMES, comparison.networks, strict=True)
    ]
    titles[1] = titles[1].replace("parameters", f"({pruned.n_zero} zero)")
    chart = make_subplots(1, 3, subplot_titles=titles, horizontal_spacing=0.01)
    chart.update_annotations(font={"size": 13})
    in_legend: set[str] = set()
    for column, network in enumerate(comparison.networks, 1):
        for kind, trace in _traces(network, T.shape, comparison.exam.x):
            entry = {"name": kind, "legendgroup": kind, "showlegend": kind not in in_legend}
            in_legend.add(kind)
            rank = LEGEND_ORDER.index(kind)
            chart.add_scatter(**trace, **entry, legendrank=rank, row=1, col=column)
    rows = 2 * T.shape.blocks
    words = [f"{what} {k}" for k in range(1, T.shape.blocks + 1) for what in ("hidden", "out")]
    half = max(T.shape.hidden, T.shape.inputs, T.shape.outputs) / 2 + 0.1
    chart.update_xaxes(visible=False, range=[-half, half], fixedrange=True)
    chart.update_yaxes(
        range=[-rows - 0.4, 0.4],
        tickvals=[-row for row in range(rows + 1)],
        ticktext=["in", *words],
        showticklabels=False,
        showgrid=False,
        zeroline=False,
        fixedrange=True,
    )
    chart.update_yaxes(showticklabels=True, col=1)
    return laid_out(chart, 190 + 62 * (rows + 1), entrywidth=95, top=70)


def _traces(network: Network, T: ToyShape, x: np.ndarray) -> list[tuple[str, dict[str, Any]]]:
    """Return a network's edges and units, each kind that there is with what plotly draws."""
    edges: dict[str, list[tuple[float | None, float | None]]] = {kind: [] for kind in EDGES}
    for row in range(2 * network.shape.blocks):
        layers = network.second if row % 2 else network.first
        for (to, start), weight in np.ndenumerate(layers[row // 2]):
            ends = _place(row, start, T), _place(row + 1, to, T), (None, None)
            edges["Weight" if weight else "Weight at zero"] += ends
    units: dict[str, list[tuple[float, float, str]]] = {kind: [] for kind in KINDS}
    for row, idle_units in enumerate(idle(network, x)):
        # A block reads `inputs` wires: where the block before it has fewer outputs, they are at 0.
        n_wires = network.shape.inputs if row % 2 == 0 and row < 2 * network.shape.blocks else 0
        for number in range(max(len(idle_units), n_wires)):
            kind = "Input" if row == 0 else "Unit at work"
            if number >= len(idle_units):
                kind = "Wire at 0"
            elif idle_units[number]:
                kind = "Idle unit"
            what = "Hidden unit" if row % 2 else "Output"
            name = f"{what} {number + 1}, block {(row + 1) // 2}" if row else f"x{number + 1}"
            units[kind].append((*_place(row, number, T), f"{name}: {kind.lower()}"))
    traces: list[tuple[str, dict[str, Any]]] = []
    for kind, (line, opacity) in EDGES.items():
        if edges[kind]:
            xs, ys = zip(*edges[kind], strict=True)
            trace = {"x": xs, "y": ys, "mode": "lines", "line": line, "opacity": opacity}
            traces.append((kind, trace | {"hoverinfo": "skip"}))
    for kind, (symbol, colour) in KINDS.items():
        if units[kind]:
            xs, ys, text = zip(*units[kind], strict=True)
            width = 2 if "open" in symbol else 0
            marker = {"symbol": symbol, "color": colour, "size": 13, "line": {"width": width}}
            trace = {"x": xs, "y": ys, "mode": "markers", "marker": marker, "text": text}
            traces.append((kind, trace | {"hovertemplate": "%{text}<extra></extra>"}))
    return traces


def _place(row: int, number: int, T: ToyShape) -> tuple[float, float]:
    """Return where a unit is drawn: T's rows are centred, and what is chosen keeps its place."""
    width = T.hidden if row % 2 else T.inputs if row == 0 else max(T.outputs, T.inputs)
    return number - (width - 1) / 2, -float(row)
