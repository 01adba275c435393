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
from typing import TYPE_CHECKING

from bort_engine.finetune.plan import Config, Request
from bort_engine.finetune.report import (
    NAMES,
    Arm,
    ArmName,
    Checkpoint,
    Models,
    Report,
    Round,
    RowName,
)
from bort_engine.runs.events import Event
from bort_engine.runs.text import literal, printable
from bort_engine.show.front import Fact, cost_facts
from bort_engine.show.theme import listed, short

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


def config_name(config: Config, request: Request) -> str:
    """Name a config by the fields that tell it from the others that were asked for."""
    columns = list(zip(*request.configs, strict=True))
    differ = [i for i, values in enumerate(columns) if len(set(values)) > 1]
    name = ", ".join(
        f"{Config._fields[i].replace('_', ' ')} {config[i]:g}" for i in differ or range(len(config))
    )
    return re.sub(r"e[+]?(-?)0*(?=[0-9])", r"e\1", name)  # 5e-05 is written 5e-5


def pruning(attempt: Round, request: Request) -> str:
    """Say in Markdown which configs left after a round, and why; empty while it is undecided."""
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
    verb = "shares" if len(others) == 1 else "share"
    if n_more := len(others[MOST_CONFIGS:]):
        others[MOST_CONFIGS:] = [f"{n_more} others"]
    return f"{start}; and {listed(others)}, which {verb} its {first}."


def verdict(report: Report) -> str:
    """Say in Markdown what the test split shows; empty before it was scored."""
    agora, labeller = report.row("agora"), report.row("labeller")
    if report.test is None or agora is None:
        return ""
    first = (
        f"Agora's student is right on **{100 * agora.accuracy:.1f} %** of the {report.test.n:,} "
        f"test sentences (95 % interval {100 * agora.low:.1f} to {100 * agora.high:.1f})"
    )
    if labeller:
        loss = 100 * (labeller.accuracy - agora.accuracy)
        first += (
            f"; the fine-tuned source on {100 * labeller.accuracy:.1f} %, {abs(loss):.1f} points "
            f"{'more' if loss >= 0 else 'less'}"
        )
    if labeller and (models := report.models):
        size = models.source.n_parameters / models.student.n_parameters
        latency = models.source.latency_ms / models.student.latency_ms
        first += (
            f", at {size:.1f} times the parameters and {latency:.1f} times the latency "
            f"({_latency_origin(models)})"
        )
    lines = [f"{first}."]
    for arm, rival in RIVALS.items():
        if not (lead := agora.against.get(arm)):
            continue
        if lead.includes_zero:
            text = f"A difference from {rival} is **not shown**: {lead}, which includes 0."
        elif lead.difference > 0:
            text = f"A gain over {rival} is **shown**: {lead}."
        else:
            text = f"It is **worse** than {rival}: {lead}."
        lines.append(text)
    if (n := len(agora.per_seed)) > 1:
        low, high = 100 * min(agora.per_seed), 100 * max(agora.per_seed)
        lines.append(f"Over {n} seeds it was {low:.1f} to {high:.1f} %.")
    else:
        lines.append("It is one seed: the intervals speak for other sentences, not other seeds.")
    return "\n".join(f"- {line}" for line in lines)


def _latency_origin(models: Models) -> str:
    """Two latencies are measured if both are."""
    origins = {models.source.latency_origin, models.student.latency_origin}
    return "measured" if origins == {"measured"} else "predicted"


def title(report: Report) -> str:
    """Say in Markdown what was asked for."""
    request, plan = report.request, report.request.plan
    sentences = f"{plan.labelled:,}" if plan.labelled else "all"
    by = "" if plan.tau == "auto" else f" by {plan.tau}"
    chosen = f", chosen at epsilon {request.epsilon:g}" if request.epsilon is not None else ""
    return literal(
        printable(
            f"{request.architecture} from {short(request.source.name)} on {short(request.task)}: "
            f"{sentences} "
            f"labelled sentences, {plan.points} points a mistake{by}{chosen}"
        )
    )


def origin(report: Report, verb: str = "Measured") -> str:
    """Say in Markdown where and when the numbers were made."""
    place = report.provenance
    return literal(printable(f"{verb} on {place.machine}, {place.made_on}; {place.versions}."))


def reload_check(checkpoint: Checkpoint) -> str:
    """Say in Markdown whether the checkpoint opened again, as what, and what was wrong."""
    if not checkpoint.problems:
        return f"**Saved and opened again:** it {literal(checkpoint.note)}."
    problems = "; ".join(literal(printable(problem)) for problem in checkpoint.problems)
    return f"**The saved checkpoint did not pass its check:** {problems}."


@dataclass(frozen=True, slots=True)
class Leak:
    """How much better the student does on the half of dev that Agora sees.

    `seen` and `other` are shares right of `n_seen` and `n_other` sentences.
    """

    step: str
    seen: float
    n_seen: int
    other: float
    n_other: int

    @property
    def gap(self) -> float:
        """In points."""
        return 100 * (self.seen - self.other)

    @property
    def margin(self) -> float:
        """In points, 95 % of what chance alone does, as if the sentences were unrelated."""
        sides = ((self.seen, self.n_seen), (self.other, self.n_other))
        return 100 * Z95 * math.sqrt(sum(p * (1 - p) / max(n, 1) for p, n in sides))


