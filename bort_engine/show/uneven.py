"""Shapes whose layers differ, beside a front: which fit it, what to take, and a card, in words."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.layer_latency import LayerLatency
from bort_engine.encoder.sources import Source
from bort_engine.encoder.uneven import LEFT_OUT, Uneven, uneven_parameters
from bort_engine.runs.text import literal
from bort_engine.search.layer_result import LayersFront
from bort_engine.search.result import Front
from bort_engine.show import front as words
from bort_engine.show.budget import Budget
from bort_engine.show.theme import count, millions

if TYPE_CHECKING:
    import pandas as pd

NAME = "Layers that differ"
# What counts as better: a share of latency or size, and of dev. Less than a tenth of a latency is
# what the two ways of timing disagree by; less than a point of accuracy is noise.
LEVEL, POINT = 0.1, 0.01
FORMATS = {"Size (M)": "%.1f", "Latency (ms)": "%.2f", "Wrong (%)": "%.1f"}
RIVALS = {"Latency (ms, predicted)": "%.1f", "Size (M)": "%.1f", "Lost on dev (points)": "%.1f"}


@dataclass(frozen=True, slots=True)
class ShownShape:
    """A measured shape as figures and cards read it, as they read a point of a front."""

    shape: Uneven
    n_parameters: int
    n_encoder_parameters: int
    latency_ms: float
    error: float
    shown_error: float
    found_by: str


@dataclass(frozen=True, slots=True)
class Beside:
    """What a record has to put beside a front.

    Attributes:
        shapes: its own front by latency, without the source and what guesses.
        best: of these, what to take for a budget; `chosen` is on the card.
        restated: by hidden size, what the record's latencies are multiplied with.
    """

    record: LayersFront
    source: Source
    restated: dict[int, float]
    shapes: tuple[ShownShape, ...]
    best: ShownShape | None
    chosen: ShownShape | None

    @classmethod
    def of(
        cls, front: Front, record: LayersFront, source: Source, budget: Budget, chosen: str = ""
    ) -> Beside:
        restated = _restated(front, record.latency, source)
        shapes = [
            ShownShape(
                p.shape,
                p.n_parameters,
                uneven_parameters(p.shape, source).encoder,
                p.latency_ms * restated[p.shape.hidden_size],
                p.error,
                p.dev_error,
                p.found_by,
            )
            for p in record.pareto
            if p.found_by != "source" and not record.teacher.at_chance(p.dev_error)
        ]
        shapes.sort(key=lambda x: x.latency_ms)
        best = budget.best_of(shapes, front.source_point.shown_error)
        on_card = next((x for x in shapes if str(x.shape) == chosen), None)
        return cls(record, source, restated, tuple(shapes), best, on_card)


def _restated(front: Front, latency: LayerLatency, source: Source) -> dict[int, float]:
    """Return how many times as long uniform shapes take by a front's timings as by the layers'.

    The two were timed at different moments, in different ways: on one axis, uneven shapes are shown
    as slow as they would be if uniform ones of their hidden size cost the same in both.
    """
    ratios: dict[int, list[float]] = {hidden: [] for hidden in latency.outside_ms}
    for point in front.points:
        a = point.architecture
        if a.num_attention_heads == front.maximum.num_attention_heads and a.hidden_size in ratios:
            ms = latency.predict_ms(Uneven.of(a, source))
            ratios[a.hidden_size].append(point.latency_ms / ms)
    usual = median(x for some in ratios.values() for x in some)  # the source is always there
    return {hidden: median(some) if some else usual for hidden, some in ratios.items()}


def unfit(front: Front, record: LayersFront) -> str:
    """Say why a record cannot stand beside a front, in the same plot; nothing where it can."""
    ours, theirs = record.latency, front.latency
    same = all(
        getattr(ours.settings, name) == getattr(theirs, name)
        for name in ("batch_size", "sequence_length", "threads", "runtime")
    )
    if not same or ours.device != theirs.device:
        return (
            f"Shapes whose layers differ were timed in {words.measured_at(ours.settings)}, on "
            f"{ours.device}, the points here in {words.measured_at(theirs)}, on {theirs.device}: "
            "they cannot stand on one axis."
        )
    if abs(record.source_point.dev_error - front.source_point.shown_error) > 1e-6:
        return (
            f"Shapes whose layers differ are of a source that errs on "
            f"{100 * record.source_point.dev_error:.1f} % of dev, the points here of one that errs "
            f"on {100 * front.source_point.shown_error:.1f} %: they cannot be compared."
        )
    return ""


def verdict(front: Front, budget: Budget, beside: Beside) -> str:
    """Say whether a shape whose layers differ does better than what is recommended, and by what."""
    best, rival, reference = budget.best(front), beside.best, front.source_point.shown_error
    if rival is None:
        return "No shape whose layers differ meets all of that."
    lost = 100 * (rival.shown_error - reference)
    if best is None:
        return (
            f"**A shape whose layers differ meets all of that**: {rival.shape} takes "
            f"{rival.latency_ms:.1f} ms, has {millions(rival.n_parameters)} parameters and loses "
            f"{lost:.1f} points."
        )
    is_better = {
        "latency": 1 - rival.latency_ms / best.latency_ms > LEVEL,
        "size": 1 - rival.n_parameters / best.n_parameters > LEVEL,
        "error": best.shown_error - rival.shown_error >= POINT,
    }[budget.prefer]
    if is_better:
        return f"**Layers that differ do better within this budget**: {rival.shape}."
    least = "a point" if budget.prefer == "error" else f"{100 * LEVEL:.0f} %"
    return f"Layers that differ do no better here (by {least} at least). Best is {rival.shape}."


def rivals(front: Front, budget: Budget, beside: Beside) -> pd.DataFrame | None:
    """Return what is recommended and the best shape whose layers differ, side by side."""
    import pandas as pd

    best, rival, reference = budget.best(front), beside.best, front.source_point.shown_error
    if best is None or rival is None:
        return None
    rows = [
        (name, x.latency_ms, x.n_parameters / 1e6, 100 * (x.shown_error - reference))
        for name, x in ((f"{best.architecture}, recommended", best), (str(rival.shape), rival))
    ]
    return pd.DataFrame(rows, columns=["", *RIVALS])


def widths(shape: Uneven) -> str:
    """Return heads and neurons by layer, as a table of Markdown."""
    rows = [("Layer", "Heads", "Neurons"), ("--:", "--:", "--:")]
    rows += [
        (str(k), "left out", "") if layer == LEFT_OUT else (str(k), *map(str, layer))
        for k, layer in enumerate(shape.layers, 1)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def summary(beside: Beside) -> str:
    """Say what the chart has of them, for those who cannot see it; it follows the front's words."""
    if not beside.shapes:
        return ""
    fast, slow = beside.shapes[0], beside.shapes[-1]
    return (
        f"; and {count(len(beside.shapes), 'shape')} whose layers differ, from {fast.shape} "
        f"({fast.latency_ms:.2f} ms) to {slow.shape} ({slow.latency_ms:.2f} ms)"
    )


