"""An architecture becomes a plain transformers model: from scratch, or with inherited weights.

Inheriting slices a larger model of the same family: layers spread evenly over its depth; hidden
units, heads and feed-forward neurons by importance, their absolute activation on sample texts
(Muralidharan et al. 2024, "Compact Language Models via Pruning and Knowledge Distillation", 4.1).
The magnitude of the weights gives larger errors after equal steps (benchmarks/importance.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
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
from transformers.utils import logging as transformers_logging

from bort_engine.data.resources import fetch, general_texts
from bort_engine.encoder.onnx_weights import transformers_folder
from bort_engine.encoder.roles import LAYER, ROLES, layer_of, role_of
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.runs.events import Progress, silent
from bort_engine.runs.text import one_line

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()  # stderr has our own progress

ENCODER_INITIALISATIONS = ("inherit", "scratch")
N_TEXTS, N_TOKENS, BATCH = 256, 64, 64  # of the sample that importance is measured on

# How weights are loaded, whatever a folder's config.json says.
PLAIN: dict[str, Any] = {
    "use_safetensors": True,
    "trust_remote_code": False,
    "dtype": torch.float32,
    "attn_implementation": "sdpa",
}


def weights_of(source: Source, on_progress: Progress = silent) -> str:
    """Return the folder or hub id that transformers loads a source's weights from.

    Raises:
        ValueError: the source has no weights, or an embedded one cannot be fetched.
    """
    source.check_weights()
    if source.weights and source.weights != "embedded":
        return source.weights
    folder = fetch(source.name, on_progress)
    if exported := next(folder.glob("*.onnx"), None):
        # MiniLM-L3 comes without a tokenizer; MiniLM-L6's has the same vocabulary.
        tokenizer = fetch("minilm-l6", on_progress)
        names = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
        folder = transformers_folder(exported, source, [tokenizer / name for name in names])
    return str(folder)


def load_source(source: Source, num_labels: int | None = None, seed: int = 0) -> PreTrainedModel:
    """Load a source's weights; with `num_labels`, under a new classification head.

    Raises:
        ValueError: the weights are missing, damaged, or the hub cannot be reached; or some of the
            encoder's are not there, or not finite.
    """
    kind, head = AutoModel, dict[str, Any]()
    if num_labels is not None:
        # A head that the source has for another task gives way to a new one.
        head = {"num_labels": num_labels, "ignore_mismatched_sizes": True}
        kind = AutoModelForSequenceClassification
    with _loading("weights", source) as location:
        torch.manual_seed(seed)
        model, info = kind.from_pretrained(location, output_loading_info=True, **PLAIN, **head)
        # What is drawn at random: a head, or a pooler that the source never had, and nothing else.
        drawn = {*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}
        part = "" if num_labels is None else f"{model.base_model_prefix}."
        drawn = sorted(name for name in drawn if name.startswith(part) and "pooler." not in name)
        if drawn:
            raise ValueError(f"it lacks {', '.join(drawn[:3])}, or has other shapes of it")
        if not all(weight.isfinite().all() for weight in model.parameters()):
            raise ValueError("some of them are not finite")
    return model


def load_tokenizer(source: Source) -> PreTrainedTokenizerBase:
    """Load a source's tokenizer from where its weights are.

    Raises:
        ValueError: as `load_source` does; or its ids go beyond the source's vocabulary.
    """
    with _loading("tokenizer", source) as location:
        tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
        # It is tried on two texts of different lengths: one may load, and not pad.
        tokens = tokenizer(["a", "Two texts."], ["b", "b"], padding=True)["input_ids"]
        ids = {*tokens[0], *tokens[1], *tokenizer.get_vocab().values()}
        if min(ids) < 0 or max(ids) >= source.vocab_size:
            raise ValueError(
                f"its ids go from {min(ids)} to {max(ids)}, those of the model from 0 to "
                f"{source.vocab_size - 1}"
            )
        if not tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens):
            raise ValueError("there are no words in it")
        if not tokenizer.model_max_length >= 4:  # a mark at each end, and two words
            raise ValueError(f"its model_max_length is {tokenizer.model_max_length}")
    return tokenizer


@contextmanager
def _loading(what: str, source: Source) -> Iterator[str]:
    """Give the place to load from; whatever goes wrong there becomes one line."""
    location = weights_of(source)
    try:
        yield location
    except BaseException as e:  # each library raises its own, for a network as for a damaged file
        if not (isinstance(e, Exception) or type(e).__name__ == "PanicException"):  # that is Rust's
            raise
        raise ValueError(
            f"the {what} of {source.name} could not be loaded from {location} "
            f"({one_line(e)[:150]}); check the network or the folder."
        ) from e


def build(
    architecture: Architecture,
    source: Source | str,
    initialisation: str = "inherit",
    seed: int = 0,
    texts: Sequence[str] | None = None,
) -> PreTrainedModel:
    """Return a plain transformers encoder of this architecture.

    Args:
        initialisation: "inherit" slices the source's weights; "scratch" draws new ones.
        texts: what importance is measured on; by default 256 introductions of Wikipedia articles.

    Raises:
        ValueError: `initialisation` is unknown, there is more in the architecture than in the
            source, or the source's weights or the texts cannot be loaded.
    """
    source = Source.load(source) if isinstance(source, str) else source
    if initialisation not in ENCODER_INITIALISATIONS:
        raise ValueError(
            f"initialisation is {initialisation!r}; allowed: {', '.join(ENCODER_INITIALISATIONS)}."
        )
    if initialisation == "scratch":
        torch.manual_seed(seed)
        config = AutoConfig.for_model(source.model_type, **source.config(architecture))
        return AutoModel.from_config(config).eval()
    _check_fits(architecture, source)
    parent = load_source(source)
    tokenizer = load_tokenizer(source)
    if texts is None:
        texts = general_texts()
        texts = texts[:: len(texts) // N_TEXTS][:N_TEXTS]  # spread over all of them
    if not texts:
        raise ValueError("texts is empty; give one at least, or None for the embedded ones.")
    batches = (
        tokenizer(
            list(texts[at : at + BATCH]),
            truncation=True,
            max_length=min(N_TOKENS, source.longest_input),
            padding=True,
            return_token_type_ids=False,
            return_tensors="pt",
        )
        for at in range(0, len(texts), BATCH)
    )
    return inherit(parent, architecture, source, Importance.measure(parent, batches))


@dataclass(frozen=True, slots=True)
class Importance:
    """Absolute activation, summed over tokens, of the parent's units; the larger ones are kept.

    Shapes: hidden units (H,); by layer attention's values (D, H), its logits (D, H; a unit's query
    times its key) and feed-forward neurons (D, I).
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
        """Run the batches (input_ids, attention_mask) and sum over their real tokens."""
        sums: dict[tuple[str, int], torch.Tensor] = {}
        mask = torch.empty(0)

        def add(role: str, layer: int, module: Any, inputs: Any, output: Any) -> None:
            # A head's values and a neuron's activation are what the matrix after them reads.
            values = inputs[0] if role in ("attention_out", "ffn_out") else output
            total = (values.detach().float().abs() * mask[..., None]).sum((0, 1))
            sums[role, layer] = sums.get((role, layer), torch.zeros(())) + total

        with ExitStack() as hooks, torch.inference_mode():
            for name, module in model.named_modules():
                # All layers share the hidden units, so that what every norm gives adds up.
                hidden = isinstance(module, torch.nn.LayerNorm)
                role, layer = ("hidden", 0) if hidden else (role_of(name), layer_of(name))
                if role in ("hidden", "query", "key", "attention_out", "ffn_out"):
                    hooks.enter_context(module.register_forward_hook(partial(add, role, layer)))
            for batch in batches:
                mask = batch["attention_mask"]
                model(**batch)
        depth = 1 + max(layer for _, layer in sums)
        attention, query, key, neurons = (
            np.stack([sums[role, layer].numpy() for layer in range(depth)])
            for role in ("attention_out", "query", "key", "ffn_out")
        )
        return cls(sums["hidden", 0].numpy(), attention, query * key, neurons)


