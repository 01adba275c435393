"""Latency through AB^nC: the parts of a model are timed, and every depth is predicted from them."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from annotated_types import Interval, MinLen

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.encoder.timing import (
    USUAL_LENGTH,
    LatencySettings,
    Runtime,
    TimedShape,
)
from bort_engine.encoder.turns import time_in_turns
from bort_engine.runs import records
from bort_engine.runs.events import Progress, silent
from bort_engine.runs.provenance import Origin, device_name, versions
from bort_engine.runs.records import NonNegative, Positive, PositiveCount

# By runtime: how many sizes I are timed at most, and in stacks of how many layers at most; between
# the sizes t_B is interpolated. An export takes seconds, and more with each layer.
N_SIZES = {"pytorch": 5, "onnx-int8": 3, "openvino-int8": 3}
MOST_LAYERS = {"pytorch": 99, "onnx-int8": 2, "openvino-int8": 2}
PACKAGES = {
    "pytorch": (),
    "onnx-int8": ("torch", "transformers", "onnxruntime"),
    "openvino-int8": ("torch", "transformers", "openvino", "nncf"),
}


@dataclass(frozen=True, slots=True)
class HeldOut:
    """An architecture (`D,A,H,I`) that was timed in full and not used for the fit.

    `iqr_ms` is the range between the quartiles of its rounds.
    """

    architecture: str
    measured_ms: Positive
    iqr_ms: NonNegative
    predicted_ms: Positive


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Where a front's latencies come from: settings, device, and the held-out check's errors.

    The parts were timed on `made_on`, here ("measured") or elsewhere ("recorded").
    """

    batch_size: PositiveCount
    sequence_length: PositiveCount
    threads: PositiveCount
    device: str
    median_relative_error: NonNegative
    worst_relative_error: NonNegative
    kendall_tau: Annotated[float, Interval(ge=-1, le=1)]
    n_held_out: PositiveCount
    origin: Origin
    made_on: str
    versions: str
    runtime: Runtime = "pytorch"


class Timings(Protocol):
    """Timed parts of a family, and shapes that were held out to check predictions from them."""

    @property
    def settings(self) -> LatencySettings: ...
    @property
    def device(self) -> str: ...
    @property
    def versions(self) -> str: ...
    @property
    def made_on(self) -> str: ...
    @property
    def origin(self) -> Origin: ...
    @property
    def held_out(self) -> tuple[HeldOut, ...]: ...


@dataclass(frozen=True)  # without slots, for what is cached
class Calibration:
    """Timings of one family's parts, from which every depth is predicted (AB^nC).

    `outside_ms` maps a hidden size to t_A + t_C (a model without layers); `layer_ms` maps "A,H,I"
    to t_B, which is interpolated for an I between two of those timed. `origin` is "recorded" in
    the files that ship.
    """

    source: str
    settings: LatencySettings
    device: str
    versions: str
    made_on: str
    seconds: NonNegative
    outside_ms: dict[str, Positive]
    layer_ms: dict[str, Positive]
    held_out: Annotated[tuple[HeldOut, ...], MinLen(1)]
    schema: Literal[2] = 2
    origin: Origin = "measured"

    AGAIN: ClassVar[str] = "delete it to measure again"

    def predict_ms(self, architecture: Architecture) -> float:
        """Return the predicted latency: t_A(H) + D t_B(A, H, I) + t_C(H).

        Raises:
            ValueError: this block shape was not calibrated.
        """
        layer_ms = self._layer_ms(architecture)
        if layer_ms is None:
            raise ValueError(
                f"block {_block(architecture)!r} is not in the calibration of {self.source}; "
                "calibrate its space."
            )
        outside = self.outside_ms[str(architecture.hidden_size)]
        return outside + architecture.num_hidden_layers * layer_ms

    def _layer_ms(self, a: Architecture) -> float | None:
        """Return t_B, linear in I between the nearest two that were timed (its products are)."""
        if str(a.hidden_size) not in self.outside_ms:
            return None
        if (ms := self.layer_ms.get(_block(a))) is not None:
            return ms
        width, _, size = _block(a).rpartition(",")
        sizes, ms_of = self._timed.get(width, ([math.inf], [math.nan]))
        if not sizes[0] < int(size) < sizes[-1]:
            return None
        return float(np.interp(int(size), sizes, ms_of))

    @cached_property
    def _timed(self) -> dict[str, tuple[list[int], list[float]]]:
        """For each "A,H" the sizes I that were timed, in order, and their t_B."""
        by_width: dict[str, dict[int, float]] = {}
        for block, ms in self.layer_ms.items():
            width, _, size = block.rpartition(",")
            by_width.setdefault(width, {})[int(size)] = ms
        return {
            width: (sorted(timed), [timed[size] for size in sorted(timed)])
            for width, timed in by_width.items()
        }

    def covers(self, space: Iterable[Architecture]) -> bool:
        """True where every architecture of the space can be predicted."""
        return all(self._layer_ms(a) is not None for a in space)

    def report(self) -> LatencyReport:
        """Return the settings and how far the held-out predictions were off."""
        return report_of(self)


def report_of(timings: Timings) -> LatencyReport:
    """Return the settings of timed parts, and how far the predictions of the held-out were off."""
    predicted = np.array([row.predicted_ms for row in timings.held_out])
    measured = np.array([row.measured_ms for row in timings.held_out])
    errors = np.abs(predicted / measured - 1)
    # One time only (a space of one architecture) has no order that could be lost. Kendall's tau is
    # the correlation of the signs of all differences; scipy's takes half a second to import.
    ranked = len(set(predicted)) > 1 and len(set(measured)) > 1
    signs = [np.sign(np.subtract.outer(ms, ms)).ravel() for ms in (predicted, measured)]
    return LatencyReport(
        **asdict(timings.settings),
        device=timings.device,
        median_relative_error=float(np.median(errors)),
        worst_relative_error=float(errors.max()),
        kendall_tau=float(np.corrcoef(signs)[0, 1]) if ranked else 1.0,
        n_held_out=len(errors),
        origin=timings.origin,
        made_on=timings.made_on,
        versions=timings.versions,
    )


