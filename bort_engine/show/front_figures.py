"""A front as figures, and a click on a figure back as an architecture, or as a runtime.

`layers` and `marks` sort the points into what is drawn, `scatter` and `volume` draw it. Every drawn
point carries `D,A,H,I` as its customdata, an export of the source its runtime: what was chosen is
known by that, not by a selection, which a figure that changes may lose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bort_engine.encoder.space import Architecture
from bort_engine.encoder.timing import Runtime
from bort_engine.encoder.uneven import Uneven, parse_shape
from bort_engine.search.result import Evaluated, Front, Point
from bort_engine.show import front as words
from bort_engine.show import theme

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from bort_engine.show.uneven import Beside

LOSS = "Loss / latency"  # what it loses against what it takes, the size as a mark's area
VIEWS = {  # x, y, and what the colour or the area shows
    LOSS: ("latency", "lost", "size"),
    "Size / latency": ("size", "latency", "error"),
    "Size / error": ("size", "error", "latency"),
}
DEEP = "3-D"
# Once a point is selected, plotly pales all the others; both looks are given for each trace.
LOOKS = {"selected": {"marker": {"opacity": 1}}, "unselected": {"marker": {"opacity": 0.6}}}
# The rings around the points that have a name: symbol and colour.
RINGS = {
    "Source": ("square-open", theme.PURPLE),
    "Largest": ("square-open", theme.PURPLE),
    "Recommended": ("circle-open", theme.ORANGE),
    "Knee": ("diamond-open", theme.BLUE),
    "Bort": ("hexagon-open", theme.GREEN),
    "Pinned": ("square-open", theme.VERMILION),
    "Chosen": ("circle-open", theme.VERMILION),
    "Source, ONNX int8": ("star-open", theme.PURPLE),
    "Source, OpenVINO int8": ("star-diamond-open", theme.PURPLE),
}
EXPORTS = {f"Source, {theme.RUNTIMES[runtime]}": runtime for runtime in words.INT8}
# What is drawn in 3-D, which knows fewer symbols.
SOLID = {
    "x-thin-open": "square",
    "hexagon-open": "diamond",
    "star-open": "cross",
    "star-diamond-open": "x",
}
# Where a ring's name stands, so that names of points alike in latency or error do not overlap.
PLACES = {"Source": "bottom center", "Recommended": "top right", "Knee": "top center"}
PLACES |= {"Source, OpenVINO int8": "top left", "Source, ONNX int8": "top right"}
# The bar above the plot that explains the colours; plotly anchors a horizontal one at its bottom.
BAR = {"orientation": "h", "thickness": 10, "len": 0.7, "x": 0, "xanchor": "left", "y": 1.0}


class Measure(NamedTuple):
    """A number of a point, with the words and the unit it is shown with."""

    name: str
    label: str
    value: Callable[[Evaluated], float]

    def of(self, points: Sequence[Evaluated]) -> list[float]:
        return [self.value(p) for p in points]


TOTAL = Measure("total", "Parameters (millions)", lambda p: p.n_parameters / 1e6)
ENCODER = Measure(
    "effective", "Encoder parameters (millions)", lambda p: p.n_encoder_parameters / 1e6
)
DEV = Measure("dev", "Wrong answers on dev (%)", lambda p: 100 * p.shown_error)
NUMBER = Measure("dev", "1 - correlation on dev (%)", lambda p: 100 * p.shown_error)
PREDICTED = Measure(
    "predicted", "Predicted error (%, from published GLUE scores)", lambda p: 100 * p.error
)


@dataclass(frozen=True, slots=True)
class Axes:
    """What is drawn.

    Attributes:
        view: one of `VIEWS`.
        effective: is the size that of the encoder only?
        promise: is what epsilon promises drawn as well?
        recommended: which point is; see `words.landmarks`.
    """

    view: str = LOSS
    effective: bool = False
    promise: bool = False
    recommended: Point | None = None

    def measures(self, front: Front) -> dict[str, Measure]:
        """Return what shows size, latency and error."""
        batch, tokens = front.latency.batch_size, front.latency.sequence_length
        runtime = theme.RUNTIMES[front.latency.runtime]
        label = f"Latency (ms, {runtime}, batch {batch}, {tokens} tokens)"
        of_kind = {"class": DEV, "number": NUMBER}
        is_source = words.source_is_maximum(front) or words.measured_against(front)
        best = "the source" if is_source else "the largest"
        lost = f"Points of {front.scale.unit} lost to {best}, on dev"
        if words.predicted(front):
            lost = f"GLUE points lost to {best} (predicted)"
        least = words.source_error(front)
        return {
            "size": ENCODER if self.effective else TOTAL,
            "lost": Measure("lost", lost, lambda p: 100 * (p.shown_error - least)),
            "latency": Measure("latency", label, lambda p: p.latency_ms),
            "error": PREDICTED if words.predicted(front) else of_kind[front.scale.kind],
        }


@dataclass(frozen=True, slots=True)
class Layer:
    """Points that are drawn alike; without a colour of its own, a measure colours each point."""

    name: str
    symbol: str
    colour: str | None
    points: list[Point]


def layers(front: Front) -> list[Layer]:
    """Sort the points by what a person must tell apart; the last layer is the front itself."""
    beaten, on_front, hollow = "Beaten by another", "On the front", ""
    if words.predicted(front):  # a predicted point never looks like a measured one
        beaten, on_front, hollow = "Beaten (predicted)", "Front (error predicted)", "-open"
    off = [p for p in front.points if not p.pareto and not p.at_chance]
    chance = [p for p in front.points if p.at_chance]
    every = [
        Layer(beaten, f"diamond{hollow}", theme.GREY, off),
        Layer(words.AT_CHANCE, "x-thin-open", theme.VERMILION, chance),
        Layer(on_front, f"circle{hollow}", None, list(front.above_chance)),
    ]
    return [layer for layer in every if layer.points]


def marks(front: Front, recommended: Point | None = None) -> list[Layer]:
    """Return the rings around the points that have a name, and the source's int8 export."""
    named = words.landmarks(front, recommended)
    exports = words.exported(front)
    named |= {name: exports.get(runtime) for name, runtime in EXPORTS.items()}
    return [Layer(name, *RINGS[name], [point]) for name, point in named.items() if point]


