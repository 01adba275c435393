"""Evaluations side by side: beside the one that is asked for, the others of its batch.

A search chooses a few at once, however many workers there are, so its answers are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

from bort_engine.encoder.sources import Source
from bort_engine.runs.events import Progress, Stop
from bort_engine.runs.workers import Workers
from bort_engine.search.evaluate import Evaluation, EvaluationTable, Evaluator, Setup, Shape

Unit = tuple[Source, Setup, Shape | None]  # without a shape: only load what evaluating one takes


class Ahead:
    """Evaluates what it is asked for, and meanwhile what comes next in `batch`."""

    def __init__(
        self,
        workers: Workers[Unit, Evaluation | None],
        evaluator: Evaluator,
        table: EvaluationTable,
    ) -> None:
        self._workers, self.n, self._table = workers, workers.n, table
        self._evaluator, self._busy, self._begun = evaluator, set[Shape](), False
        self.batch: Sequence[Shape] = ()

    def evaluate(self, architecture: Shape) -> Evaluation:
        """Return an architecture's evaluation; each that ends until then is on record as well."""
        if architecture not in self._busy:
            self._submit(architecture)
        while architecture not in self._table.evaluations:
            begun = self._busy | self._table.evaluations.keys()
            waiting = (a for a in self.batch if a not in begun)
            for other in islice(waiting, self.n - len(self._busy)):
                self._submit(other)
            (*_, ended), evaluation = self._workers.next()
            if ended and evaluation:
                self._busy.remove(ended)
                self._table.add(evaluation)
        return self._table.evaluations[architecture]

    def _submit(self, architecture: Shape) -> None:
        unit = self._evaluator.source, self._evaluator.setup
        if not self._begun:
            self._begun = True
            self._evaluator.prepare()
            for _ in range(self.n):  # a search begins with one shape: the others load meanwhile
                self._workers.submit((*unit, None))
        self._busy.add(architecture)
        self._workers.submit((*unit, architecture))

    def close(self) -> None:
        self._workers.close()


def evaluate_unit(unit: Unit, on_progress: Progress, stop: Stop) -> Evaluation | None:
    """Evaluate an architecture in a worker, which keeps T and the student for the next one.

    Raises:
        ValueError: the worker reads other texts, or another source, than whoever asks.
    """
    source, setup, architecture = unit
    evaluator = _evaluator(source, setup)
    evaluator.stop = stop
    if architecture is None:
        evaluator.load()
        return None
    return evaluator.evaluate(architecture)


@lru_cache(maxsize=1)
def _evaluator(source: Source, setup: Setup) -> Evaluator:
    evaluator = Evaluator(source, setup)
    if evaluator.setup != setup:
        raise ValueError(
            f"the texts of {setup.task} or the weights of {setup.source} are others in a worker "
            "than they were when this began; start anew, with the same files everywhere."
        )
    return evaluator
