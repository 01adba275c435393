"""The lesson on epsilon: how much to train, and what is promised and achieved for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from bort_engine.runs.text import literal
from bort_engine.search import errors as problem
from bort_engine.show.lessons import dial
from bort_engine.show.lessons.table import Table, tables
from pages.parts import lesson

TITLE = "The epsilon dial"
IDEA = (
    "**Epsilon** is how much larger, slower and worse an answer may be than the best there is. "
    "Allow more, and fewer networks need training."
)
ERRORS = {"Recorded": False, "Made up": True}
COSTS = {"Latency": "latency", "Operations": "operations"}
Changed = tuple[tuple[Path, int], ...]


def state(errors: str, seed: int) -> dict[str, str | int | float | bool]:
    """Return a state of the widgets: epsilon 0.5, lazily."""
    words = {"dial_errors": errors, "dial_cost": "Latency"}
    return {"dial_eps": 0.5, "dial_lazy": True, "dial_seed": seed} | words


@st.cache_resource(max_entries=4, show_spinner=False)
def on_record(changed: Changed) -> dict[int, Table]:
    return tables()


@st.cache_resource(max_entries=256, show_spinner=False)
def turned(
    changed: Changed, seed: int, epsilon: float, lazy: bool, cost: str, made_up: bool
) -> dial.Turn:
    """Return a position of the dial; it is a value and never changes, so sessions may share it."""
    return dial.turn(on_record(changed)[seed], epsilon, lazy, cost, made_up)


def pick(label: str, options: Sequence[Any], key: str) -> Any:
    found = st.segmented_control(
        label, options, default=options[0], required=True, key=key, bind="query-params"
    )
    return options[0] if found is None else found  # an empty value in the address clears it


def choose(seeds: list[int]) -> tuple[int, float, bool, str, bool]:
    """Let the dial be turned; return what `turned` takes."""
    label = "Epsilon: the tolerated factor, minus one"
    epsilon = st.select_slider(label, dial.EPSILONS, 0.5, key="dial_eps", bind="query-params")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        lazy = st.toggle("Lazy", True, key="dial_lazy", bind="query-params")
        cost = pick("Cost", list(COSTS), "dial_cost")
        seed = pick("Training seed", seeds, "dial_seed")
        errors = pick("Errors", list(ERRORS), "dial_errors")
    return seed, epsilon, lazy, COSTS[cost], ERRORS[errors]


def show() -> None:
    changed = tuple((path, path.stat().st_mtime_ns) for path in problem.tables())
    try:
        seeds = sorted(on_record(changed))
    except ValueError as e:
        st.warning(literal(str(e)), icon=":material/warning:")
        return
    left, right = st.columns([5, 3])
    with left:
        with st.container(border=True):
            seed, epsilon, lazy, cost, made_up = choose(seeds)
        ways = {way: turned(changed, seed, epsilon, way, cost, made_up) for way in (True, False)}
        shown = ways[lazy]
        lesson.picture(
            dial.figure(shown), dial.summary(shown), "epsilon-dial", lambda: dial.to_frame(shown)
        )
        st.caption(
            "A dot is a shape D,A,H,I: layers, heads, hidden size, intermediate size. ê is its "
            "error: how far its answers are from the source's after brief training."
        )
    with right:
        show_presets(changed, seeds[0])
        show_numbers(shown, ways[True], ways[False])
        st.markdown(dial.assumption(shown))
        show_origin(shown)
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


def show_presets(changed: Changed, seed: int) -> None:
    """A state where the promise is cheap and kept, one where it breaks; both say what happens."""
    good, bad = (turned(changed, seed, 0.5, True, "latency", made_up) for made_up in (False, True))
    lesson.try_this(
        lesson.Preset(
            "Epsilon 0.5, lazily",
            state("Recorded", seed),
            f"{len(good.trained)} trainings instead of {len(good.costs)}; {good.epsilon:g} is "
            f"promised and {good.achieved:.2f} achieved.",
        ),
        lesson.Preset(
            "Large ones that err more",
            state("Made up", seed),
            f"Made-up errors: the largest of each cell errs {dial.WORSE} times as much. "
            f"{bad.epsilon:g} is promised and {bad.achieved:.2f} achieved.",
        ),
    )


def show_numbers(shown: dial.Turn, lazily: dial.Turn, plainly: dial.Turn) -> None:
    """What was trained, promised and achieved."""
    columns = st.columns(2)
    columns[0].metric("Trained", f"{len(shown.trained)} of {len(shown.costs)}")
    columns[1].metric("Achieved epsilon", f"{shown.achieved:.2f}")
    st.markdown(dial.verdict(shown))
    st.dataframe(
        dial.compare(lazily, plainly),
        hide_index=True,
        column_config={"Achieved epsilon": st.column_config.NumberColumn(format="%.2f")},
        alt="Trainings and achieved epsilon: lazily, one a cell, and every shape",
    )
    st.caption(
        f"{len(shown.cells)} cells hold a shape; by the formula there are at most "
        f"{shown.bound:.0f}. {len(shown.skipped)} were skipped."
    )


def show_origin(shown: dial.Turn) -> None:
    made = shown.table
    if shown.made_up:
        lesson.origin(
            "made up",
            f"errors: recorded ones, but the largest shape of each cell (the source aside) is "
            f"given {dial.WORSE} times its own.",
        )
    errors = "" if shown.made_up else f"errors ê (nats): {made.made}; "
    lesson.origin("recorded", literal(f"{errors}latency: {made.timed}."))
    lesson.origin("computed", "sizes, operations, cells, and what is achieved.")
