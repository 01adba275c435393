"""What is searched: an architecture (four integers), a space of them, and their source."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Architecture:
    """One encoder shape, in Hugging Face's field names; the papers write it (D, A, H, I).

    Raises:
        ValueError: a field is not a positive integer, or the heads do not divide the hidden size.
    """

    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    intermediate_size: int

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be an integer of at least 1.")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} does not divide hidden_size "
                f"{self.hidden_size}; allowed here: {_divisors(self.hidden_size)}."
            )

    @classmethod
    def parse(cls, text: str) -> Architecture:
        """Read `D,A,H,I`, the way architectures are written everywhere in this project."""
        if not re.fullmatch(r"\s*\d{1,6}(\s*,\s*\d{1,6}){3}\s*", text):
            raise ValueError(
                f"architecture {text[:60]!r} is not of the form D,A,H,I (layers, heads, hidden "
                "size, intermediate size), for example 3,12,384,768."
            )
        return cls(*(int(part) for part in text.split(",")))

    def __str__(self) -> str:
        return (
            f"{self.num_hidden_layers},{self.num_attention_heads},"
            f"{self.hidden_size},{self.intermediate_size}"
        )

    def fits_in(self, other: Architecture) -> bool:
        """True where no field exceeds `other`'s: then weights can be inherited from it."""
        return all(getattr(self, name) <= getattr(other, name) for name in self.__slots__)


def _divisors(n: int) -> str:
    return ", ".join(str(d) for d in range(1, n + 1) if n % d == 0)


MOST_VALUES = 64  # on one axis of a grid


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A finite product grid where heads must divide the hidden size; iterates in grid order.

    Raises:
        ValueError: an axis is empty, or no combination is valid.
    """

    num_hidden_layers: tuple[int, ...]
    num_attention_heads: tuple[int, ...]
    hidden_size: tuple[int, ...]
    intermediate_size: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in self.__slots__:
            values = getattr(self, name)
            if not 0 < len(values) <= MOST_VALUES or any(
                type(v) is not int or v < 1 for v in values
            ):
                raise ValueError(
                    f"{name} {str(list(values))[:80]}: give 1 to {MOST_VALUES} positive integers."
                )
            object.__setattr__(self, name, tuple(sorted(set(values))))
        if not len(self):
            raise ValueError(
                f"the grid is empty: none of the heads {list(self.num_attention_heads)} divides "
                f"a hidden size in {list(self.hidden_size)}. Change one of the two."
            )

    @classmethod
    def bort(cls) -> SearchSpace:
        """The 300 valid architectures searched for Bort ([BORT] section 3)."""
        return cls(
            (2, 4, 6, 8, 10, 12), (4, 8, 12, 16), (512, 768, 1024), (256, 512, 768, 1024, 3072)
        )

    @classmethod
    def of(cls, source: Source) -> SearchSpace:
        """The default grid of a source: nothing in it exceeds the source, which is its maximum."""
        shape = source.architecture
        depth, heads = shape.num_hidden_layers, shape.num_attention_heads
        step = 1 if depth <= 6 else 2
        shares = (6, 3, 2, 1) if heads % 6 == 0 else (8, 4, 2, 1)
        return cls(
            tuple({*range(step, depth + 1, step), depth}),
            tuple(heads // share for share in shares if heads % share == 0),
            tuple(max(1, shape.hidden_size * quarters // 4) for quarters in (1, 2, 3, 4)),
            tuple(max(1, shape.intermediate_size // share) for share in (8, 4, 2, 1)),
        )

    @classmethod
    def parse(cls, text: str, source: Source) -> SearchSpace:
        """Read `default`, `bort`, or a grid such as `D=1-6 A=2,12 H=96,384 I=192,1536`."""
        named = {"default": lambda: cls.of(source), "bort": cls.bort}
        if text in named:
            return named[text]()
        axes = dict(re.findall(r"([DAHI])=([\d,\-]+)", text))
        rest = re.sub(r"[DAHI]=[\d,\-]+", "", text).strip(" ;")
        if rest or sorted(axes) != ["A", "D", "H", "I"]:
            raise ValueError(
                f"space {text[:80]!r} is not known; allowed: 'default', 'bort', or a grid such as "
                "'D=1-6 A=2,12 H=96,384 I=192,1536'."
            )
        return cls(*(_numbers(axes[letter]) for letter in "DAHI"))

    def within(self, source: Source) -> SearchSpace:
        """Return this space, checked: weights can be inherited only from something larger."""
        for name in self.__slots__:
            largest, limit = max(getattr(self, name)), getattr(source.architecture, name)
            if largest > limit:
                raise ValueError(
                    f"{name} {largest} is beyond {source.name}'s {limit}, and weights are "
                    f"inherited from it; give values up to {limit}, or start from scratch."
                )
        return self

    def __iter__(self) -> Iterator[Architecture]:
        axes = (getattr(self, name) for name in self.__slots__)
        return (Architecture(d, a, h, i) for d, a, h, i in product(*axes) if h % a == 0)

    def __len__(self) -> int:
        pairs = sum(h % a == 0 for a, h in product(self.num_attention_heads, self.hidden_size))
        return len(self.num_hidden_layers) * pairs * len(self.intermediate_size)

    def __contains__(self, architecture: object) -> bool:
        return isinstance(architecture, Architecture) and all(
            getattr(architecture, name) in getattr(self, name) for name in self.__slots__
        )


def _numbers(text: str) -> tuple[int, ...]:
    values: list[int] = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        if not first or (dash and not last) or "-" in last or len(first) > 6 or len(last) > 6:
            raise ValueError(f"{part!r} is neither a number nor a range such as 1-6.")
        values += range(int(first), int(last or first) + 1) if dash else [int(first)]
        if len(values) > MOST_VALUES:
            raise ValueError(f"{text[:40]!r} is more than {MOST_VALUES} values; give fewer.")
    return tuple(values)


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
