"""The plot of a front, and its points as a table: both choose the point on the card."""

from functools import partial

import streamlit as st

from bort_engine.encoder.space import Architecture
from bort_engine.search.result import Front, Point
from bort_engine.show import budget as budgets
from bort_engine.show import front as words
from bort_engine.show import front_figures as figures
from bort_engine.show.uneven import Beside
from pages.parts import form, rather, runs, uneven
from pages.parts import point as chosen

# What the plot shows, by its name in the address.
VIEWS = dict(zip(("loss", "costs", "error", "3d"), [*figures.VIEWS, figures.DEEP], strict=True))
EFFECTIVE = "Leave the embeddings out of the size."
PROMISE = "Draw the cells of the search, or how much lower the others can lie."


def choose_clicked(front: Front) -> None:
    what = figures.chosen(st.session_state["chart"])
    if isinstance(what, str):  # the source's export: it is a point of that runtime's front
        chosen.choose(front.maximum)
        if front.origin == "recorded":
            st.query_params["runtime"] = what
    elif what:
        chosen.choose(what)


def show(front: Front, point: Point, recommended: Point, budget: budgets.Budget) -> Beside | None:
    """The front in two dimensions, or turned by hand in three.

    Returns:
        The shapes whose layers differ that are drawn, too, if any.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        choice = form.pick("Axes", VIEWS, "view", addressed=True, label_visibility="collapsed")
        view = VIEWS[choice]
        promise = view != figures.DEEP and st.toggle(
            "Epsilon", key="promise", help=PROMISE, bind="query-params"
        )
        effective = view != figures.LOSS and st.toggle(
            "Encoder only", key="effective", help=EFFECTIVE, bind="query-params"
        )
    plot = st.container()
    differ = view != figures.DEEP and uneven.toggle(front)  # below, so that the plot stays there
    beside = uneven.show_verdict(front, budget) if differ else None
    axes, alt = figures.Axes(view, effective, promise, recommended), words.summary(front)
    alt += uneven.summary(beside)
    if view == figures.DEEP:
        plot.plotly_chart(figures.volume(front, axes), alt=alt)
        return None
    references, pinned = rather.references(front), chosen.pinned(front)
    plot.plotly_chart(
        runs.legible(figures.scatter(front, axes, references, point, beside, pinned)),
        key="chart",
        on_select=partial(choose_clicked, front),
        selection_mode="points",
        config={"displayModeBar": False},
        alt=alt,
    )
    return beside


def show_points(front: Front, recommended: Point) -> None:
    """All points as a table, which is also the way by keyboard."""
    table = words.table(front, recommended)
    runs.show_table(
        table,
        words.FORMATS,
        "All points; select a row to see its card",
        key="table",
        height=min(560, 36 * (len(table) + 1)),
        on_select=partial(chosen.choose_row, "table", [*map(Architecture.parse, table["D,A,H,I"])]),
        selection_mode="single-row",
    )
    st.caption(
        "Click a point or tick a row to see its card. By keyboard: arrows, Shift with Space. "
        "Wrong: on dev."
    )
