"""A front and its points in words, numbers and a table, for cards, captions and screen readers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING, get_args

from bort_engine.algorithms.guarantee import upper_limit
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.latency import recorded_calibration
from bort_engine.encoder.sources import sources
from bort_engine.encoder.timing import LatencySettings, Runtime
from bort_engine.runs.text import literal
from bort_engine.search.evaluate import Setup
from bort_engine.search.result import AFFORDABLE, Costs, Front, Point
from bort_engine.show.theme import RUNTIMES, count, listed, millions, short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from bort_engine.encoder.latency import LatencyReport
    from bort_engine.encoder.sources import Source
    from bort_engine.encoder.space import Architecture
    from bort_engine.encoder.stopwatch import Times
    from bort_engine.finetune.report import Model
    from bort_engine.search.evaluate import BriefTraining
    from bort_engine.search.result import Evaluated

INT8: tuple[Runtime, ...] = tuple(name for name in get_args(Runtime) if name != "pytorch")
AT_CHANCE, BEATEN = WARNINGS = "No better than guessing", "Not on the front"
FORMATS = {
    "Size (M)": "%.1f",
    "Latency (ms)": "%.2f",
    "Wrong (%)": "%.1f",
    "1 - correlation (%)": "%.1f",
    "Error, predicted (%)": "%.1f",
    "W": "%.2f",
}


def predicted(front: Front) -> bool:
    """Are the errors predicted from published scores, nothing having been trained?"""
    return front.origin == "predicted"


def source_is_maximum(front: Front) -> bool:
    """Is T the source itself, or only the largest architecture of a smaller space?"""
    return front.source in sources and sources[front.source].architecture == front.maximum


def outside(front: Front) -> Source | None:
    """Return a known source that lies outside the space, as that of a grid may: it is not timed."""
    return None if source_is_maximum(front) else sources.get(front.source)


def measured_against(front: Front) -> Source | None:
    """Return the source outside the space that points are held against.

    Predicted fronts have none: the largest of Bort's space stands in for a source of 24 layers.
    """
    return None if predicted(front) else outside(front)


def source_error(front: Front) -> float:
    """Return the error that lost points are counted from."""
    return front.scale.source_error if measured_against(front) else front.source_point.shown_error


def landmarks(front: Front, recommended: Point | None = None) -> dict[str, Point]:
    """Return the points with a name: what all are compared with, recommended, knee, Bort.

    Args:
        recommended: the best within a budget, or the source where none is; by default the front's.
    """
    recommended = recommended or front.recommended
    bort = next((p for p in front.points if p.architecture == sources["bort"].architecture), None)
    points = {
        "Source" if source_is_maximum(front) else "Largest": front.source_point,
        "Recommended": None if recommended == front.source_point else recommended,
        "Knee": front.knee,
        "Bort": bort if predicted(front) else None,
    }
    return {name: point for name, point in points.items() if point}


def runtimes(source: str) -> dict[Runtime, str]:
    """Return the titles of what a recorded front's latencies can be those of."""
    space = [sources[source].architecture]
    shipped: dict[Runtime, str] = {"pytorch": RUNTIMES["pytorch"]}
    for runtime in INT8:
        if recorded_calibration(sources[source], space, LatencySettings(runtime=runtime)):
            shipped[runtime] = RUNTIMES[runtime]
    return shipped


def exported(front: Front) -> dict[str, Point]:
    """Return the source's int8 exports by runtime, latencies predicted, beside a front in PyTorch.

    Only those of which a calibration ships, of this processor and these settings.
    """
    latency = front.latency
    if not source_is_maximum(front) or latency.runtime != "pytorch":
        return {}
    size, points = (latency.batch_size, latency.sequence_length, latency.threads), {}
    for runtime in INT8:
        settings = LatencySettings(*size, runtime=runtime)
        calibration = recorded_calibration(sources[front.source], [front.maximum], settings)
        if calibration and calibration.device == latency.device:
            ms = calibration.predict_ms(front.maximum)
            points[runtime] = replace(front.source_point, latency_ms=ms)
    return points


