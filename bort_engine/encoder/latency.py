"""Latency through AB^nC: the parts of a model are timed, and every depth is predicted from them."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.runs.events import Progress, silent
from bort_engine.runs.provenance import device_name, n_threads, versions
from bort_engine.runs.records import write_json


@dataclass(frozen=True, slots=True)
class LatencySettings:
    """What a latency is measured at; fp32, transformers' default attention, full-length inputs.

    Raises:
        ValueError: a setting is out of range.
    """

    batch_size: int = 1
    sequence_length: int = 128
    threads: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "threads", self.threads or n_threads())
        for name, most in (("batch_size", 1024), ("sequence_length", 512), ("threads", 1024)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} is {value!r}; allowed: 1 to {most}.")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Timings of one family's parts, from which every depth is predicted (AB^nC).

    `outside_ms` maps a hidden size to t_A + t_C (a model without layers); `layer_ms` maps "A,H,I"
    to t_B. `held_out` lists architectures measured in full and not used for the fit:
    {"architecture", "measured_ms", "iqr_ms", "predicted_ms"}.
    """

    source: str
    settings: LatencySettings
    device: str
    versions: str
    made_on: str
    seconds: float
    outside_ms: Mapping[str, float]
    layer_ms: Mapping[str, float]
    held_out: tuple[dict[str, Any], ...]
    recorded: bool = False

    def predict_ms(self, architecture: Architecture) -> float:
        """Return the predicted latency: t_A(H) + D t_B(A, H, I) + t_C(H).

        Raises:
            ValueError: this block shape was not calibrated.
        """
        try:
            outside = self.outside_ms[str(architecture.hidden_size)]
            return outside + architecture.num_hidden_layers * self.layer_ms[_block(architecture)]
        except KeyError as e:
            raise ValueError(
                f"block {e} is not in the calibration of {self.source}; calibrate its space."
            ) from e

    def covers(self, space: Iterable[Architecture]) -> bool:
        """True where every architecture of the space can be predicted."""
        return all(
            _block(a) in self.layer_ms and str(a.hidden_size) in self.outside_ms for a in space
        )

    def report(self) -> LatencyReport:
        """Return the settings and how far the held-out predictions were off."""
        from scipy.stats import kendalltau

        predicted = np.array([row["predicted_ms"] for row in self.held_out])
        measured = np.array([row["measured_ms"] for row in self.held_out])
        errors = np.abs(predicted / measured - 1)
        # One time only (a space of one architecture) has no order that could be lost.
        ranked = len(set(predicted)) > 1 and len(set(measured)) > 1
        tau: Any = kendalltau(predicted, measured) if ranked else None
        return LatencyReport(
            **asdict(self.settings),
            device=self.device,
            median_relative_error=float(np.median(errors)),
            worst_relative_error=float(errors.max()),
            kendall_tau=float(tau.statistic) if tau else 1.0,
            n_held_out=len(errors),
            recorded=f"{self.made_on}, {self.versions}" if self.recorded else None,
        )

    def save(self, path: Path) -> Path:
        return write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path, recorded: bool = False) -> Calibration:
        """Read a calibration; it is untrusted input, so it is checked.

        Raises:
            ValueError: there is none, or it is damaged.
        """
        try:
            plain = json.loads(path.read_text())
            plain |= {"settings": LatencySettings(**plain["settings"]), "recorded": recorded}
            plain["held_out"] = tuple(plain["held_out"])
            found = cls(**plain)
            times = [*found.outside_ms.values(), *found.layer_ms.values()]
            times += [row[key] for row in found.held_out for key in ("predicted_ms", "measured_ms")]
            if not found.held_out or not (np.isfinite(times).all() and min(times) > 0):
                raise TypeError("a time is missing, not finite or not positive")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise ValueError(f"calibration {path} cannot be read ({e}); delete it.") from e
        return found


def _block(architecture: Architecture) -> str:
    return str(architecture).partition(",")[2]


