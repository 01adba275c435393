"""A race as figures: scores against the budget, the fronts at any evaluation, what seeds attain.

Compute, then draw: `band`, `front_rows` and `attained` make the numbers. Every searcher has its
colour and its symbol in all figures; the truth is grey and open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import moocore
import numpy as np

from bort_engine.algorithms.pareto import nondominated
from bort_engine.search.scores import GOALS, NAMES, OURS, Curves, Race
from bort_engine.show import theme
from bort_engine.show.theme import GREY, add_dots, count, log_axis, pale

if TYPE_CHECKING:
    import plotly.graph_objects as go

MARKS = {
    OURS: (theme.ORANGE, "circle"),
    "random": (theme.SKY, "x"),
    "tpe": (theme.BLUE, "diamond"),
    "nsga2": (theme.GREEN, "square"),
    "local": (theme.PURPLE, "triangle-up"),
    "surface": (theme.VERMILION, "star"),
    "gp": ("#999933", "pentagon"),
    "fptas-no-surface": ("#B15928", "hexagon"),
    "grid": ("#44AA99", "triangle-down"),
    "stride": ("#882255", "star-diamond"),
    "brute": ("#6F63BB", "hourglass"),
}
BUDGETS = {"evaluations": "Evaluations (count)", "seconds": "Recorded time (s)"}
UNITS = {"evaluations": "evaluations", "seconds": "s"}
VIEWS = {"Size / latency": (0, 1), "Size / error": (0, 2), "Latency / error": (1, 2)}
PERCENTILES = (25, 50, 75)
STEPS = 200  # of the common grid on which curves over seconds are compared


@dataclass(frozen=True, slots=True)
class Score:
    """A search's score: how it is called and shown; `sign` is 1 where more is better, else -1."""

    field: str
    name: str
    label: str
    digits: int
    unit: str
    sign: int

    @property
    def least(self) -> float:
        """The least that its digits show: where a logarithmic axis ends, as it has no zero."""
        return 10.0**-self.digits

    def of(self, curves: Curves) -> np.ndarray:
        """Return the values, shape (seeds, budget): hypervolumes in percent, or epsilons."""
        values = getattr(curves, self.field)
        return 100 * values if self.unit else values

    def text(self, value: float) -> str:
        return f"{value:.{self.digits}f}{self.unit}"


HYPERVOLUME = Score(
    "hypervolume", "hypervolume", "Hypervolume (% of the truth's)", 2, "\N{NO-BREAK SPACE}%", 1
)
EPSILON = Score("epsilon", "achieved epsilon", "Achieved epsilon", 3, "", -1)
SCORES = (HYPERVOLUME, EPSILON)


@dataclass(frozen=True, slots=True)
class Band:
    """A score's median and quartiles over seeds, shape (n,), at `x` evaluations or seconds."""

    x: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


def marks(race: Race) -> dict[str, tuple[str, str]]:
    """Return each searcher's colour and symbol; own samplers have those of who is absent."""
    spare = [look for name, look in MARKS.items() if name not in race.traces]
    return {name: MARKS.get(name) or spare.pop() for name in race.searchers}


def band(curves: Curves, score: Score, by: str = "evaluations") -> Band:
    """Return a score's median and quartiles over seeds.

    Over seconds the seeds' steps are read on a common grid, from where all of them have a first
    training to where the first of them has spent its budget; it is empty where these never meet.
    """
    x = spent(curves, by)[0]
    if by == "seconds":
        start, end = curves.seconds[:, 0].max(), curves.seconds[:, -1].min()
        x = np.linspace(start, end, STEPS) if start <= end else np.empty(0)
    return Band(x, *np.percentile(scores_at(curves, score, by, x), PERCENTILES, axis=0))


def spent(curves: Curves, by: str) -> np.ndarray:
    """Return the evaluations or seconds spent after each evaluation, shape (seeds, budget)."""
    evaluations = np.arange(1.0, curves.seconds.shape[1] + 1)
    return curves.seconds if by == "seconds" else np.broadcast_to(evaluations, curves.seconds.shape)


def scores_at(curves: Curves, score: Score, by: str, budget: float | np.ndarray) -> np.ndarray:
    """Return each seed's score after so many evaluations or seconds: that of its last evaluation.

    The shape is (seeds,), or (seeds, n) for n budgets.
    """
    rows = zip(score.of(curves), spent(curves, by), strict=True)
    # `searchsorted` counts the evaluations that are over by then; the last of them is one before.
    return np.array([row[np.searchsorted(ends, budget, side="right") - 1] for row, ends in rows])


def front_rows(race: Race, name: str, seed: int, evaluations: int) -> list[int]:
    """Return the points that nothing else beats of a searcher's first evaluations."""
    rows = np.array(race.trace(name, seed)[:evaluations])
    return rows[nondominated(race.truths[race.table(seed)].costs[rows])].tolist()


def true_front(race: Race, seed: int) -> list[int]:
    """Return the points that nothing measured beats, with the errors that a seed saw."""
    costs = race.truths[race.table(seed)].costs
    known = np.flatnonzero(~np.isnan(costs).any(axis=1))
    return known[nondominated(costs[known])].tolist()


