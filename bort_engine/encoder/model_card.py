"""The model card beside a checkpoint: what it is, what it costs, and how it came about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.latency import LatencySettings
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture

TEMPLATE = ASSETS / "model-card.md"
EMBEDDED = "sentence-transformers/all-MiniLM-L6-v2"  # the embedded source's name on the hub


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one forward pass (fp32); `how` is "measured" or "predicted"."""

    ms: float
    settings: LatencySettings
    device: str
    how: str


@dataclass(frozen=True, slots=True)
class Metric:
    """One result: `note` is its unit and interval in words."""

    what: str
    split: str
    value: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What the model card says; it counts parameters and operations itself.

    `labels` are the task's words in the order of the logits, empty for a bare encoder. `epsilon` is
    the front's that the architecture was chosen from, None where it was not. Operations are those
    of one sequence of `sequence_length` tokens. `licence` is the source weights', as an identifier
    of the hub ("apache-2.0"), or None.

    Raises:
        ValueError: there is more in the architecture than in the source, or a label twice.
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

    def __post_init__(self) -> None:
        own = self.source.architecture
        if not self.architecture.fits_in(own):
            raise ValueError(f"{self.architecture} is not part of {self.source.name} ({own}).")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels {list(self.labels)} name one twice; each class has its own.")


def write_card(card: Card, path: Path, size_bytes: int, positions: int) -> None:
    """Fill the template; whatever comes as text is escaped, so that it stays in its place.

    `size_bytes` is model.safetensors' size; the model reads at most `positions` tokens.

    Raises:
        OSError: the file cannot be written.
    """
    source, hub_id = card.source, re.fullmatch(r"[\w.-]+/[\w.-]+", card.source.weights or "")
    data = ModelCardData(
        language="en",
        license=(card.licence or "unknown").lower(),
        base_model=EMBEDDED if source.weights == "embedded" else hub_id and hub_id[0],
        library_name="transformers",
        pipeline_tag="text-classification" if card.labels else "feature-extraction",
        tags=["bort-explorer", source.model_type],
        metrics=list(dict.fromkeys(_line(metric.what) for metric in card.metrics)) or None,
    )
    size = n_parameters(card.architecture, source).total
    filled = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        heading=_escaped(f"{card.title}, {source.name} at {card.architecture}"),
        shape=f"A {source.model_type} encoder with {_in_words(card.architecture)}",
        parent=_escaped(source.name),
        parent_shape=_in_words(source.architecture),
        share=_share(size, n_parameters(source.architecture, source).total),
        words=", ".join(map(_escaped, card.labels)),
        positions=positions,
        costs=_costs(card, size_bytes),
        latency=_latency(card.latency),
        choice=_choice(card.epsilon),
        data=_escaped(card.data),
        method=_escaped(card.method),
        seed=card.seed,
        metrics=[
            (*map(_escaped, (m.what, m.split)), f"{m.value:.4g}", _escaped(m.note))
            for m in card.metrics
        ],
        tested=any(metric.split == "test" for metric in card.metrics),
        limits=[*map(_escaped, card.limits)] or ["None were stated."],
        terms=_escaped(card.licence or "their licence was not stated; see the source"),
        made_on=_escaped(card.made_on),
        versions=_escaped(card.versions),
    )
    filled.save(path)


def _costs(card: Card, size_bytes: int) -> list[tuple[str, str, str, str]]:
    shapes = (card.architecture, card.source.architecture)
    ours, whole = (n_parameters(shape, card.source) for shape in shapes)
    operations = [n_operations(s, card.source, card.sequence_length).total for s in shapes]
    counts = (
        ("parameters", ours.total, whole.total),
        ("of these in the encoder's layers", ours.encoder, whole.encoder),
        (f"multiply-accumulates for {card.sequence_length} tokens", *operations),
    )
    rows = [(what, f"{mine:,}", f"{all_:,}", _share(mine, all_)) for what, mine, all_ in counts]
    return [*rows, ("model.safetensors on disk", f"{size_bytes / 1e6:.2f} MB", "", "")]


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return "Its latency is not stated."
    at = latency.settings
    return (
        f"Latency: {latency.ms:.2f} ms ({_escaped(latency.how)}) for a batch of {at.batch_size}, "
        f"{at.sequence_length} tokens each, {at.threads} threads, fp32, on "
        f"{_escaped(latency.device)}."
    )


def _choice(epsilon: float | None) -> str:
    if epsilon is None:
        return "The architecture was given; it was not chosen from a front."
    return f"From a Pareto front of size, inference cost and error, at epsilon = {epsilon:g}."


def _in_words(shape: Architecture) -> str:
    return (
        f"{shape.num_hidden_layers} layers, {shape.num_attention_heads} attention heads, hidden "
        f"size {shape.hidden_size} and intermediate size {shape.intermediate_size} "
        f"(D,A,H,I = {shape})"
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _line(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    """One line of Markdown that shows the text as it is, in a paragraph, a list or a table."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", _line(text))
