"""Pictures of layers that differ: the front, the sums, one shape, what layers lose, the audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bort_engine.encoder.uneven import LEFT_OUT
from bort_engine.search.layer_result import LayersFront, UnevenPoint
from bort_engine.show.lessons.layers import (
    Searched,
    UniformPoint,
    audit_frame,
    lost_by_layer,
    scientific,
)
from bort_engine.show.theme import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SCALE,
    SKY,
    VERMILION,
    add_dots,
    count,
    laid_out,
    listed,
    log_axis,
    millions,
)

DIVERGING = [[0.0, BLUE], [0.5, "#f2f2f2"], [1.0, VERMILION]]
KINDS = {"heads": "Heads kept", "neurons": "Neurons kept", "layer": "Left out"}


def errors(
    record: LayersFront, others: Sequence[UniformPoint], chosen: UnevenPoint
) -> tuple[go.Figure, str]:
    """Draw what was measured, latency against wrong answers; return it with its text."""
    points, rivals = record.points, [p for p in others if p.pareto]
    chart = go.Figure()
    places = np.array([(p.latency_ms, 100 * p.dev_error) for p in (*points, *rivals)])
    uneven = range(len(points))

    def rows(wanted: Any) -> list[int]:
        return [row for row in uneven if wanted(points[row])]

    ring: dict[str, Any] = {"size": 19, "line": {"width": 2.5}}
    layers: dict[str, tuple[list[int], dict[str, Any]]] = {
        "Uneven, beaten": (rows(lambda p: not p.pareto), {"color": GREY, "size": 5}),
        "Uniform front": (
            [*range(len(points), len(places))],
            {"symbol": "diamond", "color": SKY, "size": 8},
        ),
        "Uneven front": (rows(lambda p: p.pareto), {"color": ORANGE, "size": 11}),
        "Source": (
            rows(lambda p: p.found_by == "source"),
            {"symbol": "square-open", "color": PURPLE} | ring,
        ),
        "Chosen": (
            rows(lambda p: p.shape == chosen.shape),
            {"symbol": "hexagon-open", "color": GREEN} | ring,
        ),
    }

    def hover(row: int) -> str:
        p = points[row] if row < len(points) else rivals[row - len(points)]
        name = p.shape if isinstance(p, UnevenPoint) else p.architecture
        return (
            f"<b>{name}</b><br>{millions(p.n_parameters)} parameters · {p.latency_ms:.2f} ms · "
            f"{100 * p.dev_error:.1f} % wrong on dev"
        )

    for name, (which, marker) in layers.items():
        add_dots(chart, places, which, name, marker, hover)
    chart.update_xaxes(title=_latency(record), **log_axis(*_range(places[:, 0])))
    chart.update_yaxes(title="Wrong on dev (%)")
    alt = (
        f"Latency against wrong answers on dev of {len(points)} measured uneven shapes, "
        f"{len(layers['Uneven front'][0])} of them on their front, and of the {len(rivals)} "
        f"uniform shapes on theirs. The source takes {record.source_point.latency_ms:.1f} ms and "
        f"is wrong on {100 * record.source_point.dev_error:.1f} %; chosen is {chosen.shape} at "
        f"{chosen.latency_ms:.2f} ms and {100 * chosen.dev_error:.1f} %."
    )
    return laid_out(chart, 460, entrywidth=110), alt


def sums(result: Searched) -> tuple[go.Figure, str]:
    """Draw what the search returns, latency against summed loss; return it with its text."""
    found, chart = result.found, go.Figure()
    places = np.array([(x.latency_ms, x.loss) for x in found])
    sizes = [x.n_parameters / 1e6 for x in found]
    bar = {"title": {"text": "Parameters<br>(millions)"}, "thickness": 12}
    marker = {"color": sizes, "colorscale": SCALE, "size": 7, "colorbar": bar}

    def hover(row: int) -> str:
        x = found[row]
        return (
            f"<b>{x.shape}</b><br>{millions(x.n_parameters)} parameters · {x.latency_ms:.2f} ms · "
            f"summed log loss {x.loss:.2f}"
        )

    add_dots(chart, places, range(len(found)), "Found", marker, hover)
    chart.update_xaxes(title=_latency(result.record), **log_axis(*_range(places[:, 0])))
    chart.update_yaxes(title="Summed log loss")
    alt = (
        f"Latency against summed log loss of the {len(found):,} shapes that the search returns at "
        f"epsilon {result.epsilon:g}, of {scientific(result.record.n_shapes)}: from "
        f"{places[:, 0].min():.2f} to {places[:, 0].max():.2f} ms, and from "
        f"{places[:, 1].max():.2f} down to {places[:, 1].min():.2f}."
    )
    return laid_out(chart, 460), alt


def shape(point: UnevenPoint, record: LayersFront) -> tuple[go.Figure, str]:
    """Draw a shape layer by layer, in shares of the source's; return it with its text."""
    whole, layers, chart = record.losses.whole, point.shape.layers, go.Figure()
    names = [
        f"{k}<br>left out" if layer == LEFT_OUT else f"{k}" for k, layer in enumerate(layers, 1)
    ]
    for name, index, most, colour, pattern in (
        ("Heads", 0, whole.num_attention_heads, ORANGE, ""),
        ("Neurons", 1, whole.intermediate_size, SKY, "/"),
    ):
        numbers = [layer[index] for layer in layers]
        chart.add_bar(
            x=names,
            y=[100 * n / most for n in numbers],
            text=["" if layer == LEFT_OUT else f"{layer[index]}" for layer in layers],
            textposition="outside",
            cliponaxis=False,
            name=f"{name} (of {most:,})",
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate=f"%{{y:.0f}} % of the {name.lower()}<extra></extra>",
        )
    chart.update_xaxes(title="Layer, from the input on", type="category")
    chart.update_yaxes(title="Kept (%)", range=[0, 112])
    told = "; ".join(
        f"{k} left out" if layer == LEFT_OUT else f"{k} {heads} heads, {neurons} neurons"
        for k, (layer, (heads, neurons)) in enumerate(zip(layers, layers, strict=True), 1)
    )
    alt = f"The chosen shape, hidden size {point.shape.hidden_size}, by layer: {told}."
    return laid_out(chart, 320, entrywidth=150, top=20), alt


