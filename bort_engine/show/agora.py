"""A run of Agora as a person reads it: words, tables and figures of a checked `Report`.

Compute, then draw: the tables' functions make the numbers, the figures' functions draw them.
Tables and figures show percent, and differences in points. Texts of the run may say anything: in
Markdown they are escaped, in a figure its tags are taken out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bort_engine.finetune.report import (
    NAMES,
    Arm,
    Checkpoint,
    Difference,
    Leak,
    Made,
    Mistake,
    Model,
    Report,
    Request,
    Round,
    Theta,
    against,
    n_mistakes,
)
from bort_engine.runs.text import literal, plain
from bort_engine.show.front import Fact
from bort_engine.show.theme import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    laid_out,
    millions,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

OVER = {
    "plain": "plain fine-tuning",
    "random": "as many random pool texts",
    "copied": "copying the dev mistakes",
}  # what the verdict compares Agora with
MOST_SETS = 8  # drawn or named at once
MARKS = {
    "labeller": (PURPLE, "square"),
    "agora": (ORANGE, "circle"),
    "plain": (BLUE, "diamond"),
    "copied": (VERMILION, "x"),
    "random": (GREEN, "hexagon"),
    "start": (GREY, "star"),
}
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GREY)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "hexagon", "star", "cross")
LEAKAGE = (
    "Agora looks at the seen half of dev by design: its points are made near the mistakes there. "
    "So accuracy on that half flatters. A gap above its whisker is more than chance; what the "
    "student is worth is told by the test split alone, which is scored once, at the end."
)


def set_name(theta: Theta, request: Request) -> str:
    """Name a hyper-parameter set by what tells it from the others that were asked for."""
    among = [one for one in request.theta if len(one) == len(theta)]
    differ = [i for i in range(len(theta)) if len({one[i] for one in among}) > 1]
    parts = [f"{_element(i, request)} {_value(theta[i])}" for i in differ or range(len(theta))]
    return ", ".join(parts)


def _element(index: int, request: Request) -> str:
    names = request.theta_names
    return names[index] if index < len(names) else f"element {index + 1}"


def _value(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return re.sub(r"e([+-])0*", r"e\1", f"{value:g}").replace("e+", "e")


def pruning(played: Round, request: Request) -> str:
    """Say in Markdown which sets left Theta after a round, and why; empty while it is undecided."""
    if not played.counts:
        return (
            f"Try {played.attempt} of round {played.number} did not count: the other one was more "
            "accurate, so its points and accuracies were dropped."
        )
    if not played.pruned:
        return ""
    root, *others = (f"**{literal(set_name(one, request))}**" for one in played.pruned)
    why = "the worst set" if len(played.theta) > 1 else "the last set"
    said = f"Left Theta after round {played.number}: {root} — {why}"
    if not others:
        return said + ("; no other shares its first element." if len(played.theta) > 1 else ".")
    first = "first element" if played.prefix == 1 else f"first {played.prefix} elements"
    named, more = others[:MOST_SETS], len(others[MOST_SETS:])
    *first_ones, last = [*named, f"{more} others"] if more else named
    names = f"{', '.join(first_ones)} and {last}" if first_ones else last
    return f"{said}; and {names}, which share{'s' * (len(others) == 1)} its {first}."


def verdict(report: Report) -> str:
    """Say in Markdown what the test split shows; empty before it was scored."""
    mine = report.row("agora")
    if mine is None:
        return ""
    n = f"{report.n_test:,} " if report.n_test else ""
    interval = ""
    if mine.low is not None and mine.high is not None:
        interval = f" (95 % interval {100 * mine.low:.1f} to {100 * mine.high:.1f})"
    lines = [
        f"Agora's student is right on **{100 * mine.accuracy:.1f} %** of the {n}test sentences"
        f"{interval}{_cost(report)}."
    ]
    gains = {name: against(report, arm) for arm, name in OVER.items()}
    lines += [_gain(gain, name) for name, gain in gains.items() if gain]
    if any(gain and gain.rough for gain in gains.values()):
        lines.append("“About” marks intervals put together as if both errors were unrelated.")
    if len(mine.per_seed) > 1:
        low, high = (f"{100 * value:.1f}" for value in (min(mine.per_seed), max(mine.per_seed)))
        lines.append(f"Over {len(mine.per_seed)} seeds it was {low} to {high} %.")
    else:
        lines.append("It is one seed: the intervals speak for other sentences, not other seeds.")
    return "\n".join(f"- {line}" for line in lines)


def _gain(gain: Difference, over: str) -> str:
    if gain.includes_zero:
        return f"A difference from {over} is **not shown**: {gain}, which includes 0."
    if gain.difference > 0:
        return f"A gain over {over} is **shown**: {gain}."
    return f"It is **worse** than {over}: {gain}."


def _cost(report: Report) -> str:
    """Say what the student gives up against the fine-tuned source, and for what."""
    mine, theirs = report.row("agora"), report.row("labeller")
    if mine is None or theirs is None:
        return ""
    lost = 100 * (theirs.accuracy - mine.accuracy)
    said = f"; the fine-tuned source on {100 * theirs.accuracy:.1f} %, {abs(lost):.1f} points "
    said += "more" if lost >= 0 else "less"
    if (pair := _pair(report)) is None:
        return said
    source, student = pair
    parts = []
    if source.n_parameters and student.n_parameters:
        parts.append(f"{source.n_parameters / student.n_parameters:.1f} times the parameters")
    if source.latency_ms and student.latency_ms:
        how = "measured" if source.measured and student.measured else "predicted"
        parts.append(f"{source.latency_ms / student.latency_ms:.1f} times the latency ({how})")
    return f"{said}, at {' and '.join(parts)}" if parts else said


def _pair(report: Report) -> tuple[Model, Model] | None:
    """Return the source and the student, where both are described."""
    by_name = {model.name.lower(): model for model in report.models}
    both = by_name.get("source"), by_name.get("student")
    return (both[0], both[1]) if both[0] and both[1] else None


def title(report: Report) -> str:
    """Say in Markdown what was asked for."""
    asked = report.request
    sentences = "all" if asked.labelled == 0 else f"{asked.labelled or 0:,}"
    by = "" if asked.tau in ("", "auto") else f" by {asked.tau}"
    chosen = f", chosen at epsilon {asked.epsilon:g}" if asked.epsilon is not None else ""
    return literal(
        f"{asked.architecture} from {asked.source} on {asked.task}: {sentences} labelled "
        f"sentences, {asked.m or 0} points a mistake{by}{chosen}"
    )


def origin(report: Report, verb: str = "Measured") -> str:
    """Say in Markdown where and when the numbers were made."""
    made = report.provenance
    where = f"{verb} on {made['machine'] or 'an unnamed machine'}, {made['made_on'] or 'undated'}"
    return literal(where + (f"; {made['versions']}" if made["versions"] else "") + ".")


def reload_check(checkpoint: Checkpoint) -> str:
    """Say in Markdown whether the checkpoint opened again, as what, and what was wrong."""
    said = literal(checkpoint.said or "nothing more was said")
    if checkpoint.ok and not checkpoint.problems:
        return f"**Saved and opened again:** it {said}."
    problems = "; ".join(map(literal, checkpoint.problems)) or said
    return f"**The saved checkpoint did not pass its check:** {problems}."


def facts(report: Report) -> list[Fact]:
    """Return the student's four numbers, each against the source; those that are known."""
    found = []
    mine, theirs = report.row("agora"), report.row("labeller")
    if mine:
        lost = f"{100 * (mine.accuracy - theirs.accuracy):+.1f} points" if theirs else None
        found.append(Fact("Right on test", f"{100 * mine.accuracy:.1f} %", lost, True))
    if (pair := _pair(report)) is None:
        return found
    source, student = pair
    how = "measured" if student.measured and source.measured else "predicted"
    for label, name, text in (
        ("Parameters, exact", "n_parameters", millions),
        ("Encoder only, exact", "n_encoder_parameters", millions),
        (f"Latency, {how}", "latency_ms", lambda value: f"{value:.2f} ms"),
    ):
        value, other = getattr(student, name), getattr(source, name)
        if value is not None:
            delta = f"{100 * (value / other - 1):+.0f} %" if other else None
            found.append(Fact(label, text(value), delta))
    return found