def attained(race: Race, name: str) -> dict[int, np.ndarray]:
    """Return by percentile p the corners (ms, % wrong) that p % of a searcher's seeds attain.

    The empirical attainment function at the end of the budget (Grunert da Fonseca et al. 2001):
    right of and above the corners of 50, half of the seeds found something at least as good.
    """
    costs, seeds = [], []
    for seed, trace in enumerate(race.traces[name]):
        costs.append(_drawn(race, race.table(seed))[list(trace), 1:])
        seeds += [seed] * len(trace)
    # One row for each corner: its latency, its error, and the percentile that it belongs to.
    corners = moocore.eaf(np.vstack(costs), seeds, percentiles=list(PERCENTILES))
    by_latency = corners[np.argsort(corners[:, 0], kind="stable")]
    return {p: by_latency[by_latency[:, 2] == p, :2] for p in PERCENTILES}


def score_figure(race: Race, score: Score, by: str = "evaluations") -> go.Figure:
    """Draw a score against the budget: a median for each searcher, with its quartiles.

    What matters lies near 100 % and near 0, so hypervolumes are drawn by what is missing of them,
    downwards, and both axes are logarithmic.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    value = f"%{{customdata:.{score.digits}f}}{score.unit}"
    heights: list[float] = []
    for name in reversed(race.searchers):  # ours, the first one, is drawn on top
        colour, symbol = marks(race)[name]
        over_seeds = band(race.curves[name], score, by)
        low, median, high = (
            np.maximum(100 - values if score.sign > 0 else values, score.least).tolist()
            for values in (over_seeds.low, over_seeds.median, over_seeds.high)
        )
        heights += [*low, *high]
        x = over_seeds.x.tolist()
        _add_area(figure, (x, low), (x, high), pale(colour), name)
        figure.add_scatter(
            x=x,
            y=median,
            customdata=over_seeds.median.tolist(),
            name=NAMES[name],
            mode="lines+markers",
            line={"shape": "hv", "color": colour, "width": 3 if name == OURS else 2},
            marker={"color": colour, "symbol": symbol, "size": 9, "maxdisplayed": 9},
            legendgroup=name,
            hovertemplate=f"{NAMES[name]}: {value} after %{{x:,.0f}} {UNITS[by]}<extra></extra>",
        )
    figure.update_xaxes(title=BUDGETS[by], rangemode="tozero")
    figure.update_yaxes(title=score.label, **_height_axis(heights, score))
    for goal in GOALS if score == EPSILON else ():
        figure.add_hline(y=goal, line={"color": GREY, "width": 1, "dash": "dash"})
    return _framed(figure, 400)


def _height_axis(heights: Sequence[float], score: Score) -> dict[str, Any]:
    ends = (*filter(math.isfinite, heights), *(GOALS if score == EPSILON else ()))
    axis = log_axis(min(ends, default=score.least), max(ends, default=1.0))
    if score == EPSILON:
        return axis
    words = [f"{100 - missing:g}" for missing in axis["tickvals"]]
    return axis | {"ticktext": words, "range": axis["range"][::-1]}


def _add_area(
    figure: go.Figure,
    lower: Sequence[list[float]],
    upper: Sequence[list[float]],
    colour: str,
    group: str,
    name: str | None = None,
) -> None:
    """Fill what lies between two staircases (x, y); without a name the legend leaves it out."""
    for (x, y), fill in ((lower, "none"), (upper, "tonexty")):  # to the trace before this one
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"width": 0, "shape": "hv"},
            fill=fill,
            fillcolor=colour,
            hoverinfo="skip",
            name=name,
            legendgroup=group,
            showlegend=fill == "tonexty" and name is not None,
        )


def front_figure(race: Race, view: str, seed: int, evaluations: int) -> go.Figure:
    """Draw every searcher's front after so many evaluations over the truth's, in two dimensions."""
    import plotly.graph_objects as go

    figure, axes, table = go.Figure(), list(VIEWS[view]), race.table(seed)
    drawn = _drawn(race, table)
    costs, truth = drawn[:, axes], true_front(race, seed)

    def hover(row: int) -> str:
        point = race.points[row]
        return (
            f"<b>{point.architecture}</b><br>{theme.millions(point.size(race.size))} parameters · "
            f"{point.latency_ms:.2f} ms · {drawn[row, 2]:.1f} % wrong"
        )

    ring = {"symbol": "circle-open", "color": GREY, "size": 17, "line": {"width": 1.5}}
    add_dots(figure, costs, truth, "The truth's front", ring, hover)
    for number, name in enumerate(reversed(race.searchers)):  # nested, so none hides another
        colour, symbol = marks(race)[name]
        marker: dict[str, Any] = {"symbol": symbol, "color": colour, "size": 8}
        if name != OURS:
            marker |= {"symbol": f"{symbol}-open", "size": 14 - number, "line": {"width": 2}}
        add_dots(
            figure, costs, front_rows(race, name, seed, evaluations), NAMES[name], marker, hover
        )
    # The axes hold all that any evaluation of this seed will show: nothing jumps as one steps on.
    ever = {row for name in race.searchers for row in race.trace(name, seed)}
    lows, highs = (end(costs[sorted(ever | set(truth))], axis=0) for end in (np.min, np.max))
    for column, update in enumerate((figure.update_xaxes, figure.update_yaxes)):
        low, high = float(lows[column]), float(highs[column])
        edge = 0.06 * (high - low) or 0.1
        axis: dict[str, Any] = {"range": [low - edge, high + edge]}
        if axes[column] < 2:  # size and latency
            axis = log_axis(low, high)
        update(title=_labels(race)[axes[column]], **axis)
    return _framed(figure, 520)


def attainment_figure(race: Race, rival: str) -> go.Figure:
    """Draw the latencies and errors that a quarter, half and three quarters of seeds attain."""
    import plotly.graph_objects as go

    figure = go.Figure()
    corners = {name: attained(race, name) for name in dict.fromkeys((rival, OURS))}
    every = np.vstack([part for parts in corners.values() for part in parts.values()])
    (left, bottom), (right, top) = every.min(axis=0), every.max(axis=0)
    right, top = right * 1.1, top + 0.05 * (top - bottom)
    for name, parts in corners.items():
        colour, symbol = marks(race)[name]
        # Staircases run from the upper edge through the corners out to the right edge.
        low, (x, y), high = (
            np.vstack([(parts[p][0, 0], top), parts[p], (right, parts[p][-1, 1])]).T.tolist()
            for p in PERCENTILES
        )
        area = f"{NAMES[name]}, 25 to 75 % of seeds"
        _add_area(figure, low, high, pale(colour, 0.25), name, area)
        half = f"{NAMES[name]}, half of the seeds"
        line = {"color": colour, "width": 2.5, "dash": "solid" if name == OURS else "dot"}
        inner = len(x) - 2  # the staircase's ends are no corners: no marker, no hover text
        hover = f"{half}: %{{y:.1f}} % wrong at %{{x:.2f}} ms<extra></extra>"
        figure.add_scatter(
            x=x,
            y=y,
            name=half,
            mode="lines+markers",
            line=line | {"shape": "hv"},
            marker={"color": colour, "symbol": symbol, "size": [0, *[9] * inner, 0]},
            legendgroup=name,
            hovertemplate=["<extra></extra>", *[hover] * inner, "<extra></extra>"],
        )
    figure.update_xaxes(title=_labels(race)[1], **log_axis(float(left), float(right)))
    figure.update_yaxes(title=_labels(race)[2])
    return _framed(figure, 460).update_layout(legend={"entrywidth": 240})


def _labels(race: Race) -> tuple[str, str, str]:
    """Return what size, latency and error are called on an axis."""
    latency = race.latency
    size = "Parameters" if race.size == "total" else "Encoder parameters"
    ms = f"Latency (ms, batch {latency.batch_size}, {latency.sequence_length} tokens)"
    return f"{size} (millions)", ms, "Wrong answers on dev (%)"


def _drawn(race: Race, table: int) -> np.ndarray:
    """Return the costs as they are drawn: million parameters, ms, and % wrong on dev."""
    errors = 100 * np.array(race.errors[table], dtype=float)
    return np.column_stack([race.truths[table].costs[:, :2] / (1e6, 1), errors])


def _framed(figure: go.Figure, height: int) -> go.Figure:
    """The legend lists ours first; what a person hid in it stays hidden (`uirevision`)."""
    return theme.laid_out(figure, height, legend={"traceorder": "reversed"}, uirevision="race")


def score_summary(race: Race, score: Score, by: str = "evaluations") -> str:
    """Say where each searcher's median ends, for those who cannot see the chart."""
    ends = []
    for name in race.searchers:
        over_seeds = band(race.curves[name], score, by)
        if over_seeds.x.size:
            value = score.text(over_seeds.median[-1])
            ends.append(f"{NAMES[name]} {value} after {over_seeds.x[-1]:,.0f} {UNITS[by]}")
    return f"{score.label}, medians over seeds: {'; '.join(ends) or 'no seconds are on record'}"


def front_summary(race: Race, seed: int, evaluations: int) -> str:
    """Say how much of the truth's front each searcher has."""
    truth = set(true_front(race, seed))
    counts = ", ".join(
        f"{NAMES[name]} {len(truth.intersection(race.trace(name, seed)[:evaluations]))}"
        for name in race.searchers
    )
    return (
        f"After {count(evaluations, 'evaluation')}, seed {seed}, of {len(truth)} true front "
        f"points: {counts}"
    )


def attainment_summary(race: Race, rival: str) -> str:
    """Say the least error that half of the seeds attain."""
    parts = []
    for name in dict.fromkeys((OURS, rival)):
        least = [
            _drawn(race, race.table(seed))[list(trace), 2].min()
            for seed, trace in enumerate(race.traces[name])
        ]
        half = np.percentile(least, 50, method="inverted_cdf")  # a seed's own, as in `attained`
        parts.append(f"{NAMES[name]} {half:.1f} %")
    return f"Least wrong on dev that half of the seeds attain: {'; '.join(parts)}"