def losses(record: LayersFront, hidden_size: int) -> tuple[go.Figure, str]:
    """Draw what each layer loses with what is left of it; return it with its text."""
    frame = lost_by_layer(record, hidden_size)
    most = float(np.abs(frame["Lost"].to_numpy()).max()) or 1.0
    chart = make_subplots(1, 3, shared_yaxes=True, column_widths=[6, 6, 1], horizontal_spacing=0.03)
    told = []
    for column, (kind, title) in enumerate(KINDS.items(), 1):
        table = frame[frame["Kept"] == kind].pivot(index="Layer", columns="Number", values="Lost")
        table = table[table.columns[::-1]]  # whole layers on the left
        labels = [""] if kind == "layer" else [f"{n}" for n in table.columns]
        chart.add_heatmap(
            z=table.to_numpy(),
            x=labels,
            y=[f"{k}" for k in table.index],
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
            hovertemplate=f"layer %{{y}}, {title.lower()} %{{x}}: %{{z:+.2f}}<extra></extra>",
            row=1,
            col=column,
        )
        chart.update_xaxes(title=title, type="category", tickangle=-90, col=column)
        worst = table.to_numpy()[:, -1]
        told.append(
            f"{title.lower() if kind == 'layer' else f'no {kind}'}: "
            + ", ".join(f"{value:+.2f}" for value in worst)
        )
    chart.update_yaxes(type="category", autorange="reversed")
    chart.update_yaxes(title="Layer", col=1)
    bar = {"title": {"text": "Lost"}, "thickness": 12}
    chart.update_layout(
        coloraxis={"colorscale": DIVERGING, "cmin": -most, "cmax": most, "colorbar": bar}
    )
    alt = (
        f"What is lost against a whole layer at hidden size {hidden_size}, in log loss, for "
        f"{count(len(frame['Layer'].unique()), 'layer')} from the input on; {'; '.join(told)}."
    )
    return laid_out(chart, 320, top=20), alt


def audit(record: LayersFront) -> tuple[go.Figure, str]:
    """Draw measured against summed losses; return it with its text."""
    frame, chart = audit_frame(record), go.Figure()
    places = frame[["Summed", "Measured"]].to_numpy()
    ends = [float(places.min()) - 0.1, float(places.max()) + 0.1]
    chart.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dot"}, hoverinfo="skip",
        name="Sum is right",
    )  # fmt: skip
    how = {"search": "searched", "local search": "locally searched", "random": "random"}
    counts = []
    for name, kind, marker in (
        ("Search", "search", {"symbol": "x", "color": SKY, "size": 6}),
        ("Local search", "local search", {"symbol": "diamond", "color": ORANGE, "size": 8}),
        ("Random", "random", {"symbol": "circle", "color": BLUE, "size": 8}),
    ):
        rows = np.flatnonzero(frame["From"] == kind).tolist()
        counts.append(f"{len(rows)} {how[kind]}")
        add_dots(chart, places, rows, name, marker, lambda row: f"<b>{frame['Shape'][row]}</b>")
    chart.update_xaxes(title="Summed log loss", range=ends)
    chart.update_yaxes(title="Measured log loss", range=ends)
    alt = (
        f"Measured against summed log loss of {listed(counts)} shapes, with the line on which "
        f"both are equal. Kendall's tau of the random ones is {record.tau:.2f}."
    )
    return laid_out(chart, 380, entrywidth=110), alt


def _latency(record: LayersFront) -> str:
    at = record.latency.settings
    return f"Latency (ms, batch {at.batch_size}, {at.sequence_length} tokens, predicted)"


def _range(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())
