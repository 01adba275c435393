"""The verb `compare`: two slices of an elastic student read dev, and where one alone is right.

Both are cut out of the student that a front measures, so nothing is trained that is in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from bort_engine.data.columns import Columns
from bort_engine.data.tasks import find_task, with_columns
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture, check_slice
from bort_engine.runs import records
from bort_engine.runs.events import Progress, Stop, bar, check, never
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import Count
from bort_engine.search.evaluate import BriefTraining, Evaluator, Setup
from bort_engine.training.precision import precision

STAGE = "reading dev"
MOST_TEXTS, MOST_CHARACTERS = 10, 1000


@dataclass(frozen=True, slots=True)
class Text:
    """A text of dev, or a pair, with its label and what the two slices answer."""

    texts: tuple[str, ...]
    label: str
    answers: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """On how many dev texts two slices are both right, one alone, or none.

    `texts` are those where exactly one is right: ten at most, spread evenly over all of these.
    """

    source: str
    task: str
    architectures: tuple[Architecture, Architecture]
    n_both: Count
    n_first: Count
    n_second: Count
    n_neither: Count
    texts: tuple[Text, ...]
    seed: Count
    made: Provenance
    schema: Literal[1] = 1

    AGAIN: ClassVar[str] = "delete it and run `compare` again to make one"

    @property
    def n_dev(self) -> int:
        return self.n_both + self.n_first + self.n_second + self.n_neither

    def __str__(self) -> str:
        a, b = self.architectures
        head = (
            f"{a} and {b} of {self.source} on the {self.n_dev} dev texts of {self.task}: "
            f"both right on {self.n_both}, only {a} on {self.n_first}, only {b} on "
            f"{self.n_second}, none on {self.n_neither}"
        )
        rows = [
            f"{text.label}: {text.answers[0]} and {text.answers[1]}: {' | '.join(text.texts)}"
            for text in self.texts
        ]
        return "\n".join([head, *rows])


def compare(
    source: str | Source,
    task: str = "rotten-tomatoes",
    *,
    architectures: str,
    columns: Columns | None = None,
    training: BriefTraining | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    on_progress: Progress = bar,
    stop: Stop = never,
) -> Comparison:
    """Find the dev texts on which two slices of an elastic student disagree.

    Args:
        source: a reference name, a local folder, or a hub id.
        task: what the student was trained on: a name, or a file or folder of your own.
        architectures: two shapes D,A,H,I, with a space between them.
        columns: which columns of your own file make the task, where they are not text and label.
        seed: of the elastic student: the front's.
        out: the folder that compare.json is written to.

    Raises:
        ValueError: a mistake in the arguments, in one line, or a shape is no slice.
        Cancelled: `stop()` became true.
    """
    source = Source.load(source) if isinstance(source, str) else source
    of = find_task(with_columns(task, columns or Columns()))
    shapes = list(dict.fromkeys(Architecture.parse(text) for text in architectures.split()))
    if len(shapes) != 2:
        raise ValueError(f"architectures is {architectures!r}; give two different shapes.")
    if of.kind == "number":
        raise ValueError(f"{of.name} predicts numbers, which are not right or wrong; see `cut`.")
    for shape in shapes:
        check_slice(shape, source)
    setup = Setup(source.name, of.name, "elastic", training or BriefTraining(), seed)
    evaluator = Evaluator(source, setup, on_progress, stop)
    T, student, answers = evaluator.teacher, evaluator.student, []
    for n, shape in enumerate(shapes):
        on_progress({"stage": STAGE, "done": n, "total": 2, "detail": str(shape)})
        answers.append(evaluator.outputs(student.cut(shape)).argmax(1))
        check(stop)
    first, second = (given == T.dev_labels for given in answers)
    rows = spread(np.flatnonzero(first != second), MOST_TEXTS)
    dev = T.splits["validation"].select(rows)
    parts = [dev[name] for name in (("text", "second") if of.is_pair else ("text",))]
    result = Comparison(
        source.name,
        of.name,
        (shapes[0], shapes[1]),
        int((first & second).sum()),
        int((first & ~second).sum()),
        int((~first & second).sum()),
        int((~first & ~second).sum()),
        tuple(
            Text(
                tuple(" ".join(part[n].split())[:MOST_CHARACTERS] for part in parts),
                of.labels[T.dev_labels[row]],
                (of.labels[answers[0][row]], of.labels[answers[1][row]]),
            )
            for n, row in enumerate(rows)
        ),
        seed,
        Provenance.here(precision=precision()),
    )
    if out:
        records.write(Path(out) / "compare.json", result)
    return result


def spread(rows: Sequence[int] | np.ndarray, most: int) -> list[int]:
    """Return so many of these at most, spread evenly, in their order."""
    n = min(most, len(rows))
    return [int(rows[at * len(rows) // n]) for at in range(n)]
