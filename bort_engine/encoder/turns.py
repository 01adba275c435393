"""Time encoders in turns, so that a machine that changes its speed does not favour one."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.timing import (
    USUAL_LENGTH,
    LatencySettings,
    MakeTimed,
    Stack,
    Timed,
    TimedShape,
)
from bort_engine.encoder.uneven import Uneven
from bort_engine.runs.events import Progress, silent

Shape = TypeVar("Shape", bound=Architecture | Uneven)


def measure_ms(
    architectures: Sequence[Shape],
    source: Source,
    settings: LatencySettings | None = None,
    rounds: int = 15,
    on_progress: Progress = silent,
) -> dict[Shape, np.ndarray]:
    """Time whole models in turns; return each one's forward passes, in ms, one a round."""
    shapes = {str(a): TimedShape.of(a, source) for a in architectures}
    settings = settings or LatencySettings()
    uniform = (a.padded(source) if isinstance(a, Uneven) else a for a in architectures)
    smallest = min(uniform, key=lambda a: n_operations(a, source).total)
    settings = settings.of_length(USUAL_LENGTH)
    reference = TimedShape(smallest, 1)
    times = time_in_turns(shapes, reference, source, settings, rounds, on_progress=on_progress)
    return {a: times[str(a)] for a in architectures}


def median_ms(
    architectures: Sequence[Shape], source: Source, settings: LatencySettings | None = None
) -> dict[Shape, float]:
    """Time whole models in turns; return each one's median forward pass, in ms."""
    times = measure_ms(architectures, source, settings)
    return {a: round(float(np.median(ms)), 3) for a, ms in times.items()}


def time_in_turns(
    shapes: Mapping[str, TimedShape],
    reference: TimedShape,
    source: Source,
    settings: LatencySettings,
    rounds: int,
    rng: random.Random | None = None,
    on_progress: Progress = silent,
) -> dict[str, np.ndarray]:
    """Time every shape once a round, in an order that `rng` draws anew for each.

    Shared machines change speed by a fifth from one moment to the next. So a small reference is
    timed right before and after each shape, and times are restated at its median speed.

    Returns:
        Milliseconds of a forward pass by shape, one a round.
    """
    import torch

    on_progress({"stage": "calibrating latency", "done": 0, "total": rounds * len(shapes)})
    rng = rng or random.Random(0)
    # transformers' models do not run without token types, as Bort's shape has it: time one row.
    source = replace(source, type_vocab_size=max(source.type_vocab_size, 1))
    largest = max(
        n_parameters(
            replace(shape.architecture, num_hidden_layers=max(shape.depth, 1)), source
        ).total
        for shape in (*shapes.values(), reference)
    )
    weights = torch.empty(largest).uniform_(-0.05, 0.05)
    make: MakeTimed = Stack
    if settings.runtime != "pytorch":
        from bort_engine.encoder.export_timing import ExportedStack as make
    clock, stacks = make(reference, source, weights, settings), dict[str, Timed]()
    for made, (name, shape) in enumerate(shapes.items(), 1):
        stacks[name] = make(shape, source, weights, settings)
        if settings.runtime != "pytorch":  # there it takes no time
            on_progress({"stage": "exporting what is timed", "done": made, "total": len(shapes)})
    raw: dict[str, list[float]] = {name: [] for name in stacks}
    pace: dict[str, list[float]] = {name: [] for name in stacks}
    order, total = list(stacks), rounds * len(stacks)
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        for turn in range(rounds):
            rng.shuffle(order)
            for done, name in enumerate(order, turn * len(order) + 1):
                stacks[name].time_ms()  # warm-up: its weights come into the caches
                earlier = clock.time_ms(2)
                raw[name].append(stacks[name].time_ms())
                pace[name].append((earlier + clock.time_ms(2)) / 2)
                on_progress({"stage": "calibrating latency", "done": done, "total": total})
    finally:
        torch.set_num_threads(threads)
    # A machine at half speed doubles both: raw / pace is free of the speed of the moment, and the
    # reference's median over the whole session turns that ratio back into milliseconds.
    median_pace = np.median([*pace.values()])
    return {name: np.divide(raw[name], pace[name]) * median_pace for name in stacks}
