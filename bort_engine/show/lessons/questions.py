"""What each lesson asks before it tells; the answers are computed from what it goes on to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log10
from statistics import mean

from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import sources
from bort_engine.lab.ledger import BORT, LARGE, Ledger
from bort_engine.lab.torus_run import Torus
from bort_engine.lab.toy import Comparison
from bort_engine.runs.text import literal
from bort_engine.search.result import Front
from bort_engine.show import front as words
from bort_engine.show.lessons import claims
from bort_engine.show.lessons.anatomy import percent
from bort_engine.show.lessons.choosing import Choice as Chosen
from bort_engine.show.lessons.choosing import behind, cost_words
from bort_engine.show.lessons.dial import DialCover
from bort_engine.show.lessons.layers import Searched, scientific
from bort_engine.show.theme import millions

LOST = 5  # points of dev accuracy that may be lost in the question of the tour
NEAR, FAR = 2, 6  # points behind the source, where the answers about W part


@dataclass(frozen=True, slots=True)
class Number:
    """An answer that is a number, what it is the number of, and where it can lie.

    `decimals` are those of the answer; a value is right if it is off by at most `tolerance`.
    """

    label: str
    answer: float
    low: float
    high: float
    step: float
    unit: str = ""
    decimals: int = 0
    tolerance: float = 0.0

    def parse(self, text: str) -> float | None:
        """Read a value from an address; None where it is no number from low to high."""
        try:
            value = float(text)
        except ValueError:
            return None
        return value if self.low <= value <= self.high else None

    def name(self, value: float) -> str:
        """Write a value for a person, with its unit."""
        number = f"{value:,.{self.decimals}f}"
        if "." in number:
            number = number.rstrip("0").rstrip(".")
        return f"{number} {self.unit}".strip()

    def right(self, value: float) -> bool:
        return abs(value - self.answer) <= self.tolerance + 1e-9


@dataclass(frozen=True, slots=True)
class Choice:
    """An answer that is one of a few: what is chosen, the texts by id, and the right id."""

    label: str
    answer: str
    texts: Mapping[str, str]

    def parse(self, text: str) -> str | None:
        return text if text in self.texts else None

    def name(self, value: str) -> str:
        return self.texts[value]

    def right(self, value: str) -> bool:
        return value == self.answer


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, the answer and why it is so.

    `how` says how the answer was found, `origin` where it is from: a kind of origin and a detail.
    All but that kind is Markdown.
    """

    text: str
    answer: Number | Choice
    how: str
    because: str
    origin: tuple[str, str]


def path(front: Front) -> Question:
    """How small can a network of the recorded front be that loses a few points?"""
    source = front.source_point
    near = [p for p in front.points if 100 * (p.shown_error - source.shown_error) <= LOST]
    able = [p for p in near if not p.at_chance]
    small = min(able, key=lambda point: (point.n_encoder_parameters, point.shown_error))
    kept = small.n_encoder_parameters / source.n_encoder_parameters
    return Question(
        f"**{front.source}**, a small BERT, answers {100 * (1 - source.shown_error):.1f} % of the "
        f"held-out film reviews rightly. A smaller relative may lose up to {LOST} points of that. "
        "How much of the encoder does the smallest of those evaluated need?",
        Number("Encoder parameters kept (%)", 100 * kept, 0, 100, 1, "%", 1),
        "measured",
        f"{small.architecture} (layers, heads, hidden size, intermediate size) has "
        f"{millions(small.n_encoder_parameters)} of {millions(source.n_encoder_parameters)} "
        f"encoder parameters and is right on {100 * (1 - small.shown_error):.1f} %.",
        ("recorded", words.origin(front).removeprefix("Recorded ")),
    )


def pruning(comparison: Comparison) -> Question:
    """What do dense layers save by zeros?"""
    T, pruned, chosen = comparison.networks
    work = T.shape.n_operations
    saved = 100 * (1 - pruned.shape.n_operations / work)
    return Question(
        f"A network T has {T.n_stored} parameters. Pruning sets {pruned.n_zero} of them to zero, "
        "and the answers stay the same. Its layers are computed as usual (dense). How many of T's "
        "multiplications does that save?",
        Number("Multiplications saved (%)", saved, 0, 100, 1, "%"),
        "counted",
        f"The shape {pruned.shape} stays, and a dense layer multiplies by a zero as by any number. "
        f"Another shape, {chosen.shape}, gives the same answers with {chosen.n_stored} parameters "
        f"and {percent(1 - chosen.shape.n_operations / work)} of the multiplications saved.",
        ("computed", "multiplications of dense layers, for one input."),
    )


def cost() -> Question:
    """Where do Bort's parameters sit?"""
    bort = sources["bort"]
    counts = n_parameters(bort.architecture, bort)
    share = 100 * counts.embeddings / counts.total
    return Question(
        f"Bort as released has {bort.architecture.num_hidden_layers} layers of width "
        f"{bort.architecture.hidden_size} and knows {bort.vocab_size:,} word pieces, each with a "
        "row in a table: the embeddings. Which part of all its parameters is that table (with the "
        "one of positions)?",
        Number("Parameters in the embeddings (%)", share, 0, 100, 1, "%", 1),
        "counted",
        f"The embeddings hold {millions(counts.embeddings)} of {millions(counts.total)} "
        "parameters, and none of the multiplications.",
        ("computed", "in closed form, exact for this shape."),
    )


