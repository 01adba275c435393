"""The verb `stopwatch`: whole models of some shapes timed in turns, here and now."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import MinLen

from bort_engine.encoder.latency import PACKAGES, check_packages
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.timing import USUAL_LENGTH, LatencySettings
from bort_engine.encoder.turns import measure_ms
from bort_engine.runs import records
from bort_engine.runs.checks import check_whole
from bort_engine.runs.events import Event, Progress, Stop, bar, check, never
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import NonNegative

MOST_SHAPES = 32
BUSY = 0.7  # processes at work before anything is timed


@dataclass(frozen=True, slots=True)
class Timed:
    """An architecture, and the quartiles of its forward passes in milliseconds."""

    architecture: Architecture
    low: NonNegative
    median: NonNegative
    high: NonNegative


@dataclass(frozen=True, slots=True)
class Times:
    """Shapes of a source that were timed in turns, so that their ratios hold.

    `load` is the mean number of processes at work in the minute before; 0 where no one tells.
    """

    source: str
    settings: LatencySettings
    rows: Annotated[tuple[Timed, ...], MinLen(1)]
    made: Provenance
    load: NonNegative = 0.0
    schema: Literal[1] = 1

    AGAIN: ClassVar[str] = "delete it and run `stopwatch` again to make one"

    @property
    def is_busy(self) -> bool:
        return self.load > BUSY

    def __str__(self) -> str:
        at = self.settings
        head = f"{self.source} in {at.runtime}, batch {at.batch_size}, {at.sequence_length} tokens"
        rows = [
            f"{row.architecture!s:>16}  {row.median:8.2f} ms  ({row.low:.2f} to {row.high:.2f})"
            for row in self.rows
        ]
        head += f"; {self.made}; medians and quartiles"
        if self.is_busy:
            rows.append(f"other programs were at work (load {self.load:.1f}): time again without")
        return "\n".join([head, *rows])


def stopwatch(
    source: str | Source,
    *,
    architectures: str,
    settings: LatencySettings | None = None,
    rounds: int = 30,
    out: str | Path | None = None,
    on_progress: Progress = bar,
    stop: Stop = never,
) -> Times:
    """Time whole models of some shapes in turns on this machine.

    Args:
        source: a reference name, a local folder, or a hub id.
        architectures: shapes D,A,H,I, with spaces between them.
        rounds: forward passes of each that count.
        out: the folder that stopwatch.json is written to.

    Raises:
        ValueError: a mistake in the arguments, in one line.
        Cancelled: `stop()` became true.
    """
    source = Source.load(source) if isinstance(source, str) else source
    settings = (settings or LatencySettings()).of_length(USUAL_LENGTH)
    shapes = list(dict.fromkeys(Architecture.parse(text) for text in architectures.split()))
    if not 1 <= len(shapes) <= MOST_SHAPES:
        raise ValueError(f"{len(shapes)} architectures are given; allowed: 1 to {MOST_SHAPES}.")
    check_whole("rounds", rounds, 1, 10_000)
    if settings.sequence_length > source.longest_input:
        raise ValueError(
            f"sequence_length is {settings.sequence_length}; {source.name} allows 1 to "
            f"{source.longest_input}."
        )
    check_packages(settings.runtime)

    def tell(event: Event) -> None:
        check(stop)
        on_progress(event)

    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0  # not on Windows
    times = measure_ms(shapes, source, settings, rounds, tell)
    rows = []
    for shape, ms in times.items():
        low, middle, high = (round(float(q), 3) for q in np.percentile(ms, (25, 50, 75)))
        rows.append(Timed(shape, low, middle, high))
    packages = PACKAGES[settings.runtime] or ("torch", "transformers")
    result = Times(source.name, settings, tuple(rows), Provenance.here(*packages), load)
    if out:
        records.write(Path(out) / "stopwatch.json", result)
    return result