def deployed(front: Front) -> str:
    """Say whether a smaller model still pays where the source may be exported in int8."""
    source, best = front.source_point, front.recommended
    if outside(front):  # its own export was not timed
        return ""
    if front.latency.runtime in INT8:
        if best == source:
            return (
                "All of this is in int8, and no smaller architecture loses at most "
                f"{100 * AFFORDABLE:g} point: the source's own export is what to take."
            )
        lost = 100 * (best.shown_error - source.shown_error)
        return (
            f"Against the source's own int8 export, the recommended {best.architecture} is still "
            f"{source.latency_ms / best.latency_ms:.1f} times as fast and has "
            f"{best.n_parameters / source.n_parameters:.0%} of its parameters, for {lost:.1f} "
            "points. Errors are those of fp32: what int8 costs a model is measured when it is "
            "exported."
        )
    ms = {runtime: point.latency_ms for runtime, point in exported(front).items()}
    if not ms:
        return ""
    points, best = front.above_chance, min(ms, key=ms.__getitem__)
    slower = sum(p.latency_ms > ms[best] for p in points)
    times = listed([f"{value:.1f} ms as {RUNTIMES[runtime]}" for runtime, value in ms.items()])
    return (
        f"The source itself, exported, takes {times} (predicted) at about its own error, and needs "
        f"no training: less than {slower} of the {len(points)} points here take in PyTorch. Choose "
        f"“{RUNTIMES[best]}” to compare like with like."
    )


def names(front: Front, point: Point, recommended: Point | None = None) -> list[str]:
    """Return what a point is called (see `landmarks`), the warnings last."""
    named = landmarks(front, recommended)
    words = [name for name, landmark in named.items() if landmark == point]
    if point.at_chance:
        return [*words, AT_CHANCE]
    return words if point.pareto else [*words, BEATEN]


def shape(point: Point) -> str:
    a = point.architecture
    return (
        f"{count(a.num_hidden_layers, 'layer')}, {count(a.num_attention_heads, 'head')}, "
        f"hidden size {a.hidden_size}, intermediate size {a.intermediate_size}"
    )


def brief(front: Front, point: Point) -> str:
    """Say a point's three numbers in one line."""
    score = f"{front.scale.score(point.shown_error)} on dev"
    if predicted(front):
        score = f"GLUE {100 * (1 - point.shown_error):.1f} (predicted)"
    return f"{millions(point.n_parameters)} parameters, {point.latency_ms:.2f} ms, {score}"


def why(front: Front, point: Point) -> str:
    """Say why a point is on the front, or why it is not."""
    if point.at_chance:
        return (
            "It answers no better than someone who always names the more frequent class, so it is "
            "shown but never recommended."
        )
    costs = _costs(front, point)
    if not point.pareto:
        size, latency, r = costs
        # Latencies that the calibration cannot tell apart are equal.
        limits = (size, latency * (1 + front.latency.median_relative_error), r)
        for other in front.pareto:
            if all(a <= b for a, b in zip(_costs(front, other), limits, strict=True)):
                lead = _lead(front, other, point) or "equal in all three"
                return f"Not on the front: {other.architecture} is {lead}, and no worse otherwise."
        return f"{BEATEN}."  # in a file from elsewhere the flags need not be true
    leads = [
        f"{lead} than {rival.architecture}"
        for rival, _ in front.rivals(point)
        if not rival.at_chance and (lead := _lead(front, point, rival))
    ]
    known = "predicted" if predicted(front) else "measured"
    start = f"On the front: nothing {known} is as small, as fast and as accurate at once."
    return f"{start} It is {'; '.join(leads)}." if leads else start


def _costs(front: Front, point: Point) -> tuple[float, float, float]:
    """Return what dominance was judged by: the front's own size, the latency, the error."""
    return point.size(front.size), point.latency_ms, point.r


def _lead(front: Front, point: Point, other: Point) -> str:
    """Say on which axes the first beats the second, and by how much."""
    costs = zip(("smaller", "faster"), _costs(front, point), _costs(front, other), strict=False)
    leads = [f"{100 * (1 - a / b):.0f} % {word}" for word, a, b in costs if a < b]
    if (gain := front.scale.points(other.r - point.r)) > 0:
        leads.append(f"{gain:.1f} points more accurate")
    return " and ".join(leads)


