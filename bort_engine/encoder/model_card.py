"""The model card beside a checkpoint: what it is, what it costs, and how it came about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.timing import LatencySettings
from bort_engine.encoder.uneven import Uneven, uneven_parameters
from bort_engine.runs.provenance import Origin
from bort_engine.runs.text import literal

TEMPLATE = ASSETS / "model-card.md"
EMBEDDED = {  # the embedded sources' names on the hub
    "minilm-l6": "sentence-transformers/all-MiniLM-L6-v2",
    "minilm-l3": "sentence-transformers/paraphrase-MiniLM-L3-v2",
}


@dataclass(frozen=True, slots=True)
class Latency:
    ms: float  # of one forward pass in fp32
    settings: LatencySettings
    device: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Metric:
    what: str
    split: str
    value: float
    note: str = ""  # the value's unit and interval in words


@dataclass(frozen=True, slots=True)
class TrueWidths:
    """What is said of an uneven model, whose checkpoint is padded with zeros.

    `ms` is its forward pass in PyTorch, timed as the checkpoint's; `parity` says how near to the
    checkpoint the ONNX model beside it is.
    """

    shape: Uneven
    ms: float
    parity: str


@dataclass(frozen=True, slots=True)
class Card:
    """What the model card says; it counts parameters and operations itself.

    `labels` are the task's words in the order of the logits, empty for a bare encoder. `epsilon` is
    the front's that the architecture was chosen from, None where it was not. Operations are those
    of one sequence of `sequence_length` tokens. `licence` is the source weights', as an identifier
    of the hub ("apache-2.0"), or None. `true_widths` are None unless the model was padded.
    """

    architecture: Architecture
    source: Source
    title: str
    labels: tuple[str, ...]
    data: str
    method: str
    seed: int
    versions: str
    made_on: str
    metrics: tuple[Metric, ...] = ()
    limits: tuple[str, ...] = ()
    sequence_length: int = 128
    epsilon: float | None = None
    latency: Latency | None = None
    licence: str | None = None
    true_widths: TrueWidths | None = None


def write_card(card: Card, path: Path, size_bytes: int, positions: int) -> None:
    """Fill the template, which escapes whatever comes as text, so that it stays in its place.

    `size_bytes` is model.safetensors' size; the model reads at most `positions` tokens.
    """
    source, hub_id = card.source, re.fullmatch(r"[\w.-]+/[\w.-]+", card.source.weights or "")
    data = ModelCardData(
        language="en",
        license=(card.licence or "unknown").lower(),
        base_model=EMBEDDED.get(source.name) or (hub_id and hub_id[0]),
        library_name="transformers",
        pipeline_tag="text-classification" if card.labels else "feature-extraction",
        tags=["bort-explorer", source.model_type],
        # Recalls of 20 classes are read in the card's table; nobody looks a model up by them.
        metrics=list(
            dict.fromkeys(
                " ".join(metric.what.split())
                for metric in card.metrics
                if not metric.what.startswith("recall of ")
            )
        )
        or None,
    )
    shapes = (card.architecture, source.architecture)
    ours, theirs = (n_parameters(shape, source) for shape in shapes)
    operations = [n_operations(shape, source, card.sequence_length).total for shape in shapes]
    padded, encoder = "", "of these in the encoder's layers"
    counts, effective = [], ours
    if card.true_widths:
        padded = ", padded"
        effective = uneven_parameters(card.true_widths.shape, source)
        counts = [
            ("parameters, true widths", effective.total, theirs.total),
            (f"{encoder}, true widths", effective.encoder, theirs.encoder),
        ]
    ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        card=card,
        positions=positions,
        megabytes=size_bytes / 1e6,
        share=effective.total / theirs.total,
        counts=(
            *counts,
            (f"parameters{padded}", ours.total, theirs.total),
            (f"{encoder}{padded}", ours.encoder, theirs.encoder),
            (f"multiply-accumulates for {card.sequence_length} tokens{padded}", *operations),
        ),
        tested=any(metric.split == "test" for metric in card.metrics),
        text=_text,
        shape=_shape,
    ).save(path)


def _text(value: object) -> str:
    """Return one line of Markdown that shows a text as it is, in a paragraph, a list or a table."""
    return literal(" ".join(str(value).split()))


def _shape(architecture: Architecture) -> str:
    return (
        f"{architecture.num_hidden_layers} layers, {architecture.num_attention_heads} attention "
        f"heads, hidden size {architecture.hidden_size} and intermediate size "
        f"{architecture.intermediate_size} (D,A,H,I = {architecture})"
    )
