"""What a search chooses among: candidates with their costs, all known before any training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from bort_engine.algorithms import fptas
from bort_engine.data.resources import cache_dir
from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.latency import (
    Calibration,
    calibrate,
    calibration_path,
    recorded_calibration,
)
from bort_engine.encoder.layer_latency import LayerLatency
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.encoder.timing import USUAL_LENGTH, LatencySettings
from bort_engine.runs import records
from bort_engine.runs.events import Progress, silent
from bort_engine.runs.provenance import n_threads
from bort_engine.search.result import Costs, Size

Measured = TypeVar("Measured", Calibration, LayerLatency)
LATENCIES = ("measured", "recorded")
MOST_OFF = 0.15  # the median error on held-out shapes that a calibration may have
RECORDED_THREADS = 2  # of the shipped calibrations


def calibration_for(
    source: Source,
    space: SearchSpace,
    settings: LatencySettings | None = None,
    latency: str = "measured",
    recalibrate: bool = False,
    on_progress: Progress = silent,
) -> Calibration:
    """Return what latencies are predicted from: this machine's calibration, or the shipped one.

    Args:
        latency: "measured" takes this machine's own, made now if there is none yet; "recorded" the
            shipped one, made with two threads (other numbers are refused, but for the default).
        recalibrate: make this machine's anew.

    Raises:
        ValueError: nothing that fits ships with this version; or the machine was too busy to
            predict held-out latencies within 15 %, twice.
    """
    if latency == "recorded":
        shipped = recorded_calibration(source, space, settings)
        if shipped is None and settings and settings.threads == n_threads():
            usual = replace(settings, threads=RECORDED_THREADS)
            shipped = recorded_calibration(source, space, usual)
        if shipped:
            return shipped
        at = ""
        if settings:
            at = (
                f", batch {settings.batch_size}, {settings.sequence_length or 'any'} tokens and "
                f"{settings.threads} threads"
            )
        raise ValueError(
            f"no calibration of {source.name} with this space{at} is shipped; measure "
            "one (--latency measured), or take a shipped space (README names them)."
        )
    settings = (settings or LatencySettings()).of_length(USUAL_LENGTH)
    path = calibration_path(cache_dir() / "calibrations", source, space, settings)
    if path.is_file() and not recalibrate:
        known = records.read(path, Calibration)
        if known.report().median_relative_error <= MOST_OFF:
            return known
    calibration = not_too_far_off(
        lambda: calibrate(source, space, settings, on_progress=on_progress),
        ", or take --latency recorded",
    )
    records.write(path, calibration)
    return calibration


def not_too_far_off(measure: Callable[[], Measured], instead: str = "") -> Measured:
    """Return timings that predict held-out latencies within 15 % in the median, of two tries.

    Raises:
        ValueError: neither does; the machine was too busy. It says what to do, or `instead`.
    """
    off = []
    while len(off) < 2:
        timings = measure()
        off.append(timings.report().median_relative_error)
        if off[-1] <= MOST_OFF:
            return timings
    raise ValueError(
        f"calibrated twice, the predicted latencies are {off[0]:.0%} and {off[1]:.0%} off what was "
        f"measured, in the median; at most {MOST_OFF:.0%} is allowed. Close other programs and "
        f"start again{instead}; what was trained is kept."
    )


def costs_of(architecture: Architecture, source: Source, calibration: Calibration) -> Costs:
    """Return what an architecture costs: exact counts, and its predicted latency."""
    parameters = n_parameters(architecture, source)
    length = calibration.settings.sequence_length
    return Costs(
        architecture,
        n_parameters=parameters.total,
        n_encoder_parameters=parameters.encoder,
        operations=n_operations(architecture, source, length).total,
        latency_ms=calibration.predict_ms(architecture),
    )


def candidate(costs: Costs, size: Size = "total") -> fptas.Candidate:
    """Return an architecture for the search, with its place in the AB^nC order of this family.

    One encoder contains another in depth, heads, width and neurons. Heads cost nothing, and still
    count: on the recorded table twice as large a share of the pairs breaks the order without them.
    """
    a = costs.architecture
    return fptas.Candidate(
        key=a,
        p=costs.size(size),
        i=costs.latency_ms,
        order=(a.num_hidden_layers, a.num_attention_heads, a.hidden_size, a.intermediate_size),
        tie=(costs.operations, a.num_attention_heads),
    )
