"""A fine-tuning run as a person reads it: words, numbers and tables of its `Report`.

Tables show percent, and differences in points. Texts of the run may say anything: in
Markdown they are escaped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from bort_engine.finetune.plan import Config, Request
from bort_engine.finetune.report import (
    NAMES,
    Arm,
    ArmName,
    Checkpoint,
    Lead,
    Mistake,
    NewPoint,
    Report,
    Round,
    RowName,
)
from bort_engine.runs.events import Event
from bort_engine.runs.text import literal, printable
from bort_engine.show.front import Fact
from bort_engine.show.theme import millions

if TYPE_CHECKING:
    import pandas as pd

RIVALS: dict[RowName, str] = {
    "plain": "plain fine-tuning",
    "random": "as many random pool texts",
    "copied": "copying the dev mistakes",
}  # what the verdict compares Agora with
MOST_CONFIGS = 8  # drawn or named at once
Z95 = 1.96  # standard errors in half of a 95 % interval
LEAKAGE = (
    "Agora looks at the seen half of dev by design: its points are made near the mistakes there. "
    "So accuracy on that half flatters. A gap above its whisker is more than chance; what the "
    "student is worth is told by the test split alone, which is scored once, at the end."
)


# Words, in Markdown.


def config_name(config: Config, request: Request) -> str:
    """Name a config by the fields that tell it from the others that were asked for."""
    columns = list(zip(*request.configs, strict=True))
    differ = [i for i, values in enumerate(columns) if len(set(values)) > 1]
    return ", ".join(
        f"{Config._fields[i].replace('_', ' ')} {_number(config[i])}"
        for i in differ or range(len(config))
    )


def _number(value: float) -> str:
    """Write 5e-05 as 5e-5."""
    return re.sub(r"e([+-])0*", r"e\1", f"{value:g}").replace("e+", "e")


def pruning(attempt: Round, request: Request) -> str:
    """Say which configs left after a round, and why; empty while it is undecided."""
    if not attempt.counts:
        return (
            f"Try {attempt.attempt} of round {attempt.number} did not count: the other one was "
            "more accurate, so its points and accuracies were dropped."
        )
    if not attempt.pruned:
        return ""
    root, *others = (f"**{config_name(config, request)}**" for config in attempt.pruned)
    alone = len(attempt.fits) == 1
    start = f"Left after round {attempt.number}: {root} — the {'last' if alone else 'worst'} config"
    if not others:
        return start + ("." if alone else "; no other shares its first field.")
    first = "first field" if attempt.prefix == 1 else f"first {attempt.prefix} fields"
    named, n_more = others[:MOST_CONFIGS], len(others[MOST_CONFIGS:])
    *before, last = [*named, f"{n_more} others"] if n_more else named
    names = f"{', '.join(before)} and {last}" if before else last
    return f"{start}; and {names}, which share{'s' * (len(others) == 1)} its {first}."


def verdict(report: Report) -> str:
    """Say what the test split shows; empty before it was scored."""
    agora = report.row("agora")
    if report.test is None or agora is None:
        return ""
    lines = [
        f"Agora's student is right on **{100 * agora.accuracy:.1f} %** of the {report.test.n:,} "
        f"test sentences (95 % interval {100 * agora.low:.1f} to {100 * agora.high:.1f})"
        f"{_against_source(report)}."
    ]
    leads = ((name, agora.against.get(arm)) for arm, name in RIVALS.items())
    lines += [_lead_in_words(lead, name) for name, lead in leads if lead]
    if len(agora.per_seed) > 1:
        low, high = (f"{100 * value:.1f}" for value in (min(agora.per_seed), max(agora.per_seed)))
        lines.append(f"Over {len(agora.per_seed)} seeds it was {low} to {high} %.")
    else:
        lines.append("It is one seed: the intervals speak for other sentences, not other seeds.")
    return "\n".join(f"- {line}" for line in lines)


def _lead_in_words(lead: Lead, rival: str) -> str:
    if lead.includes_zero:
        return f"A difference from {rival} is **not shown**: {lead}, which includes 0."
    if lead.difference > 0:
        return f"A gain over {rival} is **shown**: {lead}."
    return f"It is **worse** than {rival}: {lead}."


def _against_source(report: Report) -> str:
    """Say what the student gives up against the fine-tuned source, and for what."""
    agora, labeller = report.row("agora"), report.row("labeller")
    if agora is None or labeller is None:
        return ""
    lost = 100 * (labeller.accuracy - agora.accuracy)
    words = (
        f"; the fine-tuned source on {100 * labeller.accuracy:.1f} %, {abs(lost):.1f} points "
        f"{'more' if lost >= 0 else 'less'}"
    )
    if report.models is None:
        return words
    source, student = report.models.source, report.models.student
    size = source.n_parameters / student.n_parameters
    latency = source.latency_ms / student.latency_ms
    return (
        f"{words}, at {size:.1f} times the parameters and {latency:.1f} times the latency "
        f"({_latency_origin(report)})"
    )


def _latency_origin(report: Report) -> str:
    """Two latencies are measured if both are."""
    models = report.models
    origins = {models.source.latency_origin, models.student.latency_origin} if models else set()
    return "measured" if origins == {"measured"} else "predicted"


def title(report: Report) -> str:
    """Say what was asked for."""
    request, plan = report.request, report.request.plan
    sentences = f"{plan.labelled:,}" if plan.labelled else "all"
    by = "" if plan.tau == "auto" else f" by {plan.tau}"
    chosen = f", chosen at epsilon {request.epsilon:g}" if request.epsilon is not None else ""
    return literal(
        printable(
            f"{request.architecture} from {request.source.name} on {request.task}: {sentences} "
            f"labelled sentences, {plan.points} points a mistake{by}{chosen}"
        )
    )


def origin(report: Report, verb: str = "Measured") -> str:
    """Say where and when the numbers were made."""
    made = report.provenance
    return literal(printable(f"{verb} on {made.machine}, {made.made_on}; {made.versions}."))


def reload_check(checkpoint: Checkpoint) -> str:
    """Say whether the checkpoint opened again, as what, and what was wrong."""
    if not checkpoint.problems:
        return f"**Saved and opened again:** it {literal(checkpoint.note)}."
    problems = "; ".join(literal(printable(problem)) for problem in checkpoint.problems)
    return f"**The saved checkpoint did not pass its check:** {problems}."


# Numbers.


@dataclass(frozen=True, slots=True)
class Leak:
    """How much better the student does on the half of dev that Agora sees.

    `gap` and `margin` are in points; the margin is 95 % of what chance alone does.
    """

    step: str
    seen: float
    other: float
    margin: float

    @classmethod
    def of(cls, step: str, seen: float, n: int, other: float, m: int) -> Leak:
        """Compare a share of n sentences with one of m others, as if they were unrelated."""
        variance = seen * (1 - seen) / max(n, 1) + other * (1 - other) / max(m, 1)
        return cls(step, seen, other, 100 * Z95 * math.sqrt(variance))

    @property
    def gap(self) -> float:
        return 100 * (self.seen - self.other)


def leakage(report: Report, arm: ArmName = "agora", seed: int | None = None) -> list[Leak]:
    """Return each round's best fit, seen half minus held back; then the result's, minus test."""
    record, data = report.arms(seed).get(arm), report.data
    if record is None or data is None:
        return []
    bests = [(attempt.number, best) for attempt in record.counted if (best := attempt.best)]
    leaks = [
        Leak.of(f"Round {n}", fit.dev_seen, data.n_dev_seen, fit.dev_held, data.n_dev_held)
        for n, fit in bests
    ]
    row = report.row(arm)
    if report.test and row and record.best:
        seeds = [run.seed for run in report.runs]
        position = seeds.index(seed) if seed in seeds else 0
        test = row.per_seed[position] if len(row.per_seed) == len(seeds) else row.accuracy
        seen = record.best.dev_seen
        leaks.append(Leak.of("Test", seen, data.n_dev_seen, test, report.test.n))
    return leaks


def n_mistakes(report: Report, attempt: Round) -> int | None:
    """Return how many of the seen half of dev a round's best fit gets wrong.

    They are listed once the round is settled; before that, and for controls, accuracy tells.
    """
    if attempt.mistakes or not attempt.best or not report.data:
        return len(attempt.mistakes) or None
    return round((1 - attempt.best.dev_seen) * report.data.n_dev_seen)


def losses(events: Sequence[Event]) -> pd.DataFrame:
    """Return the training loss of the fit at work by its steps; empty between two fits."""
    import pandas as pd

    def fit(event: Event) -> list[str]:
        return [str(event.get(key)) for key in ("stage", "detail", "arm", "seed")]

    latest = takewhile(lambda event: fit(event) == fit(events[-1]), reversed(events))
    rows = [
        {"Step": event["done"], "Loss (nats)": event["loss"]}
        for event in latest
        if all(isinstance(event.get(key), int | float) for key in ("done", "loss"))
    ]
    return pd.DataFrame(rows[::-1], columns=["Step", "Loss (nats)"])


def facts(report: Report) -> list[Fact]:
    """Return the student's four numbers, each against the source; those that are known."""
    rows = []
    agora, labeller = report.row("agora"), report.row("labeller")
    if agora:
        lost = f"{100 * (agora.accuracy - labeller.accuracy):+z.1f} points" if labeller else None
        rows.append(Fact("Right on test", f"{100 * agora.accuracy:.1f} %", lost, True))
    if report.models:
        for label, name, text in (
            ("Parameters, exact", "n_parameters", millions),
            ("Encoder only, exact", "n_encoder_parameters", millions),
            (f"Latency, {_latency_origin(report)}", "latency_ms", "{:.2f} ms".format),
        ):
            value, other = (getattr(m, name) for m in (report.models.student, report.models.source))
            rows.append(Fact(label, text(value), f"{100 * (value / other - 1):+.0f} %"))
    return rows


