"""A race as figures: scores against the budget, the fronts at any training, what is attained.

Compute, then draw: `band`, `found` and `attained` make the numbers, the figures' functions draw
them. Every searcher has its colour and its symbol in all figures; the truth is grey and open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import moocore
import numpy as np

from bort_engine.algorithms.pareto import nondominated
from bort_engine.runs.text import plain
from bort_engine.search.scores import GOALS, NAMES, OURS, Curves, Race
from bort_engine.show.theme import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    laid_out,
    log_axis,
    millions,
    pale,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

MARKS = {
    OURS: (ORANGE, "circle"),
    "random": (SKY, "x"),
    "tpe": (BLUE, "diamond"),
    "nsga2": (GREEN, "square"),
    "local": (PURPLE, "triangle-up"),
    "brute": (VERMILION, "star"),
}
SCORES = {"hypervolume": "Hypervolume (% of the truth's)", "epsilon": "Achieved epsilon"}
BUDGETS = {"trainings": "Trainings (count)", "seconds": "Recorded training time (s)"}
VIEWS = {"Size / latency": (0, 1), "Size / error": (0, 2), "Latency / error": (1, 2)}
PERCENTILES = (25, 50, 75)
STEPS = 200  # of the common grid on which curves over seconds are compared
LEAST = {"hypervolume": 0.01, "epsilon": 1e-3}  # a logarithmic axis has no zero: less is drawn here


@dataclass(frozen=True, slots=True)
class Band:
    """A score's median and quartiles over seeds, shape (n,), at `x` trainings or seconds."""

    x: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


def scores(curves: Curves, score: str) -> np.ndarray:
    """Return hypervolumes in percent, or epsilons, shape (seeds, budget)."""
    return 100 * curves.hypervolume if score == "hypervolume" else curves.epsilon


def band(curves: Curves, score: str, by: str = "trainings") -> Band:
    """Return a score's median and quartiles over seeds.

    Over seconds the seeds' steps are read on a common grid, from where all of them have a first
    training to where the first of them has spent its budget; it is empty where these never meet.
    """
    if by == "trainings":
        values = scores(curves, score)
        x = np.arange(1, values.shape[1] + 1, dtype=float)
    else:
        start, end = curves.seconds[:, 0].max(), curves.seconds[:, -1].min()
        x = np.linspace(start, end, STEPS) if start <= end else np.empty(0)
        values = at_seconds(curves, score, x)
    low, median, high = np.percentile(values, PERCENTILES, axis=0)
    return Band(x, low, median, high)


def at_seconds(curves: Curves, score: str, seconds: np.ndarray) -> np.ndarray:
    """Return each seed's score after so many seconds, shape (seeds, n): its last training's."""
    found = [
        own[np.searchsorted(spent, seconds, side="right") - 1]
        for own, spent in zip(scores(curves, score), curves.seconds, strict=True)
    ]
    return np.array(found)


def found(race: Race, name: str, seed: int, trainings: int) -> list[int]:
    """Return the points that nothing else beats of a searcher's first trainings."""
    rows = list(race.trace(name, seed)[:trainings])
    keep = nondominated(race.truths[race.table(seed)].costs[rows])
    return [row for row, kept in zip(rows, keep, strict=True) if kept]


def true_front(race: Race, seed: int) -> list[int]:
    """Return the points that nothing measured beats, with the errors that a seed saw."""
    costs = race.truths[race.table(seed)].costs
    known = np.flatnonzero(~np.isnan(costs).any(axis=1))
    return [int(row) for row in known[nondominated(costs[known])]]


def attained(race: Race, name: str) -> dict[int, np.ndarray]:
    """Return by percentile p the corners (latency, error) that p % of a searcher's seeds attain.

    The empirical attainment function at the end of the budget (Grunert da Fonseca et al. 2001):
    right of and above the corners of 50, half of the seeds found something at least as good.
    """
    costs, seeds = [], []
    for seed, trace in enumerate(race.traces[name]):
        costs.append(race.truths[race.table(seed)].costs[list(trace), 1:])
        seeds += [seed] * len(trace)
    corners = moocore.eaf(np.vstack(costs), seeds, percentiles=list(PERCENTILES))
    by_latency = corners[np.argsort(corners[:, 0], kind="stable")]
    return {p: by_latency[by_latency[:, 2] == p, :2] for p in PERCENTILES}


def outline(corners: np.ndarray, right: float, top: float) -> np.ndarray:
    """Return the staircase through corners that are sorted by latency, out to both edges."""
    steps, height = [], top
    for x, y in corners:
        steps += [(x, height), (x, y)]
        height = y
    return np.array([*steps, (right, height)])


# Figures.


