"""The scale that errors are compared on: r is 0 for the source's error and 1 for guessing's.

So epsilon means a share of what there is to lose, whatever the task, and it can be said in points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bort_engine.runs.records import Positive, Share
from bort_engine.training.teacher import TeacherReport

Numbers = TypeVar("Numbers", float, np.ndarray)


@dataclass(frozen=True, slots=True)
class Scale:
    """r = (error - source_error) / span, of errors that are shares of wrong answers.

    `span` is what guessing errs more than the source: 1 where guessing's error is not known, and
    then r counts points of 100.
    """

    source_error: Share
    span: Positive = 1.0

    @classmethod
    def of(cls, teacher: TeacherReport) -> Scale:
        """Return the scale of a task, by its source and its most frequent class on dev.

        Raises:
            ValueError: the source does no better than guessing.
        """
        span = teacher.chance_error - teacher.dev_error
        if span <= 0:
            raise ValueError(
                f"the source errs on {teacher.dev_error:.1%} of the {teacher.n_dev} dev rows, "
                f"naming the most frequent class on {teacher.chance_error:.1%}: there is nothing "
                "to lose. Label more rows, or take another source or task."
            )
        return cls(teacher.dev_error, span)

    def r(self, error: Numbers) -> Numbers:
        """Return r, of one error or of an array of them."""
        return (error - self.source_error) / self.span

    def points(self, r: float) -> float:
        """Return how many percentage points a difference in r is."""
        return 100 * self.span * r