def reference(front: Front) -> str:
    """Name what a point is compared with."""
    if source := measured_against(front):
        return f"the source, {source.architecture}"
    role = "the source" if source_is_maximum(front) else "the largest of the space"
    return f"{role}, {front.maximum}"


def title(front: Front) -> str:
    """Say what was asked: source, task and epsilon."""
    names = f"{literal(short(front.source))} on {literal(short(front.task))}"
    return f"{names}, epsilon {front.epsilon:g}"


def badge(front: Front) -> str:
    """Say where a front is from, and of how many shapes it is known to break its promise."""
    text = "Partial" if front.partial else front.origin.capitalize()
    broken = front.guarantee.n_uncovered
    return f"{text}, promise broken for {broken:,}" if broken else text


def origin(front: Front) -> str:
    """Say in a sentence or two where the front's numbers come from."""
    latency = front.latency
    recorded = f", recorded {literal(latency.made_on)}" if latency.origin == "recorded" else ""
    timed = (
        f"Latency: {measured_at(latency)}, {literal(latency.device)}{recorded}; "
        f"{100 * latency.median_relative_error:.1f} % median error on "
        f"{latency.n_held_out} held-out shapes"
    )
    if predicted(front):
        fit = front.provenance.predictor
        known = f", {100 * fit.leave_one_out:.1f} % off where one is left out" if fit else ""
        return (
            "Sizes are exact. Errors are **predicted** from the published GLUE scores of plain "
            f"BERTs{known}; nothing was trained. {timed}."
        )
    made, part, where = front.provenance.made, "", front.origin.capitalize()
    if whole := _larger_space(front):
        part = f" {front.space_size:,} of the space's {whole:,} architectures are on record."
    how = "on slices of one elastic student" if front.oracle == "elastic" else "by brief training"
    return (
        f"{where} on {literal(f'{made.machine}, {made.made_on}')}.{part} Sizes are exact, errors "
        f"measured {how}. {timed}."
    )


def _larger_space(front: Front) -> int | None:
    """Return how many architectures the space has, where the front speaks for a part of it only."""
    whole = front.provenance.whole_space_size
    return whole if front.space_size < whole else None


def promise(front: Front) -> str:
    """Say what the guarantee is, and how it stood up to checking."""
    check, whole = front.guarantee, _larger_space(front)
    if front.partial:
        return (
            f"The search was stopped: {front.space_size:,} of {whole or front.space_size:,} "
            "architectures were evaluated, and nothing is promised of the others. Resume it for "
            "that."
        )
    part = f" on record, of the space's {whole:,}," if whole else ""
    text = (
        f"Every one of the {front.space_size:,} architectures{part} has one here that is at most "
        f"{100 * front.epsilon:.0f} % larger, at most {100 * front.epsilon:.0f} % slower, and "
        f"loses at most **{front.promised_points:.1f} points** more. "
    )
    if predicted(front):
        return text
    text += (
        f"**{front.n_evaluated:,}** of them were evaluated for that ({front.n_cells:,} cells). On "
        f"all {check.n_evaluated:,} that were measured, **{100 * front.achieved_epsilon:.0f} %** "
        f"and {front.scale.points(front.achieved_epsilon):.1f} points were enough."
    )
    if check.n_evaluated == front.space_size and check.n_uncovered is not None:
        text += (
            f" That is the whole space: {check.n_uncovered or 'none'} of "
            f"{check.n_evaluated:,} break the promise."
        )
    elif check.n_spot_checks:
        text += (
            f" {check.n_spot_checks} others were drawn at random and measured: "
            f"{check.n_missed or 'none'} broke the promise, so with 95 % confidence it holds for "
            f"all but at most {100 * check.most_uncovered:.0f} % of what was not measured."
        )
    n_closer = sum(point.role == "other" for point in front.points)
    if n_closer and not front.provenance.search.check_all:
        text += f" {n_closer} more were evaluated where a faster one within a point was likely."
    if check.order_pairs:
        tolerance = front.scale.points(front.provenance.search.tolerance)
        text += (
            " For the error it is a theorem as long as no architecture errs more, by over "
            f"{tolerance:.1f} points, than one that it contains: {check.order_violations:,} of "
            f"{check.order_pairs:,} measured pairs do."
        )
    teacher = front.provenance.teacher
    if teacher and teacher.kind == "number":
        text += (
            f" All of this is about {teacher.n_dev:,} dev rows, on which the source's correlation "
            f"is {1 - teacher.dev_error:.3f}."
        )
    elif teacher:
        n_wrong = round(teacher.dev_error * teacher.n_dev)
        most = 100 * upper_limit(n_wrong, teacher.n_dev)
        text += (
            f" All of this is about {teacher.n_dev:,} dev sentences, on which the source errs on "
            f"{100 * teacher.dev_error:.1f} %; with 95 % confidence on at most {most:.1f} % of "
            "other sentences like them, and each architecture's error is as uncertain. Who always "
            f"names the most frequent class errs on {100 * teacher.chance_error:.1f} %."
        )
    return text


