"""What one could take instead of a point, drawn: error against latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bort_engine.lab.deploy_record import Deployment
from bort_engine.lab.table_record import Table, TaskRows
from bort_engine.show.rather import ERRORS, Option
from bort_engine.show.students import MARKS
from bort_engine.show.theme import GREEN, GREY, ORANGE, PURPLE, RUNTIMES, laid_out, log_axis

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Colour and symbol of an exported model, by its format. Those in PyTorch are not drawn: the models
# of the table are, and two runs of the same would confuse.
EXPORTS = {"onnx": (GREEN, "circle-open"), "onnx-int8": (GREEN, "circle")}
EXPORTS |= {"openvino-int8": (ORANGE, "star")}
# Where a mark's name stands, so that names of models alike in latency or error do not overlap.
PLACES = {"student": "middle left", "student, labels only": "top center"}
PLACES |= {"frozen vectors": "top center", "source": "bottom center"}


def figure(options: Sequence[Option], kind: str) -> go.Figure:
    """Draw models of a table with their names, and exports in one format as a line.

    A model on words is a line across: its latency is of whole texts.
    """
    import plotly.graph_objects as go

    figure, series = go.Figure(), dict[str, list[Option]]()
    drawn = [o for o in options if o.drawn and o.name != "pytorch"]
    drawn.sort(key=lambda o: o.latency_ms)
    for option in drawn:
        series.setdefault(option.name, []).append(option)
    for name, group in series.items():
        is_export = group[0].is_export
        colour, symbol = EXPORTS.get(name, (PURPLE, "circle")) if is_export else MARKS[name][1:]
        # Of several seeds, which lie close together, one has its name.
        texts = [group[0].title.partition(", seed")[0], *[""] * (len(group) - 1)]
        if is_export:  # the others' shapes would overlap: they are in the table, and under a mouse
            texts = ["source" if o.title.startswith("source") else "" for o in group]
        figure.add_scatter(
            x=[o.latency_ms for o in group],
            y=[100 * o.error for o in group],
            name=group[0].runtime if is_export else group[0].title,
            mode="lines+markers+text" if is_export else "markers+text",
            text=texts,
            textposition="bottom center" if is_export else PLACES.get(name, "middle right"),
            marker={"color": colour, "symbol": symbol, "size": 10},
            line={"color": colour, "width": 1},
            customdata=[[o.title, o.shape, o.runtime] for o in group],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}, %{customdata[2]}<br>"
            "%{x:.1f} ms, %{y:.1f} %<extra></extra>",
            showlegend=is_export,
            cliponaxis=False,  # a name may reach beyond the last tick
        )
    for option in options:
        if option.name == "words":
            figure.add_hline(
                100 * option.error,
                line={"dash": "dot", "color": GREY},
                annotation_text=option.title,
                annotation_position="top left",
            )
    times = [o.latency_ms for o in drawn] or [1.0]
    ticks = log_axis(min(times), max(times), 1.3)
    figure.update_xaxes(title="Latency (ms, one text)", **ticks)
    figure.update_yaxes(title=f"{ERRORS[kind]}, on dev")
    return laid_out(figure, 440)


def caption(
    table: Table, rows: TaskRows, deployment: Deployment | None, options: Sequence[Option]
) -> str:
    """Say where the latencies come from, and which are not drawn."""
    text = (
        f"Recorded on {table.made.machine}, {table.made.made_on}. Marks with a name: one text of "
        f"{rows.max_length} tokens in {RUNTIMES['pytorch']}. "
    )
    exports = [o for o in options if o.is_export]
    if deployment and all(o.drawn for o in exports):
        ours, theirs = (o.source_ms for o in (options[0], exports[0]))
        text += (
            f"Lines: another run on such a machine ({deployment.made.made_on}), at the same "
            f"length; there the source in PyTorch took {theirs:.1f} ms instead of {ours:.1f}, so a "
            "difference as small as that between a mark and a line says nothing. "
        )
    elif deployment:
        text += (
            f"Exports were timed on {deployment.made.machine} at {deployment.n_tokens} tokens: "
            "they stand in the table alone. "
        )
    text += "TF-IDF is timed on whole texts as they come, so it is a line across without a mark. "
    if rows.kind == "class":
        text += f"A point is {rows.n_dev / 100:.0f} of {rows.n_dev:,} dev texts. "
    return text + (
        f"All learnt from the same {rows.n_labelled:,} labels. Points were chosen on dev, which "
        "flatters them; test is on the page Baselines. Made in: a student with its teacher's and "
        "the elastic student's training."
    )
