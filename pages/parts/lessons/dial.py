"""The lesson on epsilon: how much to evaluate, and what is promised and achieved for it."""

import streamlit as st

from bort_engine.runs.text import literal
from bort_engine.show.lessons import dial, exercises, questions
from bort_engine.show.lessons.exercises import Exercise
from bort_engine.show.lessons.questions import Question
from bort_engine.show.lessons.table import Table
from pages.parts import lesson, runs

TITLE = "The epsilon dial"
IDEA = (
    "**Epsilon** is how much larger, slower and less accurate an answer may be than the best there "
    "is. Allow more, and as a rule fewer networks need to be evaluated."
)
COSTS = {"Latency": "latency", "Operations": "operations"}


# `_table` is no part of the key: the records and the seed name it.
@st.cache_resource(max_entries=256, show_spinner=False)
def cover(
    records: object, seed: int, epsilon: float, lazy: bool, cost: str, _table: Table
) -> dial.DialCover:
    """Return a position of the dial; it never changes, so sessions may share it."""
    return dial.cover(_table, epsilon, lazy, cost)


def asks() -> tuple[Question, Exercise]:
    tables = lesson.recorded_tables()
    seed = min(tables)
    result = cover(runs.tables(), seed, 0.2, True, "latency", tables[seed])
    return questions.dial(result), exercises.dial(tables[seed].scale)


def choose(seeds: list[int]) -> tuple[int, float, bool, str]:
    """Let the dial be turned: the seed, epsilon, laziness, and cost."""
    label = "Epsilon: the tolerated share of size, cost, and what there is to lose"
    epsilon = st.select_slider(label, dial.EPSILONS, 0.2, key="dial_eps", bind="query-params")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        lazy = st.toggle("Lazy", True, key="dial_lazy", bind="query-params")
        cost = lesson.pick("Cost", list(COSTS), "dial_cost")
        seed = lesson.pick("Training seed", seeds, "dial_seed")
    return seed, epsilon, lazy, COSTS[cost]


def show() -> None:
    tables = lesson.tables()
    if tables is None:
        return
    records = runs.tables()
    left, right = st.columns([5, 3])
    with left:
        with st.container(border=True):
            seed, epsilon, lazy, cost = choose(sorted(tables))
        lazily, whole = (
            cover(records, seed, epsilon, way, cost, tables[seed]) for way in (True, False)
        )
        result = lazily if lazy else whole
        lesson.picture(
            dial.figure(result), dial.summary(result), "epsilon-dial", lambda: dial.to_frame(result)
        )
        st.caption(
            "A dot is a shape D,A,H,I: layers, heads, hidden size, intermediate size. Wrong on "
            "dev: its share of wrong answers on held-out sentences, as a slice of the elastic "
            "student."
        )
    with right:
        first = min(tables)
        good, bad = (
            preset(label, cover(records, first, epsilon, True, "latency", tables[first]))
            for label, epsilon in (("Epsilon 0.2, lazily", 0.2), ("Finer than the errors", 0.05))
        )
        lesson.try_this(good, bad)
        show_numbers(result, lazily, whole)
        st.markdown(dial.assumption(result))
        show_origin(result)
    points = result.table.scale.points
    lesson.sentences(
        "Shapes whose size and cost lie within a factor 1 + epsilon share a **cell**, and of a "
        "cell those shapes are evaluated that no other shape in it contains (in layers, heads and "
        "units).",
        "**Laziness** evaluates fewer: a shape is taken to err no more than all that it contains, "
        "so where an evaluated one, of about their cost or less, errs at most epsilon more than "
        "that, they need not be evaluated. The error's scale runs from 0, the source's, to 1, "
        f"guessing's: here epsilon 0.1 is {points(0.1):.1f} points.",
        "For size and cost the promise is a theorem. For the error it is one as long as no shape "
        "errs more than one that it contains, but for a small tolerance; so the **achieved** "
        "epsilon is worked out on every shape on record.",
        "Algorithm 1 of [\\[OSE\\]](https://arxiv.org/abs/2010.08512) sorts the shapes by size, "
        "evaluates every k-th, and calls k epsilon. The cells and the laziness are this project's.",
    )


def preset(label: str, result: dial.DialCover) -> lesson.Preset:
    """Return a position to try, lazily by latency, which says what is promised and achieved."""
    values = {"dial_eps": result.epsilon, "dial_lazy": True, "dial_cost": "Latency"}
    return lesson.Preset(
        label,
        values | {"dial_seed": result.table.seed},
        f"{len(result.evaluated):,} evaluations instead of {len(result.costs):,}; "
        f"{result.epsilon:g} is promised and {result.achieved:.4f} achieved.",
    )


def show_numbers(result: dial.DialCover, lazily: dial.DialCover, whole: dial.DialCover) -> None:
    """What was evaluated, promised and achieved."""
    columns = st.columns(2)
    columns[0].metric("Evaluated", f"{len(result.evaluated):,} of {len(result.costs):,}")
    columns[1].metric("Achieved epsilon", f"{result.achieved:.4f}")
    st.markdown(dial.verdict(result))
    runs.show_table(
        dial.compare(lazily, whole),
        {"Achieved epsilon": "%.3f"},
        "Evaluations and achieved epsilon: of every cell, lazily or not, and of every shape",
    )
    st.caption(
        f"{len(result.cells):,} cells hold a shape; by the formula there are at most "
        f"{result.bound:,.0f}. In {result.n_skipped:,} no shape was evaluated."
    )


def show_origin(result: dial.DialCover) -> None:
    table = result.table
    records = f"errors: {table.errors_from}; latency: {table.latency_from}."
    lesson.origin("recorded", literal(records))
    lesson.origin("computed", "sizes, operations, cells, and what is achieved.")
