"""Source: a pretrained encoder by shape, found by reference name, local folder or hub id."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bort_engine.data.resources import check_hub, sha256
from bort_engine.encoder.space import Architecture

# What a family's config.json calls the four numbers of an architecture, in the order D, A, H, I.
_SHAPE_KEYS = {
    "bert": Architecture.__slots__,
    "roberta": Architecture.__slots__,
    "distilbert": ("n_layers", "n_heads", "dim", "hidden_dim"),
}
FAMILIES = tuple(_SHAPE_KEYS)
_BOUNDS = {  # of what is built: no encoder of these families comes near them
    "num_hidden_layers": (1, 256),
    "hidden_size": (1, 16_384),
    "intermediate_size": (1, 65_536),
    "vocab_size": (1, 2_000_000),
    "max_position_embeddings": (1, 1_000_000),
    "type_vocab_size": (0, 1000),
}
MOST_LABELS = 10_000
MOST_BYTES = 4 * 2**20  # of a config.json
# What decides a training that starts from a folder.
_CONTENT = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_CONTENT += (
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True, slots=True)
class Source:
    """A pretrained encoder by shape: what stays fixed while the architecture moves.

    `architecture` is the source's own shape. `weights` says where its weights are: "embedded" (in
    a hash-checked package, see `resources`), a hub id, a local folder, or None.
    """

    name: str
    model_type: str
    architecture: Architecture
    vocab_size: int
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    pooler: bool = True
    mlm_head: bool = False
    weights: str | None = None

    def __post_init__(self) -> None:
        values = asdict(self.architecture) | {name: getattr(self, name) for name in self.__slots__}
        for name, (least, most) in _BOUNDS.items():
            value = values[name]
            if type(value) is not int or not least <= value <= most:
                raise ValueError(
                    f"source {self.name}: {name} is {value!r:.40}; allowed: an integer from "
                    f"{least} to {most:,}. Save the model again."
                )

    @property
    def longest_input(self) -> int:
        """Tokens that the model can read: RoBERTa numbers them after its padding token's 1."""
        return self.max_position_embeddings - 2 * (self.model_type == "roberta")

    @classmethod
    def load(cls, name: str) -> Source:
        """Find a source by reference name, local folder, or hub id.

        Raises:
            ValueError: the name is unknown, left out, without weights, of another family, or the
                hub cannot be reached; the line says which, and what to do.
        """
        if name in sources:
            return sources[name]
        if name in LEFT_OUT:
            raise ValueError(f"source {name!r} is left out: {LEFT_OUT[name]}")
        folder = os.path.expanduser(name)
        # os.path's answer False to a name too long or of nobody's home, where pathlib's raise.
        if os.path.isdir(folder):
            return _from_folder(Path(folder))
        if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            return _from_hub(name)
        raise ValueError(
            f"source {name[:80]!r} is not known; allowed: {', '.join(sources)}, a folder with "
            "config.json and model.safetensors, or a hub id such as google-bert/bert-base-uncased."
        )

    @classmethod
    def from_config(cls, config: dict[str, Any], name: str, weights: str | None) -> Source:
        """Read a transformers config.json of one of the three families."""
        if not isinstance(config, dict):
            raise ValueError(f"{name}: config.json is not a JSON object; save the model again.")
        family = config.get("model_type")
        if family not in FAMILIES:
            raise ValueError(
                f"{name} has model_type {family!r}; allowed: {', '.join(FAMILIES)}. "
                "Choose another source."
            )
        n_labels, labels = config.get("num_labels"), config.get("id2label") or {}
        few = type(n_labels) is int and 0 <= n_labels <= MOST_LABELS
        if not (few or n_labels is None) or len(labels) > MOST_LABELS:
            raise ValueError(f"{name}: config.json has more than {MOST_LABELS:,} labels, or none.")
        for key in ("quantization_config", "_attn_implementation"):
            if key in config:
                raise ValueError(f"{name}: config.json has {key}; save a plain model, without it.")
        distilbert = family == "distilbert"
        try:
            return cls(
                name,
                family,
                Architecture(*(config[key] for key in _SHAPE_KEYS[family])),
                config["vocab_size"],
                config["max_position_embeddings"],
                0 if distilbert else config.get("type_vocab_size", 2),
                pooler=not distilbert,
                weights=weights,
            )
        except KeyError as e:
            raise ValueError(f"{name}: config.json lacks {e}; save the model again.") from e

    def config(self, architecture: Architecture | None = None) -> dict[str, Any]:
        """The keyword arguments of a transformers config with this architecture."""
        shape = architecture or self.architecture
        values = (getattr(shape, field) for field in Architecture.__slots__)
        config = dict(zip(_SHAPE_KEYS[self.model_type], values, strict=True))
        for name in ("vocab_size", "max_position_embeddings", "type_vocab_size"):
            config[name] = getattr(self, name)
        if self.model_type == "distilbert":  # it has no token types
            del config["type_vocab_size"]
        return config

    def check_weights(self) -> None:
        """Raise a ValueError where there are no weights to load."""
        if self.weights is None:
            raise ValueError(
                f"source {self.name} has no weights to load; take another source, or the oracle "
                "glue, which needs none."
            )

    @property
    def may_fill_in(self) -> bool:
        """False where the weights are at hand and no masked-language-model head is among them."""
        if self.weights == "embedded" or self.weights is None:
            return False
        path = Path(self.weights) / "model.safetensors"
        heads = ("cls.predictions.", "lm_head.", "vocab_transform.")
        return not path.is_file() or any(name.startswith(heads) for name in _shapes(path))

    def digest(self) -> str:
        """Return a digest of a folder's files, or a hub model's commit; "" of what has a name here.

        What is trained from a source is kept by it.
        """
        if self.name in sources or not self.weights:
            return ""
        folder = Path(self.weights)
        if folder.is_dir():
            files = [
                (name, sha256(folder / name)) for name in _CONTENT if (folder / name).is_file()
            ]
            return hashlib.sha256(repr(files).encode()).hexdigest()
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(self.weights, "config.json")  # fetched by `load`
        return Path(config).parent.name if isinstance(config, str) else ""

    def __str__(self) -> str:
        return f"{self.name} ({self.architecture})"