def _check_fits(architecture: Architecture, source: Source) -> None:
    if not architecture.fits_in(source.architecture):
        raise ValueError(
            f"{architecture} does not fit in {source}: weights can be inherited only from "
            "something larger. Choose a smaller one, or initialisation=scratch."
        )


def inherit(
    parent: PreTrainedModel, architecture: Architecture, source: Source, importance: Importance
) -> PreTrainedModel:
    """Return a model of this architecture whose weights are slices of `parent`'s.

    `parent` has the source's shape, with or without a task head; the child has the same kind.

    Raises:
        ValueError: the architecture has more of something than the source.
    """
    _check_fits(architecture, source)
    child = blank(parent, architecture, source)
    selection = Slice.of(source.architecture, architecture, importance)
    child.load_state_dict(selection.weights(parent.state_dict(), child.state_dict()))
    return child.eval()


def rescale_output(model: PreTrainedModel, mean: float, spread: float) -> None:
    """Let a model that predicts one number, less `mean` and in units of `spread`, give it as it is.

    In place: the head's last linear layer takes both in.
    """
    *_, head = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
    with torch.no_grad():
        head.weight *= spread
        head.bias.mul_(spread).add_(mean)
    model.config.problem_type = "regression"


def blank(parent: PreTrainedModel, architecture: Architecture, source: Source) -> PreTrainedModel:
    """Return a model of this architecture and the parent's kind, whose weights are unset."""
    names = ("num_labels", "hidden_dropout_prob", "attention_probs_dropout_prob", "pad_token_id")
    others = {name: getattr(parent.config, name) for name in names if hasattr(parent.config, name)}
    # While it is trained, the parent holds those word embeddings only that occur in its text.
    n_words = {"vocab_size": parent.get_input_embeddings().num_embeddings}
    shape = source.config(architecture) | n_words
    with no_init_weights():
        return type(parent)(AutoConfig.for_model(source.model_type, **shape, **others))


