"""The record of `table`: which models were made for which task, and what they are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
from annotated_types import Ge, Le

from bort_engine.data.columns import Kind
from bort_engine.data.resources import ASSETS
from bort_engine.encoder.space import Architecture
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import Count, NonNegative, PositiveCount, Share
from bort_engine.search.result import AFFORDABLE

RECORDED = ASSETS / "recorded" / "table-minilm-l6.json"
SMALLER = "minilm-l3"  # a ready model that one may take instead
Once = Literal["majority", "words", "frozen vectors", "source", "smaller source"]
ByStudent = Literal["student", "student, labels only", "quarter", "quarter, labels only"]
Name = Once | ByStudent
ONCE, BY_STUDENT = get_args(Once), get_args(ByStudent)
ERROR_NAMES = {"class": "wrong answers", "number": "1 - Pearson's correlation"}
Change = Annotated[float, Ge(-1), Le(1)]


@dataclass(frozen=True, slots=True)
class OnTest:
    """A model on the locked split: its error, and how much more than the source it errs.

    Both with 95 % intervals over other texts (a paired bootstrap); `scores` are the usual ones.
    """

    error: Share
    low: Share
    high: Share
    loss: Change
    loss_low: Change
    loss_high: Change
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one task.

    Attributes:
        seed: of the elastic student that it comes from; 0 for what does not.
        architecture: None for what is no encoder.
        shown: a student's error on dev as the front shows it, before it was polished.
        scores: the usual ones on dev; `dev_error` is what was chosen by.
        n_parameters: of the whole model, head and all; of a linear one, its weights.
        seconds: to make it; of a student with its teacher's and the elastic student's training.
        latency_ms: of one text of the task's length; None until it is timed.
    """

    name: Name
    seed: Count
    architecture: Architecture | None
    dev_error: Share
    shown: Share | None
    scores: dict[str, float]
    n_parameters: Count
    seconds: NonNegative
    latency_ms: NonNegative | None = None
    test: OnTest | None = None


@dataclass(frozen=True, slots=True)
class TaskRows:
    """What was made for one task, how (`settings`); `problem` says why nothing can be.

    At most `max_length` tokens are read of a text, which cuts the share `cut` of them.
    """

    task: str
    settings: str
    kind: Kind = "class"
    n_labelled: Count = 0
    n_dev: Count = 0
    n_test: Count = 0
    max_length: Count = 0
    cut: Share = 0.0
    rows: tuple[Row, ...] = ()
    problem: str = ""
    schema: Literal[1] = 1

    AGAIN: ClassVar[str] = "delete its folder and run `table` again"

    def of(self, name: str) -> list[Row]:
        """Return the rows of a name, one a seed."""
        return [row for row in self.rows if row.name == name]

    def smaller(self, name: str) -> list[Row]:
        """Return the rows of a name but students that are the source itself.

        That they are where nothing smaller loses at most a point on dev, by that seed.
        """
        shapes = {row.architecture for row in self.of("source")}
        is_student = name.startswith("student")
        return [r for r in self.of(name) if not (is_student and r.architecture in shapes)]

    def is_source(self, name: str) -> bool:
        """Is it the source itself, by every seed?"""
        return bool(self.of(name)) and not self.smaller(name)

    def loss(self, name: str) -> float | None:
        """Return how much more than the source it errs on test, in the mean over seeds.

        Seeds by which it is the source itself count only where it is that by all.
        """
        rows = self.smaller(name) or self.of(name)
        losses = [row.test.loss for row in rows if row.test]
        return float(np.mean(losses)) if losses else None


@dataclass(frozen=True, slots=True)
class Table:
    """Every model on every task, and where it was made.

    `workers` rows were made at a time, where several, with one thread each (or a cluster's).
    """

    source: str
    smaller: str
    seeds: PositiveCount
    epsilon: Share
    polish: Count
    tasks: tuple[TaskRows, ...]
    made: Provenance
    workers: PositiveCount = 1
    schema: Literal[1] = 1

    AGAIN: ClassVar[str] = "delete it and run `table` again"

    @property
    def tested(self) -> tuple[TaskRows, ...]:
        """The tasks whose test split was opened."""
        return tuple(task for task in self.tasks if task.n_test)

    def reached(self, name: str) -> list[str]:
        """Return the tasks on which a model, not the source itself, loses at most a point of it."""
        losses = {task.task: task.loss(name) for task in self.tested if not task.is_source(name)}
        return [task for task, loss in losses.items() if loss is not None and loss <= AFFORDABLE]

    def __str__(self) -> str:
        lines = []
        for task in self.tasks:
            lines.append(
                f"{task.task}: {task.problem}"
                if task.problem
                else f"{task.task}: {task.n_labelled:,} labelled, {task.n_dev:,} dev and "
                f"{task.n_test:,} test rows, {task.max_length} tokens; {ERROR_NAMES[task.kind]}"
            )
            lines += [_line(row, task) for row in task.rows]
        n = len(self.tested)
        if n:
            lines += [
                f"{name}: at most a point behind the source on {len(self.reached(name))} of {n}"
                for name in ("student", "quarter", "smaller source", "frozen vectors", "words")
            ]
            same = sum(task.is_source("student") for task in self.tested)
            lines += [f"on {same} the student is the source itself"] if same else []
        return "\n".join([*lines, f"made on {self.made}; {self.workers} rows at a time"])


def _line(row: Row, task: TaskRows) -> str:
    name = f"{row.name}, seed {row.seed}" if row.name in BY_STUDENT else row.name
    shape = str(row.architecture or "")
    ms = "" if row.latency_ms is None else f"{row.latency_ms:.1f} ms"
    test = ""
    if row.test:
        test = (
            f"test {row.test.error:.1%} ({row.test.low:.1%} to {row.test.high:.1%}), "
            f"{100 * row.test.loss:+.1f} points ({100 * row.test.loss_low:+.1f} to "
            f"{100 * row.test.loss_high:+.1f})"
        )
    size = f"{row.n_parameters / 1e6:.1f} M"
    return f"  {name:<30} {shape:<14} {size:>8} {ms:>8}  dev {row.dev_error:.1%}  {test}"