# Tables, as a person reads them.


def rounds_table(report: Report, arm: Arm) -> pd.DataFrame:
    """Return one row a try: what it was trained on, its best set, what it got wrong and made."""
    import pandas as pd

    rows = []
    for played in arm.rounds:
        best, points = played.best, played.points
        seen = None if best is None else 100 * played.accuracies[best]
        held = None if best is None else _at(played.held, best, 100)
        row = {
            "Round": _round_name(played),
            "Trained on (sentences)": played.n_train,
            "Sets fitted": len(played.accuracies),
            "Best set": "" if best is None else set_name(played.theta[best], report.request),
            "Dev, seen half (%)": seen,
            "Dev, held back (%)": held,
            "Gap (points)": None if seen is None or held is None else seen - held,
            "Mistakes left": n_mistakes(report, played),
        }
        if made_any(arm):
            row |= {"Points made": len(points), "Points kept": sum(p.kept for p in points)}
        rows.append(row)
    return pd.DataFrame(rows)


def made_any(arm: Arm) -> bool:
    """True where points were made near mistakes; controls take theirs from elsewhere."""
    return any(played.made for played in arm.rounds)


def _round_name(played: Round) -> str:
    again = f", try {played.attempt}" if played.attempt > 1 else ""
    return f"{played.number}{again}{'' if played.counts else ' (dropped)'}"


