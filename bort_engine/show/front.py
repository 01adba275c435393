"""A front as figures, a table and plain words; and a click on a figure back as an architecture.

Compute, then draw: `layers` sorts the points into what is drawn, `scatter` and `volume` draw it. A
figure depends on the front and the axes only, never on what a person has chosen: a changed figure
would lose the selection. Every drawn point carries `D,A,H,I` as its customdata.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.runs.text import literal
from bort_engine.search.result import Front, Point
from bort_engine.show.theme import (
    BLUE,
    GREEN,
    GREY,
    LEGEND,
    ORANGE,
    PURPLE,
    SCALE,
    VERMILION,
    laid_out,
    log_axis,
    millions,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

WARNINGS = ("No better than guessing", "Not on the front")
VIEWS: Mapping[str, tuple[str, str, str]] = {
    "Size / latency": ("size", "latency", "error"),
    "Size / error": ("size", "error", "latency"),
    "Latency / error": ("latency", "error", "size"),
}


@dataclass(frozen=True, slots=True)
class Axes:
    """What is drawn where: a view, and which of two sizes and of two errors it shows.

    Raises:
        ValueError: there is no such view.
    """

    view: str = "Size / latency"
    effective: bool = False
    surrogate: bool = False

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise ValueError(f"view is {self.view!r}; allowed: {', '.join(VIEWS)}.")

    def measures(self, front: Front) -> tuple[Measure, Measure, Measure]:
        """Return what x, y and colour show."""
        error = "surrogate" if self.surrogate else "dev"
        swap = {
            "size": "effective" if self.effective else "size",
            "error": "predicted" if predicted(front) else error,
        }
        x, y, colour = (swap.get(name, name) for name in VIEWS[self.view])
        return measure(front, x), measure(front, y), measure(front, colour)


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of a point, with the words and the unit it is shown with."""

    name: str
    label: str
    value: Callable[[Point], float]


def predicted(front: Front) -> bool:
    return front.oracle == "glue"


def source_is_maximum(front: Front) -> bool:
    """Is T the source itself, or only the largest architecture of a smaller space?"""
    return front.source in sources and sources[front.source].architecture == front.maximum


def measure(front: Front, name: str) -> Measure:
    """Return one of size, effective, latency, dev, surrogate, predicted, labelled for a front."""
    latency = front.latency
    every = {
        "size": ("Parameters (millions)", lambda p: p.n_parameters / 1e6),
        "effective": ("Encoder parameters (millions)", lambda p: p.n_encoder_parameters / 1e6),
        "latency": (
            f"Latency (ms, batch {latency.batch_size}, {latency.sequence_length} tokens)",
            lambda p: p.latency_ms,
        ),
        "dev": ("Wrong answers on dev (%)", lambda p: 100 * p.shown_error),
        "surrogate": ("Surrogate error ê (nats)", lambda p: p.error),
        "predicted": ("Predicted error (%, from published GLUE scores)", lambda p: 100 * p.error),
    }
    label, value = every[name]
    return Measure(name, label, value)


@dataclass(frozen=True, slots=True)
class Layer:
    """Points that are drawn alike."""

    name: str
    symbol: str
    colour: str | None
    points: tuple[Point, ...]


def layers(front: Front) -> list[Layer]:
    """Sort the points by what a person must tell apart; the last layer is the front itself."""
    dominated = tuple(p for p in front.points if not p.pareto and not p.at_chance)
    chance = tuple(p for p in front.points if p.at_chance)
    able = tuple(p for p in front.points if p.pareto and not p.at_chance)
    if predicted(front):
        found = [Layer("Front (error predicted)", "circle-open", None, able)]
        name = "Beaten (predicted)"
    else:
        found, name = [Layer("On the front", "circle", None, able)], "Beaten by another"
    found.insert(0, Layer("No better than guessing", "x-thin-open", VERMILION, chance))
    found.insert(0, Layer(name, "diamond-open" if predicted(front) else "diamond", GREY, dominated))
    return [layer for layer in found if layer.points]


def marks(front: Front) -> list[Layer]:
    """Return the rings around the points that have a name."""
    bort = tuple(
        p
        for p in front.points
        if p.architecture == sources["bort"].architecture and predicted(front)
    )
    best, knee = front[front.best], front.knee
    found = [
        Layer(
            "Source" if source_is_maximum(front) else "Largest",
            "square-open",
            PURPLE,
            (front.source_point,),
        ),
        Layer("Best W", "circle-open", ORANGE, () if best.at_chance else (best,)),
        Layer("Knee", "diamond-open", BLUE, (knee,) if knee else ()),
        Layer("Bort", "hexagon-open", GREEN, bort),
    ]
    return [layer for layer in found if layer.points]