def brief(front: Front, x: ShownShape) -> str:
    """Say a shape's three numbers in one line."""
    score = front.scale.score(x.shown_error)
    return f"{millions(x.n_parameters)} parameters, {x.latency_ms:.2f} ms, {score} on dev"


def facts(front: Front, x: ShownShape) -> list[words.Fact]:
    """Return the card's four numbers, each against the source."""
    source = front.source_point
    right = words.score_fact(front, x.shown_error, source.shown_error)
    return [*words.cost_facts(x, source, "predicted"), right]


def origin(x: ShownShape, beside: Beside) -> str:
    """Say where a shape's numbers come from."""
    record, at, hidden = beside.record, beside.record.latency, x.shape.hidden_size
    report = at.report()
    return (
        f"Latency: **predicted** from timed layers ({words.measured_at(at.settings)}, "
        f"{literal(at.device)}, {literal(at.made_on)}), {100 * report.median_relative_error:.1f} % "
        f"off in the median of {report.n_held_out} held-out shapes; here times "
        f"{beside.restated[hidden]:.2f}, since uniform shapes of hidden size {hidden} take so much "
        "longer by the timings of the points here. Errors: measured on dev, on slices of one "
        f"elastic student, seed {record.seed} ({literal(str(record.made))}). Sizes are exact."
    )


def shipped(x: ShownShape, beside: Beside) -> str:
    """Say what can be made of a shape, and what each of the two is good for."""
    plain = x.shape.padded(beside.source)
    return (
        "**What can be shipped**: `onnx/`, an ONNX model with exactly these widths: the fast one, "
        "without PyTorch. And `model/`, safetensors that transformers loads plainly, padded with "
        f"zeroed units to {plain} ({millions(n_parameters(plain, beside.source).total)} "
        "parameters): the same logits, at that shape's speed. Agora fine-tunes uniform shapes only."
    )


def table(beside: Beside) -> pd.DataFrame:
    """Return the shapes as a person reads them, the fastest first."""
    import pandas as pd

    rows = [
        (str(x.shape), x.found_by, x.n_parameters / 1e6, x.latency_ms, 100 * x.shown_error)
        for x in beside.shapes
    ]
    return pd.DataFrame(rows, columns=["H:AxI,...", "Found by", *FORMATS])


def cut_options(x: ShownShape, record: LayersFront) -> dict[str, str]:
    """Return the options of what saves a shape as a checkpoint; none where nobody knows them."""
    if record.training is None:
        return {}
    student = words.student_options(record.source, record.task, record.seed, record.training)
    return {"--architecture": str(x.shape)} | student