@dataclass(frozen=True, slots=True)
class Slice:
    """Which of the parent's layers, and by child's layer which of its units, the child keeps."""

    layers: list[int]
    hidden: torch.Tensor
    attention: list[torch.Tensor]
    logits: list[torch.Tensor]
    neurons: list[torch.Tensor]
    query_scale: float

    @classmethod
    def of(cls, parent: Architecture, child: Architecture, scores: Importance) -> Slice:
        depth = child.num_hidden_layers
        # The last of each of `depth` equal runs of layers, so that the top one always stays.
        layers = [(k + 1) * parent.num_hidden_layers // depth - 1 for k in range(depth)]
        attention, logits = scores.attention, scores.logits
        return cls(
            layers,
            _top(scores.hidden, child.hidden_size),
            [_attention_units(attention[k], attention[k], parent, child) for k in layers],
            [_attention_units(attention[k], logits[k], parent, child) for k in layers],
            [_top(scores.neurons[k], child.intermediate_size) for k in layers],
            # Attention divides a head's query times key by the root of its width. Where heads are
            # merged or narrowed, this factor undoes the change of that divisor, so that what is
            # left of the logits keeps its scale.
            query_scale=(child.head_width / parent.head_width) ** 0.5,
        )

    def weights(
        self, parent: Mapping[str, torch.Tensor], child: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return what of the parent's weights goes where the child's are; gradients flow back."""
        return {name: self._cut(name, parent, weight.shape) for name, weight in child.items()}

    def _cut(
        self, name: str, weights: Mapping[str, torch.Tensor], shape: torch.Size
    ) -> torch.Tensor:
        """Return the child's weight `name`, of this shape, cut out of the parent's weights."""
        role, layer = role_of(name.rpartition(".")[0]), layer_of(name)
        weight = weights[LAYER.sub(f".layer.{self.layers[layer]}.", name)]
        units: dict[int, torch.Tensor] = {
            axis: self.hidden for axis in range(weight.dim()) if weight.shape[axis] != shape[axis]
        }
        if role:
            _, kind, axis = ROLES[role]
            if axis < weight.dim():  # the bias of an output has hidden units only
                units[axis] = getattr(self, kind)[layer]
        for axis, indices in units.items():
            weight = weight.index_select(axis, indices)
        return weight * self.query_scale if role == "query" else weight


def _top(scores: np.ndarray, count: int) -> torch.Tensor:
    """Return the indices of the `count` largest scores, in their original order."""
    return torch.from_numpy(np.sort(np.argsort(-scores, kind="stable")[:count]))


def _attention_units(
    heads_by: np.ndarray, units_by: np.ndarray, parent: Architecture, child: Architecture
) -> torch.Tensor:
    """Choose the attention units of one layer, grouped so that consecutive ones form a head.

    The best heads are those with the largest sums of `heads_by`. Narrower heads keep each one's
    best units by `units_by`; wider heads are put together from whole ones.
    """
    width = parent.head_width
    by_head = units_by.reshape(parent.num_attention_heads, width)
    sums = heads_by.reshape(parent.num_attention_heads, width).sum(1)
    n_units = min(width, child.head_width)  # of each of the parent's heads
    heads = _top(sums, -(-child.hidden_size // n_units)).tolist()  # rounded up; the last is cut
    units = torch.cat([_top(by_head[head], n_units) + head * width for head in heads])
    return units[: child.hidden_size]