def scatter(front: Front, axes: Axes) -> go.Figure:
    """Draw the front in two dimensions, the third as colour."""
    import plotly.graph_objects as go

    x, y, colour = axes.measures(front)
    figure = go.Figure()
    _draw_epsilon(figure, front, x, y)
    for layer in layers(front):
        marker: dict[str, Any] = {"symbol": layer.symbol, "size": 9}
        if layer.colour:
            marker |= {"color": layer.colour, "line": {"width": 2 if "thin" in layer.symbol else 1}}
        else:
            marker |= _coloured(layer, colour)
        figure.add_scatter(**_trace(layer, x, y), marker=marker)
    for layer in marks(front):
        ring = {"symbol": layer.symbol, "size": 21, "color": layer.colour, "line": {"width": 2.5}}
        figure.add_scatter(**_trace(layer, x, y), marker=ring)
    for update, measure, is_log in (
        (figure.update_xaxes, x, True),
        (figure.update_yaxes, y, y.name == "latency"),
    ):
        values = [measure.value(p) for p in front.points]
        ticks = log_axis(min(values), max(values), 1.25, (1, 2, 3, 5, 7)) if is_log else {}
        update(title=measure.label, **ticks)
    return laid_out(figure, 540, top=0)


def _trace(layer: Layer, x: Measure, y: Measure) -> dict[str, Any]:
    return {
        "name": layer.name,
        "mode": "markers",
        "x": [x.value(p) for p in layer.points],
        "y": [y.value(p) for p in layer.points],
        "customdata": [[str(p.architecture)] for p in layer.points],
        "text": [hover(p) for p in layer.points],
        "hovertemplate": "%{text}<extra></extra>",
        "selected": {"marker": {"opacity": 1, "size": 19}},
        "unselected": {"marker": {"opacity": 0.6}},
    }


def _coloured(layer: Layer, colour: Measure) -> dict[str, Any]:
    bar = {
        "title": {"text": colour.label, "side": "top"},
        "orientation": "h",
        "thickness": 10,
        "y": 1.0,
        "yanchor": "bottom",
        "len": 0.7,
        "x": 0,
        "xanchor": "left",
    }
    return {
        "color": [colour.value(p) for p in layer.points],
        "colorscale": SCALE,
        "colorbar": bar,
        "size": 13,
        "line": {"width": 2.5 if "open" in layer.symbol else 1},
    }


def _draw_epsilon(figure: go.Figure, front: Front, x: Measure, y: Measure) -> None:
    """Show what epsilon means here: the cells, or how much lower the untrained can lie."""
    thin = {"color": GREY, "width": 0.6}
    if y.name == "latency" and x.name == "size" and front.selection == "cover":
        figure.update_xaxes(showgrid=False)
        figure.update_yaxes(showgrid=False)
        xs, ys = cell_lines(front)
        figure.add_scatter(
            x=xs, y=ys, mode="lines", line=thin, opacity=0.4, hoverinfo="skip",
            name=f"Cells (steps of {100 * front.epsilon:.0f} %)",
        )  # fmt: skip
    elif y.name in ("surrogate", "predicted"):
        steps = staircase([(x.value(p), y.value(p)) for p in front.pareto])
        reach = 1 + front.epsilon
        lower = [(a / reach, b / reach) for a, b in steps]
        last = steps[-1][0]
        lower.append((last, lower[-1][1]))
        band = f"Where the untrained can lie (epsilon {front.epsilon:g})"
        for line, fill, name in ((steps, None, "Edge"), (lower, "tonexty", band)):
            figure.add_scatter(
                x=[a for a, _ in line],
                y=[b for _, b in line],
                mode="lines",
                line=thin | {"dash": "dot", "shape": "hv"},
                fill=fill,
                fillcolor="rgba(138,143,152,0.13)",
                hoverinfo="skip",
                name=name,
                showlegend=fill is not None,
            )