def leakage(report: Report, arm: ArmName = "agora", seed: int | None = None) -> list[Leak]:
    """Return each round's best fit, seen half minus held back; then the result's, minus test."""
    record, data = report.arms(seed).get(arm), report.data
    if record is None or data is None:
        return []
    leaks = [
        Leak(f"Round {r.number}", best.dev_seen, data.n_dev_seen, best.dev_held, data.n_dev_held)
        for r in record.counted
        if (best := r.best)
    ]
    row = report.row(arm)
    if report.test and row and record.best:
        seeds = [run.seed for run in report.runs]
        position = seeds.index(seed) if seed in seeds else 0
        test = row.per_seed[position] if len(row.per_seed) == len(seeds) else row.accuracy
        leaks.append(Leak("Test", record.best.dev_seen, data.n_dev_seen, test, report.test.n))
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

    def is_latest(event: Event) -> bool:
        return all(event.get(k) == events[-1].get(k) for k in ("stage", "detail", "arm", "seed"))

    rows = [
        {"Step": event["done"], "Loss (nats)": event["loss"]}
        for event in takewhile(is_latest, reversed(events))
        if all(isinstance(event.get(key), int | float) for key in ("done", "loss"))
    ]
    return pd.DataFrame(rows[::-1], columns=["Step", "Loss (nats)"])


def facts(report: Report) -> list[Fact]:
    """Return the student's four numbers, each against the source; those that are known."""
    rows = []
    agora, labeller = report.row("agora"), report.row("labeller")
    if agora:
        gain = f"{100 * (agora.accuracy - labeller.accuracy):+z.1f} points" if labeller else None
        rows.append(Fact("Right on test", f"{100 * agora.accuracy:.1f} %", gain, True))
    if models := report.models:
        rows += cost_facts(models.student, models.source, _latency_origin(models))
    return rows


def rounds_table(report: Report, arm: Arm) -> pd.DataFrame:
    """Return one row a try: what it was trained on, its best config, its mistakes and points."""
    import pandas as pd

    rows = []
    makes_points = any(attempt.new_points for attempt in arm.rounds)  # controls make none
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
        if makes_points:
            n_kept = sum(point.kept for point in attempt.points)
            row |= {"Points made": len(attempt.points), "Points kept": n_kept}
        rows.append(row)
    return pd.DataFrame(rows)


def texts_table(arm: Arm, number: int) -> pd.DataFrame:
    """Return the dev texts that a round got wrong, with what was then made near each of them."""
    import pandas as pd

    rounds = {attempt.number: attempt for attempt in arm.counted}
    mistakes = rounds[number].mistakes if number in rounds else ()
    groups = rounds[number + 1].new_points if number + 1 in rounds else ()
    points = {group.near: group.points for group in groups}
    return pd.DataFrame(
        {
            "Failing dev text": mistake.text,
            "Its label": mistake.label,
            "The student's guess": mistake.guess,
            "Point made near it": point.text if point else "",
            "Labeller says": (point and point.label) or "",
            "Confidence (%)": 100 * point.confidence
            if point and point.confidence is not None
            else None,
            "Kept": ("yes" if point.kept else "no") if point else "",
        }
        for mistake in dict.fromkeys([*mistakes, *points])
        for point in points.get(mistake) or (None,)
    )


def result_table(report: Report) -> pd.DataFrame:
    """Return one row for the source and each arm: test, dev, and what the training took."""
    import pandas as pd

    rows = []
    for row in report.test.rows if report.test else ():
        arms = [arm for run in report.runs for name, arm in run.arms.items() if name == row.arm]
        ahead = ""
        if lead := report.leads.get(row.arm):
            low, high = 100 * lead.low, 100 * lead.high
            ahead = f"{100 * lead.difference:+z.1f} ({low:+z.1f} to {high:+z.1f})"
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
                "Agora is ahead by (points)": ahead,
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
    fits = [arm.best for run in report.runs for other, arm in run.arms.items() if other == name]
    models = [model for model in (*fits, report.labeller if name == "labeller" else None) if model]
    return _mean(100 * m.dev_seen for m in models), _mean(100 * m.dev_held for m in models)


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None


def models_table(report: Report) -> pd.DataFrame:
    """Return what the source and the student cost; a latency's column says how it is known."""
    import pandas as pd

    if report.models is None:
        return pd.DataFrame()
    models = report.models.source, report.models.student
    return pd.DataFrame(
        {
            "Model": ("Source", "Student"),
            "D,A,H,I": (str(report.request.source.architecture), str(report.request.architecture)),
            "Parameters (M)": [model.n_parameters / 1e6 for model in models],
            "Encoder (M)": [model.n_encoder_parameters / 1e6 for model in models],
            "Latency (ms)": [model.latency_ms for model in models],
            "Latency is": [model.latency_origin for model in models],
            "At": [printable(model.latency_note) for model in models],
        }
    )