def check_packages(runtime: Runtime) -> None:
    """Raise ValueError where something is missing that a runtime is timed with."""
    if missing := [name for name in PACKAGES[runtime] if find_spec(name) is None]:
        raise ValueError(f"to time {runtime} needs more packages: pip install {' '.join(missing)}")


def _block(architecture: Architecture) -> str:
    a = architecture
    return f"{a.num_attention_heads},{a.hidden_size},{a.intermediate_size}"


def calibration_path(
    folder: Path, source: Source, space: SearchSpace, settings: LatencySettings
) -> Path:
    """Return where a calibration lies: named by source, settings, and the machine and space."""
    made_with = versions(*PACKAGES[settings.runtime])
    key = f"{device_name()} {made_with} {source.config()} {space} schema 2"
    digest = hashlib.sha256(key.encode()).hexdigest()[:10]
    size = f"b{settings.batch_size}-l{settings.sequence_length}-t{settings.threads}"
    runtime = "" if settings.runtime == "pytorch" else f"-{settings.runtime}"
    return folder / f"{Path(source.name).name}{runtime}-{size}-{digest}.json"


@lru_cache(maxsize=32)
def _recorded(path: Path, changed: int) -> Calibration:
    return records.read(path, Calibration)


def recorded_calibration(
    source: Source, space: Iterable[Architecture], settings: LatencySettings | None = None
) -> Calibration | None:
    """Return the shipped calibration that fits the source and covers the space, or None.

    Without settings it is PyTorch's, of any length.
    """
    for path in sorted((ASSETS / "calibrations").glob("*.json")):
        calibration = _recorded(path, path.stat().st_mtime_ns)
        found = calibration.settings
        wanted = settings or replace(found, runtime="pytorch")
        fits = wanted.of_length(found.sequence_length) == found
        if fits and calibration.source == source.name and calibration.covers(space):
            return calibration
    return None


def calibrate(
    source: Source,
    space: SearchSpace,
    settings: LatencySettings | None = None,
    *,
    rounds: int = 6,
    n_held_out: int = 16,
    seed: int = 0,
    on_progress: Progress = silent,
) -> Calibration:
    """Time the space's parts on this machine and check the predictions on a held-out sample.

    Each block shape is timed as a stack of middling depth (in int8, which is exported first, of two
    layers), at up to five (three) of the space's I; the held-out architectures have other depths,
    and any I. See `time_in_turns` for how; the median of the rounds counts.

    Raises:
        ValueError: the sequences are longer than the source's positions.
    """
    settings = (settings or LatencySettings()).of_length(USUAL_LENGTH)
    start = perf_counter()
    if settings.sequence_length > source.longest_input:
        raise ValueError(
            f"sequence_length is {settings.sequence_length}; {source.name} allows 1 to "
            f"{source.longest_input}."
        )
    rng = random.Random(seed)
    depths, sizes = space.num_hidden_layers, space.intermediate_size
    depth = min(depths[len(depths) // 2], MOST_LAYERS[settings.runtime])
    n_sizes = min(N_SIZES[settings.runtime], len(sizes))
    spread = np.linspace(0, len(sizes) - 1, n_sizes).round().astype(int)
    timed = {sizes[n] for n in spread}
    blocks = {
        _block(a): replace(a, num_hidden_layers=depth)
        for a in space
        if a.intermediate_size in timed
    }
    eligible = [a for a in space if a.num_hidden_layers != depth] or list(space)
    held_out = rng.sample(eligible, min(n_held_out, len(eligible)))
    shapes = {
        **{f"outside {a.hidden_size}": TimedShape(a, 0) for a in blocks.values()},
        **{f"layers {block}": TimedShape(a, depth) for block, a in blocks.items()},
        **{str(a): TimedShape(a, a.num_hidden_layers) for a in held_out},
    }
    middle = sorted(blocks.values(), key=lambda a: n_parameters(a, source).total)[len(blocks) // 2]
    reference = TimedShape(middle, 1)
    times = time_in_turns(shapes, reference, source, settings, rounds, rng, on_progress)
    median = {name: float(np.median(ms)) for name, ms in times.items()}
    outside = {str(a.hidden_size): median[f"outside {a.hidden_size}"] for a in blocks.values()}
    layers = {
        block: (median[f"layers {block}"] - outside[str(a.hidden_size)]) / depth
        for block, a in blocks.items()
    }
    calibration = Calibration(
        source=source.name,
        settings=settings,
        device=device_name(),
        versions=versions(*PACKAGES[settings.runtime]),
        made_on=date.today().isoformat(),
        seconds=round(perf_counter() - start, 1),
        outside_ms={hidden: round(ms, 4) for hidden, ms in outside.items()},
        # Noise may hide a small layer.
        layer_ms={block: round(max(ms, 1e-5), 5) for block, ms in layers.items()},
        held_out=(),
    )
    rows = []
    for a in held_out:
        quartiles = np.percentile(times[str(a)], [25, 75])
        row = HeldOut(
            str(a),
            measured_ms=round(median[str(a)], 4),
            iqr_ms=round(float(np.ptp(quartiles)), 4),
            predicted_ms=round(calibration.predict_ms(a), 4),
        )
        rows.append(row)
    return replace(calibration, held_out=tuple(rows))
