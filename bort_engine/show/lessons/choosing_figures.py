"""The front as a picture of W: the error against what is saved, and lines of equal W."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bort_engine.search.result import Point
from bort_engine.show.lessons.choosing import Choice
from bort_engine.show.theme import (
    BLUE,
    GREEN,
    GREY,
    LEGEND,
    ORANGE,
    PURPLE,
    SCALE,
    VERMILION,
    millions,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

# The ring that marks what each rule picks.
MARKS = {
    "Best W": ("circle-open", ORANGE),
    "Knee": ("diamond-open", BLUE),
    "In budget": ("hexagon-open", GREEN),
    "Source": ("square-open", PURPLE),
    "Best guesser": ("triangle-up-open", VERMILION),
}
LEVELS = (1.0, 0.75, 0.5, 0.25)  # of the best W: where lines of equal W are drawn


def figure(choice: Choice, picked: dict[str, Point]) -> go.Figure:
    """Draw the error against what is saved: lines of equal W, the shapes, and what is picked."""
    import plotly.graph_objects as go

    drawn, front = go.Figure(), choice.front
    top = 1.08 * max(choice.errors)
    _draw_levels(drawn, front[front.best].w, top)
    every = list(enumerate(front.points))
    guess = [row for row, p in every if p.at_chance]
    beaten = [row for row, p in every if not p.pareto and not p.at_chance]
    able = [row for row, p in every if p.pareto and not p.at_chance]
    thin = {"line": {"width": 2}}
    layers: list[tuple[str, Sequence[int], dict[str, Any]]] = [
        ("Beaten", beaten, {"symbol": "diamond", "color": GREY, "size": 5}),
        ("Guesses", guess, {"symbol": "x-thin-open", "color": VERMILION, "size": 8} | thin),
        ("On the front", able, _by_w([front.points[row] for row in able])),
    ]
    for name, point in picked.items():
        symbol, colour = MARKS[name]
        ring = {"symbol": symbol, "color": colour, "size": 21, "line": {"width": 2.5}}
        layers.append((name, [choice.row(point)], ring))
    for name, rows, marker in layers:
        if rows:
            drawn.add_scatter(
                x=[100 * choice.saved[row] for row in rows],
                y=[choice.errors[row] for row in rows],
                name=name,
                mode="markers",
                marker=marker,
                text=[f"{_hover(choice, row)}<br>{name}" for row in rows],
                hovertemplate="%{text}<extra></extra>",
            )
    excess = choice.rule.error == "excess"
    error = "Error e: beyond the source's own (nats)" if excess else "Error e (nats)"
    drawn.update_xaxes(title="Size saved times cost saved (%)", range=[-4, 100])
    drawn.update_yaxes(title=error, range=[-0.04 * top, top])
    return drawn.update_layout(
        height=540,
        margin={"l": 10, "r": 20, "t": 30, "b": 10},
        legend=LEGEND | {"entrywidth": 90},  # two beside each other on a narrow screen
        hovermode="closest",
    )


def _draw_levels(drawn: go.Figure, best: float, top: float) -> None:
    """Draw lines of equal W, y = x / W, out to the picture's edge; the winner's is solid."""
    for number, share in enumerate(LEVELS if best > 0 else ()):
        w = share * best
        x = min(1.0, top * w)
        drawn.add_scatter(
            x=[0, 100 * x],
            y=[0, x / w],
            name="Equal W",
            mode="lines+text",
            text=["", f"W {w:.2f}"],
            textposition="top left" if x == 1 else "top center",
            cliponaxis=False,
            line={"color": GREY if number else ORANGE, "width": 1.5, "dash": "dot"}
            | ({} if number else {"dash": "solid"}),
            legendgroup="levels",
            showlegend=not number,
            hoverinfo="skip",
        )


def _by_w(points: Sequence[Point]) -> dict[str, Any]:
    """The higher W, the lighter; the lines carry the numbers, so that no colour bar is needed."""
    return {
        "symbol": "circle",
        "color": [point.w for point in points],
        "colorscale": SCALE,
        "size": 12,
        "line": {"width": 1},
    }


def _hover(choice: Choice, row: int) -> str:
    point, real = choice.front.points[row], choice.table.points[row]
    return (
        f"<b>{point.architecture}</b><br>{millions(real.n_parameters)} parameters · "
        f"{real.latency_ms:.2f} ms<br>{100 * point.shown_error:.1f} % wrong on dev · "
        f"e {choice.errors[row]:.3f} · W {point.w:.2f}"
    )


def summary(choice: Choice, picked: dict[str, Point]) -> str:
    """Say what the picture shows, for those who cannot see it."""
    front = choice.front
    said = "; ".join(
        f"{name} {point.architecture}, W {point.w:.2f}, wrong on {100 * point.shown_error:.1f} %"
        + ", no better than guessing" * point.at_chance
        for name, point in picked.items()
    )
    return (
        f"Error of {len(front.points)} shapes against the share saved, {len(front.pareto)} of them "
        f"on the front, with lines of equal W through the origin. {said}."
    )
