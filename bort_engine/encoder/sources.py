"""Source: a pretrained encoder by shape, found by reference name, local folder or hub id."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bort_engine.encoder.space import Architecture

FAMILIES = ("bert", "roberta", "distilbert")


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
        for name, least in (
            ("vocab_size", 1),
            ("max_position_embeddings", 1),
            ("type_vocab_size", 0),
        ):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(
                    f"source {self.name}: {name} is {value!r}; it must be an integer of at least "
                    f"{least}. Save the model again."
                )

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
        if os.path.isdir(folder):  # pathlib's raise on names that are too long or of nobody's home
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
        keys = ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")
        if family == "distilbert":
            keys = ("n_layers", "n_heads", "dim", "hidden_dim")
        try:
            architecture = Architecture(*(config[key] for key in keys))
            return cls(
                name,
                family,
                architecture,
                config["vocab_size"],
                config["max_position_embeddings"],
                0 if family == "distilbert" else config.get("type_vocab_size", 2),
                pooler=family != "distilbert",
                weights=weights,
            )
        except KeyError as missing:
            raise ValueError(
                f"{name}: config.json lacks {missing}; save the model again."
            ) from missing

    def config(self, architecture: Architecture | None = None) -> dict[str, Any]:
        """The keyword arguments of a transformers config with this architecture."""
        shape = architecture or self.architecture
        names = Architecture.__slots__
        if self.model_type == "distilbert":
            names = ("n_layers", "n_heads", "dim", "hidden_dim")
        config = dict(
            zip(names, (getattr(shape, field) for field in Architecture.__slots__), strict=True)
        )
        config |= {
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_position_embeddings,
        }
        if self.model_type != "distilbert":
            config["type_vocab_size"] = self.type_vocab_size
        return config

    def __str__(self) -> str:
        return f"{self.name} ({self.architecture})"


def _from_folder(folder: Path) -> Source:
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} has no config.json; save the model there with save_pretrained.")
    if not (folder / "model.safetensors").is_file():
        raise ValueError(
            f"{folder} has no model.safetensors: a source needs its weights, and pickled ones are "
            "not read. Save the model there with save_pretrained."
        )
    return Source.from_config(
        _read_config(folder / "config.json"), folder.name, str(folder.resolve())
    )


def _read_config(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (ValueError, RecursionError) as e:
        raise ValueError(f"{path} is not JSON ({e}); save the model again.") from e


def _from_hub(name: str) -> Source:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = Path(hf_hub_download(name, "config.json"))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as e:
        raise ValueError(
            f"source {name!r} could not be fetched from the hub ({type(e).__name__}): check the "
            f"name and the network, or use a local folder, or one of: {', '.join(sources)}."
        ) from e
    return Source.from_config(_read_config(path), name, name)


def _reference(name: str, shape: str, vocab_size: int, weights: str | None, **fixed: Any) -> Source:
    return Source(
        name,
        fixed.pop("model_type", "bert"),
        Architecture.parse(shape),
        vocab_size,
        weights=weights,
        **fixed,
    )


_ROBERTA = {"model_type": "roberta", "max_position_embeddings": 514, "type_vocab_size": 1}


_DISTILBERT = {"model_type": "distilbert", "type_vocab_size": 0, "pooler": False}


# Shapes as in each model's published config.json. Bort's is the shape that was released
# (github.com/alexa/bort): RoBERTa's vocabulary, no token types, no pooler.
sources: dict[str, Source] = {
    source.name: source
    for source in (
        _reference("minilm-l6", "6,12,384,1536", 30522, "embedded"),
        _reference("bert-base-uncased", "12,12,768,3072", 30522, "google-bert/bert-base-uncased"),
        _reference("bert-base-cased", "12,12,768,3072", 28996, "google-bert/bert-base-cased"),
        _reference(
            "bert-large-uncased", "24,16,1024,4096", 30522, "google-bert/bert-large-uncased"
        ),
        _reference("bert-large-cased", "24,16,1024,4096", 28996, "google-bert/bert-large-cased"),
        _reference("roberta-base", "12,12,768,3072", 50265, "FacebookAI/roberta-base", **_ROBERTA),
        _reference(
            "roberta-large", "24,16,1024,4096", 50265, "FacebookAI/roberta-large", **_ROBERTA
        ),
        _reference(
            "distilbert-base-uncased",
            "6,12,768,3072",
            30522,
            "distilbert/distilbert-base-uncased",
            **_DISTILBERT,
        ),
        _reference("bert-tiny", "2,2,128,512", 30522, "google/bert_uncased_L-2_H-128_A-2"),
        _reference("bert-mini", "4,4,256,1024", 30522, "google/bert_uncased_L-4_H-256_A-4"),
        _reference("bert-small", "4,8,512,2048", 30522, "google/bert_uncased_L-4_H-512_A-8"),
        _reference("bert-medium", "8,8,512,2048", 30522, "google/bert_uncased_L-8_H-512_A-8"),
        _reference("tinybert-4", "4,12,312,1200", 30522, "huawei-noah/TinyBERT_General_4L_312D"),
        _reference("bort", "4,8,1024,768", 50265, None, type_vocab_size=0, pooler=False),
    )
}


LEFT_OUT = {
    "mobilebert": "its layers have bottlenecks and stacked feed-forward blocks, which the four "
    "numbers D,A,H,I cannot describe. Choose distilbert-base-uncased or tinybert-4 instead.",
}
