"""A run of Agora on the torus, round by round: its points, its accuracies, its shape, in words.

Rounds are counted from 0: in round 0 no point was made yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from bort_engine.algorithms.agora import MIN_LABELLER_ACCURACY
from bort_engine.lab.torus import RADIUS
from bort_engine.lab.torus_run import (
    GAIN,
    TORUS_BETTI,
    Betti,
    ControlName,
    Position,
    Torus,
    config_name,
)
from bort_engine.lab.torus_world import ALIVE, BORN, BOX, RING, TUBE, is_on
from bort_engine.show.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, laid_out

CAMERA = {"eye": {"x": 1.0, "y": 0.5, "z": 1.35}}
POINTS = (
    "Drag to turn. Dots and light squares: points of the box that the model calls on. Crosses: "
    "mistakes on dev. Diamonds: points made for this round, near the mistakes of the one before; "
    f"filled where S says on. Lengths have no unit: the ring's radius is {RING:g}, the tube's "
    f"{TUBE:g}."
)
SHAPE = (
    "Betti numbers of what the model calls on. A torus is 1 piece with 2 loops (around the tube, "
    "along the ring) and 1 hollow (the inside of the tube). They are counted on points drawn "
    f"evenly from the whole box: what is there once points up to {BORN:g} apart are joined, and "
    f"still there at {ALIVE:g}."
)
CONTROLS: dict[ControlName, str] = {
    "dev": "The dev points themselves, with their own labels",
    "random": "Random points of the box, labelled by S",
    "balls": "Points near all dev points, labelled by S",
}
FORMATS = {"How many (mean)": "%.0f"} | dict.fromkeys(("Test (%, mean)", "least", "most"), "%.1f")
INSTEAD = (
    "The same networks, trained as often on points made otherwise; the best on dev counts, which "
    "flatters the first row, as it was trained on dev. Agora made as many points as the random "
    "ones."
)


@dataclass(frozen=True, slots=True)
class Layer:
    """Points that are drawn alike; without a text for each, the name is that of all."""

    name: str
    symbol: str
    colour: str
    size: int
    points: tuple[Position, ...]
    texts: tuple[str, ...] = ()


def layers(run: Torus, number: int) -> list[Layer]:
    """Return what there is to see in a round: called on, mistaken, and newly made points."""
    row = run.rounds[number]
    truth = is_on(np.array(row.cloud).reshape(-1, 3))
    every = [
        Layer("Called on, rightly", "circle", BLUE, 2, tuple(compress(row.cloud, truth))),
        Layer("Called on, wrongly", "square", SKY, 2, tuple(compress(row.cloud, ~truth))),
    ]
    for label, symbol, colour in (("on", "diamond", GREEN), ("off", "diamond-open", PURPLE)):
        new = [x for x in row.new if x.labelled_on == (label == "on")]
        mistakes = [run.rounds[number - 1].mistakes[x.near] for x in new]
        texts = tuple(
            f"new, near the mistake at {x:.2f}, {y:.2f}, {z:.2f}; S says {label}"
            for x, y, z in mistakes
        )
        points = tuple(x.point for x in new)
        every.append(Layer(f"New: S says {label}", symbol, colour, 3, points, texts))
    every.append(Layer("Mistakes on dev", "cross", VERMILION, 3, row.mistakes))
    return [layer for layer in every if layer.points]


@cache
def outline() -> tuple[list[float | None], ...]:
    """Return a few circles of the torus's middle surface as one broken line: x, y and z."""
    turn = np.linspace(0, 2 * np.pi, 49)
    around_tube = [(angle, turn) for angle in np.linspace(0, 2 * np.pi, 17)[:-1]]
    along_ring = [(turn, angle) for angle in np.linspace(0, 2 * np.pi, 5)[:-1]]
    xyz: tuple[list[float | None], ...] = ([], [], [])
    for on_ring, on_tube in (*around_tube, *along_ring):  # a point's two angles, one of them fixed
        radius = RING + TUBE * np.cos(on_tube)
        circle = (radius * np.cos(on_ring), radius * np.sin(on_ring), TUBE * np.sin(on_tube))
        for line, values in zip(xyz, np.broadcast_arrays(*circle), strict=True):
            line += [*values.round(3).tolist(), None]
    return xyz


