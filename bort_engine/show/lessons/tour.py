"""Five minutes: the stops of a first walk through the tool, with what is on record at each.

Every number is read from the files that ship: the front, the fine-tuning run, the race. Where one
of them is missing or damaged, its stop says so.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import plotly.graph_objects as go

from bort_engine.finetune import report as agora_report
from bort_engine.finetune.report import Report
from bort_engine.runs import records
from bort_engine.runs.text import literal
from bort_engine.search import errors as problem
from bort_engine.search import front as extract
from bort_engine.search.result import Front, Point
from bort_engine.search.scores import Race
from bort_engine.show import agora as agora_figures
from bort_engine.show import front as words
from bort_engine.show import race as race_report
from bort_engine.show.lessons import claims
from bort_engine.show.theme import GREY, ORANGE, millions, pale

SOURCE, TASK, EPSILON = "minilm-l6", "rotten-tomatoes", 0.2
AGORA = "agora-minilm-l6-rotten-tomatoes-few"


class Box(NamedTuple):
    """A stop in the picture: its name, its page, what it does, where it stands."""

    name: str
    page: str
    does: str
    x: float
    y: float


BOXES = (
    Box("Front", "Explore", "which smaller networks nothing beats", 0, 1),
    Box("Point", "Explore", "one of them, and what it gives up", 1, 1),
    Box("Agora", "Fine-tune", "trained near its own mistakes", 2, 1),
    Box("Race", "Baselines", "other searches, equal budgets", 0.5, 0),
    Box("Lessons", "here", "each idea, one thing to move", 1.5, 0),
)
NAMES = tuple(box.name for box in BOXES)
ARROWS = ((0, 1), (1, 2), (3, 0), (4, 1), (4, 2))  # the way, then what tests or explains it


@dataclass(frozen=True, slots=True)
class TourStop:
    """One stop: a heading, two sentences in Markdown, up to four numbers, and their origin.

    `query` is what the address of its page must hold; `origin` is empty where nothing is on record.
    """

    head: str
    text: str
    numbers: tuple[tuple[str, str], ...] = ()
    origin: str = ""
    query: dict[str, str] = field(default_factory=dict)


def front() -> Front | None:
    """Return the recorded front, None where there is none."""
    with suppress(ValueError, OSError):
        return extract.front(SOURCE, TASK, EPSILON, errors="recorded")


def report() -> Report | None:
    """Return the recorded fine-tuning run, None where there is none."""
    path = agora_report.recorded_reports().get(AGORA)
    with suppress(ValueError):
        return records.read(path, Report) if path else None


def race() -> Race | None:
    """Return the recorded race, None where there is none."""
    with suppress(ValueError):
        return Race.load(race_report.RECORDED) if race_report.RECORDED.is_file() else None


def point(front: Front, report: Report | None) -> Point:
    """Return the front's point that the fine-tuning run is about, else the nearest in encoder size.

    Without a run it is the one that Explore shows first.
    """
    smaller = [p for p in front.above_chance if p != front.source_point]
    if report is None or report.models is None or not smaller:
        return front.recommended
    trained, size = report.request.architecture, report.models.student.n_encoder_parameters
    return min(
        smaller, key=lambda p: (p.architecture != trained, abs(p.n_encoder_parameters - size))
    )


def _encoder_share(front: Front, point: Point) -> str:
    return f"{100 * point.n_encoder_parameters / front.source_point.n_encoder_parameters:.0f} %"


def front_stop(front: Front) -> TourStop:
    points = front.above_chance or front.points
    small = min(points, key=lambda p: p.n_encoder_parameters)
    return TourStop(
        "A front: every smaller network worth having",
        f"Each mark on Explore is a smaller relative of **{front.source}**, a small BERT that "
        "judges film reviews; a blue one is on the front, so nothing measured is smaller, faster "
        "and more accurate at once. Left is faster: how far can you go before the answers get bad?",
        (
            (
                f"On the front, epsilon {front.epsilon:g}",
                f"{len(front.pareto)} of {len(front.points)}",
            ),
            ("Encoder kept, at least", _encoder_share(front, small)),
        ),
        words.origin(front).removeprefix("Recorded "),
        {"source": front.source, "epsilon": f"{front.epsilon:g}"},
    )


def point_stop(front: Front, report: Report | None) -> TourStop:
    chosen, source = point(front, report), front.source_point
    near = ""
    if report and report.request.architecture != chosen.architecture:
        near = f" The next stop trains a near relative, {report.request.architecture}."
    stop = front_stop(front)
    return TourStop(
        "A point: what you gain, and what you give up",
        f"**{chosen.architecture}** has {words.shape(chosen)}. Look at its card: "
        f"four numbers, each against the source, and a sentence on why nothing beats it.{near}",
        (
            ("Encoder kept", _encoder_share(front, chosen)),
            ("Latency kept", f"{100 * chosen.latency_ms / source.latency_ms:.0f} %"),
            ("Right on dev", f"{100 * (1 - chosen.shown_error):.1f} %"),
            ("Source, on dev", f"{100 * (1 - source.shown_error):.1f} %"),
        ),
        stop.origin,
        stop.query | {"point": str(chosen.architecture)},
    )


def agora_stop(report: Report) -> TourStop:
    rows = (
        ("Right on test, by Agora", report.row("agora")),
        ("Plain fine-tuning", report.row("plain")),
        ("Its source", report.row("labeller")),
    )
    part = control = ""
    if models := report.models:
        share = models.student.n_encoder_parameters / models.source.n_encoder_parameters
        part = f", {100 * share:.0f} % of the source's encoder,"
    if gain := report.leads.get("random"):
        finding = "is shown" if gain.low > 0 else "is not shown"
        control = f" (a gain over it {finding}: {gain})"
    n_labelled = f"{report.data.n_train:,}" if report.data else "some"
    return TourStop(
        "Agora: train the point well",
        f"Here **{report.request.architecture}**{part} was fine-tuned on {n_labelled} labelled "
        "sentences and on texts found near its own mistakes. Look for the control that is hardest "
        f"to beat: as many random texts{control}.",
        tuple((label, f"{100 * row.accuracy:.1f} %") for label, row in rows if row),
        agora_figures.origin(report, "").strip(),
        {"recorded": AGORA},
    )


def race_stop(race: Race) -> TourStop:
    lead = literal(race_report.verdict(race)[0].text)
    return TourStop(
        "A race: does the search earn its keep?",
        f"The search behind the front, the FPTAS, and {len(race.searchers) - 1} others may each "
        f"evaluate as many networks: {lead} Look at the curves: who is ahead early, and who at the "
        "end?",
        (
            ("Evaluations each", f"{race.budget}"),
            ("Networks in the space", f"{len(race.points):,}"),
            ("Runs of each rival", f"{race.seeds}"),
        ),
        literal(race_report.origin(race)),
    )


def lessons_stop() -> TourStop:
    return TourStop(
        "Lessons: why it works, and where it does not",
        "Every other lesson here is one idea with one thing to move, and a setting that breaks it. "
        "Look at the last one, the ledger, where Bort's parameters are counted again: "
        "three numbers that should be one.",
        (
            ("Published", f"{claims.published()['parameters_m'].value} M"),
            ("Counted, as released", millions(claims.counted(claims.BORT).total)),
            ("H and I swapped", millions(claims.counted(claims.SWAPPED).total)),
        ),
        "Counted in closed form, exact for these shapes.",
    )


def stop(step: int) -> TourStop:
    """Return a stop, 1 to 5, read anew from what is on record."""
    if step in (1, 2) and (recorded_front := front()):
        return front_stop(recorded_front) if step == 1 else point_stop(recorded_front, report())
    if step == 3 and (recorded_run := report()) and recorded_run.row("agora"):
        return agora_stop(recorded_run)
    if step == 4 and (recorded_race := race()):
        return race_stop(recorded_race)
    if step == 5:
        return lessons_stop()
    what = {3: "A fine-tuning run", 4: "A race"}.get(step, "The front")
    text = f"**{what} is not on record in this version.** The page says what it does."
    return TourStop(NAMES[step - 1], text)


def changed() -> tuple[tuple[str, int], ...]:
    """Return what the stops are read from, by path and time of change: the key of a cache."""
    paths = [*problem.tables(), race_report.RECORDED, *agora_report.recorded_reports().values()]
    return tuple((str(path), path.stat().st_mtime_ns) for path in paths if path.is_file())


def diagram(step: int) -> go.Figure:
    """Draw the tool as five boxes with arrows; the stop at hand, 1 to 5, is filled and starred."""
    figure = go.Figure()
    line = {"text": "", "showarrow": True, "arrowhead": 2, "arrowwidth": 1.5, "arrowcolor": GREY}
    for start, end in ((BOXES[a], BOXES[b]) for a, b in ARROWS):
        # From edge to edge: level arrows join the sides, the others a top and a bottom.
        x, y, ax, ay = end.x - 0.4, end.y, start.x + 0.4, start.y
        if start.y != end.y:
            x, y, ax, ay = end.x + (start.x - end.x) / 4, end.y - 0.27, start.x, start.y + 0.27
        figure.add_annotation(x=x, y=y, ax=ax, ay=ay, axref="x", ayref="y", **line)
    for number, box in enumerate(BOXES, 1):
        here = number == step
        figure.add_shape(
            type="rect",
            x0=box.x - 0.38,
            x1=box.x + 0.38,
            y0=box.y - 0.25,
            y1=box.y + 0.25,
            line={"color": ORANGE if here else GREY, "width": 3 if here else 1.2},
            fillcolor=pale(ORANGE, 0.22) if here else pale(GREY, 0.08),
        )
        title = f"<b>★ {number} {box.name}</b>" if here else f"{number} {box.name}"
        text = f"{title}<br>{box.page}"
        figure.add_annotation(x=box.x, y=box.y, showarrow=False, text=text, font={"size": 14})
    figure.add_scatter(
        x=[box.x for box in BOXES],
        y=[box.y for box in BOXES],
        mode="markers",
        marker={"size": 44, "opacity": 0},
        text=[f"{box.name}: {box.does}" for box in BOXES],
        hovertemplate="%{text}<extra></extra>",
    )
    figure.update_xaxes(range=[-0.45, 2.45], visible=False, fixedrange=True)
    figure.update_yaxes(range=[-0.35, 1.35], visible=False, fixedrange=True)
    margin = dict.fromkeys("lrtb", 0)
    return figure.update_layout(height=250, margin=margin, showlegend=False)


def summary(step: int) -> str:
    """Say the picture's message, for those who cannot see it."""
    way = "; ".join(f"{n} {box.name}, {box.does}" for n, box in enumerate(BOXES, 1))
    return f"The tool as five boxes: {way}. You are at {step}, {NAMES[step - 1]}"
