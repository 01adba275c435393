"""One exercise for each lesson: a number to work out, checked against what the engine computes."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from bort_engine.algorithms.agora import MIN_LABELLER_ACCURACY
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.finetune.report import Report
from bort_engine.lab.ledger import BORT, LARGE
from bort_engine.lab.torus_run import TorusSettings
from bort_engine.lab.toy import ToyShape
from bort_engine.search.scale import Scale
from bort_engine.show.lessons import claims
from bort_engine.show.lessons.anatomy import DEPTHS
from bort_engine.show.lessons.choosing import Choice
from bort_engine.show.lessons.questions import Number

SHAPE = ToyShape(3, 3, 3, 2)
EPSILON = 0.3
LARGEST = "bert-large-uncased"
WIDTH = (16, 1024, 3072)  # heads, hidden and intermediate size, as the lesson's good preset has it


@dataclass(frozen=True, slots=True)
class Exercise:
    """What is to be worked out, a hint for who is wrong, and how to get it (all Markdown)."""

    text: str
    answer: Number
    hint: str
    solution: str


def path(report: Report) -> Exercise:
    """By how much is Agora ahead of plain fine-tuning?"""
    agora, plain = report.row("agora"), report.row("plain")
    if not agora or not plain:
        raise ValueError("the recorded run has no plain fine-tuning to compare Agora with.")
    gain = 100 * (agora.accuracy - plain.accuracy)
    return Exercise(
        "At the stop *Agora*: how many points of test accuracy is Agora ahead of plain "
        "fine-tuning?",
        Number("Points ahead", gain, -100, 100, 0.1, "points", 2, 0.15),
        "Points are the difference of two percentages, not their ratio.",
        f"Open the stop *Agora* and take one from the other: {100 * agora.accuracy:.2f} - "
        f"{100 * plain.accuracy:.2f} = {gain:.2f}. Whether that is due to *where* Agora looks for "
        "texts, only the control of random texts can say.",
    )


def pruning() -> Exercise:
    """How many parameters has a shape?"""
    n, a, b, d = SHAPE
    return Exercise(
        f"How many parameters, biases included, does the shape {SHAPE} store? As in the picture, "
        "it is (n,a,b,c,d) with c = a.",
        Number("Parameters", SHAPE.n_parameters, 0, 1000, 1),
        "Count one block first: two layers, each with one bias for each of its outputs.",
        f"A block has a layer of {b}x{a} weights and {a} biases, and one of {a}x{d} weights and "
        f"{d} biases: {a * b} + {a} + {a * d} + {d} = {SHAPE.n_parameters // n}. There are {n} "
        f"blocks: {n} x {SHAPE.n_parameters // n} = {SHAPE.n_parameters}.",
    )


def cost() -> Exercise:
    """Down to which depth do the layers outweigh the embeddings?"""
    source = sources[LARGEST]
    counts = {depth: n_parameters(Architecture(depth, *WIDTH), source) for depth in DEPTHS}
    small = max(depth for depth, count in counts.items() if count.embeddings > count.encoder)
    table, layer = counts[1].embeddings, counts[1].encoder
    return Exercise(
        "Press “BERT-large, 12 of its 24 layers”, then take layers away. With how many layers do "
        "the embeddings A hold more parameters than the layers Bⁿ for the first time?",
        Number("Layers", small, min(DEPTHS), max(DEPTHS), 1),
        "Look at the upper bar: A must be wider than Bⁿ.",
        f"A holds {table:,} parameters at every depth, one layer {layer:,}. "
        f"{table:,} / {layer:,} = {table / layer:.2f}, so {small} layers weigh less than A, and "
        f"{small + 1} weigh more.",
    )


def dial(scale: Scale) -> Exercise:
    """What is an epsilon in points of accuracy?"""
    most, whole = scale.points(EPSILON), scale.points(1)
    return Exercise(
        "On the error's scale 0 is the source and 1 is guessing. With epsilon "
        f"{EPSILON:g}, how many points of accuracy may an evaluated shape lose against the one it "
        "stands in for?",
        Number("Points of accuracy", most, 0, 100, 0.1, "points", 2, 0.2),
        "Find what epsilon 0.1 is in points (it is written below the picture), or set the dial.",
        f"From the source to guessing are {whole:.1f} points, and {EPSILON:g} of them are "
        f"{EPSILON:g} x {whole:.1f} = {most:.1f}. With the dial at {EPSILON:g}, the sentence on "
        "the promise says so.",
    )


def choosing(choice: Choice) -> Exercise:
    """What is the W of what W picks?"""
    best, source = choice.best, choice.source
    return Exercise(
        f"Of the source's encoder of {source.p / 1e6:.3g} M parameters and its {source.i:.3g} "
        f"{choice.unit}, W's pick, {best.architecture}, keeps {best.p / 1e6:.3g} M and "
        f"{best.i:.3g} {choice.unit}. Its error beyond the source's is e = {best.e:.3g} nats. "
        "What is its W?",
        Number("W", best.w, 0, 1000, 0.01, "", 2, 0.02 * best.w),
        "What counts is the share that is *saved*, 1 - kept / all, of both; then divide by e.",
        f"(1 - {best.p / 1e6:.3g} / {source.p / 1e6:.3g}) x (1 - {best.i:.3g} / {source.i:.3g}) / "
        f"{best.e:.3g} = {1 - best.p / source.p:.3f} x {1 - best.i / source.i:.3f} / {best.e:.3g} "
        f"= {best.w:.2f}.",
    )


def layers(whole: Architecture) -> Exercise:
    """How wide is a cell?"""
    n, epsilon = whole.num_hidden_layers, 0.1
    width = 100 * ((1 + epsilon) ** (1 / n) - 1)
    return Exercise(
        f"After each of the {n} layers an unfinished network may be thrown away for one of its "
        "cell, which is larger by less than the cell is wide. How wide may a cell be, in percent, "
        f"so that at the end nothing is more than {100 * epsilon:.0f} % larger?",
        Number("Width of a cell (%)", width, 0, 100, 0.1, "%", 2, 0.02),
        "Factors multiply: it is less than the percent divided by the number of layers.",
        f"{n} factors must come to {1 + epsilon:g}: {1 + epsilon:g} to the power of 1/{n} is "
        f"{1 + width / 100:.4f}, so {width:.2f} %.",
    )


def torus(settings: TorusSettings) -> Exercise:
    """How good must a labeller be?"""
    least = floor(MIN_LABELLER_ACCURACY * settings.n_dev) + 1
    return Exercise(
        f"Agora refuses a labeller that is not right on more than {MIN_LABELLER_ACCURACY} of the "
        f"dev points, of which there are {settings.n_dev:,} here. On how many must it be right at "
        "least?",
        Number("Dev points right", least, 0, settings.n_dev, 1),
        "More than that share, and a whole number of points.",
        f"{MIN_LABELLER_ACCURACY} x {settings.n_dev:,} = "
        f"{float(MIN_LABELLER_ACCURACY) * settings.n_dev:,.1f}; the next whole number above is "
        f"{least:,}.",
    )


def ledger() -> Exercise:
    """What is Bort's effective size?"""
    (small, table), (large, of_large) = (
        (counts.total, counts.embeddings) for counts in map(claims.counted, (BORT, LARGE))
    )
    share = 100 * claims.share(BORT, effective=True)
    return Exercise(
        f"Bort as released counts {small:,} parameters, {table:,} of them embeddings; BERT-large "
        f"{large:,}, of them {of_large:,}. What is Bort's effective size (without embeddings) in "
        "percent of BERT-large's?",
        Number("Effective size (%)", share, 0, 100, 0.1, "%", 2, 0.1),
        "Take the embeddings away from both before you divide.",
        f"({small:,} - {table:,}) / ({large:,} - {of_large:,}) = {small - table:,} / "
        f"{large - of_large:,} = {share:.1f} %.",
    )
