"""The lesson on epsilon: how much to train, and what is promised and achieved for it."""

import streamlit as st

from bort_engine.runs.text import literal
from bort_engine.show.lessons import dial
from bort_engine.show.lessons.table import Table
from pages.parts import lesson, runs

TITLE = "The epsilon dial"
IDEA = (
    "**Epsilon** is how much larger, slower and worse an answer may be than the best there is. "
    "Allow more, and fewer networks need training."
)
ERRORS = {"Recorded": False, "Made up": True}
COSTS = {"Latency": "latency", "Operations": "operations"}


# `_table` is no part of the key: the records and the seed name it.
@st.cache_resource(max_entries=256, show_spinner=False)
def cover(
    records: object, seed: int, epsilon: float, lazy: bool, cost: str, made_up: bool, _table: Table
) -> dial.DialCover:
    """Return a position of the dial; it never changes, so sessions may share it."""
    return dial.cover(_table, epsilon, lazy, cost, made_up)


def choose(seeds: list[int]) -> tuple[int, float, bool, str, bool]:
    """Let the dial be turned: the seed, epsilon, laziness, cost, and whether errors are made up."""
    label = "Epsilon: the tolerated factor, minus one"
    epsilon = st.select_slider(label, dial.EPSILONS, 0.5, key="dial_eps", bind="query-params")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        lazy = st.toggle("Lazy", True, key="dial_lazy", bind="query-params")
        cost = lesson.pick("Cost", list(COSTS), "dial_cost")
        seed = lesson.pick("Training seed", seeds, "dial_seed")
        errors = lesson.pick("Errors", list(ERRORS), "dial_errors")
    return seed, epsilon, lazy, COSTS[cost], ERRORS[errors]


def show() -> None:
    tables = lesson.tables()
    if tables is None:
        return
    records = runs.tables()
    left, right = st.columns([5, 3])
    with left:
        with st.container(border=True):
            seed, epsilon, lazy, cost, made_up = choose(sorted(tables))
        lazily, whole = (
            cover(records, seed, epsilon, way, cost, made_up, tables[seed]) for way in (True, False)
        )
        result = lazily if lazy else whole
        lesson.picture(
            dial.figure(result), dial.summary(result), "epsilon-dial", lambda: dial.to_frame(result)
        )
        st.caption(
            "A dot is a shape D,A,H,I: layers, heads, hidden size, intermediate size. ê is its "
            "error: how far its answers are from the source's after brief training."
        )
    with right:
        first = min(tables)
        good, bad = (
            preset(label, cover(records, first, 0.5, True, "latency", worse, tables[first]))
            for label, worse in (("Epsilon 0.5, lazily", False), ("Large ones err more", True))
        )
        lesson.try_this(good, bad)
        show_numbers(result, lazily, whole)
        st.markdown(dial.assumption(result))
        show_origin(result)
    lesson.sentences(
        "Shapes whose size and cost lie within a factor 1 + epsilon share a **cell**, and only the "
        "largest shape of a cell is trained.",
        "**Laziness** skips cells: a measured network bounds from below the errors of all that it "
        "contains (fewer layers, heads or units), so where a smaller measured one is already "
        "within 1 + epsilon of that bound, what lies between need not be trained.",
        "For size and cost the promise is a theorem; for the error it holds as far as larger "
        "networks err less, so the **achieved** epsilon is worked out on every shape on record.",
        "Algorithm 1 of [\\[OSE\\]](https://arxiv.org/abs/2010.08512) sorts the shapes by size, "
        "trains every k-th, and calls k epsilon. The cells and the laziness are this project's.",
    )


def preset(label: str, result: dial.DialCover) -> lesson.Preset:
    """Return a position to try, lazily by latency, which says what is promised and achieved."""
    errors = next(word for word, made_up in ERRORS.items() if made_up == result.made_up)
    values = {"dial_eps": result.epsilon, "dial_lazy": True, "dial_cost": "Latency"}
    says = f"{len(result.trained)} trainings instead of {len(result.costs)}; "
    if result.made_up:
        says = f"Made-up errors: the largest of each cell errs {dial.WORSE} times as much. "
    return lesson.Preset(
        label,
        values | {"dial_seed": result.table.seed, "dial_errors": errors},
        f"{says}{result.epsilon:g} is promised and {result.achieved:.2f} achieved.",
    )


def show_numbers(result: dial.DialCover, lazily: dial.DialCover, whole: dial.DialCover) -> None:
    """What was trained, promised and achieved."""
    columns = st.columns(2)
    columns[0].metric("Trained", f"{len(result.trained)} of {len(result.costs)}")
    columns[1].metric("Achieved epsilon", f"{result.achieved:.2f}")
    st.markdown(dial.verdict(result))
    runs.show_table(
        dial.compare(lazily, whole),
        {"Achieved epsilon": "%.2f"},
        "Trainings and achieved epsilon: lazily, one a cell, and every shape",
    )
    st.caption(
        f"{len(result.cells)} cells hold a shape; by the formula there are at most "
        f"{result.bound:.0f}. {len(result.skipped)} were skipped."
    )


def show_origin(result: dial.DialCover) -> None:
    table = result.table
    if result.made_up:
        lesson.origin(
            "made up",
            f"errors: recorded ones, but the largest shape of each cell (the source aside) is "
            f"given {dial.WORSE} times its own.",
        )
    errors = "" if result.made_up else f"errors ê (nats): {table.errors_from}; "
    lesson.origin("recorded", literal(f"{errors}latency: {table.latency_from}."))
    lesson.origin("computed", "sizes, operations, cells, and what is achieved.")