def _trace(front: Front, layer: Layer, marker: dict[str, Any], **axes: Measure) -> dict[str, Any]:
    runtime = EXPORTS.get(layer.name, "")
    hint = f"<br>Click for the front in {theme.RUNTIMES[runtime]}" if runtime else ""
    return {
        "name": layer.name,
        "mode": "markers",
        "marker": {"symbol": layer.symbol} | marker,
        "customdata": [[runtime or str(p.architecture)] for p in layer.points],
        "hovertext": [
            f"<b>{p.architecture}</b><br>{words.shape(p)}<br>{words.brief(front, p)}{hint}"
            for p in layer.points
        ],
        "hovertemplate": "%{hovertext}<extra></extra>",
    } | {axis: measure.of(layer.points) for axis, measure in axes.items()}


def scatter(
    front: Front,
    axes: Axes,
    simple: Mapping[str, float] | None = None,
    chosen: Point | None = None,
    beside: Beside | None = None,
    pinned: Point | None = None,
) -> go.Figure:
    """Draw the front in two dimensions, the third as colour or area.

    Args:
        simple: errors of what one would try instead, by name.
        chosen: the point whose card is shown.
        beside: shapes whose layers differ, drawn as well.
        pinned: the point that the chosen one is held against.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    others = beside.shapes if beside else ()
    if axes.view == LOSS:
        _draw_loss(figure, front, axes, simple or {}, others)
    else:
        _draw_costs(figure, front, axes, others)
    x, y, _ = (axes.measures(front)[name] for name in VIEWS[axes.view])
    if beside:
        _draw_uneven(figure, front, beside, x, y)
        chosen = None if beside.chosen else chosen
    named = [p for layer in marks(front, axes.recommended) for p in layer.points]
    for name, point, width in ("Pinned", pinned, 2), ("Chosen", chosen, 3):
        if not point or (axes.view == LOSS and point.at_chance):
            continue
        ring = {"size": 30, "color": theme.VERMILION, "line": {"width": width}}
        layer = Layer(name, RINGS[name][0], theme.VERMILION, [point])
        figure.add_scatter(**_trace(front, layer, ring, x=x, y=y))
        figure.data[-1].update(_label(layer, "" if point in named else name, "bottom center"))
        named.append(point)
    corner = {"xref": "paper", "yref": "paper", "x": 1, "y": 0}
    corner |= {"xanchor": "right", "yanchor": "bottom", "showarrow": False, "font": {"size": 11}}
    figure.add_annotation(
        text=f"epsilon {front.epsilon:g}: {100 * front.epsilon:.0f} % of size and time, "
        f"{front.promised_points:.1f} points",
        **corner,
    )
    height = 420 if axes.view == LOSS else 540
    return theme.laid_out(figure, height, top=10, uirevision=axes.view)


def _draw_uneven(figure: go.Figure, front: Front, beside: Beside, x: Measure, y: Measure) -> None:
    """Draw shapes whose layers differ, a ring around the chosen one, and name the best."""
    from bort_engine.show import uneven

    ring = {"symbol": "circle-open", "color": theme.VERMILION, "size": 26, "line": {"width": 3}}
    for name, shapes, marker in (
        (uneven.NAME, beside.shapes, {"symbol": "triangle-up", "color": theme.GREEN, "size": 10}),
        ("Chosen", [beside.chosen] if beside.chosen else [], ring),
    ):
        if not shapes:
            continue
        figure.add_scatter(
            x=x.of(shapes),
            y=y.of(shapes),
            name=name,
            mode="markers",
            marker=marker,
            showlegend=name == uneven.NAME,
            customdata=[[str(one.shape)] for one in shapes],
            hovertext=[
                f"<b>{one.shape}</b><br>{uneven.NAME}<br>{uneven.brief(front, one)}"
                for one in shapes
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            **LOOKS,
        )
    if best := beside.best:
        axes = (figure.layout.xaxis, x.value(best)), (figure.layout.yaxis, y.value(best))
        at = [math.log10(value) if axis.type == "log" else value for axis, value in axes]
        # Off the front, where there is nothing in its way but points that are beaten.
        arrow = {"arrowcolor": theme.GREEN, "arrowwidth": 1.5, "standoff": 6, "ax": 40, "ay": 70}
        figure.add_annotation(x=at[0], y=at[1], text="Layers differ", **arrow)


def _draw_loss(
    figure: go.Figure,
    front: Front,
    axes: Axes,
    simple: Mapping[str, float],
    others: Sequence[Evaluated],
) -> None:
    """Draw what is lost against the latency: up is better, and left is faster."""
    x, y, size = (axes.measures(front)[name] for name in VIEWS[LOSS])
    largest = size.value(front.source_point)

    def width(point: Point) -> float:
        return 6 + 18 * math.sqrt(size.value(point) / largest)

    points = front.above_chance or front.points
    if axes.promise:
        _draw_epsilon(figure, front, x, y)
    ordered = sorted(points, key=lambda p: (x.value(p), y.value(p)))
    least = np.minimum.accumulate([np.inf, *y.of(ordered)])
    line = [p for p, before in zip(ordered, least, strict=False) if y.value(p) < before]
    figure.add_scatter(
        x=x.of(line),
        y=y.of(line),
        mode="lines",
        line={"color": theme.BLUE, "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    for layer in layers(front):
        if layer.name == words.AT_CHANCE and front.above_chance:
            continue  # they would stretch the axis
        on_front = layer.colour is None
        marker = {
            "size": [width(p) if on_front else 6 for p in layer.points],
            "color": theme.BLUE if on_front else layer.colour,
            "opacity": 0.8 if on_front else 0.35,
        }
        figure.add_scatter(**_trace(front, layer, marker, x=x, y=y), **LOOKS)
    rings = marks(front, axes.recommended)
    for layer in rings:
        ring = {"size": width(layer.points[0]) + 7, "color": layer.colour, "line": {"width": 2.5}}
        figure.add_scatter(**_trace(front, layer, ring, x=x, y=y))
        # Of two names of a point the first is written: a narrow screen has no room for both.
        first = next(x for x in rings if x.points == layer.points)
        name = layer.name.removeprefix("Source, ") if layer is first else ""
        figure.data[-1].update(_label(layer, name, PLACES.get(layer.name, "top center")))
    drawn = [*points, *(p for layer in rings for p in layer.points), *others]
    low, high = min(x.of(drawn)), max(x.of(drawn))
    deepest = max(y.of(drawn))
    for name, error in simple.items():
        lost = 100 * (error - words.source_error(front))
        if 0 < lost < 1.1 * deepest:
            figure.add_hline(
                lost,
                line={"dash": "dot", "color": theme.GREY},
                annotation_text=name,
                annotation_position="top right",
            )
    figure.update_xaxes(title=x.label, **theme.log_axis(low, high, 1.25, (1, 2, 3, 5, 7)))
    room = 0.08 * max(deepest, 1.0)
    figure.update_yaxes(title=y.label, range=[deepest + room, min(y.of(drawn)) - 1.5 * room])


def _label(layer: Layer, text: str, place: str) -> dict[str, Any]:
    """Return what writes a name beside a mark of one point, instead of into the legend."""
    return {
        "mode": "markers+text",
        "text": [text] * len(layer.points),
        "textposition": place,
        "cliponaxis": False,
        "showlegend": False,
    }


def _draw_costs(figure: go.Figure, front: Front, axes: Axes, others: Sequence[Evaluated]) -> None:
    """Draw two costs, the third as colour."""
    measures = axes.measures(front)
    x, y, colour = (measures[name] for name in VIEWS[axes.view])
    if axes.promise:
        _draw_epsilon(figure, front, x, y)
    for layer in layers(front):
        marker: dict[str, Any] = {"size": 9, "color": layer.colour}
        marker["line"] = {"width": 2 if "thin" in layer.symbol else 1}
        if layer.colour is None:
            marker = {
                "size": 13,
                "color": colour.of(layer.points),
                "colorscale": theme.SCALE,
                "colorbar": BAR | {"title": {"text": colour.label, "side": "top"}},
                "line": {"width": 2.5 if "open" in layer.symbol else 1},
            }
        figure.add_scatter(**_trace(front, layer, marker, x=x, y=y), **LOOKS)
    rings = marks(front, axes.recommended)
    for layer in rings:
        ring = {"size": 21, "color": layer.colour, "line": {"width": 2.5}}
        figure.add_scatter(**_trace(front, layer, ring, x=x, y=y), **LOOKS)
    for update, measure, is_log in (
        (figure.update_xaxes, x, True),
        (figure.update_yaxes, y, y.name == "latency"),
    ):
        named = (p for layer in rings for p in layer.points)
        values = measure.of([*front.points, *named, *others])
        ticks = theme.log_axis(min(values), max(values), 1.25, (1, 2, 3, 5, 7)) if is_log else {}
        update(title=measure.label, **ticks)


def _draw_epsilon(figure: go.Figure, front: Front, x: Measure, y: Measure) -> None:
    """Show what epsilon means here: the cells, or how much lower the others can lie.

    Both are promised for the size that the search minimised; for the other one nothing is drawn.
    """
    thin = {"color": theme.GREY, "width": 0.6}
    own_size, reach = front.size, 1 + front.epsilon
    if (x.name, y.name, front.selection) == (own_size, "latency", "cover"):
        sizes = [p.size(own_size) for p in front.points]
        columns = [border / 1e6 for border in cell_borders(sizes, front.epsilon)]
        rows = cell_borders(y.of(front.points), front.epsilon)
        grid = {"showgrid": True, "gridcolor": theme.pale(theme.GREY, 0.25)}
        figure.update_xaxes(showgrid=False, minor=grid | {"tickvals": columns})
        figure.update_yaxes(showgrid=False, minor=grid | {"tickvals": rows})
        name = f"Cells (steps of {100 * front.epsilon:.0f} %)"
        figure.add_scatter(x=[None], y=[None], mode="lines", line=thin, name=name)  # legend only
    elif x.name in (own_size, "latency") and y.name in ("dev", "predicted", "lost"):
        # At each x the least y of all points not to the right; drawn as steps (shape "hv").
        xs, ys = np.array(sorted((x.value(p), y.value(p)) for p in front.pareto)).T
        ys = np.minimum.accumulate(ys)
        step = {"mode": "lines", "line": thin | {"dash": "dot", "shape": "hv"}, "hoverinfo": "skip"}
        figure.add_scatter(x=[*xs, xs[-1]], y=[*ys, ys[-1]], showlegend=False, **step)
        figure.add_scatter(
            x=[*xs / reach, xs[-1]],
            y=[*ys - front.promised_points, ys[-1] - front.promised_points],
            name="Where others can lie",
            fill="tonexty",
            fillcolor=theme.pale(theme.GREY, 0.13),
            **step,
        )


def cell_borders(values: Sequence[float], epsilon: float) -> list[float]:
    """Return the borders of the FPTAS's cells around these costs: powers of 1 + epsilon."""
    exponents = np.log(values) / math.log1p(epsilon)
    first, last = math.floor(exponents.min()), math.floor(exponents.max()) + 1
    return [(1 + epsilon) ** k for k in range(first, last + 1)]