def _from_folder(folder: Path) -> Source:
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} has no config.json; save the model there with save_pretrained.")
    if not (folder / "model.safetensors").is_file():
        raise ValueError(
            f"{folder} has no model.safetensors: a source needs its weights, and pickled ones are "
            "not read. Save the model there with save_pretrained."
        )
    # Its whole path is its name, by which it is found again, and told from others.
    name = str(folder.resolve())
    source = Source.from_config(_read_config(path), name, name)
    _check_shapes(folder / "model.safetensors", source)
    return source


def _read_config(path: Path) -> Any:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} is larger than {MOST_BYTES / 2**20:g} MB; save the model again.")
    try:
        return json.loads(path.read_text())
    except (ValueError, RecursionError) as e:
        raise ValueError(f"{path} is not JSON ({e}); save the model again.") from e


def _check_shapes(path: Path, source: Source) -> None:
    """Compare the sizes in config.json with those that the weights' header has.

    Before a model is built by the former; once it is loaded, each of its weights has to be there.
    """
    a = source.architecture
    expected = {
        "word_embeddings.weight": (source.vocab_size, a.hidden_size),
        "position_embeddings.weight": (source.max_position_embeddings, a.hidden_size),
    }
    if source.type_vocab_size:
        expected["token_type_embeddings.weight"] = (source.type_vocab_size, a.hidden_size)
    feed_forward = "ffn.lin1" if source.model_type == "distilbert" else "intermediate.dense"
    for n in range(a.num_hidden_layers):
        expected[f"layer.{n}.{feed_forward}.weight"] = (a.intermediate_size, a.hidden_size)
    shapes = _shapes(path)
    for ending, shape in expected.items():
        found = next((shapes[name] for name in shapes if name.endswith(f".{ending}")), None)
        if found != shape:
            raise ValueError(
                f"{path}: {ending} is {found or 'missing'}, but {shape} by config.json; save the "
                "model again."
            )


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            names: list[str] = file.keys()
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except SafetensorError as e:
        raise ValueError(f"{path} is damaged ({e}); save the model again.") from e


def _from_hub(name: str) -> Source:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(name, "config.json"), str):
        check_hub()
    try:
        path = Path(hf_hub_download(name, "config.json"))
    except OSError as e:  # the hub's own errors are kinds of it
        raise ValueError(
            f"source {name!r} could not be fetched from the hub ({type(e).__name__}): check the "
            f"name and the network, or use a local folder, or one of: {', '.join(sources)}."
        ) from e
    return Source.from_config(_read_config(path), name, name)


_BERT: dict[str, Any] = {"model_type": "bert"}
_ROBERTA = {"model_type": "roberta", "max_position_embeddings": 514, "type_vocab_size": 1}
_DISTILBERT = {"model_type": "distilbert", "type_vocab_size": 0, "pooler": False}
_BORT = _BERT | {"type_vocab_size": 0, "pooler": False}

# Shapes as in each model's published config.json. Bort's is the shape that was released
# (github.com/alexa/bort): RoBERTa's vocabulary, no token types, no pooler.
sources: dict[str, Source] = {
    name: Source(
        name=name,
        architecture=Architecture.parse(shape),
        vocab_size=vocab_size,
        weights=weights,
        **fixed,
    )
    for name, shape, vocab_size, weights, fixed in (
        ("minilm-l6", "6,12,384,1536", 30522, "embedded", _BERT),
        ("minilm-l3", "3,12,384,1536", 30522, "embedded", _BERT),
        ("bert-base-uncased", "12,12,768,3072", 30522, "google-bert/bert-base-uncased", _BERT),
        ("bert-base-cased", "12,12,768,3072", 28996, "google-bert/bert-base-cased", _BERT),
        ("bert-large-uncased", "24,16,1024,4096", 30522, "google-bert/bert-large-uncased", _BERT),
        ("bert-large-cased", "24,16,1024,4096", 28996, "google-bert/bert-large-cased", _BERT),
        ("roberta-base", "12,12,768,3072", 50265, "FacebookAI/roberta-base", _ROBERTA),
        ("roberta-large", "24,16,1024,4096", 50265, "FacebookAI/roberta-large", _ROBERTA),
        (
            "distilbert-base-uncased",
            "6,12,768,3072",
            30522,
            "distilbert/distilbert-base-uncased",
            _DISTILBERT,
        ),
        ("bert-tiny", "2,2,128,512", 30522, "google/bert_uncased_L-2_H-128_A-2", _BERT),
        ("bert-mini", "4,4,256,1024", 30522, "google/bert_uncased_L-4_H-256_A-4", _BERT),
        ("bert-small", "4,8,512,2048", 30522, "google/bert_uncased_L-4_H-512_A-8", _BERT),
        ("bert-medium", "8,8,512,2048", 30522, "google/bert_uncased_L-8_H-512_A-8", _BERT),
        ("tinybert-4", "4,12,312,1200", 30522, "huawei-noah/TinyBERT_General_4L_312D", _BERT),
        ("bort", "4,8,1024,768", 50265, None, _BORT),
    )
}

LEFT_OUT = {
    "mobilebert": "its layers have bottlenecks and stacked feed-forward blocks, which the four "
    "numbers D,A,H,I cannot describe. Choose distilbert-base-uncased or tinybert-4 instead.",
}
