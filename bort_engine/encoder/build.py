"""An architecture becomes a plain transformers model: from scratch, or with inherited weights.

Inheriting slices a larger model of the same family: layers spread evenly over its depth; hidden
units, heads and feed-forward neurons by importance, the mean absolute activation over a sample
(Muralidharan et al. 2024, "Compact Language Models via Pruning and Knowledge Distillation", 4.1).
The magnitude of the weights, the other measure tried, gives larger errors after equal steps
(benchmarks/importance.py has the figures).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.initialization import no_init_weights

from bort_engine.data.resources import fetch
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.runs.events import silent

INITIAL = ("inherit", "scratch")
_LAYER = re.compile(r"layers?\.(\d+)\.")
_LOGITS = re.compile(r"(query|key|q_lin|k_lin)\.weight$")
_VALUE = re.compile(r"(value|v_lin)\.(weight|bias)$")
_QUERY_KEY = re.compile(r"(query|key|q_lin|k_lin)\.(weight|bias)$")
_ATTENTION_OUT = re.compile(r"(attention\.output\.dense|out_lin)\.weight$")
_FFN_IN = re.compile(r"(intermediate\.dense|lin1)\.(weight|bias)$")
_FFN_OUT = re.compile(r"(?<!attention\.)(output\.dense|lin2)\.weight$")


def weights_of(source: Source, on_progress: Any = silent) -> str:
    """Return the folder or hub id that transformers loads a source's weights from.

    Raises:
        ValueError: the source has no weights.
    """
    if source.weights is None:
        raise ValueError(
            f"source {source.name} has no weights to load; use error=published, or another source."
        )
    return str(fetch(source.name, on_progress)) if source.weights == "embedded" else source.weights


def load_source(source: Source, num_labels: int | None = None, seed: int = 0) -> PreTrainedModel:
    """Load a source's weights; with `num_labels`, under a new classification head.

    Raises:
        ValueError: the weights are missing, damaged, or the hub cannot be reached.
    """
    where = weights_of(source)
    torch.manual_seed(seed)
    kinds = {"use_safetensors": True, "trust_remote_code": False}
    try:
        if num_labels is None:
            return AutoModel.from_pretrained(where, **kinds)
        return AutoModelForSequenceClassification.from_pretrained(
            where, num_labels=num_labels, **kinds
        )
    except Exception as e:
        raise ValueError(
            f"the weights of {source.name} could not be loaded from {where} "
            f"({str(e).splitlines()[0][:150]}); check the network or the folder, or use "
            "error=published."
        ) from e


def load_tokenizer(source: Source) -> PreTrainedTokenizerBase:
    """Load a source's tokenizer from where its weights are.

    Raises:
        ValueError: it is missing or damaged, or the hub cannot be reached.
    """
    where = weights_of(source)
    try:
        return AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    except Exception as e:
        raise ValueError(
            f"the tokenizer of {source.name} could not be loaded from {where} "
            f"({str(e).splitlines()[0][:150]}); check the network or the folder."
        ) from e


def build(
    architecture: Architecture,
    source: Source | str,
    initial: str = "inherit",
    seed: int = 0,
) -> PreTrainedModel:
    """Return a plain transformers encoder of this architecture.

    Args:
        initial: "inherit" slices the source's weights; "scratch" draws new ones.

    Raises:
        ValueError: `initial` is unknown, or there is more in the architecture than in the source.
    """
    source = Source.load(source) if isinstance(source, str) else source
    if initial not in INITIAL:
        raise ValueError(f"initial is {initial!r}; allowed: {', '.join(INITIAL)}.")
    if initial == "scratch":
        torch.manual_seed(seed)
        config = AutoConfig.for_model(source.model_type, **source.config(architecture))
        return AutoModel.from_config(config).eval()
    return inherit(load_source(source), architecture, source)


@dataclass(frozen=True, slots=True)
class Importance:
    """Mean absolute activation: of hidden units (H,), and per layer of attention's values (D, H),
    its logits (D, H; a unit's query times its key) and feed-forward neurons (D, I). Larger is kept.
    """

    hidden: np.ndarray
    attention: np.ndarray
    logits: np.ndarray
    neurons: np.ndarray

    def save(self, path: Path) -> None:
        np.savez(path, **{name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def load(cls, path: Path) -> Importance:
        with np.load(path, allow_pickle=False) as arrays:
            return cls(*(arrays[name] for name in cls.__slots__))

    @classmethod
    def measure(cls, model: PreTrainedModel, batches: Iterable[Mapping[str, Any]]) -> Importance:
        """Run the batches (input_ids, attention_mask) and average over their real tokens."""
        sums: dict[tuple[str, int], torch.Tensor] = {}
        mask = torch.empty(0)

        def add(kind: str, layer: int, values: torch.Tensor) -> None:
            total = (values.detach().float().abs() * mask[..., None]).sum((0, 1))
            sums[kind, layer] = sums.get((kind, layer), torch.zeros(())) + total

        handles = []
        for name, module in model.named_modules():
            layer = int(found[1]) if (found := _LAYER.search(name + ".")) else 0
            weight = name + ".weight"
            if _ATTENTION_OUT.search(weight) or _FFN_OUT.search(weight):
                kind = "attention" if _ATTENTION_OUT.search(weight) else "neurons"
                hook = lambda _, inputs, kind=kind, layer=layer: add(kind, layer, inputs[0])  # noqa: E731
                handles.append(module.register_forward_pre_hook(hook))
            elif isinstance(module, torch.nn.LayerNorm) or _LOGITS.search(weight):
                kind = found[1] if (found := _LOGITS.search(weight)) else "hidden"
                at = layer if found else 0
                hook = lambda _, inputs, output, kind=kind, at=at: add(kind, at, output)  # noqa: E731
                handles.append(module.register_forward_hook(hook))
        with torch.inference_mode():
            for batch in batches:
                mask = batch["attention_mask"]
                model(**batch)
        for handle in handles:
            handle.remove()
        depth = 1 + max(layer for _, layer in sums)
        stack = {
            kind: np.stack([sums[kind, layer].numpy() for layer in range(depth)])
            for kind in {kind for kind, _ in sums} - {"hidden"}
        }
        attention, neurons = stack.pop("attention"), stack.pop("neurons")
        query, key = stack.values()
        return cls(sums["hidden", 0].numpy(), attention, query * key, neurons)


def inherit(
    parent: PreTrainedModel,
    architecture: Architecture,
    source: Source,
    importance: Importance | None = None,
) -> PreTrainedModel:
    """Return a model of this architecture whose weights are slices of `parent`'s.

    `parent` has the source's shape, with or without a task head; the child has the same kind. Where
    heads are merged or narrowed, queries are rescaled so that attention logits keep their scale.
    Without `importance`, the magnitude of the parent's own weights stands in.

    Raises:
        ValueError: the architecture has more of something than the source.
    """
    own = source.architecture
    if not architecture.fits_in(own):
        raise ValueError(
            f"{architecture} does not fit in {source.name} ({own}): weights can be inherited only "
            "from something larger. Choose a smaller one, or initial=scratch."
        )
    shape = source.config(architecture) | {"num_labels": parent.config.num_labels}
    config = AutoConfig.for_model(source.model_type, **shape)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "pad_token_id"):
        if hasattr(parent.config, name):
            setattr(config, name, getattr(parent.config, name))
    with no_init_weights():  # all of them are loaded below
        child = type(parent)(config)
    scores = importance or _magnitudes(parent, own)
    kept = _Kept.choose(scores, own, architecture)
    weights = parent.state_dict()
    child.load_state_dict(
        {
            name: kept.slice(name, weights[kept.parent_name(name)], tuple(value.shape))
            for name, value in child.state_dict().items()
        }
    )
    return child.eval()


def _magnitudes(parent: PreTrainedModel, own: Architecture) -> Importance:
    hidden = torch.zeros(own.hidden_size)
    attention: dict[int, torch.Tensor] = {}
    logits: dict[int, torch.Tensor] = {}
    neurons: dict[int, torch.Tensor] = {}
    for name, weight in parent.state_dict().items():
        layer = int(found[1]) if (found := _LAYER.search(name)) else 0
        if _ATTENTION_OUT.search(name):
            attention[layer] = weight.abs().sum(0)
        elif _FFN_OUT.search(name):
            neurons[layer] = weight.abs().sum(0)
        elif _LOGITS.search(name):
            logits[layer] = logits.get(layer, torch.ones(())) * weight.abs().sum(1)
        elif "embeddings" in name and weight.dim() == 2 and weight.shape[1] == own.hidden_size:
            hidden += weight.abs().sum(0)
    depth = range(own.num_hidden_layers)
    return Importance(
        hidden.numpy(),
        np.stack([attention[layer].numpy() for layer in depth]),
        np.stack([logits[layer].numpy() for layer in depth]),
        np.stack([neurons[layer].numpy() for layer in depth]),
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """Which of the parent's layers, hidden units, attention units and neurons the child keeps."""

    layers: list[int]
    hidden: torch.Tensor
    attention: list[torch.Tensor]
    logits: list[torch.Tensor]
    neurons: list[torch.Tensor]
    query_scale: float

    @classmethod
    def choose(cls, scores: Importance, own: Architecture, child: Architecture) -> _Kept:
        depth = child.num_hidden_layers
        layers = [(k + 1) * own.num_hidden_layers // depth - 1 for k in range(depth)]
        width = own.hidden_size // own.num_attention_heads
        child_width = child.hidden_size // child.num_attention_heads
        return cls(
            layers,
            _top(scores.hidden, child.hidden_size),
            [
                _attention_units(scores.attention[k], scores.attention[k], own, child)
                for k in layers
            ],
            [_attention_units(scores.attention[k], scores.logits[k], own, child) for k in layers],
            [_top(scores.neurons[k], child.intermediate_size) for k in layers],
            (child_width / width) ** 0.5,
        )

    def parent_name(self, name: str) -> str:
        return _LAYER.sub(lambda m: m[0].replace(m[1], str(self.layers[int(m[1])])), name, count=1)

    def slice(self, name: str, weight: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        found = _LAYER.search(name)
        layer = int(found[1]) if found else 0
        axes: list[torch.Tensor | None] = [None] * weight.dim()
        if weight.dim() and weight.shape != shape:
            axes = [
                self.hidden if size != wanted else None
                for size, wanted in zip(weight.shape, shape, strict=True)
            ]
        if _QUERY_KEY.search(name):
            axes[0] = self.logits[layer]
        elif _VALUE.search(name):
            axes[0] = self.attention[layer]
        elif _ATTENTION_OUT.search(name):
            axes[1] = self.attention[layer]
        elif _FFN_IN.search(name):
            axes[0] = self.neurons[layer]
        elif _FFN_OUT.search(name):
            axes[1] = self.neurons[layer]
        for axis, kept in enumerate(axes):
            if kept is not None:
                weight = weight.index_select(axis, kept)
        return weight * self.query_scale if re.search(r"(query|q_lin)\.", name) else weight


def _top(scores: np.ndarray, count: int) -> torch.Tensor:
    """Return the indices of the `count` largest scores, in their original order."""
    return torch.from_numpy(np.sort(np.argsort(-scores, kind="stable")[:count]).copy())


def _attention_units(
    heads_by: np.ndarray, units_by: np.ndarray, own: Architecture, child: Architecture
) -> torch.Tensor:
    """Choose the attention units of one layer, grouped so that consecutive ones form a head.

    The best heads are those with the largest sums of `heads_by`. Narrower heads keep each one's
    best units by `units_by`; wider heads are put together from whole ones.
    """
    width = own.hidden_size // own.num_attention_heads
    child_width = child.hidden_size // child.num_attention_heads
    sums = heads_by.reshape(own.num_attention_heads, width).sum(1)
    by_unit = units_by.reshape(own.num_attention_heads, width)
    if child_width <= width:
        heads = _top(sums, child.num_attention_heads).tolist()
        return torch.cat([_top(by_unit[head], child_width) + head * width for head in heads])
    heads = _top(sums, -(-child.hidden_size // width)).tolist()
    units = torch.cat([torch.arange(width) + head * width for head in heads])
    return units[: child.hidden_size]
