"""The lesson on choosing: what W, the knee and a budget pick from the same front, and why."""

import streamlit as st

from bort_engine.runs.text import literal
from bort_engine.search.result import Size
from bort_engine.show.lessons import choosing, choosing_figures, exercises, questions
from bort_engine.show.lessons.exercises import Exercise
from bort_engine.show.lessons.questions import Question
from bort_engine.show.lessons.table import Table
from pages.parts import lesson, runs

TITLE = "Choosing a point"
IDEA = (
    "A front offers many networks, and you need one. **W** is the papers' single score for that; "
    "what it counts decides who wins."
)
SIZES: dict[str, Size] = {"Encoder only": "effective", "All": "total"}
ERRORS = {"Beyond the source's": "excess", "Cross-entropy": "cross-entropy"}


PUBLISHED = choosing.Rule("total", "cross-entropy")


def asks() -> tuple[Question, Exercise]:
    tables = lesson.recorded_tables()
    table = tables[min(tables)]
    usual, published = choosing.choose(table), choosing.choose(table, PUBLISHED)
    return questions.choosing(published, usual), exercises.choosing(usual)


def choose() -> tuple[choosing.Rule, float]:
    """Let the rule be set, and the budget in points of accuracy."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        size = lesson.pick("Parameters that count", list(SIZES), "choose_size")
        error = lesson.pick("Error that counts", list(ERRORS), "choose_error")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        length = lesson.pick("Sequence length (tokens)", choosing.LENGTHS, "choose_length", 64)
        batch = lesson.pick("Batch (sentences)", choosing.BATCHES, "choose_batch")
    label = "Budget: accuracy you can lose (points on dev)"
    lost = st.slider(label, 0.0, 30.0, 5.0, 0.5, key="choose_lost", bind="query-params")
    return choosing.Rule(SIZES[size], ERRORS[error], length, batch), lost


def preset(label: str, table: Table, size: str, error: str) -> lesson.Preset:
    """Return a rule to try, at the usual length and batch, which says whom W picks by it."""
    values = {"choose_size": size, "choose_error": error, "choose_length": 64, "choose_batch": 1}
    choice = choosing.choose(table, choosing.Rule(SIZES[size], ERRORS[error]))
    return lesson.Preset(label, values, choosing.verdict(choice))


def show() -> None:
    tables = lesson.tables()
    if tables is None:
        return
    seed, *others = sorted(tables)
    table = tables[seed]
    left, right = st.columns([5, 3])
    with left:
        with st.container(border=True):
            rule, lost = choose()
        choice = choosing.choose(table, rule)
        picks = choosing.picks(choice, lost)
        lesson.picture(
            choosing_figures.figure(choice, picks),
            choosing_figures.summary(choice, picks),
            "choosing-a-point",
            lambda: choosing.numbers(choice),
        )
        st.caption("Shapes on a line have equal W. On the front, lighter means a higher W.")
    with right:
        lesson.try_this(
            preset("W as counted here", table, "Encoder only", "Beyond the source's"),
            preset("W as published", table, "All", "Cross-entropy"),
        )
        st.markdown(f"{choosing.verdict(choice)} {choosing.spread(choice)}")
        if rule != choosing.DEFAULT:
            usual = choosing.picks(choosing.choose(table), lost)
            st.markdown(choosing.changes(picks, usual))
        for other in others:
            st.markdown(choosing.other_seed(choice, choosing.choose(tables[other], rule)))
        records = f"errors: {table.errors_from}; latency: {table.latency_from}."
        lesson.origin("recorded", literal(records))
        lesson.origin("computed", f"sizes, W and the front. {choosing.cost_words(choice)}")
    runs.show_table(
        choosing.to_frame(choice, picks),
        choosing.FORMATS,
        "What each rule picks, how far behind the source it is, and what it costs",
    )
    at = table.calibration.settings
    st.caption(
        "D,A,H,I: layers, heads, hidden size, intermediate size. Wrong on dev: the share of "
        "held-out sentences answered wrongly, as a slice of the elastic student. Latency: batch "
        f"{at.batch_size}, {at.sequence_length} tokens, {at.threads} threads. In budget: the least "
        "cost i among those within it."
    )
    lesson.sentences(
        r"$W = \frac{p(T) - p}{p(T)} \cdot \frac{i(T) - i}{i(T)} \cdot \frac{1}{e}$ is the share "
        "of parameters p saved, times that of cost i saved, over the error e; T is the source.",
        "In the picture all shapes on a line through the origin have the same W, and the flattest "
        "line that still touches a shape is the winner's.",
        "The **knee** is the front's point farthest below the line through its ends, where one "
        "lies below it; a **budget** takes the cheapest that loses no more than you allow. Neither "
        "names a guesser.",
        "W is the coefficient that [\\[OSE\\]](https://arxiv.org/abs/2010.08512) maximises, with "
        "all parameters and the plain cross-entropy; "
        "the search behind [\\[BORT\\]](https://arxiv.org/abs/2010.10499) rests on it. Counting "
        "the encoder only, and only the error beyond the source's own, is this project's.",
    )
