"""A run of Agora on the torus, round by round: its points, its accuracies, its shape.

Compute, then draw: `layers`, `accuracies` and `table` make the numbers. Rounds are counted from 0:
in round 0 no point was made yet. Each kind of point has its colour and its symbol.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_engine.algorithms.agora import MIN_LABELLER_ACCURACY
from bort_engine.lab.torus import RADIUS, called
from bort_engine.lab.torus_run import BETTI, Betti, Point, Torus
from bort_engine.lab.torus_world import BOX, RING, TUBE, on
from bort_engine.show.lessons.torus_words import round_said
from bort_engine.show.theme import BLUE, GREEN, GREY, LEGEND, ORANGE, PURPLE, SKY, VERMILION

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

SHAPE = ("Pieces", "Loops", "Hollows")


@dataclass(frozen=True, slots=True)
class Layer:
    """Points that are drawn alike, with a text for each."""

    name: str
    symbol: str
    colour: str
    size: int
    points: tuple[Point, ...]
    texts: tuple[str, ...]


def layers(run: Torus, number: int) -> list[Layer]:
    """Return what there is to see in a round: called on, mistaken, and newly made points."""
    played = run.rounds[number]
    truth = on(np.array(played.cloud).reshape(-1, 3))
    before = run.rounds[number - 1].mistakes if number else ()
    made = list(zip(played.made, played.near, played.says, strict=True))

    def of_cloud(right: bool) -> tuple[Point, ...]:
        return tuple(x for x, true in zip(played.cloud, truth, strict=True) if true == right)

    def new(says: bool) -> Layer:
        points = [(x, before[near]) for x, near, said in made if said == says]
        what = "on" if says else "off"
        return Layer(
            f"New: S says {what}",
            "diamond" if says else "diamond-open",
            GREEN if says else PURPLE,
            3,
            tuple(x for x, _ in points),
            tuple(f"new, near the mistake at {_at(m)}; S says {what}" for _, m in points),
        )

    found = [
        _layer("Called on, rightly", "circle", BLUE, 2, of_cloud(True)),
        _layer("Called on, wrongly", "square", SKY, 2, of_cloud(False)),
        new(True),
        new(False),
        _layer("Mistakes on dev", "cross", VERMILION, 3, played.mistakes),
    ]
    return [layer for layer in found if layer.points]


def _layer(name: str, symbol: str, colour: str, size: int, points: tuple[Point, ...]) -> Layer:
    return Layer(name, symbol, colour, size, points, (name.lower(),) * len(points))


def _at(point: Point) -> str:
    return ", ".join(f"{value:.2f}" for value in point)


@cache
def outline() -> tuple[list[float | None], ...]:
    """Return a few circles of the torus's middle surface as one broken line: x, y and z."""
    turn = np.linspace(0, 2 * np.pi, 49)
    lines = []
    for angle in np.linspace(0, 2 * np.pi, 17)[:-1]:  # around the tube
        ring = RING + TUBE * np.cos(turn)
        lines.append((ring * np.cos(angle), ring * np.sin(angle), TUBE * np.sin(turn)))
    for angle in np.linspace(0, 2 * np.pi, 5)[:-1]:  # along it
        ring = RING + TUBE * np.cos(angle)
        height = np.full_like(turn, TUBE * np.sin(angle))
        lines.append((ring * np.cos(turn), ring * np.sin(turn), height))
    xyz: tuple[list[float | None], ...] = ([], [], [])
    for line in lines:
        for values, own in zip(xyz, line, strict=True):
            values += [*own.round(3).tolist(), None]
    return xyz


def cloud_figure(run: Torus, number: int) -> go.Figure:
    """Draw a round's points in three dimensions, over the true torus's outline."""
    import plotly.graph_objects as go

    figure = go.Figure()
    x, y, z = outline()
    line: dict[str, Any] = {"color": GREY, "width": 1}
    figure.add_scatter3d(
        x=x, y=y, z=z, mode="lines", line=line, opacity=0.4, name="The torus", hoverinfo="skip"
    )
    for layer in layers(run, number):
        xs, ys, zs = zip(*layer.points, strict=True)
        figure.add_scatter3d(
            x=xs,
            y=ys,
            z=zs,
            name=layer.name,
            mode="markers",
            marker={"symbol": layer.symbol, "color": layer.colour, "size": layer.size},
            text=layer.texts,
            hovertemplate="%{text}<br>x %{x:.2f}, y %{y:.2f}, z %{z:.2f}<extra></extra>",
        )
    axis = {"backgroundcolor": "rgba(0,0,0,0)", "gridcolor": GREY, "color": GREY, "nticks": 4}
    width, depth, height = (BOX + 2 * RADIUS).tolist()  # new points may lie outside the box
    figure.update_layout(
        height=520,
        margin={"l": 0, "r": 0, "t": 0, "b": 10},
        legend=LEGEND | {"itemsizing": "constant"},
        uirevision="torus",  # it stays as it was turned while one goes from round to round
        scene={
            "xaxis": axis | {"title": {"text": "x"}, "range": [-width, width]},
            "yaxis": axis | {"title": {"text": "y"}, "range": [-depth, depth]},
            "zaxis": axis | {"title": {"text": "z"}, "range": [-height, height]},
            "aspectmode": "data",
            "camera": {"eye": {"x": 1.0, "y": 0.5, "z": 1.35}},
        },
    )
    return figure