# Tables.


def rounds_table(report: Report, arm: Arm) -> pd.DataFrame:
    """Return one row a try: what it was trained on, its best config, its mistakes and points."""
    import pandas as pd

    rows = []
    for attempt in arm.rounds:
        best = attempt.best
        again = f", try {attempt.attempt}" if attempt.attempt > 1 else ""
        row = {
            "Round": f"{attempt.number}{again}{'' if attempt.counts else ' (dropped)'}",
            "Trained on (sentences)": attempt.n_train,
            "Configs fitted": len(attempt.fits),
            "Best config": config_name(best.config, report.request) if best else "",
            "Dev, seen half (%)": 100 * best.dev_seen if best else None,
            "Dev, held back (%)": 100 * best.dev_held if best else None,
            "Gap (points)": 100 * (best.dev_seen - best.dev_held) if best else None,
            "Mistakes left": n_mistakes(report, attempt),
        }
        if makes_points(arm):
            n_kept = sum(point.kept for point in attempt.points)
            row |= {"Points made": len(attempt.points), "Points kept": n_kept}
        rows.append(row)
    return pd.DataFrame(rows)


def makes_points(arm: Arm) -> bool:
    """True where points were made near mistakes; controls take theirs from elsewhere."""
    return any(attempt.new_points for attempt in arm.rounds)