def cloud_figure(run: Torus, number: int) -> go.Figure:
    """Draw a round's points in three dimensions, over the true torus's outline."""
    figure = go.Figure()
    x, y, z = outline()
    line: dict[str, Any] = {"color": GREY, "width": 1}
    figure.add_scatter3d(
        x=x, y=y, z=z, mode="lines", line=line, opacity=0.4, name="The torus", hoverinfo="skip"
    )
    for layer in layers(run, number):
        x, y, z = zip(*layer.points, strict=True)
        figure.add_scatter3d(
            x=x,
            y=y,
            z=z,
            name=layer.name,
            mode="markers",
            marker={"symbol": layer.symbol, "color": layer.colour, "size": layer.size},
            text=layer.texts or layer.name.lower(),
            hovertemplate="%{text}<br>x %{x:.2f}, y %{y:.2f}, z %{z:.2f}<extra></extra>",
        )
    axis = {"backgroundcolor": "rgba(0,0,0,0)", "gridcolor": GREY, "color": GREY, "nticks": 4}
    scene: dict[str, Any] = {"aspectmode": "data", "camera": CAMERA}
    for name, end in zip("xyz", (BOX + 2 * RADIUS).tolist(), strict=True):
        # A little more than the box, since new points may lie outside it.
        scene[f"{name}axis"] = axis | {"title": {"text": name}, "range": [-end, end]}
    # The same uirevision for every round: the view stays as it was turned.
    kept = {"legend": {"itemsizing": "constant"}, "uirevision": "torus", "scene": scene}
    return laid_out(figure, 520, top=0, **kept)


def accuracies(run: Torus) -> dict[str, list[float | None]]:
    """Return by name, for each round, the share of right answers in percent."""
    return {
        "Test": [100 * row.test for row in run.rounds],
        "Dev": [100 * row.dev for row in run.rounds],
        "Labeller, new points": [_percent(row.labels_right) for row in run.rounds],
        "Labeller, dev": [100 * run.labeller_dev] * len(run.rounds),
    }