def calibration_path(
    folder: Path, source: Source, space: SearchSpace, settings: LatencySettings
) -> Path:
    """Return where a calibration lies: named by source, settings, and the machine and space."""
    machine = f"{device_name()} {versions()} {source.config()} {space}"
    digest = hashlib.sha256(machine.encode()).hexdigest()[:10]
    name = Path(source.name).name
    return folder / (
        f"{name}-b{settings.batch_size}-l{settings.sequence_length}-t{settings.threads}-{digest}.json"
    )


def recorded_calibration(
    source: Source, space: SearchSpace, settings: LatencySettings | None = None
) -> Calibration | None:
    """Return the shipped calibration that fits the source and covers the space, or None."""
    for path in sorted((ASSETS / "calibrations").glob("*.json")):
        found = Calibration.load(path, recorded=True)
        same = settings is None or found.settings == settings
        if found.source == source.name and same and found.covers(space):
            return found
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

    Each block shape is timed once a round as a stack of middling depth; the held-out architectures
    have other depths. Shared machines change speed by a fifth from one moment to the next, so the
    order changes every round, and a small reference stack is timed right before and after each
    stack: times are restated at the reference's median speed, and the median of the rounds counts.
    All stacks draw their weights from one shared buffer; layers are distinct, so caches see what
    they would see in use.

    Raises:
        ValueError: the sequences are longer than the source's positions.
    """
    import torch

    settings = settings or LatencySettings()
    start = perf_counter()
    positions = source.max_position_embeddings - 2 * (source.model_type == "roberta")
    if settings.sequence_length > positions:
        raise ValueError(
            f"sequence_length is {settings.sequence_length}; {source.name} allows 1 to {positions}."
        )
    # transformers' models do not run without token types, as Bort's shape has it: time one row.
    timed = replace(source, type_vocab_size=max(source.type_vocab_size, 1))
    depths = sorted(space.num_hidden_layers)
    depth = depths[len(depths) // 2]
    rng = random.Random(seed)
    blocks = {_block(a): replace(a, num_hidden_layers=depth) for a in space}
    eligible = [a for a in space if a.num_hidden_layers != depth] or list(space)
    held_out = rng.sample(eligible, min(n_held_out, len(eligible)))
    widths = {str(a.hidden_size): a for a in blocks.values()}
    largest = max(
        n_parameters(replace(a, num_hidden_layers=depths[-1]), timed).total for a in blocks.values()
    )
    weights = torch.empty(largest).uniform_(-0.05, 0.05)
    middle = sorted(blocks.values(), key=lambda a: n_parameters(a, source).total)[len(blocks) // 2]
    reference = _Stack(timed, middle, 1, weights, settings)
    stacks = {
        **{f"outside {h}": _Stack(timed, a, 0, weights, settings) for h, a in widths.items()},
        **{f"layer {b}": _Stack(timed, a, depth, weights, settings) for b, a in blocks.items()},
        **{str(a): _Stack(timed, a, a.num_hidden_layers, weights, settings) for a in held_out},
    }
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        times = _time_in_turns(stacks, reference, rounds, rng, on_progress)
    finally:
        torch.set_num_threads(before)
    typical = {name: float(np.median(values)) for name, values in times.items()}
    outside = {h: typical[f"outside {h}"] for h in widths}
    layer = {
        b: max((typical[f"layer {b}"] - outside[str(a.hidden_size)]) / depth, 1e-5)
        for b, a in blocks.items()
    }
    rows = tuple(
        {
            "architecture": str(a),
            "measured_ms": round(typical[str(a)], 4),
            "iqr_ms": round(float(np.subtract(*np.percentile(times[str(a)], [75, 25]))), 4),
            "predicted_ms": round(
                outside[str(a.hidden_size)] + a.num_hidden_layers * layer[_block(a)], 4
            ),
        }
        for a in held_out
    )
    return Calibration(
        source=source.name,
        settings=settings,
        device=device_name(),
        versions=versions(),
        made_on=date.today().isoformat(),
        seconds=round(perf_counter() - start, 1),
        outside_ms={h: round(ms, 4) for h, ms in outside.items()},
        layer_ms={b: round(ms, 5) for b, ms in layer.items()},
        held_out=rows,
    )


def measure_ms(
    architectures: Sequence[Architecture],
    source: Source,
    settings: LatencySettings | None = None,
    rounds: int = 15,
) -> dict[Architecture, float]:
    """Time whole models in turns and return each one's median forward pass, in milliseconds.

    As in `calibrate`, at the median speed of the smallest of them, which is timed beside each.
    """
    import torch

    settings = settings or LatencySettings()
    largest = max(n_parameters(a, source).total for a in architectures)
    weights = torch.empty(largest).uniform_(-0.05, 0.05)
    stacks = {
        str(a): _Stack(source, a, a.num_hidden_layers, weights, settings) for a in architectures
    }
    smallest = min(architectures, key=lambda a: n_operations(a, source).total)
    reference = _Stack(source, smallest, 1, weights, settings)
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        times = _time_in_turns(stacks, reference, rounds, random.Random(0), silent)
    finally:
        torch.set_num_threads(before)
    return {a: round(float(np.median(times[str(a)])), 3) for a in architectures}


def _time_in_turns(
    stacks: Mapping[str, _Stack],
    reference: _Stack,
    rounds: int,
    rng: random.Random,
    on_progress: Progress,
) -> dict[str, np.ndarray]:
    """Time every stack once a round; return milliseconds at the reference's median speed."""
    order = list(stacks)
    raw: dict[str, list[float]] = {name: [] for name in stacks}
    pace: dict[str, list[float]] = {name: [] for name in stacks}
    for turn in range(rounds):
        rng.shuffle(order)
        for done, name in enumerate(order, turn * len(order) + 1):
            stacks[name].time_ms()  # warm-up
            earlier = reference.time_ms(2)
            raw[name].append(stacks[name].time_ms())
            pace[name].append((earlier + reference.time_ms(2)) / 2)
            on_progress(
                {"stage": "calibrating latency", "done": done, "total": rounds * len(order)}
            )
    usual = np.median([ms for values in pace.values() for ms in values])
    return {name: np.array(raw[name]) / np.array(pace[name]) * usual for name in stacks}