def volume(front: Front, axes: Axes) -> go.Figure:
    """Draw size, latency and error in three dimensions, to be turned; it cannot be clicked."""
    import plotly.graph_objects as go

    size, latency, error = (axes.measures(front)[name] for name in ("size", "latency", "error"))
    figure = go.Figure()
    rings = marks(front, axes.recommended)
    for layer in layers(front) + rings:
        marker: dict[str, Any] = {
            "symbol": SOLID.get(layer.symbol, layer.symbol),
            "size": 10 if layer in rings else 5,
            "color": layer.colour or error.of(layer.points),
            "colorscale": theme.SCALE,
        }
        figure.add_scatter3d(**_trace(front, layer, marker, x=size, y=latency, z=error))
    axis = {"backgroundcolor": "rgba(0,0,0,0)", "gridcolor": theme.GREY, "color": theme.GREY}
    scene = {
        "xaxis": axis | {"title": {"text": size.label}, "type": "log"},
        "yaxis": axis | {"title": {"text": latency.label}, "type": "log"},
        "zaxis": axis | {"title": {"text": error.label}},
    }
    return theme.laid_out(figure, 440, scene=scene)


def chosen(event: Any) -> Architecture | Uneven | Runtime | None:
    """Read a chart's selection: a shape, or the runtime of an export of the source.

    None where nothing, or nothing sensible, is selected.
    """
    try:
        data = event["selection"]["points"][0]["customdata"]
        text = data if isinstance(data, str) else str(data[0])
        exported: Sequence[Runtime] = [runtime for runtime in words.INT8 if runtime == text]
        return exported[0] if exported else parse_shape(text)
    except (KeyError, IndexError, TypeError, ValueError):
        return None