def summary(front: Front) -> str:
    """Say the chart's message, for those who cannot see it."""
    points = sorted(front.above_chance, key=lambda p: (p.n_parameters, p.latency_ms))
    if not points:
        return f"No point of {front.source} is better than guessing"
    small, large = points[0], points[-1]
    return (
        f"{count(len(points), 'point')} on the front of {front.source}, from {small.architecture} "
        f"({brief(front, small)}) to {large.architecture} ({brief(front, large)})"
    )


def cut_options(front: Front, point: Point) -> dict[str, str]:
    """Return the options of what saves a point of an elastic front as a checkpoint; else none."""
    training, seed = front.provenance.training, front.provenance.seed
    if front.oracle != "elastic" or training is None:
        return {}
    student = student_options(front.source, front.task, seed, training)
    return {"--architecture": str(point.architecture)} | student


def student_options(source: str, task: str, seed: int, training: BriefTraining) -> dict[str, str]:
    """Return the options that lead to an elastic student which was trained so."""
    usual = Setup(source, task, "elastic").training
    options: dict[str, object] = {"task": task, "seed": seed} | {
        name: value for name, value in asdict(training).items() if value != getattr(usual, name)
    }
    return {f"--{name.replace('_', '-')}": str(value) for name, value in options.items()}


def cut_command(front: Front, point: Point) -> str:
    """Return the command with these options; nothing for other fronts than elastic ones."""
    options = cut_options(front, point)
    return cut_line(front.source, options) if options else ""


def cut_line(source: str, options: Mapping[str, str]) -> str:
    """Return the command `cut` with options."""
    texts = [f"{name} {quote(value)}" for name, value in options.items()]
    return " ".join(["python -m bort_engine cut", quote(source), *texts])


