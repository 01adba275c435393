"""Evaluations side by side: beside the one that is asked for, those that likely come next.

A lazy search asks for one architecture after another, each chosen by the errors before it. While
one is evaluated, other workers begin with what the search would ask for next if the errors that are
missing were as guessed. It then gets the same answers as without them, in the same order; some
evaluations may turn out not to be needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from bort_engine.algorithms.fptas import Cover
from bort_engine.encoder.sources import Source
from bort_engine.runs.events import Progress, Stop
from bort_engine.runs.workers import Workers
from bort_engine.search.evaluate import Evaluation, EvaluationTable, Evaluator, Setup, Shape
from bort_engine.search.scale import Scale

Unit = tuple[Source, Setup, Shape]


class Ahead:
    """Evaluates what it is asked for, and meanwhile what likely comes next.

    Attributes:
        cover: the state of the search that asks; None before it has one.
        batch: what is asked for at once.
        made: what the workers evaluated.
    """

    def __init__(
        self,
        workers: Workers[Unit, Evaluation],
        n: int,
        evaluator: Evaluator,
        table: EvaluationTable,
    ) -> None:
        self._workers, self.n, self._table = workers, n, table
        self._evaluator, self._scale = evaluator, Scale.of(table.header.teacher)
        self._busy: set[Shape] = set()
        self.made: set[Shape] = set()
        self.cover: Cover | None = None
        self.batch: Sequence[Shape] = ()

    def evaluate(self, architecture: Shape) -> Evaluation:
        """Return an architecture's evaluation; each that ends until then is on record as well."""
        if architecture not in self._busy:
            self._submit(architecture)
        while architecture not in self._table.evaluations:
            while len(self._busy) < self.n and (likely := self._likely_next()):
                self._submit(likely)
            self._take()
        return self._table.evaluations[architecture]

    def finish(self) -> None:
        """Wait for what is being evaluated, and put it on record."""
        while self._busy:
            self._take()

    def _submit(self, architecture: Shape) -> None:
        self._evaluator.prepare()
        self._busy.add(architecture)
        self._workers.submit((self._evaluator.source, self._evaluator.setup, architecture))

    def _take(self) -> None:
        (*_, architecture), evaluation = self._workers.next()
        self._busy.remove(architecture)
        self._table.add(evaluation)
        self.made.add(architecture)

    def close(self) -> None:
        self._workers.close()

    def _likely_next(self) -> Shape | None:
        for architecture in self.batch:
            if architecture not in self._busy and architecture not in self._table.evaluations:
                return architecture
        xi = self.cover.likely_next(self._known, self._busy) if self.cover else None
        return xi.key if xi else None

    def _known(self, architecture: Shape) -> float | None:
        evaluation = self._table.evaluations.get(architecture)
        return None if evaluation is None else self._scale.r(evaluation.wrong)


def evaluate_unit(unit: Unit, on_progress: Progress, stop: Stop) -> Evaluation:
    """Evaluate an architecture in a worker, which keeps T and the student for the next one."""
    source, setup, architecture = unit
    evaluator = _evaluator(source, setup)
    evaluator.stop = stop
    return evaluator.evaluate(architecture)


@lru_cache(maxsize=1)
def _evaluator(source: Source, setup: Setup) -> Evaluator:
    return Evaluator(source, setup)
