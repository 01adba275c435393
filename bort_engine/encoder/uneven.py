"""Encoders whose layers differ: so many heads and neurons in each, or a layer left out.

transformers' classes take one width for all layers. So such a model is the plain class with its
linear layers cut down, which runs, trains and exports as any other; to be saved as an ordinary
checkpoint it is padded with zeros again (build_uneven.py), to the same outputs at no more speed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bort_engine.encoder.costs import PartCounts, n_parameters
from bort_engine.encoder.roles import ROLES, layer_of, role_of
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Layer = tuple[int, int]  # heads and feed-forward neurons
LEFT_OUT: Layer = (0, 0)
NEURONS = 8  # their number is a multiple of this


@dataclass(frozen=True, slots=True, order=True)
class Uneven:
    """A hidden size and, for each layer of the source, its heads and neurons.

    With no heads (no neurons) a layer's attention (feed-forward) adds its bias only; a layer that
    has neither is left out, norms and all. Heads are as wide as `hidden_size` over the source's
    number of them. Written `384:12x1536,8x96,-,...`.
    """

    hidden_size: int
    layers: tuple[Layer, ...]

    @classmethod
    def parse(cls, text: str) -> Uneven:
        """Read the form that `str` writes."""
        if not re.fullmatch(
            r"\d{1,6}:(\d{1,6}x\d{1,6}|-)(,(\d{1,6}x\d{1,6}|-)){0,99}", text.strip()
        ):
            raise ValueError(
                f"shape {text[:60]!r} is not a hidden size and, by layer, heads and neurons; "
                "write, for example, 384:12x1536,8x96,-."
            )
        hidden, _, layers = text.strip().partition(":")
        parts = (layer.split("x") for layer in layers.replace("-", "0x0").split(","))
        return cls(int(hidden), tuple((int(heads), int(neurons)) for heads, neurons in parts))

    def __str__(self) -> str:
        layers = ("-" if layer == LEFT_OUT else "{}x{}".format(*layer) for layer in self.layers)
        return f"{self.hidden_size}:{','.join(layers)}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        """In a record a shape is written as text (pydantic asks for this)."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            cls.parse, core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def of(cls, architecture: Architecture, source: Source) -> Uneven:
        """Return a uniform slice that has all of the source's heads in this form."""
        depth, whole = architecture.num_hidden_layers, source.architecture.num_hidden_layers
        kept = {(k + 1) * whole // depth - 1 for k in range(depth)}  # as build.Slice spreads them
        layer = (architecture.num_attention_heads, architecture.intermediate_size)
        layers = tuple(layer if k in kept else LEFT_OUT for k in range(whole))
        return cls(architecture.hidden_size, layers)

    @property
    def kept(self) -> tuple[int, ...]:
        """The source's layers that are not left out."""
        return tuple(k for k, layer in enumerate(self.layers) if layer != LEFT_OUT)

    def check(self, source: Source) -> None:
        """Raise a ValueError unless this can be cut out of the source."""
        whole = source.architecture
        heads, neurons = whole.num_attention_heads, whole.intermediate_size
        fits = all(h <= heads and n <= neurons for h, n in self.layers)
        hidden = self.hidden_size <= whole.hidden_size and self.hidden_size % heads == 0
        if not (fits and hidden and self.kept and len(self.layers) == whole.num_hidden_layers):
            raise ValueError(
                f"{self} cannot be cut out of {source.name}: give {whole.num_hidden_layers} layers "
                f"of at most {heads}x{neurons}, not all of them left out, and a hidden size of at "
                f"most {whole.hidden_size} that {heads} divides."
            )

    def padded(self, source: Source) -> Architecture:
        """Return the smallest uniform shape that holds this one, with the source's heads."""
        return Architecture(
            len(self.kept),
            source.architecture.num_attention_heads,
            self.hidden_size,
            max(1, *(neurons for _, neurons in self.layers)),
        )


def parse_shape(text: str) -> Architecture | Uneven:
    """Read the form of an architecture, or that of an uneven shape, which has a colon."""
    if ":" in text:
        return Uneven.parse(text)
    if text.count(",") == 3:
        return Architecture.parse(text)
    raise ValueError(
        f"architecture {text[:60]!r} is of neither form; allowed: D,A,H,I (3,12,384,768), or, "
        "where layers differ, H:AxI,... (384:12x1536,8x96,-): the hidden size, then heads and "
        "neurons of each of the source's layers, - for one left out."
    )


def draw(source: Source, hidden_size: int, rng: random.Random) -> Uneven:
    """Return a random shape, of any total size; some attentions, feed-forwards and layers miss."""
    whole = source.architecture

    share, missing = rng.uniform(0.1, 1.0), rng.uniform(0.0, 1 / 3)
    left_out = rng.random() * (1 - share)

    def width(most: int, step: int = 1) -> int:
        if rng.random() < missing:
            return 0
        return min(most, step * round(most / step * share * rng.uniform(0.3, 1.7)))

    layers = tuple(
        LEFT_OUT
        if rng.random() < left_out
        else (width(whole.num_attention_heads), width(whole.intermediate_size, NEURONS))
        for _ in range(whole.num_hidden_layers)
    )
    return Uneven(hidden_size, layers) if any(map(any, layers)) else draw(source, hidden_size, rng)


def layer_parameters(layer: Layer, hidden_size: int, source: Source) -> int:
    """Count the parameters of one layer: heads' and neurons', the outputs' biases, two norms."""
    if layer == LEFT_OUT:
        return 0
    (heads, neurons), H = layer, hidden_size
    units = heads * (H // source.architecture.num_attention_heads)
    return units * (4 * H + 3) + neurons * (2 * H + 1) + 6 * H


def uneven_parameters(shape: Uneven, source: Source) -> PartCounts:
    """Count the parameters of an uneven shape as `n_parameters` counts those of a uniform one."""
    # Everything but the layers depends on the hidden size alone.
    parts = n_parameters(replace(source.architecture, hidden_size=shape.hidden_size), source)
    layers = (layer_parameters(layer, shape.hidden_size, source) for layer in shape.layers)
    return replace(parts, encoder=sum(layers))


def shrink(
    model: PreTrainedModel,
    shape: Uneven,
    head_width: int,
    best: Sequence[tuple[Any, Any]] | None = None,
) -> PreTrainedModel:
    """Cut a uniform model down in place and return it.

    Args:
        best: by layer, heads and neurons with those to keep first; the first ones by default.
    """
    import torch

    def chosen(layer: int, kind: str) -> torch.Tensor:
        count = shape.layers[layer][kind == "neurons"]
        first = best[layer][kind == "neurons"][:count] if best else range(count)
        units = torch.tensor(sorted(first), dtype=torch.long)
        if kind == "neurons":
            return units
        return (units[:, None] * head_width + torch.arange(head_width)).flatten()

    names: dict[str, Any] = dict(model.named_modules())
    for name, module in names.items():
        role = role_of(name)
        if not role:
            continue
        _, kind, axis = ROLES[role]
        units, weight = chosen(layer_of(name), kind), module.weight
        if len(units) < weight.shape[axis]:
            module.weight = torch.nn.Parameter(weight.index_select(axis, units))
            if axis == 0:
                module.bias = torch.nn.Parameter(module.bias[units])
            module.out_features, module.in_features = module.weight.shape
        if role == "query" and not len(units):
            holder, _, attribute = name.rpartition(".")[0].rpartition(".")
            setattr(names[holder], attribute, _no_heads(names[f"{holder}.{attribute}"]))
    encoder: Any = next(m for m in names.values() if hasattr(m, "layer"))
    encoder.layer = torch.nn.ModuleList([encoder.layer[k] for k in shape.kept])
    config: Any = model.config  # DistilBERT's knows the depth by this name, too
    config.num_hidden_layers = len(shape.kept)
    return model


def _no_heads(attention: torch.nn.Module) -> torch.nn.Module:
    """Return what stands in for an attention without heads: nothing is mixed, a bias is added."""
    import torch

    class NoHeads(torch.nn.Module):
        def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> Any:
            nothing = hidden_states[..., :0]
            # DistilBERT's output belongs to its attention, BERT's comes after.
            out = getattr(self, "out_lin", None)
            return (out(nothing) if out else nothing), None

    stand_in = NoHeads()
    if (out := getattr(attention, "out_lin", None)) is not None:
        stand_in.out_lin = out
    return stand_in