def table(front: Front, recommended: Point | None = None) -> pd.DataFrame:
    """Return the points as a person reads them: the front first, then by size."""
    import pandas as pd

    error = "Wrong (%)" if front.scale.kind == "class" else "1 - correlation (%)"
    if predicted(front):
        error = "Error, predicted (%)"
    return pd.DataFrame(
        {
            "D,A,H,I": str(p.architecture),
            "Note": ", ".join(names(front, p, recommended)),
            "Size (M)": p.n_parameters / 1e6,
            "Latency (ms)": p.latency_ms,
            error: 100 * p.shown_error,
            "W": p.w,
        }
        for p in sorted(front.points, key=lambda p: (not p.pareto or p.at_chance, p.n_parameters))
    )


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of a card: its label, its text, and how it compares with the source."""

    label: str
    text: str
    delta: str | None
    more_is_better: bool = False


def facts(front: Front, point: Point) -> list[Fact]:
    """Return the card's four numbers, each against the source; the source's stand alone.

    A source outside the space, a grid's say, was not timed with it: then a latency stands alone.
    """
    source, error = front.source_point, front.source_point.shown_error
    beyond = outside(front)
    costs = cost_facts(point, source, "predicted")
    if beyond:
        size = n_parameters(beyond.architecture, beyond)
        totals = (size.total, size.encoder)
        values = (point.n_parameters, point.n_encoder_parameters)
        deltas = [_change(a, b) for a, b in zip(values, totals, strict=True)]
        costs = [replace(f, delta=d) for f, d in zip(costs, [*deltas, None], strict=True)]
        error = front.scale.source_error
    card = [*costs, score_fact(front, point.shown_error, error)]
    alone = point == source and not beyond
    return [replace(fact, delta=None) for fact in card] if alone else card


def score_fact(front: Front, error: float, source_error: float) -> Fact:
    """Return what is right of a front's task, against the source."""
    score, gain = 1 - error, 100 * (source_error - error)
    label, text = "Right on dev", f"{100 * score:.1f} %"
    if front.scale.kind == "number":
        label, text = "Correlation on dev", f"{score:.3f}"
    if predicted(front):
        label, text = "GLUE score, predicted", f"{100 * score:.1f}"
    return Fact(label, text, f"{gain:+z.1f} points", more_is_better=True)


def against(front: Front, point: Point) -> str:
    """Name what a point's card compares it with; nothing where it is the source itself."""
    if source := outside(front):
        return f"the source, {source.architecture}, which is outside the space and was not timed"
    return "" if point == front.source_point else reference(front)


def cost_facts(
    model: Costs | Model | Evaluated, source: Costs | Model | Evaluated, latency_origin: str
) -> list[Fact]:
    """Return what a model costs, against the source."""
    facts = []
    for label, name, text in (
        ("Parameters, exact", "n_parameters", millions),
        ("Encoder only, exact", "n_encoder_parameters", millions),
        (f"Latency, {latency_origin}", "latency_ms", "{:.2f} ms".format),
    ):
        value, reference = getattr(model, name), getattr(source, name)
        facts.append(Fact(label, text(value), _change(value, reference)))
    return facts


def _change(value: float, reference: float) -> str:
    return f"{100 * (value / reference - 1):+.0f} %"


TIMES: dict[str, str] = dict.fromkeys(
    ("Median (ms)", "Quartiles from", "to (ms)", "Against the first"), "%.2f"
)


def stopwatch_options(front: Front, shapes: Sequence[Architecture]) -> dict[str, str]:
    """Return the options that time shapes as the front's latencies are meant."""
    at = front.latency
    return {
        "--architectures": " ".join(map(str, shapes)),
        "--batch-size": str(at.batch_size),
        "--sequence-length": str(at.sequence_length),
        "--runtime": at.runtime,
    }


def times(times: Times) -> pd.DataFrame:
    """Return measured latencies as a table."""
    import pandas as pd

    first = times.rows[0].median
    rows = [(str(r.architecture), r.median, r.low, r.high, r.median / first) for r in times.rows]
    return pd.DataFrame(rows, columns=["D,A,H,I", *TIMES])


def measured_at(at: LatencySettings | LatencyReport) -> str:
    """Say what a latency is measured at."""
    return (
        f"{RUNTIMES[at.runtime]}, batch {at.batch_size}, {at.sequence_length} tokens, "
        f"{count(at.threads, 'thread')}"
    )


def pair(front: Front, pinned: Point, other: Point) -> pd.DataFrame:
    """Return two points side by side: each number, and the second against the first."""
    import pandas as pd

    rows = []
    for ours, theirs in zip(facts(front, pinned), facts(front, other), strict=True):
        rows.append((ours.label, ours.text, theirs.text, ""))
    gain = 100 * (pinned.shown_error - other.shown_error)
    deltas = [fact.delta for fact in cost_facts(other, pinned, "")] + [f"{gain:+z.1f} points"]
    names = (str(pinned.architecture), str(other.architecture))
    rows = [(*row[:3], delta) for row, delta in zip(rows, deltas, strict=True)]
    return pd.DataFrame(rows, columns=["", *names, f"{names[1]} against {names[0]}"])
