"""The front as a picture of W: the error against what is saved, and lines of equal W."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from bort_engine.show.lessons.choosing import Choice, ValuedShape
from bort_engine.show.theme import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SCALE,
    VERMILION,
    add_dots,
    laid_out,
    millions,
)

# The ring that marks what each rule picks.
MARKS = {
    "Best W": ("circle-open", ORANGE),
    "Knee": ("diamond-open", BLUE),
    "In budget": ("hexagon-open", GREEN),
    "Source": ("square-open", PURPLE),
    "Best guesser": ("triangle-up-open", VERMILION),
}
LEVELS = (1.0, 0.75, 0.5, 0.25)  # of the best W: where lines of equal W are drawn


def figure(choice: Choice, picks: Mapping[str, ValuedShape]) -> go.Figure:
    """Draw the error against what is saved: lines of equal W, the shapes, and what is picked."""
    chart, shapes = go.Figure(), choice.shapes
    top = 1.08 * max(s.e for s in shapes)
    _draw_levels(chart, choice.best.w, top)
    front = [row for row, s in enumerate(shapes) if s.pareto and not s.at_chance]
    thin = {"width": 2}
    layers: dict[str, tuple[list[int], dict[str, Any]]] = {
        "Beaten": (
            [row for row, s in enumerate(shapes) if not s.pareto and not s.at_chance],
            {"symbol": "diamond", "color": GREY, "size": 5},
        ),
        "Guesses": (
            [row for row, s in enumerate(shapes) if s.at_chance],
            {"symbol": "x-thin-open", "color": VERMILION, "size": 8, "line": thin},
        ),
        # The higher W, the lighter; the lines carry the numbers, so no colour bar is needed.
        "On the front": (
            front,
            {"color": [shapes[row].w for row in front], "colorscale": SCALE, "size": 12}
            | {"symbol": "circle", "line": {"width": 1}},
        ),
    }
    for name, shape in picks.items():
        symbol, colour = MARKS[name]
        ring = {"symbol": symbol, "color": colour, "size": 21, "line": {"width": 2.5}}
        layers[name] = ([shapes.index(shape)], ring)
    places = np.array([(100 * s.saved, s.e) for s in shapes])
    for name, (rows, marker) in layers.items():
        add_dots(chart, places, rows, name, marker, lambda row: _hover(shapes[row]))
    beyond = ": beyond the source's own" if choice.rule.error == "excess" else ""
    chart.update_xaxes(title="Size saved times cost saved (%)", range=[-4, 100])
    chart.update_yaxes(title=f"Error e{beyond} (nats)", range=[-0.04 * top, top])
    return laid_out(chart, 540, entrywidth=90, top=30)  # two beside each other where it is narrow


def _draw_levels(chart: go.Figure, best: float, top: float) -> None:
    """Draw lines of equal W, y = x / W, out to the picture's edge; the winner's is solid."""
    for number, share in enumerate(LEVELS if best > 0 else ()):
        w = share * best
        x = min(1.0, top * w)
        line = {"color": GREY, "dash": "dot"} if number else {"color": ORANGE, "dash": "solid"}
        chart.add_scatter(
            x=[0, 100 * x],
            y=[0, x / w],
            name="Equal W",
            mode="lines+text",
            text=["", f"W {w:.2f}"],
            textposition="top left" if x == 1 else "top center",
            cliponaxis=False,
            line=line | {"width": 1.5},
            legendgroup="levels",
            showlegend=not number,
            hoverinfo="skip",
        )


def _hover(shape: ValuedShape) -> str:
    point = shape.point
    return (
        f"<b>{point.architecture}</b><br>{millions(point.n_parameters)} parameters · "
        f"{point.latency_ms:.2f} ms<br>{100 * shape.wrong:.1f} % wrong on dev · "
        f"e {shape.e:.3f} · W {shape.w:.2f}"
    )


def summary(choice: Choice, picks: Mapping[str, ValuedShape]) -> str:
    """Say what the picture shows, for those who cannot see it."""
    parts = "; ".join(
        f"{name} {shape.architecture}, W {shape.w:.2f}, wrong on {100 * shape.wrong:.1f} %"
        + ", no better than guessing" * shape.at_chance
        for name, shape in picks.items()
    )
    on_front = sum(shape.pareto for shape in choice.shapes)
    return (
        f"Error of {len(choice.shapes):,} shapes against the share saved, {on_front} of them on "
        f"the front, with lines of equal W through the origin. {parts}."
    )