def curves(report: Report, arm: Arm) -> pd.DataFrame:
    """Return one row a training that counts: round, set, both accuracies, loss and seconds."""
    import pandas as pd

    columns = {
        "Dev, seen half (%)": ("accuracies", 100),
        "Dev, held back (%)": ("held", 100),
        "Last loss (nats)": ("losses", 1),
        "Training (s)": ("seconds", 1),
    }
    rows = [
        {"Round": played.number, "Set": set_name(theta, report.request)}
        | {label: _at(getattr(played, name), i, by) for label, (name, by) in columns.items()}
        for played in arm.counted
        for i, theta in enumerate(played.theta)
        if i < len(played.accuracies)
    ]
    return pd.DataFrame(rows, columns=["Round", "Set", *columns])


def _at(values: Sequence[float], index: int, by: int) -> float | None:
    return by * values[index] if index < len(values) else None


def texts_table(arm: Arm, number: int) -> pd.DataFrame:
    """Return the dev texts that a round got wrong, with what was then made near each of them."""
    import pandas as pd

    played = {one.number: one for one in arm.counted}
    wrong = list(played[number].mistakes) if number in played else []
    made: dict[Mistake, tuple[Made, ...]] = {}
    for later in arm.rounds:
        if later.number == number + 1 and later.counts:
            made = dict(later.made)
    rows = []
    for mistake in [*wrong, *(near for near in made if near not in wrong)]:
        for point in made.get(mistake) or (None,):
            rows.append(
                {
                    "Failing dev text": mistake.text,
                    "Its label": mistake.label,
                    "The student's guess": mistake.guess,
                    "Point made near it": point.text if point else "",
                    "Labeller says": point.label if point else "",
                    "Confidence (%)": _percent(point.confidence) if point else None,
                    "Kept": ("yes" if point.kept else "no") if point else "",
                }
            )
    return pd.DataFrame(rows)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def result_table(report: Report) -> pd.DataFrame:
    """Return one row for the source and each arm: test, dev, and what the training took."""
    import pandas as pd

    rows = []
    for row in report.rows:
        dev_seen, dev_held = _dev(report, row.arm)
        own = [arms[row.arm] for _, arms in report.runs if row.arm in arms]
        rows.append(
            {
                "Trained by": NAMES[row.arm],
                "Test (%)": 100 * row.accuracy,
                "Test, 95 % from": _percent(row.low),
                "to (%)": _percent(row.high),
                "Agora is ahead by (points)": _gain_text(against(report, row.arm)),
                "Dev, seen half (%)": _percent(dev_seen),
                "Dev, held back (%)": _percent(dev_held),
                "Steps": _mean([arm.steps for arm in own]),
                "Training (s)": _seconds(report, row.arm, own),
                "Making points (s)": _mean([arm.seconds_generating for arm in own]),
                "Points added": _mean([arm.n_points for arm in own]),
            }
        )
    return pd.DataFrame(rows)


def _seconds(report: Report, arm: str, arms: Sequence[Arm]) -> float | None:
    if arm == "labeller":
        return report.labeller.seconds if report.labeller else None
    return _mean([one.seconds_training for one in arms])


