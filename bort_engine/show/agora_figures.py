"""A fine-tuning run drawn: accuracy by round, mistakes and points, leakage, the result on test.

Figures show percent, and differences in points; the numbers are those of `show.agora`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bort_engine.finetune.plan import Config
from bort_engine.finetune.report import NAMES, Arm, Fit, Report, RowName
from bort_engine.show.agora import MOST_CONFIGS, Leak, config_name, dev_accuracies, n_mistakes
from bort_engine.show.theme import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, laid_out

if TYPE_CHECKING:
    import plotly.graph_objects as go

MARKS: dict[RowName, tuple[str, str]] = {
    "labeller": (PURPLE, "square"),
    "agora": (ORANGE, "circle"),
    "plain": (BLUE, "diamond"),
    "copied": (VERMILION, "x"),
    "random": (GREEN, "hexagon"),
    "start": (GREY, "star"),
}
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GREY)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "hexagon", "star", "cross")


def accuracy_figure(report: Report, arm: Arm) -> go.Figure:
    """Draw dev accuracy by round, a colour and symbol for each config; open: held-back half."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for index, (config, fits) in enumerate(_drawn(arm).items()):
        name = config_name(config, report.request)
        colour, symbol = COLOURS[index % len(COLOURS)], SYMBOLS[index % len(SYMBOLS)]
        for half, field, suffix, dash in (
            ("seen half", "dev_seen", "", "solid"),
            ("held back", "dev_held", "-open", "dot"),
        ):
            figure.add_scatter(
                x=list(fits),
                y=[100 * getattr(fit, field) for fit in fits.values()],
                name=name,
                mode="lines+markers",
                line={"color": colour, "dash": dash, "width": 2},
                marker={"symbol": symbol + suffix, "size": 10},
                legendgroup=str(index),
                showlegend=not suffix,
                hovertemplate=f"{name}<br>round %{{x}}, {half}: %{{y:.1f}} %<extra></extra>",
            )
    figure.update_xaxes(title="Round", dtick=1)
    figure.update_yaxes(title="Right on dev (%)")
    return laid_out(figure, 340, 190)


def _drawn(arm: Arm) -> dict[Config, dict[int, Fit]]:
    """Return the fits of a config by round; of very many configs, the most accurate ones'."""
    fits: dict[Config, dict[int, Fit]] = defaultdict(dict)
    for attempt in arm.counted:
        for fit in attempt.fits:
            fits[fit.config][attempt.number] = fit
    best = {config: max(fit.dev_seen for fit in fits[config].values()) for config in fits}
    most_accurate = sorted(best, key=best.__getitem__, reverse=True)[:MOST_CONFIGS]
    return {config: fits[config] for config in fits if config in most_accurate}


def effort_figure(report: Report, arm: Arm) -> go.Figure:
    """Draw by round the mistakes left on dev, and the points made for it, kept and not."""
    import plotly.graph_objects as go

    rounds = arm.counted
    numbers = [attempt.number for attempt in rounds]
    figure = go.Figure()
    for name, kept, colour, pattern in (
        ("Points kept", True, BLUE, ""),
        ("Points not kept", False, GREY, "/"),
    ):
        figure.add_bar(
            x=numbers,
            y=[sum(point.kept is kept for point in attempt.points) for attempt in rounds],
            name=name,
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate=f"round %{{x}}: %{{y}}<extra>{name}</extra>",
        )
    figure.add_scatter(
        x=numbers,
        y=[n_mistakes(report, attempt) for attempt in rounds],
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
    for name, is_test, colour, symbol in (
        ("Seen minus held back", False, BLUE, "circle"),
        ("Seen minus test", True, ORANGE, "diamond"),
    ):
        if group := [leak for leak in leaks if (leak.step == "Test") is is_test]:
            figure.add_scatter(
                x=[leak.step for leak in group],
                y=[leak.gap for leak in group],
                error_y={"type": "data", "array": [leak.margin for leak in group]},
                name=name,
                mode="markers+text",
                marker={"color": colour, "symbol": symbol, "size": 13},
                text=[f"{leak.gap:+.1f}" for leak in group],
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
        accuracy, low, high = (100 * value for value in (row.accuracy, row.low, row.high))
        up, down = max(0.0, high - accuracy), max(0.0, accuracy - low)
        figure.add_scatter(
            x=[accuracy],
            y=[NAMES[row.arm]],
            mode="markers",
            error_x={"type": "data", "array": [up], "arrayminus": [down], "thickness": 2.5},
            marker={"color": colour, "symbol": symbol, "size": 14},
            showlegend=False,
            hovertemplate=f"%{{y}}: %{{x:.1f}} % on test, {low:.1f} to {high:.1f}<extra></extra>",
        )
    for index, (half, symbol) in enumerate(
        (("seen half", "triangle-up-open"), ("held back", "triangle-down-open"))
    ):
        figure.add_scatter(
            x=[dev_accuracies(report, row.arm)[index] for row in rows],
            y=[NAMES[row.arm] for row in rows],
            name=f"Dev, {half}",
            mode="markers",
            marker={"color": GREY, "symbol": symbol, "size": 11, "line": {"width": 2}},
            hovertemplate=f"%{{y}}: %{{x:.1f}} % on dev, {half}<extra></extra>",
        )
    figure.update_xaxes(title="Right answers (%)")
    figure.update_yaxes(automargin=True)
    return laid_out(figure, 90 + 46 * max(len(rows), 2), 190)


def accuracy_summary(report: Report, arm: Arm) -> str:
    """Say what the chart shows, for those who cannot see it; so do the others."""
    lines = []
    for config, fits in _drawn(arm).items():
        last = fits[max(fits)]
        lines.append(
            f"{config_name(config, report.request)} {100 * last.dev_seen:.1f} % and "
            f"{100 * last.dev_held:.1f} %"
        )
    return f"Last accuracy on the seen and held-back half of dev: {', '.join(lines) or 'none'}"


def effort_summary(report: Report, arm: Arm) -> str:
    rounds = [
        f"round {r.number} {n_mistakes(report, r) or 0} mistakes, {len(r.points)} points"
        for r in arm.counted[:20]
    ]
    return f"Mistakes left and points made: {', '.join(rounds) or 'none yet'}"


def leakage_summary(leaks: Sequence[Leak]) -> str:
    gaps = [
        f"{leak.step.lower()} {100 * leak.seen:.1f} % and {leak.gap:+z.1f} points"
        for leak in leaks[:20]
    ]
    return f"Best accuracy on the seen half of dev, and how far ahead: {', '.join(gaps) or 'none'}"


def result_summary(report: Report) -> str:
    rows = report.test.rows if report.test else ()
    accuracies = [f"{NAMES[row.arm]} {100 * row.accuracy:.1f} %" for row in rows]
    return f"Right answers on test: {', '.join(accuracies)}"