def dial(cover: DialCover) -> Question:
    """How many shapes must be evaluated?"""
    n, epsilon, table = len(cover.costs), cover.epsilon, cover.table
    return Question(
        f"A space has {n:,} shapes. For each, one that is evaluated must be found that is at most "
        f"{100 * epsilon:.0f} % larger, {100 * epsilon:.0f} % slower and "
        f"{table.scale.points(epsilon):.1f} points less accurate (epsilon {epsilon:g}). How "
        "many shapes does the search evaluate?",
        Number("Shapes evaluated", len(cover.evaluated), 0, n, 20),
        "counted in the search",
        f"Shapes of about the same size and latency share one of {len(cover.cells):,} cells. Of a "
        "cell at most those are evaluated that no other shape in it contains, and of some cells "
        f"none. The promise of {epsilon:g} was held against all {n:,} shapes: "
        f"{cover.achieved:.3f} is achieved.",
        ("recorded", literal(f"errors: {table.errors_from}; latency: {table.latency_from}.")),
    )


def choosing(published: Chosen, usual: Chosen) -> Question:
    """How good is what W picks as it was published?"""
    best, lost = published.best, behind(published, published.best)
    answer = "near" if lost <= NEAR else "middle" if lost <= FAR else "far"
    return Question(
        "The papers score a network by W: the share of parameters saved, times the share of time "
        f"saved, over the error. Of {len(published.shapes):,} shapes, how good is the one "
        "with the best W, as published (all parameters, plain cross-entropy)?",
        Choice(
            "W picks a shape that is ...",
            "guess" if best.at_chance else answer,
            {
                "near": f"at most {NEAR} points behind the source",
                "middle": f"{NEAR} to {FAR} points behind",
                "far": f"more than {FAR} points behind, but better than guessing",
                "guess": "no better than guessing",
            },
        ),
        "measured",
        f"W picks {best.architecture}: wrong on {100 * best.wrong:.1f} % of dev, {lost:.1f} points "
        f"behind the source, with {percent(best.point.n_encoder_parameters / _encoder(published))} "
        f"of its encoder. Counted as here, W picks {usual.best.architecture}, "
        f"{behind(usual, usual.best):.1f} points behind.",
        ("recorded", f"errors: {literal(published.table.errors_from)}; {cost_words(published)}"),
    )


def _encoder(choice: Chosen) -> int:
    return choice.source.point.n_encoder_parameters


def layers(result: Searched) -> Question:
    """How many unfinished networks must be kept?"""
    record = result.record
    n, whole = scientific(record.n_shapes), record.losses.whole
    return Question(
        f"Each of {whole.num_hidden_layers} layers may have 0 to {whole.num_attention_heads} heads "
        f"and 0 to {whole.intermediate_size:,} neurons, in steps of 8, or be left out: {n} "
        "networks, with the hidden sizes. Losses are taken to add up over the layers, and networks "
        "are built layer by layer. For each network one is to be found that is at most "
        f"{100 * result.epsilon:.0f} % larger, at most as much slower, and loses no more. How many "
        "unfinished networks must be kept at a time, as a power of ten?",
        Number("Power of ten", log10(result.n_states), 0, 21, 0.5, "", 1),
        "counted in the search",
        f"At most {result.n_states:,} were kept, and {len(result.found):,} networks returned. "
        "Unfinished networks of about the same size and latency go on alike, so of them the one "
        "with the least loss is enough.",
        ("recorded", f"what layers lose and how long they take: {literal(str(record.made))}."),
    )


def torus(run: Torus) -> Question:
    """How much is learned from a labeller that errs?"""
    first, last, settings = run.rounds[0], run.rounds[-1], run.settings
    wrong = 100 * (1 - settings.labeller)
    return Question(
        "A network tells points on a ring from points off it. It was shown no point of one sector "
        f"of the ring, and is right on {100 * first.test:.1f} % of the test points. Now it may ask "
        f"a labeller about new points near its mistakes, but {wrong:.0f} % of what the labeller "
        f"says is wrong. After {len(run.rounds) - 1} rounds, how often is it right?",
        Number("Right on test (%)", 100 * last.test, 50, 100, 0.5, "%", 1),
        "measured",
        "Labels that are wrong at random average out where many points lie close together. "
        f"The labeller itself is right on {100 * run.labeller_dev:.1f} % of the dev points. In the "
        f"mean of {len(run.scores)} seeds the network ends at "
        f"{100 * mean(score.after for score in run.scores):.1f} %.",
        ("recorded", f"seed {settings.seed}; {literal(run.provenance)}."),
    )


def ledger(ledger: Ledger | None) -> Question:
    """How fast is Bort?"""
    times, timed = claims.speed(ledger, claims.GOOD)
    goal = claims.published()["faster_than_large"].value
    by_count = claims.operations(LARGE, BORT, claims.GOOD)
    origin = ("computed", "operations in closed form; no time at this length is on record.")
    if ledger and timed:
        origin = ("recorded", f"on {literal(ledger.provenance)}.")
    return Question(
        f"Bort was published as {goal:g} times as fast as BERT-large. Let both run in one "
        f"runtime, one text of {claims.GOOD} tokens at a time: how many times as fast is Bort?",
        Number("Times as fast as BERT-large", times, 1, 30, 0.5, "times", 1),
        "timed" if timed else "counted in operations",
        f"It needs {by_count:.1f} times fewer multiplications and additions; at which length "
        f"{goal:g} times were measured was not published.",
        origin,
    )
