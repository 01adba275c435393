"""The scale that errors are compared on: r is 0 for the source's error and 1 for guessing's.

So epsilon means a share of what there is to lose, whatever the task, and it can be said in points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bort_engine.data.columns import Kind
from bort_engine.runs.records import Positive, Share
from bort_engine.training.teacher import TeacherReport

Numbers = TypeVar("Numbers", float, np.ndarray)


@dataclass(frozen=True, slots=True)
class Scale:
    """r = (error - source_error) / span, of errors that are shares of wrong answers.

    `span` is what guessing errs more than the source: 1 where guessing's error is not known, and
    then r counts points of 100. Of numbers the error is 1 - Pearson's correlation, so that a point
    is a hundredth of it.
    """

    source_error: Share
    span: Positive = 1.0
    kind: Kind = "class"

    @classmethod
    def of(cls, teacher: TeacherReport) -> Scale:
        """Return the scale of a task, by its source and its most frequent class on dev.

        Raises:
            ValueError: the source does no better than guessing.
        """
        span = teacher.chance_error - teacher.dev_error
        if span <= 0 and teacher.kind == "number":
            raise ValueError(
                f"the source's numbers for the {teacher.n_dev} dev rows do not follow their labels "
                f"(correlation {1 - teacher.dev_error:.2f}): there is nothing to lose. Label more "
                "rows, or take another source or task."
            )
        if span <= 0:
            raise ValueError(
                f"the source errs on {teacher.dev_error:.1%} of the {teacher.n_dev} dev rows, "
                f"naming the most frequent class on {teacher.chance_error:.1%}: there is nothing "
                "to lose. Label more rows, or take another source or task."
            )
        return cls(teacher.dev_error, span, teacher.kind)

    @property
    def unit(self) -> str:
        """What a point is a hundredth of."""
        return "accuracy" if self.kind == "class" else "correlation"

    @property
    def error_name(self) -> str:
        """What the error is."""
        return "wrong answers" if self.kind == "class" else "1 - Pearson's correlation"

    def score(self, error: float) -> str:
        """Say an error as what is right."""
        if self.kind == "class":
            return f"{100 * (1 - error):.1f} % right"
        return f"correlation {1 - error:.3f}"

    def r(self, error: Numbers) -> Numbers:
        """Return r, of one error or of an array of them."""
        return (error - self.source_error) / self.span

    def points(self, r: float) -> float:
        """Return how many percentage points a difference in r is."""
        return 100 * self.span * r
