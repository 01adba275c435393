"""Latency by layer: what a head and a neuron cost, so that any uneven shape is predicted.

The AB^nC form with layers that differ: t = t_outside(H) + the sum over layers of

    attention   (a + b heads) where there are heads,    feed-forward   (c + d neurons) likewise.

Whole uneven models are timed, a dozen for each hidden size H, and a, b, c, d fitted, none negative.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from time import perf_counter
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import MinLen

from bort_engine.encoder.latency import HeldOut, LatencyReport, report_of
from bort_engine.encoder.sources import Source
from bort_engine.encoder.timing import USUAL_LENGTH, LatencySettings, TimedShape
from bort_engine.encoder.turns import time_in_turns
from bort_engine.encoder.uneven import Layer, Uneven, draw
from bort_engine.runs.events import Progress, silent
from bort_engine.runs.provenance import Origin, device_name, versions
from bort_engine.runs.records import NonNegative, Positive

N_TIMED, N_HELD_OUT = 12, 3  # shapes for each hidden size: for the fit, and to check it


@dataclass(frozen=True, slots=True)
class LayerLatency:
    """What the parts of an uneven encoder take, in ms; see the module's head.

    `layer_ms` maps a hidden size to (a, b, c, d); b is for one head, d for one neuron.
    """

    source: str
    settings: LatencySettings
    device: str
    versions: str
    made_on: str
    seconds: NonNegative
    outside_ms: dict[int, Positive]
    layer_ms: dict[int, tuple[NonNegative, NonNegative, NonNegative, NonNegative]]
    held_out: Annotated[tuple[HeldOut, ...], MinLen(1)]
    schema: Literal[1] = 1
    origin: Origin = "measured"

    AGAIN: ClassVar[str] = "delete it to measure again"

    def of_layer(self, layer: Layer, hidden_size: int) -> float:
        """Return what a layer adds, in ms."""
        return float(np.dot(_counts(layer), self.layer_ms[hidden_size]))

    def predict_ms(self, shape: Uneven) -> float:
        """Return an uneven encoder's predicted latency."""
        layers = sum(self.of_layer(layer, shape.hidden_size) for layer in shape.layers)
        return self.outside_ms[shape.hidden_size] + layers

    def report(self) -> LatencyReport:
        """Return the settings and how far the held-out predictions were off."""
        return report_of(self)


def _counts(layer: Layer) -> tuple[int, int, int, int]:
    heads, neurons = layer
    return heads > 0, heads, neurons > 0, neurons


def calibrate_layers(
    source: Source,
    hidden_sizes: Sequence[int],
    settings: LatencySettings | None = None,
    *,
    rounds: int = 6,
    seed: int = 0,
    on_progress: Progress = silent,
) -> LayerLatency:
    """Time uneven shapes on this machine, in turns, and fit what their parts take.

    Of each hidden size a dozen drawn shapes are for the fit, and three check it.
    """
    from scipy.optimize import nnls

    settings = (settings or LatencySettings()).of_length(USUAL_LENGTH)
    start, rng = perf_counter(), random.Random(seed)
    wholes = {H: replace(source.architecture, hidden_size=H) for H in hidden_sizes}
    drawn = {H: [draw(source, H, rng) for _ in range(N_TIMED + N_HELD_OUT)] for H in hidden_sizes}
    shapes = {f"outside {H}": TimedShape(whole, 0) for H, whole in wholes.items()}
    shapes |= {str(a): TimedShape.of(a, source) for some in drawn.values() for a in some}
    reference = TimedShape(wholes[max(hidden_sizes)], 1)
    times = time_in_turns(shapes, reference, source, settings, rounds, rng, on_progress)
    median = {name: float(np.median(ms)) for name, ms in times.items()}
    outside = {H: median[f"outside {H}"] for H in hidden_sizes}
    fitted = {}
    for H, some in drawn.items():
        rows = np.array([np.sum([_counts(a) for a in a.layers], axis=0) for a in some[:N_TIMED]])
        ms = np.array([median[str(a)] for a in some[:N_TIMED]])
        # Divided by what was measured, so that relative errors count.
        fitted[H] = tuple(nnls(rows / ms[:, None], 1 - outside[H] / ms)[0].round(7).tolist())
    found = LayerLatency(
        source.name,
        settings,
        device_name(),
        versions("torch", "transformers"),
        date.today().isoformat(),
        round(perf_counter() - start, 1),
        {H: round(ms, 4) for H, ms in outside.items()},
        fitted,
        held_out=(),
    )
    held_out = tuple(
        HeldOut(
            str(a),
            measured_ms=round(median[str(a)], 4),
            iqr_ms=round(float(np.ptp(np.percentile(times[str(a)], [25, 75]))), 4),
            predicted_ms=round(found.predict_ms(a), 4),
        )
        for some in drawn.values()
        for a in some[N_TIMED:]
    )
    return replace(found, held_out=held_out)