def _gain_text(gain: Difference | None) -> str:
    if gain is None:
        return ""
    about = "about " if gain.rough else ""
    return f"{about}{100 * gain.difference:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def _dev(report: Report, arm: str) -> tuple[float | None, float | None]:
    """Return an arm's accuracies on the two halves of dev, averaged over seeds."""
    if arm == "labeller":
        own = report.labeller
        return (own.dev_seen, own.dev_held) if own else (None, None)
    bests = [arms[arm].best for _, arms in report.runs if arm in arms]
    seen = _mean([best.dev_seen for best in bests if best])
    return seen, _mean([best.dev_held for best in bests if best])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def models_table(report: Report) -> pd.DataFrame:
    """Return what the source and the student cost; a latency's column says how it is known."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "Model": model.name,
                "D,A,H,I": model.architecture,
                "Parameters (M)": _scaled(model.n_parameters),
                "Encoder (M)": _scaled(model.n_encoder_parameters),
                "Latency (ms)": model.latency_ms,
                "Latency is": "measured" if model.measured else "predicted",
                "At": model.latency_note,
            }
            for model in report.models
        ]
    )


def _scaled(n: int | None) -> float | None:
    return None if n is None else n / 1e6


# Figures.


def accuracy_figure(report: Report, arm: Arm) -> go.Figure:
    """Draw dev accuracy by round, a colour and symbol for each set; open marks: held-back half."""
    import plotly.graph_objects as go

    figure = go.Figure()
    table = curves(report, arm)
    order = most_accurate(arm, report.request)
    for index, name in enumerate(order):
        rows = table[table["Set"] == name]
        colour, symbol = COLOURS[index % len(COLOURS)], SYMBOLS[index % len(SYMBOLS)]
        for half, suffix, dash in (("seen half", "", "solid"), ("held back", "-open", "dot")):
            figure.add_scatter(
                x=list(rows["Round"]),
                y=list(rows[f"Dev, {half} (%)"]),
                name=plain(name),
                mode="lines+markers",
                line={"color": colour, "dash": dash, "width": 2},
                marker={"symbol": symbol + suffix, "size": 10},
                legendgroup=str(index),
                showlegend=not suffix,
                hovertemplate=f"{plain(name)}<br>round %{{x}}, {half}: %{{y:.1f}} %<extra></extra>",
            )
    figure.update_xaxes(title="Round", dtick=1)
    figure.update_yaxes(title="Right on dev (%)")
    return laid_out(figure, 340, 190)


def most_accurate(arm: Arm, request: Request) -> list[str]:
    """Return the names of the sets that are drawn: all, or of very many the most accurate."""
    best: dict[Theta, float] = {}
    for played in arm.counted:
        for theta, accuracy in zip(played.theta, played.accuracies, strict=False):
            best[theta] = max(accuracy, best.get(theta, 0.0))
    kept = set(sorted(best, key=lambda theta: -best[theta])[:MOST_SETS])
    return [set_name(theta, request) for theta in best if theta in kept]


def effort_figure(report: Report, arm: Arm) -> go.Figure:
    """Draw by round the mistakes left on dev, and the points made for it, kept and not."""
    import plotly.graph_objects as go

    played = arm.counted
    numbers = [one.number for one in played]
    kept = [sum(point.kept for point in one.points) for one in played]
    figure = go.Figure()
    for name, counts, colour, pattern in (
        ("Points kept", kept, BLUE, ""),
        (
            "Points not kept",
            [len(one.points) - n for one, n in zip(played, kept, strict=True)],
            GREY,
            "/",
        ),
    ):
        figure.add_bar(
            x=numbers,
            y=counts,
            name=name,
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate=f"round %{{x}}: %{{y}}<extra>{name}</extra>",
        )
    figure.add_scatter(
        x=numbers,
        y=[n_mistakes(report, one) for one in played],
        name="Mistakes left on dev",
        mode="lines+markers",
        line={"color": VERMILION},
        marker={"symbol": "diamond", "size": 11},
        hovertemplate="round %{x}: %{y}<extra>Mistakes left</extra>",
    )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="Round", dtick=1)
    figure.update_yaxes(title="Sentences (count)", rangemode="tozero")
    return laid_out(figure, 340, 190)


def leakage_figure(leaks: Sequence[Leak]) -> go.Figure:
    """Draw each gap, with what chance alone does as its whisker."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, chosen, colour, symbol in (
        ("Seen minus held back", [leak for leak in leaks if not leak.test], BLUE, "circle"),
        ("Seen minus test", [leak for leak in leaks if leak.test], ORANGE, "diamond"),
    ):
        if chosen:
            figure.add_scatter(
                x=[leak.step for leak in chosen],
                y=[leak.gap for leak in chosen],
                error_y={"type": "data", "array": [leak.margin or 0 for leak in chosen]},
                name=name,
                mode="markers+text",
                marker={"color": colour, "symbol": symbol, "size": 13},
                text=[f"{leak.gap:+.1f}" for leak in chosen],
                textposition="top right",
                hovertemplate="%{x}: %{y:+.1f} points<extra></extra>",
            )
    figure.add_hline(y=0, line={"color": GREY, "width": 1})
    figure.update_xaxes(range=[-0.5, max(len(leaks), 1) - 0.3])
    figure.update_yaxes(title="Gap (points of accuracy)", zeroline=False)
    return laid_out(figure, 340, 190)