def texts_table(arm: Arm, number: int) -> pd.DataFrame:
    """Return the dev texts that a round got wrong, with what was then made near each of them."""
    import pandas as pd

    rounds = {attempt.number: attempt for attempt in arm.counted}
    wrong = rounds[number].mistakes if number in rounds else ()
    later = rounds[number + 1].new_points if number + 1 in rounds else ()
    points = {group.near: group.points for group in later}
    return pd.DataFrame(
        [
            _texts_row(mistake, point)
            for mistake in dict.fromkeys([*wrong, *points])
            for point in points.get(mistake) or (None,)
        ]
    )


def _texts_row(mistake: Mistake, point: NewPoint | None) -> dict[str, Any]:
    confidence = point.confidence if point else None
    return {
        "Failing dev text": mistake.text,
        "Its label": mistake.label,
        "The student's guess": mistake.guess,
        "Point made near it": point.text if point else "",
        "Labeller says": (point.label if point else "") or "",
        "Confidence (%)": None if confidence is None else 100 * confidence,
        "Kept": ("yes" if point.kept else "no") if point else "",
    }


def result_table(report: Report) -> pd.DataFrame:
    """Return one row for the source and each arm: test, dev, and what the training took."""
    import pandas as pd

    rows = []
    for row in report.test.rows if report.test else ():
        arms = [run.arms[name] for run in report.runs for name in run.arms if name == row.arm]
        lead = report.leads.get(row.arm)
        ahead = [f"{100 * v:+.1f}" for v in (lead.difference, lead.low, lead.high)] if lead else []
        seconds = [arm.seconds_training for arm in arms]
        if row.arm == "labeller" and report.labeller:
            seconds = [report.labeller.seconds]
        dev_seen, dev_held = dev_accuracies(report, row.arm)
        rows.append(
            {
                "Trained by": NAMES[row.arm],
                "Test (%)": 100 * row.accuracy,
                "Test, 95 % from": 100 * row.low,
                "to (%)": 100 * row.high,
                "Agora is ahead by (points)": "{} ({} to {})".format(*ahead) if ahead else "",
                "Dev, seen half (%)": dev_seen,
                "Dev, held back (%)": dev_held,
                "Steps": _mean(arm.steps for arm in arms),
                "Training (s)": _mean(seconds),
                "Making points (s)": _mean(arm.seconds_generating for arm in arms),
                "Points added": _mean(arm.n_points for arm in arms),
            }
        )
    return pd.DataFrame(rows)


def dev_accuracies(report: Report, name: RowName) -> tuple[float | None, float | None]:
    """Return an arm's accuracies on the two halves of dev (%), averaged over seeds."""
    judged: list[Any] = [run.arms[n].best for run in report.runs for n in run.arms if n == name]
    if name == "labeller":
        judged = [report.labeller]
    known = list(filter(None, judged))
    return _mean(100 * k.dev_seen for k in known), _mean(100 * k.dev_held for k in known)


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None


def models_table(report: Report) -> pd.DataFrame:
    """Return what the source and the student cost; a latency's column says how it is known."""
    import pandas as pd

    if report.models is None:
        return pd.DataFrame()
    request, models = report.request, report.models
    return pd.DataFrame(
        [
            {
                "Model": name,
                "D,A,H,I": str(shape),
                "Parameters (M)": model.n_parameters / 1e6,
                "Encoder (M)": model.n_encoder_parameters / 1e6,
                "Latency (ms)": model.latency_ms,
                "Latency is": model.latency_origin,
                "At": printable(model.latency_note),
            }
            for name, shape, model in (
                ("Source", request.source.architecture, models.source),
                ("Student", request.architecture, models.student),
            )
        ]
    )