def score_figure(race: Race, score: str, by: str = "trainings") -> go.Figure:
    """Draw a score against the budget: a median for each searcher, with its quartiles.

    What matters lies near 100 % and near 0, so hypervolumes are drawn by what is missing of them,
    downwards, and both axes are logarithmic.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    unit = "trainings" if by == "trainings" else "s"
    pattern = "%{customdata:.1f} %" if score == "hypervolume" else "%{customdata:.3f}"
    drawn: list[np.ndarray] = []
    for name in reversed(race.searchers):  # ours, the first one, is drawn on top
        (colour, symbol), own = MARKS[name], band(race.curves[name], score, by)
        low, median, high = (_height(values, score) for values in (own.low, own.median, own.high))
        drawn += [low, high]
        figure.add_scatter(
            x=_stairs(own.x, own.x).tolist(),
            y=_stairs(low, high, 1).tolist(),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=pale(colour),
            legendgroup=name,
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=own.x.tolist(),
            y=median.tolist(),
            customdata=own.median.tolist(),
            name=NAMES[name],
            mode="lines+markers",
            line={"shape": "hv", "color": colour, "width": 3 if name == OURS else 2},
            marker={"color": colour, "symbol": symbol, "size": 9, "maxdisplayed": 9},
            legendgroup=name,
            hovertemplate=f"{NAMES[name]}: {pattern} after %{{x:,.0f}} {unit}<extra></extra>",
        )
    figure.update_xaxes(title=BUDGETS[by], rangemode="tozero")
    figure.update_yaxes(title=SCORES[score], **_height_axis(np.concatenate(drawn), score))
    for goal in GOALS if score == "epsilon" else ():
        figure.add_hline(y=goal, line={"color": GREY, "width": 1, "dash": "dash"})
    return _framed(figure, 400)


def _stairs(there: np.ndarray, back: np.ndarray, shift: int = 0) -> np.ndarray:
    """Return a band's outline, each value kept until the next; `shift` is 1 for the heights."""
    steps = [np.repeat(values, 2)[1 - shift :] for values in (there, back)]
    there, back = (values[: values.size - shift] for values in steps)
    return np.concatenate([there, back[::-1]])


def _height(values: np.ndarray, score: str) -> np.ndarray:
    """Return where scores are drawn: epsilons as they are, hypervolumes as what is missing."""
    return np.maximum(100 - values if score == "hypervolume" else values, LEAST[score])


def _height_axis(heights: np.ndarray, score: str) -> dict[str, Any]:
    heights = heights[np.isfinite(heights)]
    low, high = (heights.min(), heights.max()) if heights.size else (LEAST[score], 1.0)
    if score == "epsilon":
        return log_axis(min(low, *GOALS), max(high, *GOALS))
    axis = log_axis(low, high)
    words = [f"{100 - missing:g}" for missing in axis["tickvals"]]
    return axis | {"ticktext": words, "range": axis["range"][::-1]}


def front_figure(race: Race, view: str, seed: int, trainings: int) -> go.Figure:
    """Draw every searcher's front after so many trainings over the truth's, in two dimensions."""
    import plotly.graph_objects as go

    figure, axes = go.Figure(), VIEWS[view]
    costs = race.truths[race.table(seed)].costs / (1e6, 1, 1)
    text = partial(_hover, race, race.table(seed))

    def draw(rows: Sequence[int], name: str, marker: dict[str, Any]) -> None:
        figure.add_scatter(
            x=costs[rows, axes[0]].tolist(),
            y=costs[rows, axes[1]].tolist(),
            name=name,
            mode="markers",
            marker=marker,
            text=[f"{text(row)}<br>{name}" for row in rows],
            hovertemplate="%{text}<extra></extra>",
        )

    truth = true_front(race, seed)
    ring = {"symbol": "circle-open", "color": GREY, "size": 17, "line": {"width": 1.5}}
    draw(truth, "The truth's front", ring)
    for size, name in enumerate(reversed(race.searchers)):  # nested, so none hides another
        colour, symbol = MARKS[name]
        if name == OURS:
            marker: dict[str, Any] = {"symbol": symbol, "color": colour, "size": 8}
        else:
            marker = {"symbol": f"{symbol}-open", "color": colour, "size": 14 - size}
            marker["line"] = {"width": 2}
        draw(found(race, name, seed, trainings), NAMES[name], marker)
    # The axes hold all that any training of this seed will show: nothing jumps as one steps on.
    ever = {row for name in race.searchers for row in race.trace(name, seed)}
    shown = costs[sorted(ever | set(truth))]
    for number, update in zip(axes, (figure.update_xaxes, figure.update_yaxes), strict=True):
        low, high = float(shown[:, number].min()), float(shown[:, number].max())
        update(title=_labels(race)[number], **(log_axis if number < 2 else _around)(low, high))
    return _framed(figure, 520)


