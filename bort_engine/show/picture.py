"""A plotly figure as a still SVG picture, for a page that is small and needs no network.

plotly's own pages hold all of plotly, 4.6 MB. This draws what the figures of races are made of:
scatter traces with lines, steps, marks and areas; logarithmic axes; horizontal lines; a legend.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes

MARKS = {
    "circle": "o",
    "x": "X",
    "diamond": "D",
    "square": "s",
    "triangle-up": "^",
    "triangle-down": "v",
    "star": "*",
    "pentagon": "p",
    "hexagon": "h",
    "star-diamond": "d",
    "hourglass": "P",
}
DASHES = {None: "-", "solid": "-", "dot": ":", "dash": "--"}
INCH = 96  # pixels, as in CSS
POINT = 72 / INCH  # of matplotlib's sizes, in a pixel


def to_svg(figure: go.Figure, name: str) -> str:
    """Return an `svg` element, 960 pixels wide; `name` keeps its ids apart on a page."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(
        # Text stays text, "$" a dollar sign, and the same figure is the same picture again.
        {"svg.fonttype": "none", "text.parse_math": False, "svg.hashsalt": name}
    )
    layout: Any = figure.layout
    drawing = Figure(figsize=(960 / INCH, layout.height / INCH), layout="constrained")
    axes = drawing.add_subplot()
    below: np.ndarray | None = None
    for trace in figure.data:
        below = _draw(axes, trace, below)
    for line in layout.shapes:
        style = {"color": line.line.color, "linestyle": DASHES[line.line.dash]}
        axes.axhline(line.y0, linewidth=1, **style)
    _scale(layout.xaxis, axes.set_xscale, axes.set_xticks, axes.set_xlim)
    _scale(layout.yaxis, axes.set_yscale, axes.set_yticks, axes.set_ylim)
    axes.set(xlabel=layout.xaxis.title.text, ylabel=layout.yaxis.title.text)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if layout.legend.traceorder == "reversed":
        handles, labels = handles[::-1], labels[::-1]
    drawing.legend(handles, labels, loc="outside lower left", ncols=4, frameon=False)
    file = StringIO()
    drawing.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _draw(axes: Axes, trace: Any, below: np.ndarray | None) -> np.ndarray:
    """Draw a trace; return its line (n, 2), to which the next one may be filled."""
    x, y = (np.array(values, dtype=float) for values in (trace.x, trace.y))
    is_step = trace.line.shape == "hv"
    line = np.column_stack([x, y])
    if is_step:  # along the old height, then up or down; most steps of a score are no change
        turns = [True, *(np.diff(y[:-1]) != 0), True] if len(y) > 1 else slice(None)
        line = np.column_stack([np.repeat(x[turns], 2)[1:], np.repeat(y[turns], 2)[:-1]])
    label = trace.name if trace.showlegend is not False else None
    if trace.fill == "tonexty" and below is not None:
        colour = _colour(trace.fillcolor)
        axes.fill(*np.vstack([line, below[::-1]]).T, color=colour, linewidth=0, label=label)
    elif trace.fill != "none":
        symbol = trace.marker.symbol or ""
        colour = trace.marker.color or trace.line.color
        has_line, has_marks = "lines" in trace.mode, "markers" in trace.mode
        sizes = np.broadcast_to(trace.marker.size or 6, len(x))
        shown = np.flatnonzero(sizes)
        if most := trace.marker.maxdisplayed:
            shown = shown[:: -(-len(shown) // most)]
        axes.plot(
            x,
            y,
            color=colour,
            drawstyle="steps-post" if is_step else "default",
            linestyle=DASHES[trace.line.dash] if has_line else "none",
            linewidth=(trace.line.width or 2) * POINT,
            marker=MARKS[symbol.removesuffix("-open")] if has_marks else "",
            markersize=max(sizes, default=6) * POINT,
            markeredgewidth=(trace.marker.line.width or 1) * POINT,
            markerfacecolor="none" if symbol.endswith("-open") else colour,
            markevery=shown.tolist(),
            label=label,
        )
    return line


def _colour(text: str) -> tuple[float, ...]:
    """Return "rgba(r,g,b,a)" as four numbers in [0, 1]."""
    red, green, blue, opacity = map(float, text.removeprefix("rgba(").removesuffix(")").split(","))
    return red / 255, green / 255, blue / 255, opacity


def _scale(axis: Any, scale: Any, ticks: Any, limit: Any) -> None:
    """Give an axis the scale, ticks and range of plotly's."""
    if axis.type == "log":
        scale("log")
    if axis.tickvals:
        ticks(axis.tickvals, axis.ticktext)
        ticks([], minor=True)
    if axis.range:
        limit(*(10**end if axis.type == "log" else end for end in axis.range))
    elif axis.rangemode == "tozero":
        limit(0)
