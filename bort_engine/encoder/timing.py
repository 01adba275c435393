"""Time encoders side by side, so that a machine that changes its speed does not favour one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.runs.events import Progress, silent
from bort_engine.runs.provenance import n_threads

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Runtime = Literal["pytorch", "onnx-int8", "openvino-int8"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
USUAL_LENGTH = 128  # tokens, where there is no task


@dataclass(frozen=True, slots=True)
class LatencySettings:
    """What a latency is measured at, with full-length inputs.

    Attributes:
        batch_size: sequences in one forward pass.
        sequence_length: tokens of each; 0 for as many as are read of a task's texts.
        threads: processor threads; 0 for all that this process may use.
        runtime: pytorch is fp32 with transformers' default attention; onnx-int8 and openvino-int8
            are what `export` writes in these formats, run by ONNX Runtime and by OpenVINO.

    Raises:
        ValueError: a setting is out of range.
    """

    batch_size: int = 1
    sequence_length: int = 0
    threads: int = 0
    runtime: Runtime = "pytorch"

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise ValueError(f"runtime is {self.runtime!r}; allowed: {', '.join(RUNTIMES)}.")
        object.__setattr__(self, "threads", self.threads or n_threads())
        limits = (("batch_size", 1, 1024), ("sequence_length", 0, 512), ("threads", 1, 1024))
        for name, least, most in limits:
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{name} is {value!r}; allowed: {least} to {most}.")

    def of_length(self, length: int) -> LatencySettings:
        """Return these settings with a length, where they have none of their own."""
        return self if self.sequence_length else replace(self, sequence_length=length)


@dataclass(frozen=True, slots=True)
class TimedShape:
    """What is timed: `depth` layers of an architecture. At depth 0, what lies outside of layers."""

    architecture: Architecture
    depth: int


def measure_ms(
    architectures: Sequence[Architecture],
    source: Source,
    settings: LatencySettings | None = None,
    rounds: int = 15,
) -> dict[Architecture, float]:
    """Time whole models in turns in PyTorch; return each one's median forward pass, in ms."""
    shapes = {str(a): TimedShape(a, a.num_hidden_layers) for a in architectures}
    settings = settings or LatencySettings()
    smallest = min(architectures, key=lambda a: n_operations(a, source).total)
    times = time_in_turns(
        shapes, TimedShape(smallest, 1), source, settings.of_length(USUAL_LENGTH), rounds
    )
    return {a: round(float(np.median(times[str(a)])), 3) for a in architectures}


def time_in_turns(
    shapes: Mapping[str, TimedShape],
    reference: TimedShape,
    source: Source,
    settings: LatencySettings,
    rounds: int,
    rng: random.Random | None = None,
    on_progress: Progress = silent,
    make: MakeTimed | None = None,
) -> dict[str, np.ndarray]:
    """Time every shape once a round, in an order that `rng` draws anew for each.

    Shared machines change speed by a fifth from one moment to the next. So a small reference is
    timed right before and after each shape, and times are restated at its median speed.

    Args:
        make: makes a shape ready to be timed; by default in PyTorch.

    Returns:
        Milliseconds of a forward pass by shape, one a round.
    """
    import torch

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
    make = make or Stack
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


class Timed(Protocol):
    """A model that is ready to be timed."""

    def time_ms(self, number: int = 1) -> float:
        """Return the mean wall clock of `number` forward passes, in milliseconds."""
        ...


MakeTimed = Callable[["TimedShape", Source, "torch.Tensor", LatencySettings], Timed]


class Stack:
    """A model of a shape in PyTorch, with weights that are views of a shared buffer.

    So 500 shapes of a space fit into the memory of the largest. Layers are distinct parts of the
    buffer, so that caches see what they would see in use; what the weights are changes no time.
    """

    def __init__(
        self, shape: TimedShape, source: Source, weights: torch.Tensor, settings: LatencySettings
    ) -> None:
        self._model = stacked(shape, source, weights)
        self._inputs = inputs_of(source, settings)

    def time_ms(self, number: int = 1) -> float:
        import torch

        with torch.inference_mode():
            start = perf_counter()
            for _ in range(number):
                self._model(**self._inputs)
            return (perf_counter() - start) * 1e3 / number


def stacked(
    shape: TimedShape, source: Source, weights: torch.Tensor, **options: str
) -> PreTrainedModel:
    """Return a model of a shape, made with `options`; its parameters are views of `weights`."""
    import torch
    from transformers import AutoConfig, AutoModel

    depth = max(shape.depth, 1)
    values = source.config(replace(shape.architecture, num_hidden_layers=depth))
    if shape.depth == 0:  # an Architecture has a layer at least, a transformers model need not
        values |= {name: 0 for name in ("num_hidden_layers", "n_layers") if name in values}
    config = AutoConfig.for_model(source.model_type, **values)
    pooler = {} if source.model_type == "distilbert" else {"add_pooling_layer": source.pooler}
    # On the meta device a model has shapes but no memory, and nothing is drawn at random;
    # its parameters then become views of the buffer, and only its few buffers are its own.
    with torch.device("meta"):
        model = AutoModel.from_config(config, **pooler, **options)
    model.to_empty(device="cpu")
    offset = 0
    for parameter in model.parameters():
        size = parameter.numel()
        parameter.data = weights[offset : offset + size].view(parameter.shape)
        offset += size
    for name, buffer in model.named_buffers():
        position = torch.arange(buffer.shape[-1]).expand_as(buffer)
        buffer.copy_(position if "position" in name else torch.zeros_like(buffer))
    return model.eval()


def inputs_of(source: Source, settings: LatencySettings) -> dict[str, torch.Tensor]:
    """Return a batch of random tokens of the settings' size, none of them padding."""
    import torch

    size = (settings.batch_size, settings.sequence_length)
    ids = torch.randint(3, source.vocab_size, size, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": ids * 0 + 1}
