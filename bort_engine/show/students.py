"""Students beside their teachers, in words, as a table and drawn: what a `table` says."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bort_engine.data.tasks import find_task
from bort_engine.lab.table_record import BY_STUDENT, Row, Table, TaskRows
from bort_engine.show.theme import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    laid_out,
    listed,
    short,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

# What a model is called on screen, its colour and its symbol, from the smallest to the largest.
MARKS: dict[str, tuple[str, str, str]] = {
    "majority": ("most frequent class", GREY, "x"),
    "words": ("TF-IDF, logistic regression", GREY, "square"),
    "frozen vectors": ("frozen source, logistic regression", SKY, "square"),
    "quarter, labels only": ("quarter, fine-tuned on labels", VERMILION, "triangle-down"),
    "quarter": ("quarter of the encoder, distilled", VERMILION, "triangle-up"),
    "student, labels only": ("student, fine-tuned on labels", BLUE, "diamond-open"),
    "student": ("student, distilled", BLUE, "diamond"),
    "smaller source": ("ready smaller model, fine-tuned", PURPLE, "hexagon"),
    "source": ("source, fine-tuned", ORANGE, "star"),
}
RIVALS = ("words", "frozen vectors", "smaller source", "student, labels only")
FORMATS = {
    "Seed": "%d",
    "Dev (%)": "%.1f",
    "Test (%)": "%.1f",
    "Lost (points)": "%+.1f",
    "Parameters (M)": "%.1f",
    "Latency (ms)": "%.1f",
    "Time to make (s)": "%.0f",
}


def verdict(table: Table) -> list[str]:
    """Return at most three sentences: what students reach, and where something simpler wins."""
    n = len(table.tested)
    if not n:
        return ["The test splits are still locked."]
    reached = {name: len(table.reached(name)) for name in MARKS}
    same = sum(task.is_source("student") for task in table.tested)
    parts = [f"on {same} the front has nothing smaller to recommend"] if same else []
    mixed = [task for task in table.tested if 0 < len(task.smaller("student")) < table.seeds]
    for task in mixed:
        some = len(task.smaller("student"))
        parts.append(f"on {short(task.task)} it has something by {some} of {table.seeds} seeds")
    none = f" ({'; '.join(parts)})" if parts else ""
    sentences = [
        f"A smaller student is at most a point behind its teacher on {reached['student']} of {n} "
        f"tasks{none}, a quarter of the encoder on {reached['quarter']}, the ready smaller model "
        f"on {reached['smaller source']}."
    ]
    beaten = list(_beaten(table))
    if beaten:
        sentences.append(f"Something simpler is as good as the student: {'; '.join(beaten)}.")
    else:
        sentences.append("On no task is something simpler as good as the student.")
    gains = [gain for task in table.tested if (gain := _distilling(task, "quarter")) is not None]
    if gains:
        sentences.append(
            f"Distilling the quarter instead of fine-tuning it on labels brings {min(gains):+.1f} "
            f"to {max(gains):+.1f} points."
        )
    return sentences


def _beaten(table: Table) -> Iterator[str]:
    """Give the tasks on which a rival loses no more than the student, and which rivals do."""
    for task in table.tested:
        ours = task.loss("student")
        losses = {name: task.loss(name) for name in RIVALS}
        better = [
            MARKS[name][0]
            for name, loss in losses.items()
            if ours is not None and loss is not None and loss <= ours and not task.is_source(name)
        ]
        if better:
            yield f"on {short(task.task)} {listed(better)}"


def _distilling(task: TaskRows, name: str) -> float | None:
    """Return how many points fewer a distilled shape loses than one fine-tuned on labels."""
    ours, labels_only = task.loss(name), task.loss(f"{name}, labels only")
    return None if ours is None or labels_only is None else 100 * (labels_only - ours)


def command(table: Table) -> str:
    """Return the command that makes such a table."""
    tasks = ",".join(task.task for task in table.tasks)
    words = ["python", "-m", "bort_engine", "table", table.source, "--tasks", tasks]
    words += ["--smaller", table.smaller, "--seeds", str(table.seeds)]
    words += ["--epsilon", f"{table.epsilon:g}", "--polish", str(table.polish), "--out", "TABLE"]
    return shlex.join(words)


def task_line(task: TaskRows) -> str:
    """Return a task's title and data in one line."""
    what = "right answers" if task.kind == "class" else "Pearson's correlation, times 100"
    cut = f", which cuts {task.cut:.0%} of the texts" if task.cut else ""
    return (
        f"{find_task(task.task).title}: {task.n_labelled:,} labelled rows, {task.n_dev:,} of dev "
        f"and {task.n_test:,} of test; {task.max_length} tokens are read{cut}. In {what}."
    )


def frame(task: TaskRows) -> pd.DataFrame:
    """Return a task's models as a table, a row each and seed."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Model": MARKS[row.name][0] + ", = source" * (row not in task.smaller(row.name)),
            "Seed": row.seed if row.name in BY_STUDENT else None,
            "Shape": str(row.architecture or ""),
            "Dev (%)": 100 * (1 - row.dev_error),
            "Test (%)": 100 * (1 - row.test.error) if row.test else None,
            "Lost (points)": 100 * row.test.loss if row.test else None,
            "95 %": _interval(row),
            "Parameters (M)": row.n_parameters / 1e6,
            "Latency (ms)": row.latency_ms,
            "Time to make (s)": row.seconds,
        }
        for row in sorted(task.rows, key=lambda row: ([*MARKS].index(row.name), row.seed))
    )


def _interval(row: Row) -> str:
    if not row.test:
        return ""
    return f"{100 * row.test.loss_low:+.1f} to {100 * row.test.loss_high:+.1f}"


def loss_figure(task: TaskRows) -> go.Figure:
    """Draw what each model loses to the source on test, with its interval."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, (title, colour, symbol) in MARKS.items():
        rows = [row for row in task.smaller(name) if row.test]
        if not rows or name == "majority":
            continue  # who guesses would stretch the axis, and the source is drawn once
        loss, low, high = 100 * np.array([_loss(row) for row in rows]).T
        figure.add_scatter(
            x=loss.tolist(),
            y=[title] * len(rows),
            error_x={
                "type": "data",
                "symmetric": False,
                "array": (high - loss).tolist(),
                "arrayminus": (loss - low).tolist(),
                "color": colour,
            },
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 11},
            hovertemplate=f"{title}: %{{x:+.1f}} points<extra></extra>",
            showlegend=False,
        )
    figure.add_vrect(x0=-1, x1=1, fillcolor=GREEN, opacity=0.12, line_width=0)
    figure.update_xaxes(title="Points lost on test (right: worse)")
    return laid_out(figure, 330)


def _loss(row: Row) -> tuple[float, float, float]:
    assert row.test
    return row.test.loss, row.test.loss_low, row.test.loss_high


def loss_summary(task: TaskRows) -> str:
    """Say what the figure shows, for who cannot see it."""
    shown = (name for name in MARKS if not task.is_source(name))
    losses = (f"{MARKS[n][0]} {100 * x:+.1f}" for n in shown if (x := task.loss(n)) is not None)
    return f"Points lost to the source on test, {short(task.task)}: {', '.join(losses)}."