def attainment_figure(race: Race, rival: str) -> go.Figure:
    """Draw the latencies and errors that a quarter, half and three quarters of seeds attain."""
    import plotly.graph_objects as go

    figure = go.Figure()
    names = list(dict.fromkeys((rival, OURS)))
    corners = {name: attained(race, name) for name in names}
    every = np.vstack([c for of in corners.values() for c in of.values()])
    (left, bottom), (right, top) = every.min(axis=0), every.max(axis=0)
    right, top = right * 1.1, top + 0.05 * (top - bottom)
    for name in names:
        colour, symbol = MARKS[name]
        edges = {p: outline(of, right, top) for p, of in corners[name].items()}
        area = np.vstack([edges[25], edges[75][::-1]])
        figure.add_scatter(
            x=area[:, 0].tolist(),
            y=area[:, 1].tolist(),
            name=f"{NAMES[name]}, 25 to 75 % of seeds",
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=pale(colour, 0.25),
            legendgroup=name,
            hoverinfo="skip",
        )
        median, steps = corners[name][50], edges[50]
        half = f"{NAMES[name]}, half of the seeds"
        line = {"color": colour, "width": 2.5, "dash": "solid" if name == OURS else "dot"}
        figure.add_scatter(
            x=steps[:, 0].tolist(),
            y=steps[:, 1].tolist(),
            mode="lines",
            line=line,
            legendgroup=name,
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=median[:, 0].tolist(),
            y=median[:, 1].tolist(),
            name=half,
            mode="lines+markers",
            line=line | {"width": 0},
            marker={"color": colour, "symbol": symbol, "size": 9},
            legendgroup=name,
            hovertemplate=f"{half}: ê %{{y:.3f}} at %{{x:.2f}} ms<extra></extra>",
        )
    figure.update_xaxes(title=_labels(race)[1], **log_axis(float(left), float(right)))
    figure.update_yaxes(title=_labels(race)[2])
    return _framed(figure, 460).update_layout(legend={"entrywidth": 240})


def _labels(race: Race) -> tuple[str, str, str]:
    """Return what size, latency and error are called on an axis."""
    latency = race.latency
    size = "Parameters" if race.size == "total" else "Encoder parameters"
    at = f"batch {latency.batch_size}, {latency.sequence_length} tokens"
    return f"{size} (millions)", plain(f"Latency (ms, {at})"), "Surrogate error ê (nats)"


def _hover(race: Race, table: int, row: int) -> str:
    point, error = race.points[row], race.errors[table][row]
    return (
        f"<b>{point.architecture}</b><br>{millions(point.size(race.size))} parameters · "
        f"{point.latency_ms:.2f} ms · ê {error:.3f}"
    )


def _around(low: float, high: float) -> dict[str, Any]:
    edge = 0.06 * (high - low) or 0.1
    return {"range": [low - edge, high + edge]}


def _framed(figure: go.Figure, height: int) -> go.Figure:
    """The legend lists ours first; what a person hid in it stays hidden (`uirevision`)."""
    return laid_out(figure, height, legend={"traceorder": "reversed"}, uirevision="race")


# A chart's message, for those who cannot see it.


def score_summary(race: Race, score: str, by: str = "trainings") -> str:
    """Say where each searcher's median ends."""
    said = []
    for name in race.searchers:
        own = band(race.curves[name], score, by)
        if own.x.size:
            unit = "trainings" if by == "trainings" else "s"
            value = f"{own.median[-1]:.3f}" if score == "epsilon" else f"{own.median[-1]:.1f} %"
            said.append(f"{NAMES[name]} {value} after {own.x[-1]:,.0f} {unit}")
    what = "Achieved epsilon, lower is better" if score == "epsilon" else "Hypervolume"
    return f"{what}, medians over seeds: {'; '.join(said) or 'no seconds are on record'}"


def front_summary(race: Race, seed: int, trainings: int) -> str:
    """Say how much of the truth's front each searcher has."""
    truth = set(true_front(race, seed))
    said = [
        f"{NAMES[name]} {len(truth.intersection(race.trace(name, seed)[:trainings]))}"
        for name in race.searchers
    ]
    return (
        f"After {trainings} trainings, seed {seed}, of the truth's front of {len(truth)} points: "
        f"{', '.join(said)}"
    )


def attainment_summary(race: Race, rival: str) -> str:
    """Say the least error that half of the seeds attain, at any latency and at the middle one."""
    said = []
    latencies = [point.latency_ms for point in race.points]
    middle = float(np.sqrt(min(latencies) * max(latencies)))
    for name in dict.fromkeys((OURS, rival)):
        corners = attained(race, name)[50]
        quick = corners[corners[:, 0] <= middle, 1]
        within = f"{quick.min():.3f}" if quick.size else "none"
        said.append(f"{NAMES[name]} {corners[:, 1].min():.3f}, within {middle:.1f} ms {within}")
    return f"Least error that half of the seeds attain: {'; '.join(said)}"