def accuracies(run: Torus) -> dict[str, list[float | None]]:
    """Return by name, for each round, the share of right answers in percent."""
    new = [None if one.labels_right is None else 100 * one.labels_right for one in run.rounds]
    return {
        "Test": [100 * one.test for one in run.rounds],
        "Dev": [100 * one.dev for one in run.rounds],
        "Labeller, new points": new,
        "Labeller, dev": [100 * run.labeller_dev] * len(run.rounds),
    }


def accuracy_figure(run: Torus, number: int) -> go.Figure:
    """Draw accuracies over the rounds, with a ring about the one that is looked at."""
    import plotly.graph_objects as go

    marks = {
        "Test": (BLUE, "circle", "solid"),
        "Dev": (ORANGE, "diamond", "dash"),
        "Labeller, new points": (PURPLE, "square", "dot"),
        "Labeller, dev": (PURPLE, "square-open", "dashdot"),
    }
    figure, values = go.Figure(), accuracies(run)
    for name, (colour, symbol, dash) in marks.items():
        figure.add_scatter(
            x=list(range(len(run.rounds))),
            y=values[name],
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": symbol, "size": 10},
            hovertemplate=f"{name}, round %{{x}}: %{{y:.1f}} %<extra></extra>",
        )
    ring = {"symbol": "circle-open", "size": 20, "color": GREY, "line": {"width": 3}}
    figure.add_scatter(
        x=[number],
        y=[values["Test"][number]],
        name="This round",
        mode="markers",
        marker=ring,
        hoverinfo="skip",
    )
    figure.add_hline(
        y=100 * float(MIN_LABELLER_ACCURACY),
        line={"color": GREY, "width": 1, "dash": "dash"},
        annotation={"text": "labeller must exceed 2/3", "font": {"color": GREY}},
        annotation_position="bottom right",
    )
    figure.update_xaxes(title="Round", dtick=1, range=[-0.3, max(len(run.rounds) - 0.7, 0.7)])
    figure.update_yaxes(title="Right answers (%)", range=[40, 102])
    figure.update_layout(
        height=330, margin={"l": 10, "r": 10, "t": 10, "b": 10}, legend=LEGEND, hovermode="closest"
    )
    return figure


def shape_table(run: Torus, number: int) -> pd.DataFrame:
    """Return pieces, loops and hollows by round, and those of a torus to compare with."""
    import pandas as pd

    rows = [
        {"": "this round" if k == number else "", "Round": str(k)} | _shape(one.betti)
        for k, one in enumerate(run.rounds)
    ]
    return pd.DataFrame([*rows, {"": "to be reached", "Round": "a torus"} | _shape(BETTI)])


def _shape(numbers: Betti) -> dict[str, int]:
    return dict(zip(SHAPE, numbers, strict=True))


def table(run: Torus) -> pd.DataFrame:
    """Return everything about the rounds but the points, one row each."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "Round": k,
                "Trained on (points)": one.n_train,
                "New points": one.n_made,
                "Labeller right on new (%)": _percent(one.labels_right),
                "Sets trained": len(one.theta),
                "Best set": called(one.best),
                "Dev (%)": 100 * one.dev,
                "Test (%)": 100 * one.test,
                "Mistakes on dev": len(one.mistakes),
                "Points called on": one.n_on,
            }
            | _shape(one.betti)
            for k, one in enumerate(run.rounds)
        ]
    )


def points_table(run: Torus, number: int) -> pd.DataFrame:
    """Return the points that a round's picture shows, with what they are."""
    import pandas as pd

    rows = [(layer.name, *x) for layer in layers(run, number) for x in layer.points]
    return pd.DataFrame(rows, columns=["Kind", "x", "y", "z"])


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


# A chart's message, for those who cannot see it.


def cloud_summary(run: Torus, number: int) -> str:
    """Say what the cloud shows, for those who cannot see it."""
    seen = ", ".join(f"{len(one.points)} {one.name.lower()}" for one in layers(run, number))
    return f"Points in three dimensions over the outline of a torus: {seen}. " + round_said(
        run, number
    )


def accuracy_summary(run: Torus) -> str:
    """Say what the accuracies are, round by round."""
    said = [
        f"round {k} test {100 * one.test:.1f} %, dev {100 * one.dev:.1f} %"
        for k, one in enumerate(run.rounds)
    ]
    return f"Right answers: {'; '.join(said)}; the labeller {100 * run.labeller_dev:.1f} % on dev"
