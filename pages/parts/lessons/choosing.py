"""The lesson on choosing: what W, the knee and a budget pick from the same front, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from bort_engine.runs.text import literal
from bort_engine.search import errors as problem
from bort_engine.show.lessons import choosing, choosing_figures
from bort_engine.show.lessons.table import Table, tables
from pages.parts import lesson

TITLE = "Choosing a point"
IDEA = (
    "A front offers many networks, and you need one. **W** is the papers' single score for that; "
    "what it counts decides who wins."
)
SIZES = {"Encoder only": "effective", "All": "total"}
ERRORS = {"Beyond the source's": "excess", "Cross-entropy": "cross-entropy"}
Changed = tuple[tuple[Path, int], ...]


@st.cache_resource(max_entries=4, show_spinner=False)
def on_record(changed: Changed) -> dict[int, Table]:
    return tables()


@st.cache_resource(max_entries=64, show_spinner=False)
def chosen(changed: Changed, seed: int, rule: choosing.Rule) -> choosing.Choice:
    """Return the space under a rule; it is a value and never changes, so sessions may share it."""
    return choosing.choose(on_record(changed)[seed], rule)


def pick(label: str, options: Sequence[Any], key: str, first: Any = None) -> Any:
    usual = options[0] if first is None else first
    found = st.segmented_control(
        label, options, default=usual, required=True, key=key, bind="query-params"
    )
    return usual if found is None else found  # an empty value in the address clears it


def ask() -> tuple[choosing.Rule, float]:
    """Let the rule be set, and the budget in points of accuracy."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        size = pick("Parameters that count", list(SIZES), "choose_size")
        error = pick("Error that counts", list(ERRORS), "choose_error")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        length = pick("Sequence length (tokens)", choosing.LENGTHS, "choose_length", 128)
        batch = pick("Batch (sentences)", choosing.BATCHES, "choose_batch")
    lost = st.slider(
        "Budget: accuracy you can lose (points on dev)",
        0.0,
        30.0,
        5.0,
        0.5,
        key="choose_lost",
        bind="query-params",
    )
    return choosing.Rule(SIZES[size], ERRORS[error], length, batch), lost


def show() -> None:
    changed = tuple((path, path.stat().st_mtime_ns) for path in problem.tables())
    try:
        seed, *others = sorted(on_record(changed))
    except ValueError as e:
        st.warning(literal(str(e)), icon=":material/warning:")
        return
    left, right = st.columns([5, 3])
    with left:
        with st.container(border=True):
            rule, lost = ask()
        choice = chosen(changed, seed, rule)
        picked = choosing.picks(choice, lost)
        lesson.picture(
            choosing_figures.figure(choice, picked),
            choosing_figures.summary(choice, picked),
            "choosing-a-point",
            lambda: choosing.numbers(choice),
        )
        st.caption("Shapes on a line have equal W. On the front, lighter means a higher W.")
    with right:
        show_presets(changed, seed)
        st.markdown(f"{choosing.verdict(choice)} {choosing.spread(choice)}")
        if rule != choosing.DEFAULT:
            usual = chosen(changed, seed, choosing.DEFAULT)
            st.markdown(choosing.changes(choice, usual, lost))
        for other in others:
            best = chosen(changed, other, rule).front.best
            st.markdown(f"With training seed {other} instead of {seed}, W picks {best}.")
        made = choice.table
        lesson.origin("recorded", literal(f"errors: {made.made}; latency: {made.timed}."))
        lesson.origin("computed", f"sizes, W and the front. {choosing.cost_words(choice)}")
    show_picks(choice, picked)
    lesson.sentences(
        r"$W = \frac{p(T) - p}{p(T)} \cdot \frac{i(T) - i}{i(T)} \cdot \frac{1}{e}$ is the share "
        "of parameters p saved, times that of cost i saved, over the error e; T is the source.",
        "In the picture all shapes on a line through the origin have the same W, and the flattest "
        "line that still touches a shape is the winner's.",
        "The **knee** is the front's point farthest below the plane through its extremes, and a "
        "**budget** takes the cheapest that loses no more than you allow; neither names a guesser.",
        "W is the coefficient that [\\[OSE\\]](https://arxiv.org/abs/2010.08512) maximises, with "
        "all parameters and the plain cross-entropy; "
        "the search behind [\\[BORT\\]](https://arxiv.org/abs/2010.10499) rests on it. Counting "
        "the encoder only, and only the error beyond the source's own, is this project's.",
    )


def show_presets(changed: Changed, seed: int) -> None:
    """W as this project counts, and as published; both say whom they pick, by the numbers."""
    rules = (choosing.DEFAULT, choosing.Rule("total", "cross-entropy"))
    labels = ("W as counted here", "W as published")
    good, bad = (
        lesson.Preset(
            label,
            {
                "choose_size": next(word for word, size in SIZES.items() if size == rule.size),
                "choose_error": next(word for word, e in ERRORS.items() if e == rule.error),
                "choose_length": rule.length,
                "choose_batch": rule.batch,
            },
            choosing.verdict(chosen(changed, seed, rule)),
        )
        for label, rule in zip(labels, rules, strict=True)
    )
    lesson.try_this(good, bad)


def show_picks(choice: choosing.Choice, picked: dict[str, Any]) -> None:
    """Who is picked by which rule, in a person's units."""
    st.dataframe(
        choosing.to_frame(choice, picked),
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format=pattern)
            for name, pattern in choosing.FORMATS.items()
        },
        alt="What each rule picks, how far behind the source it is, and what it costs",
    )
    at = choice.table.calibration.settings
    st.caption(
        "D,A,H,I: layers, heads, hidden size, intermediate size. Wrong on dev: the share of "
        "held-out sentences answered wrongly after brief training. Latency: batch "
        f"{at.batch_size}, {at.sequence_length} tokens, {at.threads} threads. In budget: the least "
        "cost i among those within it."
    )