class _Stack:
    """A model of `depth` layers whose weights are views of a shared buffer, ready to be timed."""

    def __init__(
        self,
        source: Source,
        architecture: Architecture,
        depth: int,
        weights: Any,
        settings: LatencySettings,
    ) -> None:
        import torch
        from transformers import AutoConfig, AutoModel

        shape = source.config(replace(architecture, num_hidden_layers=max(depth, 1)))
        config = AutoConfig.for_model(source.model_type, **shape)
        if depth == 0:
            setattr(
                config, "n_layers" if source.model_type == "distilbert" else "num_hidden_layers", 0
            )
        pooler = {} if source.model_type == "distilbert" else {"add_pooling_layer": source.pooler}
        with torch.device("meta"):
            model = AutoModel.from_config(config, **pooler)
        model.to_empty(device="cpu")
        offset = 0
        for parameter in model.parameters():
            size = parameter.numel()
            parameter.data = weights[offset : offset + size].view(parameter.shape)
            offset += size
        for name, buffer in model.named_buffers():
            position = torch.arange(buffer.shape[-1]).expand_as(buffer)
            buffer.copy_(position if "position" in name else torch.zeros_like(buffer))
        size = (settings.batch_size, settings.sequence_length)
        ids = torch.randint(3, source.vocab_size, size, generator=torch.Generator().manual_seed(0))
        self._model, self._inputs = model.eval(), {"input_ids": ids, "attention_mask": ids * 0 + 1}

    def time_ms(self, number: int = 1) -> float:
        """Return the mean wall clock of `number` forward passes, in milliseconds."""
        import torch

        with torch.inference_mode():
            start = perf_counter()
            for _ in range(number):
                self._model(**self._inputs)
            return (perf_counter() - start) * 1e3 / number


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Where a front's latencies come from: settings, device, and the held-out check's errors.

    `recorded` is None for a calibration made on this machine, else where and when it was made.
    """

    batch_size: int
    sequence_length: int
    threads: int
    device: str
    median_relative_error: float
    worst_relative_error: float
    kendall_tau: float
    n_held_out: int
    recorded: str | None = None