def result_figure(report: Report) -> go.Figure:
    """Draw each arm's accuracy on test with its 95 % interval, and its two dev accuracies."""
    import plotly.graph_objects as go

    figure = go.Figure()
    rows = [row for arm in reversed(MARKS) if (row := report.row(arm))]
    for row in rows:
        colour, symbol = MARKS[row.arm]
        low, high = row.low, row.high
        up = 0.0 if high is None else max(0.0, 100 * (high - row.accuracy))
        down = 0.0 if low is None else max(0.0, 100 * (row.accuracy - low))
        figure.add_scatter(
            x=[100 * row.accuracy],
            y=[NAMES[row.arm]],
            mode="markers",
            error_x={"type": "data", "array": [up], "arrayminus": [down], "thickness": 2.5},
            marker={"color": colour, "symbol": symbol, "size": 14},
            showlegend=False,
            hovertemplate=f"%{{y}}: %{{x:.1f}} % on test, {100 * (low or row.accuracy):.1f} to "
            f"{100 * (high or row.accuracy):.1f}<extra></extra>",
        )
    for index, (half, symbol) in enumerate(
        (("seen half", "triangle-up-open"), ("held back", "triangle-down-open"))
    ):
        pairs = [(NAMES[row.arm], _dev(report, row.arm)[index]) for row in rows]
        known = [(name, value) for name, value in pairs if value is not None]
        figure.add_scatter(
            x=[100 * value for _, value in known],
            y=[name for name, _ in known],
            name=f"Dev, {half}",
            mode="markers",
            marker={"color": GREY, "symbol": symbol, "size": 11, "line": {"width": 2}},
            hovertemplate=f"%{{y}}: %{{x:.1f}} % on dev, {half}<extra></extra>",
        )
    figure.update_xaxes(title="Right answers (%)")
    figure.update_yaxes(automargin=True)
    return laid_out(figure, 90 + 46 * max(len(rows), 2), 190)


# A chart's message, for those who cannot see it.


def accuracy_summary(arm: Arm) -> str:
    said = [
        f"round {one.number} {100 * max(one.accuracies):.1f} %" for one in arm.counted[:20]
    ]  # fmt: skip
    return f"Best accuracy on the seen half of dev: {', '.join(said) or 'none yet'}"


def effort_summary(report: Report, arm: Arm) -> str:
    said = [
        f"round {one.number} {n_mistakes(report, one) or 0} mistakes, {len(one.points)} points"
        for one in arm.counted[:20]
    ]
    return f"Mistakes left and points made: {', '.join(said) or 'none yet'}"


def leakage_summary(leaks: Sequence[Leak]) -> str:
    said = [f"{leak.step.lower()} {leak.gap:+.1f} points" for leak in leaks[:20]]
    return f"Accuracy on the seen half of dev minus that elsewhere: {', '.join(said)}"


def result_summary(report: Report) -> str:
    said = [f"{NAMES[row.arm]} {100 * row.accuracy:.1f} %" for row in report.rows]
    return f"Right answers on test: {', '.join(said)}"
