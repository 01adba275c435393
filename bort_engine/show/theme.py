"""How everything is drawn: colours, the legend, logarithmic axes, a figure's frame; and counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import plotly.graph_objects as go

# Okabe and Ito's colours, told apart with any colour vision; each class has its own symbol too.
ORANGE, GREEN, BLUE, VERMILION, PURPLE = "#E69F00", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
SKY, GREY = "#56B4E9", "#8A8F98"
# Light to dark without the palest and the darkest of viridis, which vanish on white or on black.
SCALE = ["#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#e9dc24"]

# What a model runs in, and the precision of its weights.
RUNTIMES = {
    "pytorch": "PyTorch fp32",
    "pytorch-fp32": "PyTorch fp32",
    "pytorch-bf16": "PyTorch bf16",
    "onnx": "ONNX fp32",
    "onnx-int8": "ONNX int8",
    "openvino-int8": "OpenVINO int8",
}

LEGEND = {"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0}


def log_axis(
    low: float, high: float, margin: float = 1.15, digits: Sequence[float] = (1, 2, 5)
) -> dict[str, Any]:
    """Return a logarithmic axis from low to high, with ticks at 1, 2, 5, 10, ... in full figures.

    plotly's own ticks are sparse on less than a decade, and abbreviated on more.
    """
    low, high = low / margin, high * margin
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in digits]
    ticks = [tick for tick in ticks if low <= tick <= high]
    return {
        "type": "log",
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
        "range": [math.log10(low), math.log10(high)],
    }


def laid_out(
    figure: go.Figure, height: int, entrywidth: int = 140, top: int = 10, **layout: Any
) -> go.Figure:
    """Give a figure its height (pixels), margins and legend; `layout` adds to it."""
    return figure.update_layout(
        height=height,
        margin={"l": 10, "r": 20, "t": top, "b": 10},
        legend=LEGEND | {"entrywidth": entrywidth} | layout.pop("legend", {}),
        hovermode="closest",
        **layout,
    )


def pale(colour: str, opacity: float = 0.15) -> str:
    """Return a colour for an area, which lets what lies below it through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def millions(n: int) -> str:
    """Return a count of parameters or operations in three or four figures."""
    return f"{n / 1e6:.1f} M" if n >= 1e6 else f"{n / 1e3:.0f} k"


def short(name: str) -> str:
    """Return a source's or a task's name without columns and, where it is a path, folders."""
    path = name.partition("?")[0]
    return PurePath(path).name if PurePath(path).is_absolute() else path


def count(n: int, noun: str) -> str:
    """Return "1 thread", "2 threads"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def listed(names: Sequence[str]) -> str:
    """Return "A, B and C"."""
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def add_dots(
    figure: go.Figure,
    places: np.ndarray,
    rows: Sequence[int],
    name: str,
    marker: dict[str, Any],
    hover: Callable[[int], str],
) -> None:
    """Draw some rows of `places` (n, 2) as one entry of the legend; no rows, no entry."""
    if len(rows):
        x, y = places[list(rows)].T.tolist()
        text = [f"{hover(row)}<br>{name}" for row in rows]
        template = "%{text}<extra></extra>"  # without the grey box that repeats the trace's name
        figure.add_scatter(
            x=x, y=y, name=name, mode="markers", marker=marker, text=text, hovertemplate=template
        )