def accuracy_figure(run: Torus, number: int) -> go.Figure:
    """Draw accuracies over the rounds, with a ring about the one that is looked at."""
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
    figure.add_scatter(
        x=[number],
        y=[values["Test"][number]],
        name="This round",
        mode="markers",
        marker={"symbol": "circle-open", "size": 20, "color": GREY, "line": {"width": 3}},
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
    return laid_out(figure, 330)


def shape_table(run: Torus, number: int) -> pd.DataFrame:
    """Return pieces, loops and hollows by round, and those of a torus to compare with."""
    rows = [
        {"": "this round" if k == number else "", "Round": str(k)} | _shape(row.betti)
        for k, row in enumerate(run.rounds)
    ]
    return pd.DataFrame([*rows, {"": "to be reached", "Round": "a torus"} | _shape(TORUS_BETTI)])


def table(run: Torus) -> pd.DataFrame:
    """Return everything about the rounds but the points, one row each."""
    rows = [
        {
            "Round": k,
            "Trained on (points)": row.n_train,
            "New points": row.n_new,
            "Labeller right on new (%)": _percent(row.labels_right),
            "Sets trained": len(row.configs),
            "Best set": config_name(row.best),
            "Dev (%)": 100 * row.dev,
            "Test (%)": 100 * row.test,
            "Mistakes on dev": len(row.mistakes),
            "Points called on": row.n_on,
        }
        | _shape(row.betti)
        for k, row in enumerate(run.rounds)
    ]
    return pd.DataFrame(rows)


def controls_table(run: Torus) -> pd.DataFrame:
    """Return what came of points made otherwise, beside Agora's, over all seeds of a run."""
    played = [score for score in run.scores if score.controls]
    ways = {"Agora": [(score.n_new, score.after, score.betti) for score in played]}
    for name, title in CONTROLS.items():
        controls = [score.controls[name] for score in played if name in score.controls]
        ways[title] = [(x.n_new, x.test, x.betti) for x in controls]
    rows = [
        {
            "Points added": title,
            "How many (mean)": float(np.mean([n for n, _, _ in scores])),
            "Test (%, mean)": 100 * float(np.mean([test for _, test, _ in scores])),
            "least": 100 * min(test for _, test, _ in scores),
            "most": 100 * max(test for _, test, _ in scores),
            "Shape of a torus": f"{sum(b == TORUS_BETTI for _, _, b in scores)} of {len(scores)}",
        }
        for title, scores in ways.items()
        if scores
    ]
    return pd.DataFrame(rows)


def controls_summary(run: Torus) -> str:
    """Say on how many seeds Agora's test accuracy is above each control's."""
    played = [score for score in run.scores if score.controls]
    leads = [
        (sum(score.after > score.controls[name].test for score in played), title)
        for name, title in CONTROLS.items()
        if played and all(name in score.controls for score in played)
    ]
    texts = [f"{n} of {len(played)} over “{title[0].lower()}{title[1:]}”" for n, title in leads]
    return f"Agora is ahead on {', on '.join(texts)}." if texts else ""


def points_table(run: Torus, number: int) -> pd.DataFrame:
    """Return the points that a round's picture shows, with what they are."""
    rows = [(layer.name, *point) for layer in layers(run, number) for point in layer.points]
    return pd.DataFrame(rows, columns=["Kind", "x", "y", "z"])


def _shape(betti: Betti) -> dict[str, int]:
    return dict(zip(("Pieces", "Loops", "Hollows"), betti, strict=True))


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def origin(run: Torus) -> str:
    """Return a run's settings, where, when and with what it was made, and how long it took."""
    settings = run.settings
    return (
        f"labeller {settings.labeller:g}, {settings.points:,} points, {settings.learner}, seed "
        f"{settings.seed}; {run.provenance}; {run.scores[0].cpu_seconds:.0f} s of processor time."
    )


def cloud_summary(run: Torus, number: int) -> str:
    """Return what the cloud shows, for those who cannot see it."""
    counts = ", ".join(f"{len(x.points)} {x.name.lower()}" for x in layers(run, number))
    return (
        f"Points in three dimensions over the outline of a torus: {counts}. "
        f"{round_summary(run, number)}"
    )


def accuracy_summary(run: Torus) -> str:
    """Return the accuracies, round by round."""
    rows = (
        f"round {k} test {100 * row.test:.1f} %, dev {100 * row.dev:.1f} %"
        for k, row in enumerate(run.rounds)
    )
    return f"Right answers: {'; '.join(rows)}; the labeller {100 * run.labeller_dev:.1f} % on dev"


def shape_summary(betti: Betti) -> str:
    """Return a shape's numbers in words."""
    names = zip(betti, ("piece", "loop", "hollow"), strict=True)
    pieces, loops, hollows = (f"{n} {name}{'s' * (n != 1)}" for n, name in names)
    return f"{pieces}, {loops} and {hollows}"


def round_summary(run: Torus, number: int) -> str:
    """Return what a round is, and what came of it."""
    row = run.rounds[number]
    text = f"Round 0: before Agora, trained on the {row.n_train:,} given points only."
    if number:
        text = (
            f"Round {number}: {row.n_new:,} new points near "
            f"{len(run.rounds[number - 1].mistakes)} mistakes, "
            f"{100 * (row.labels_right or 0):.1f} % of them labelled rightly."
        )
    return (
        f"{text} Right on {100 * row.test:.1f} % of the test points; what it calls on has "
        f"{shape_summary(row.betti)}."
    )


def run_summary(run: Torus) -> str:
    """Return what came of a whole run, and in how many of its seeds it worked."""
    first, last = run.rounds[0], run.rounds[-1]
    ending = "as a torus has" if last.betti == TORUS_BETTI else "unlike a torus"
    text = (
        f"From round 0 to round {len(run.rounds) - 1}, test accuracy went from "
        f"{100 * first.test:.1f} to {100 * last.test:.1f} % ({100 * (last.test - first.test):+.1f} "
        f"points), and the shape from {shape_summary(first.betti)} to "
        f"{shape_summary(last.betti)}, {ending}. "
    )
    n = len(run.scores)
    if n == 1:
        return text
    seeds = f"{n} seeds played alike ({run.scores[0].seed} to {run.scores[-1].seed})"
    gained, closed = sum(x.gained for x in run.scores), sum(x.closed for x in run.scores)
    both = sum(x.gained and x.closed for x in run.scores)
    points = f"at least {100 * GAIN:.0f} points"
    verdict = f"It held in all of the {seeds}: a gain of {points}, and a torus's shape at the end."
    if both < n:
        verdict = (
            f"It is not always so: of {seeds}, {gained} gained {points}, {closed} ended with the "
            f"shape of a torus, and {both} did both."
        )
    return text + verdict
