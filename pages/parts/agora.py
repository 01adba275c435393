"""A report of Agora, as Fine-tune shows it: what came out, what to take home, round by round."""

from functools import partial
from pathlib import Path

import streamlit as st

from bort_engine.finetune.report import NAMES, Arm, ArmName, Report
from bort_engine.runs import records
from bort_engine.show import agora as words
from bort_engine.show import agora_figures as figures
from pages.parts import form, runs

PERCENT = ("Test (%)", "Test, 95 % from", "to (%)", "Dev, seen half (%)", "Dev, held back (%)")
COUNTS = ("Confidence (%)", "Steps", "Training (s)", "Making points (s)", "Points added")
NUMBERS = {
    **dict.fromkeys((*PERCENT, "Parameters (M)", "Encoder (M)"), "%.1f"),
    **dict.fromkeys(COUNTS, "%.0f"),
    "Gap (points)": "%+.1f",
    "Latency (ms)": "%.2f",
}


def opened(path: Path) -> Report:
    """Return the report in a file. Raises ValueError where there is none, or it is damaged."""
    return runs.opened(path, partial(records.read, kind=Report))


def show_rounds(report: Report) -> None:
    """The rounds of one arm: accuracy, leakage, mistakes and points, what was pruned, the texts."""
    st.subheader("Round by round", anchor=False)
    seed = report.runs[0].seed
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(report.runs) > 1:
            seeds = [run.seed for run in report.runs]
            seed = st.selectbox("Seed", seeds, key="shown_seed", width=120)
        titles: dict[ArmName, str]
        titles = {name: NAMES[name] for name, arm in report.arms(seed).items() if arm.rounds}
        name = next(iter(titles), None)
        if len(titles) > 1:
            name = form.pick("Trained by", titles, "shown_arm")
    if name is None:
        st.caption("This seed has no round yet.")
        return
    arm, makes_points = report.arms(seed)[name], name == "agora"
    show_accuracy(report, arm, words.leakage(report, name, seed))
    if makes_points:
        show_points(report, arm)
    else:
        st.caption(
            "A control repeats each of Agora's trainings, with as much data and as many steps, and "
            "makes no points of its own near its mistakes."
        )
    table = words.rounds_table(report, arm)
    runs.show_table(table, NUMBERS, "Every try of every round of this arm", placeholder="")
    if makes_points:
        show_texts(arm)


def show_accuracy(report: Report, arm: Arm, leaks: list[words.Leak]) -> None:
    """Accuracy by config and round, and how far the half that Agora sees is ahead."""
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        runs.show_chart(
            "Accuracy on dev by hyper-parameter config",
            figures.accuracy_figure(report, arm),
            figures.accuracy_summary(report, arm),
            "Filled, solid: the half of dev that Agora sees. Open, dotted: the other half. "
            f"{report.majority}",
        )
    with right.container(border=True, height="stretch"):
        runs.show_chart(
            "Leakage meter",
            figures.leakage_figure(leaks),
            figures.leakage_summary(leaks),
            words.LEAKAGE,
        )


def show_points(report: Report, arm: Arm) -> None:
    """What Agora's rounds did: the mistakes, the points made near them, the configs that left."""
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        runs.show_chart(
            "Mistakes left, and points made",
            figures.effort_figure(report, arm),
            figures.effort_summary(report, arm),
            "A round's points are made near the mistakes of the round before it. Not kept: the "
            "labeller was unsure.",
        )
    with right.container(border=True, height="stretch"):
        st.markdown("**Which configs left**")
        sentences = (words.pruning(attempt, report.request) for attempt in arm.rounds)
        st.markdown("\n".join(f"- {text}" for text in sentences if text) or "Nothing yet.")
        st.caption(
            "The worst config goes, and with it all that begin as it does, for the longest stretch "
            "that any does."
        )


def show_texts(arm: Arm) -> None:
    """The dev texts that a round failed, and the points then made near each."""
    numbers = [attempt.number for attempt in arm.counted]
    if not numbers:
        return
    texts = words.texts_table(
        arm, form.pick("Dev texts that failed in round", numbers, "shown_round")
    )
    if not len(texts):
        st.caption("This round's mistakes are listed once it has ended.")
        return
    wide = st.column_config.TextColumn(width=330)
    runs.show_table(
        texts,
        NUMBERS,
        "Failing dev texts with the points made near each",
        {"Failing dev text": wide, "Point made near it": wide},
        height=360,
        placeholder="",
    )
    if not any(texts["Point made near it"]):
        st.caption("No points were made near these: no later round has ended.")


def show_result(report: Report) -> None:
    """The student beside the source, plain fine-tuning and the controls; then what it costs."""
    if facts := words.facts(report):
        runs.show_facts(facts)
        st.caption("Small figures: against the source.")
    with st.container(border=True):
        st.markdown("**What the test split shows**")
        st.markdown(words.verdict(report) or "It was not scored in this run.")
    if report.test:
        runs.show_chart(
            "Each way of training",
            figures.result_figure(report),
            figures.result_summary(report),
            "Filled: test, with its 95 % interval. Open: the two halves of dev. Agora sees one. "
            f"{report.majority}",
        )
        table = words.result_table(report)
        runs.show_table(table, NUMBERS, "Each way of training, on test and dev", placeholder="")
    if report.models:
        table = words.models_table(report)
        runs.show_table(table, NUMBERS, "What the source and the student cost")
    if checkpoint := report.checkpoint:
        icon = ":material/gpp_maybe:" if checkpoint.problems else ":material/verified:"
        st.markdown(f"{icon} {words.reload_check(checkpoint)}")


def show_downloads(path: Path) -> None:
    """Offer the report and what lies beside it."""
    model, student, name = path.parent / "model", path.parent / "start", path.parent.name
    card = model / "README.md"
    offers = (
        ("checkpoint", model / "config.json", f"{name}.zip", partial(runs.packed, model)),
        (
            "student before Agora",
            student / "config.json",
            f"{name}-start.zip",
            partial(runs.packed, student),
        ),
        ("model card", card, "README.md", card.read_bytes),
        ("report", path, "report.json", path.read_bytes),
    )
    files = {what: (file, make) for what, proof, file, make in offers if proof.is_file()}
    runs.show_downloads(files, primary="checkpoint")


def show_done(path: Path, badge: str) -> None:
    """A whole report: what came out, then how."""
    report = opened(path)
    runs.show_title(badge, words.title(report), words.origin(report, badge))
    show_result(report)
    show_downloads(path)
    if report.begun:
        show_rounds(report)