def cell_lines(front: Front) -> tuple[list[float | None], list[float | None]]:
    """Return the borders of the FPTAS's cells, powers of 1 + epsilon, as one broken line."""
    reach = math.log1p(front.epsilon)
    sizes, times = [p.n_parameters for p in front.points], [p.latency_ms for p in front.points]

    def borders(values: list[Any]) -> list[float]:
        first, last = (math.floor(math.log(v) / reach) for v in (min(values), max(values)))
        return [math.exp(k * reach) for k in range(first, last + 2)]

    rows, columns = borders(times), [v / 1e6 for v in borders(sizes)]
    xs: list[float | None] = []
    ys: list[float | None] = []
    for column in columns:
        xs += [column, column, None]
        ys += [rows[0], rows[-1], None]
    for row in rows:
        xs += [columns[0], columns[-1], None]
        ys += [row, row, None]
    return xs, ys


def staircase(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the lower left corners of a set: at each x the least y of all not to the right."""
    steps: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if not steps or y < steps[-1][1]:
            steps.append((x, y))
    return [*steps, (max(x for x, _ in points), steps[-1][1])]


def volume(front: Front, axes: Axes) -> go.Figure:
    """Draw size, latency and error in three dimensions, to be turned; it cannot be clicked."""
    import plotly.graph_objects as go

    size = measure(front, "effective" if axes.effective else "size")
    latency = measure(front, "latency")
    error = Axes("Size / error", surrogate=axes.surrogate).measures(front)[1]
    figure = go.Figure()
    named = marks(front)
    for layer in layers(front) + named:
        marker: dict[str, Any] = {"size": 10 if layer in named else 5}
        marker["symbol"] = {"x-thin-open": "square", "hexagon-open": "diamond"}.get(
            layer.symbol, layer.symbol
        )  # three dimensions know fewer symbols
        if layer.colour:
            marker |= {"color": layer.colour}
        else:
            marker |= {"color": [error.value(p) for p in layer.points], "colorscale": SCALE}
        figure.add_scatter3d(
            name=layer.name,
            mode="markers",
            x=[size.value(p) for p in layer.points],
            y=[latency.value(p) for p in layer.points],
            z=[error.value(p) for p in layer.points],
            customdata=[[str(p.architecture)] for p in layer.points],
            text=[hover(p) for p in layer.points],
            hovertemplate="%{text}<extra></extra>",
            marker=marker,
        )
    axis = {"backgroundcolor": "rgba(0,0,0,0)", "gridcolor": GREY, "color": GREY}
    figure.update_layout(
        height=520,
        margin={"l": 0, "r": 0, "t": 10, "b": 10},
        legend=LEGEND,
        scene={
            "xaxis": axis | {"title": {"text": size.label}, "type": "log"},
            "yaxis": axis | {"title": {"text": latency.label}, "type": "log"},
            "zaxis": axis | {"title": {"text": error.label}},
        },
    )
    return figure


def chosen(event: Any) -> Architecture | None:
    """Read a chart's selection; None where nothing, or nothing sensible, is selected."""
    try:
        data = event["selection"]["points"][0]["customdata"]
        return Architecture.parse(data if isinstance(data, str) else str(data[0]))
    except (KeyError, IndexError, TypeError, ValueError):
        return None


# Words. Sentences about a front or a point, for a card, a caption or a screen reader.


def hover(point: Point) -> str:
    a = point.architecture
    error = f"predicted error {100 * point.error:.1f} %"
    if point.dev_error is not None:
        error = f"{100 * point.dev_error:.1f} % wrong on dev · ê {point.error:.3f}"
    return (
        f"<b>{a}</b><br>{a.num_hidden_layers} layers, {a.num_attention_heads} heads, "
        f"hidden {a.hidden_size}, intermediate {a.intermediate_size}<br>"
        f"{millions(point.n_parameters)} parameters · {point.latency_ms:.2f} ms<br>{error}"
    )


def shape(point: Point) -> str:
    a = point.architecture
    layers = f"{a.num_hidden_layers} layer{'s' * (a.num_hidden_layers > 1)}"
    heads = f"{a.num_attention_heads} head{'s' * (a.num_attention_heads > 1)}"
    return (
        f"{layers}, {heads}, hidden size {a.hidden_size}, intermediate size {a.intermediate_size}"
    )


def names(front: Front, point: Point) -> list[str]:
    """Return what a point is called: source, best W, knee, and the warnings."""
    found = [layer.name for layer in marks(front) if point in layer.points]
    if point.at_chance:
        found.append("No better than guessing")
    elif not point.pareto:
        found.append("Not on the front")
    return found


def why(front: Front, point: Point) -> str:
    """Say why a point is on the front, or why it is not."""
    if point.at_chance:
        return (
            "It answers no better than someone who always names the more frequent class, so it is "
            "shown but never recommended."
        )
    if not point.pareto:
        better = next(
            p
            for p in front.pareto
            if p.size(front.size) <= point.size(front.size)
            and p.latency_ms <= point.latency_ms
            and p.error <= point.error
        )
        return f"Not on the front: {better.architecture} is {_against(front, better, point)}."
    reasons = [
        f"{_against(front, point, rival)} than {rival.architecture}"
        for rival, _ in front.rivals(point)
        if not rival.at_chance
    ]
    start = "On the front: nothing measured is as small, as fast and as low in ê at once."
    if predicted(front):
        start = "On the front: nothing predicted is as small, as fast and as accurate at once."
    return f"{start} It is {'; '.join(reasons)}." if reasons else start


def _against(front: Front, point: Point, other: Point) -> str:
    """Say on which axes the first beats the second, and by how much."""
    kind = "predicted error" if predicted(front) else "error ê"
    words = []
    size, larger = point.size(front.size), other.size(front.size)
    if size < larger:
        words.append(f"{100 * (1 - size / larger):.0f} % smaller")
    if point.latency_ms < other.latency_ms:
        words.append(f"{100 * (1 - point.latency_ms / other.latency_ms):.0f} % faster")
    if point.error < other.error:
        words.append(f"{100 * (1 - point.error / other.error):.1f} % lower in {kind}")
    return " and ".join(words) or "equal in all three"


def reference(front: Front) -> str:
    """Name what a point is compared with."""
    if source_is_maximum(front):
        return f"the source, {front.maximum}"
    return f"the largest of the space, {front.maximum}"


def title(front: Front) -> str:
    """Say what was asked: source, task and epsilon."""
    return f"{literal(front.source)} on {literal(front.task)}, epsilon {front.epsilon:g}"


def origin(front: Front) -> str:
    """Say in a sentence or two where the front's numbers come from."""
    made, device = front.provenance.made, front.latency.device
    where = literal(f"{made.machine}, {made.made_on}")
    report = front.latency
    recorded = f", recorded {literal(report.made_on)}" if report.origin == "recorded" else ""
    timing = (
        f"Latency: batch {report.batch_size}, {report.sequence_length} tokens, "
        f"{report.threads} threads, {literal(device)}{recorded}; "
        f"{100 * report.median_relative_error:.1f} % median error on "
        f"{report.n_held_out} held-out shapes"
    )
    if predicted(front):
        off = front.provenance.predictor
        known = f", {100 * off.leave_one_out:.1f} % off where one is left out" if off else ""
        return (
            "Sizes are exact. Errors are **predicted** from the published GLUE scores of plain "
            f"BERTs{known}; nothing was trained. {timing}."
        )
    verb = "Recorded" if front.origin == "recorded" else "Measured"
    whole = front.provenance.whole_space_size
    part = ""
    if front.space_size < whole:
        part = f" {front.space_size} of the space's {whole} architectures are on record."
    return f"{verb} on {where}.{part} Sizes are exact, errors measured by brief training. {timing}."


def of_record(front: Front) -> str:
    """Say that a recorded front speaks for a part of its space only, where that is so."""
    whole = front.provenance.whole_space_size
    partly = front.space_size < whole
    return f" on record, of the space's {whole}," if partly else ""


def promise(front: Front) -> str:
    """Say what the guarantee is, and how it stood up to checking."""
    check = front.guarantee
    said = (
        f"Every one of the {front.space_size} architectures{of_record(front)} has one here that is "
        f"at most {100 * front.epsilon:.0f} % larger, slower and worse. "
    )
    if predicted(front):
        return said
    said += (
        f"**{front.n_evaluated}** of them were trained for that ({front.n_cells} cells). On all "
        f"{check.n_evaluated} that were measured, "
        f"**{100 * front.achieved_epsilon:.0f} %** was enough."
    )
    pairs = check.order_pairs
    if pairs:
        said += (
            f" The promise for the error rests on larger being no worse: "
            f"{check.order_violations} of {pairs} pairs break that."
        )
    return said


FORMATS = {
    "Size (M)": "%.1f",
    "Latency (ms)": "%.2f",
    "Wrong on dev (%)": "%.1f",
    "Predicted error (%)": "%.1f",
    "ê (nats)": "%.3f",
    "W": "%.2f",
}


def table(front: Front) -> pd.DataFrame:
    """Return the points as a person reads them: the front first, then by size."""
    import pandas as pd

    ordered = sorted(front.points, key=lambda p: (not p.pareto or p.at_chance, p.n_parameters))
    error = "Predicted error (%)" if predicted(front) else "Wrong on dev (%)"
    rows = [
        {
            "D,A,H,I": str(p.architecture),
            "Note": ", ".join(names(front, p)),
            "Size (M)": p.n_parameters / 1e6,
            "Latency (ms)": p.latency_ms,
            error: 100 * p.shown_error,
            "ê (nats)": p.error,
            "W": p.w,
        }
        for p in ordered
    ]
    found = pd.DataFrame(rows)
    return found.drop(columns="ê (nats)") if predicted(front) else found


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of the card: its label, its text, and how it compares with the source."""

    label: str
    text: str
    delta: str | None
    more_is_better: bool = False


def facts(front: Front, point: Point) -> list[Fact]:
    """Return the card's four numbers, each against the source."""
    source = front.source_point

    def share(mine: float, theirs: float) -> str | None:
        return None if point == source else f"{100 * (mine / theirs - 1):+.0f} %"

    score = "GLUE score, predicted" if predicted(front) else "Right on dev"
    unit = "" if predicted(front) else " %"
    lost = 100 * (source.shown_error - point.shown_error)
    return [
        Fact(
            "Parameters, exact",
            millions(point.n_parameters),
            share(point.n_parameters, source.n_parameters),
        ),
        Fact(
            "Encoder only, exact",
            millions(point.n_encoder_parameters),
            share(point.n_encoder_parameters, source.n_encoder_parameters),
        ),
        Fact(
            "Latency, predicted",
            f"{point.latency_ms:.2f} ms",
            share(point.latency_ms, source.latency_ms),
        ),
        Fact(
            score,
            f"{100 * (1 - point.shown_error):.1f}{unit}",
            None if point == source else f"{lost:+.1f} points",
            more_is_better=True,
        ),
    ]


@dataclass(frozen=True, slots=True)
class Range:
    """A budget's slider: its label, its ends (`high` leaves nothing out), step and first value."""

    label: str
    low: float
    high: float
    step: float
    start: float


def budgets(front: Front) -> dict[str, Range]:
    """Return what can be asked for: most latency, most parameters, most accuracy lost."""
    able = [p for p in front.pareto if not p.at_chance] or list(front.points)
    worst = max(p.shown_error for p in able) - front.source_point.shown_error
    times, sizes = [p.latency_ms for p in able], [p.n_parameters / 1e6 for p in able]
    lost = "At most (points of accuracy lost)"
    if predicted(front):
        lost = "At most (GLUE points lost, predicted)"
    return {
        "latency": _range("At most (ms)", min(times), max(times)),
        "size": _range("At most (million parameters)", min(sizes), max(sizes)),
        "lost": _range(lost, 0.0, 100 * max(worst, 0.001), share=0.5),
    }


def _range(label: str, low: float, high: float, share: float = 1.0) -> Range:
    """Round outwards to about a hundred steps of 1, 2 or 5 in the last place."""
    rough = max(high - low, 1e-3) / 100
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough)
    digits = max(0, -math.floor(math.log10(step)))
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    start = first + round(share * (last - first))
    return Range(label, *(round(n * step, digits) for n in (first, last, 1, start)))


def badge(front: Front) -> str:
    return {"recorded": "Recorded", "predicted": "Predicted"}.get(front.origin, "Measured")


def brief(front: Front, point: Point) -> str:
    """Say a point's three numbers in one line."""
    score = f"{100 * (1 - point.shown_error):.1f} % right on dev"
    if predicted(front):
        score = f"GLUE {100 * (1 - point.shown_error):.1f} (predicted)"
    return f"{millions(point.n_parameters)} parameters, {point.latency_ms:.2f} ms, {score}"


def summary(front: Front) -> str:
    """Say the chart's message, for those who cannot see it."""
    able = sorted(
        (p for p in front.pareto if not p.at_chance), key=lambda p: (p.n_parameters, p.latency_ms)
    )
    if not able:
        return f"No point of {front.source} is better than guessing"
    small, large = able[0], able[-1]
    return (
        f"{len(able)} points on the front of {front.source}, from {small.architecture} "
        f"({brief(front, small)}) to {large.architecture} ({brief(front, large)})"
    )
