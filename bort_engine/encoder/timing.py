"""What a latency is measured at, and models of a shape that are ready to be timed in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.uneven import Uneven, shrink
from bort_engine.runs.checks import check_whole
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
            check_whole(name, getattr(self, name), least, most)

    def of_length(self, length: int) -> LatencySettings:
        """Return these settings with a length, where they have none of their own."""
        return self if self.sequence_length else replace(self, sequence_length=length)


@dataclass(frozen=True, slots=True)
class TimedShape:
    """What is timed: `depth` layers of an architecture. At depth 0, what lies outside of layers.

    With `uneven`, that shape, cut from `depth` layers of the architecture.
    """

    architecture: Architecture
    depth: int
    uneven: Uneven | None = None

    @classmethod
    def of(cls, shape: Architecture | Uneven, source: Source) -> TimedShape:
        """Return what is timed for a whole model."""
        if isinstance(shape, Architecture):
            return cls(shape, shape.num_hidden_layers)
        whole = replace(source.architecture, hidden_size=shape.hidden_size)
        return cls(whole, whole.num_hidden_layers, shape)


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
        if shape.uneven:
            model = shrink(model, shape.uneven, shape.architecture.head_width)
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
