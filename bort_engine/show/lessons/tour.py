"""Five minutes: the stops of a first walk through the tool, with what is on record at each.

Every number is read from the files that ship: the front, the fine-tuning run, the race. Where one
of them is missing or damaged, its stop says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bort_engine.finetune import report as agora_report
from bort_engine.finetune.report import Report
from bort_engine.runs.text import literal
from bort_engine.search import errors as problem
from bort_engine.search import front as extract
from bort_engine.search.result import Front, Point
from bort_engine.search.scores import Race
from bort_engine.show import agora as agora_figures
from bort_engine.show import front as figures
from bort_engine.show import race as race_report
from bort_engine.show.lessons import claims
from bort_engine.show.theme import GREY, ORANGE, millions

if TYPE_CHECKING:
    import plotly.graph_objects as go

SOURCE, TASK, EPSILON = "minilm-l6", "rotten-tomatoes", 0.2
AGORA = "agora-minilm-l6-rotten-tomatoes-few"
NAMES = ("Front", "Point", "Agora", "Race", "Lessons")
PAGES = ("Explore", "Explore", "Fine-tune", "Baselines", "here")
# Where each stop stands in the picture, and what leads where: the way, then what tests the front.
PLACES = ((0, 1), (1, 1), (2, 1), (0.5, 0), (1.5, 0))
DOES = (
    "which smaller networks nothing beats",
    "one of them, and what it gives up",
    "trained near its own mistakes",
    "other searches, equal budgets",
    "each idea, one thing to move",
)
ARROWS = ((0, 1), (1, 2), (3, 0), (4, 1), (4, 2))


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop: a heading, two sentences in Markdown, up to four numbers, and their origin.

    `query` is what the address of its page must hold; `origin` is empty where nothing is on record.
    """

    head: str
    text: str
    numbers: tuple[tuple[str, str], ...] = ()
    origin: str = ""
    query: dict[str, str] = field(default_factory=dict)


def missing(head: str, what: str) -> Stop:
    return Stop(head, f"**{what} is not on record in this version.** The page says what it does.")


def front() -> Front | None:
    """Return the recorded front, None where there is none."""
    try:
        return extract.front(SOURCE, TASK, EPSILON, errors="recorded")
    except (ValueError, OSError):
        return None


def run() -> Report | None:
    """Return the recorded fine-tuning run, None where there is none."""
    path = agora_report.recorded().get(AGORA)
    try:
        return agora_report.load(path) if path else None
    except ValueError:
        return None


def race() -> Race | None:
    """Return the recorded race, None where there is none."""
    try:
        return Race.load(race_report.RECORDED) if race_report.RECORDED.is_file() else None
    except ValueError:
        return None


def point(found: Front, report: Report | None) -> Point:
    """Return the front's point that the fine-tuning run is about, else the nearest in encoder size.

    Without a run it is the one that Explore shows first.
    """
    able = [p for p in found.pareto if not p.at_chance and p != found.source_point]
    if report is None or not able:
        return found.recommended
    mine = next((m.n_encoder_parameters for m in report.models if m.name == "Student"), None)
    if not mine:
        return found.recommended
    return min(
        able,
        key=lambda p: (
            str(p.architecture) != report.request.architecture,
            abs(p.n_encoder_parameters - mine),
        ),
    )


def front_stop(found: Front | None) -> Stop:
    head = "A front: every smaller network worth having"
    if found is None:
        return missing(head, "The front")
    able = [p for p in found.pareto if not p.at_chance]
    small = min(able or found.points, key=lambda p: p.n_encoder_parameters)
    return Stop(
        head,
        f"Each dot is a smaller relative of **{found.source}**, a small BERT that judges film "
        "reviews; a coloured dot is on the front, so nothing measured is smaller, faster and more "
        "accurate at once. Look for where the colour changes: how far to the left can you go "
        "before the answers get bad?",
        (
            ("On the front", f"{len(found.pareto)} of {len(found.points)} shown"),
            ("Encoder kept, at least", _percent(small, found)),
        ),
        figures.origin(found).removeprefix("Recorded "),
        {"source": found.source, "epsilon": f"{found.epsilon:g}"},
    )


def point_stop(found: Front | None, report: Report | None) -> Stop:
    head = "A point: what you gain, and what you give up"
    if found is None:
        return missing(head, "The front")
    chosen, source = point(found, report), found.source_point
    a, near = chosen.architecture, ""
    if report and report.request.architecture != str(a):
        trained = literal(report.request.architecture)
        near = f" The next stop trains a near relative, {trained}."
    return Stop(
        head,
        f"**{a}** has {figures.shape(chosen)}. Look at its card below the chart: four numbers, "
        f"each against the source, and a sentence on why nothing beats it.{near}",
        (
            ("Encoder kept", _percent(chosen, found)),
            ("Latency kept", f"{100 * chosen.latency_ms / source.latency_ms:.0f} %"),
            ("Right on dev", f"{100 * (1 - chosen.shown_error):.1f} %"),
            ("Source, on dev", f"{100 * (1 - source.shown_error):.1f} %"),
        ),
        figures.origin(found).removeprefix("Recorded "),
        {"source": found.source, "epsilon": f"{found.epsilon:g}", "point": str(a)},
    )


