"""The recorded table that lessons look errors up in: every shape of one space, by training seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bort_engine.encoder.latency import Calibration
from bort_engine.encoder.sources import sources
from bort_engine.search import errors as oracles
from bort_engine.search.candidates import calibration_for, costs_of
from bort_engine.search.errors import Oracle
from bort_engine.search.result import Costs, Point
from bort_engine.search.scale import Scale

SOURCE, TASK = sources["minilm-l6"], "rotten-tomatoes"
ORACLE = "elastic"
SPACE = oracles.searched("default", ORACLE, SOURCE)


@dataclass(frozen=True, slots=True)
class Table:
    """The whole space with the errors of one training seed.

    Attributes:
        floor: T's own entropy, below which no cross-entropy falls.
        scale: of r: from the source's share of wrong answers on dev to guessing's.
        errors_from: where, when and with what the errors were measured.
    """

    seed: int
    points: tuple[Point, ...]
    floor: float
    scale: Scale
    calibration: Calibration
    errors_from: str

    @property
    def latency_from(self) -> str:
        """Where the latencies were recorded, apart from the errors."""
        latency = self.calibration
        return f"{latency.device}, {latency.settings.threads} threads, {latency.made_on}"


def tables(paths: Sequence[Path] = ()) -> dict[int, Table]:
    """Return the recorded tables of the whole space by training seed; by default the shipped ones.

    Raises:
        ValueError: there is none, or a file is damaged; the line says which.
    """
    try:
        calibration = calibration_for(SOURCE, SPACE, None, "recorded")
        costs = [costs_of(architecture, SOURCE, calibration) for architecture in SPACE]
        replayable = oracles.replayable(SOURCE, TASK, SPACE, ORACLE, paths)
        by_seed = [_table(oracle, costs, calibration) for oracle in replayable]
    except (ValueError, KeyError) as e:
        raise ValueError(
            "Nothing to show yet: this lesson looks errors up in a table of the whole space, and "
            f"{str(e).partition(';')[0]}."
        ) from e
    return {table.seed: table for table in by_seed}


def _table(oracle: Oracle, costs: Sequence[Costs], calibration: Calibration) -> Table:
    points = []
    for shape in costs:
        evaluation = oracle.evaluate(shape.architecture)
        point = shape.point(
            evaluation.error,
            evaluation.dev_error,
            r=oracle.r(shape.architecture),
            at_chance=oracle.at_chance(evaluation.dev_error),
        )
        points.append(point)
    made = str(oracle.made)
    return Table(oracle.seed, tuple(points), oracle.floor, oracle.scale, calibration, made)
