"""Two slices of one student that read dev: in how many texts they differ, and some of these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bort_engine.encoder.space import Architecture
from bort_engine.search.result import Front, Point
from bort_engine.show import front as words

if TYPE_CHECKING:
    import pandas as pd

    from bort_engine.search.compare import Comparison


def options(front: Front, first: Point, second: Point) -> dict[str, str]:
    """Return the options of what compares two points of a front; none where that cannot be."""
    options = words.cut_options(front, first)
    if not options or front.scale.kind == "number":
        return {}
    del options["--architecture"]
    return options | {"--architectures": f"{first.architecture} {second.architecture}"}


def counts(comparison: Comparison) -> str:
    """Say on how many texts both are right, one alone, or none."""
    a, b = comparison.architectures
    return (
        f"Of {comparison.n_dev:,} dev texts both answer {comparison.n_both:,} rightly and "
        f"{comparison.n_neither:,} wrongly. Only {a} is right on {comparison.n_first:,}, only {b} "
        f"on {comparison.n_second:,}."
    )


def which(comparison: Comparison) -> str:
    """Say which of the texts where exactly one is right are shown."""
    n = comparison.n_first + comparison.n_second
    if not n:
        return "There is no text where exactly one of them is right."
    if len(comparison.texts) == n:
        return "Below: all texts where exactly one of them is right."
    return f"Below: {len(comparison.texts)} of these {n:,}, spread evenly over dev."


def table(comparison: Comparison) -> pd.DataFrame:
    """Return the texts, each with its label, both answers, and which of the two is right."""
    import pandas as pd

    shapes: tuple[Architecture, ...] = comparison.architectures
    rows = comparison.texts
    names = ("First text", "Second text") if rows and len(rows[0].texts) > 1 else ("Text",)
    columns = {name: [row.texts[n] for row in rows] for n, name in enumerate(names)}
    columns["Label"] = [row.label for row in rows]
    columns |= {str(shape): [row.answers[n] for row in rows] for n, shape in enumerate(shapes)}
    columns["Right"] = [str(shapes[row.answers.index(row.label)]) for row in rows]
    return pd.DataFrame(columns)