def agora_stop(report: Report | None) -> Stop:
    head = "Agora: train the point well"
    mine = report.row("agora") if report else None
    if report is None or mine is None:
        return missing(head, "A fine-tuning run")
    numbers = [("Right on test, by Agora", f"{100 * mine.accuracy:.1f} %")]
    for arm, label in (("plain", "Plain fine-tuning"), ("labeller", "Its source")):
        if other := report.row(arm):
            numbers.append((label, f"{100 * other.accuracy:.1f} %"))
    sizes = {m.name: m.n_encoder_parameters or 0 for m in report.models}
    part = ""
    if sizes.get("Student") and sizes.get("Source"):
        part = f", {100 * sizes['Student'] / sizes['Source']:.0f} % of the source's encoder,"
    shape = literal(report.request.architecture)
    tested = agora_report.against(report, "random")
    honest = "Look for the control that is hardest to beat: as many random texts"
    if tested:
        shown = "is shown" if tested.low > 0 else "is not shown"
        honest += f" (a gain over it {shown}: {tested})"
    return Stop(
        head,
        f"Here **{shape}**{part} was fine-tuned on {report.request.labelled or 0:,} labelled "
        f"sentences and on texts found near its own mistakes. {honest}.",
        tuple(numbers),
        agora_figures.origin(report, "").strip(),
        {"recorded": AGORA},
    )


def race_stop(found: Race | None) -> Stop:
    head = "A race: does the search earn its keep?"
    if found is None:
        return missing(head, "A race")
    short = race_report.verdict(found)[0]
    return Stop(
        head,
        f"The search behind the front, the FPTAS, and {len(found.searchers) - 1} others may each "
        f"train as many networks: {literal(short.text)} Look at the curves: who is ahead "
        "early, and who at the end?",
        (
            ("Trainings each", f"{found.budget}"),
            ("Networks in the space", f"{len(found.points)}"),
            ("Runs of each rival", f"{found.seeds}"),
        ),
        literal(race_report.origin(found)),
    )


def lessons_stop() -> Stop:
    released, swapped = (claims.counted(s).total for s in (claims.BORT, claims.SWAPPED))
    told = claims.published()["parameters_m"]
    return Stop(
        "Lessons: why it works, and where it does not",
        "Every other lesson here is one idea with one thing to move, and a setting that breaks it "
        "on purpose. Look at the last one, the ledger, where Bort's parameters are counted again: "
        "three numbers that should be one.",
        (
            ("Published", f"{told.value} M"),
            ("Counted, as released", millions(released)),
            ("Counted, H and I swapped", millions(swapped)),
        ),
        "Counted in closed form, exact for these shapes.",
    )


def _percent(chosen: Point, found: Front) -> str:
    share = chosen.n_encoder_parameters / found.source_point.n_encoder_parameters
    return f"{100 * share:.0f} %"


def stop(step: int) -> Stop:
    """Return a stop, 1 to 5, read anew from what is on record."""
    if step == 1:
        return front_stop(front())
    if step == 2:
        return point_stop(front(), run())
    if step == 3:
        return agora_stop(run())
    return race_stop(race()) if step == 4 else lessons_stop()


def changed() -> tuple[tuple[str, int], ...]:
    """Return what the stops are read from, by path and time of change: the key of a cache."""
    paths: list[Path] = [*problem.tables(), race_report.RECORDED, *agora_report.recorded().values()]
    return tuple((str(path), path.stat().st_mtime_ns) for path in paths if path.is_file())


def diagram(step: int) -> go.Figure:
    """Draw the tool as five boxes with arrows; the stop at hand, 1 to 5, is filled and starred."""
    import plotly.graph_objects as go

    drawn = go.Figure()
    for start, end in ARROWS:
        (x0, y0), (x1, y1) = PLACES[start], PLACES[end]
        level = y0 == y1
        drawn.add_annotation(
            x=x1 - 0.4 if level else x1 + 0.25 * (x0 - x1),
            y=y1 if level else y1 - 0.27,
            ax=x0 + 0.4 if level else x0,
            ay=y0 if level else y0 + 0.27,
            xref="x", yref="y", axref="x", ayref="y",
            text="", showarrow=True, arrowhead=2, arrowwidth=1.5, arrowcolor=GREY,
        )  # fmt: skip
    for number, (name, (x, y)) in enumerate(zip(NAMES, PLACES, strict=True), 1):
        here = number == step
        colour = ORANGE if here else GREY
        drawn.add_shape(
            type="rect", x0=x - 0.38, x1=x + 0.38, y0=y - 0.25, y1=y + 0.25,
            line={"color": colour, "width": 3 if here else 1.2},
            fillcolor="rgba(230,159,0,0.22)" if here else "rgba(138,143,152,0.08)",
        )  # fmt: skip
        words = f"{'★ ' if here else ''}{number} {name}"
        words = f"<b>{words}</b>" if here else words
        drawn.add_annotation(
            x=x, y=y, showarrow=False, text=f"{words}<br>{PAGES[number - 1]}", font={"size": 14}
        )
    drawn.add_scatter(
        x=[x for x, _ in PLACES],
        y=[y for _, y in PLACES],
        mode="markers",
        marker={"size": 44, "opacity": 0},
        text=[f"{name}: {does}" for name, does in zip(NAMES, DOES, strict=True)],
        hovertemplate="%{text}<extra></extra>",
    )
    hidden = {"visible": False, "fixedrange": True}
    drawn.update_xaxes(range=[-0.45, 2.45], **hidden)
    drawn.update_yaxes(range=[-0.35, 1.35], **hidden)
    return drawn.update_layout(
        height=250, margin={"l": 0, "r": 0, "t": 0, "b": 0}, showlegend=False
    )


def summary(step: int) -> str:
    """Say the picture's message, for those who cannot see it."""
    way = "; ".join(f"{n} {name}, {does}" for n, (name, does) in
                    enumerate(zip(NAMES, DOES, strict=True), 1))  # fmt: skip
    return f"The tool as five boxes: {way}. You are at {step}, {NAMES[step - 1]}"
