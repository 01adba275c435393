"""What a person can afford, as fields; and the fold over the form on a narrow screen."""

from dataclasses import asdict

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bort_engine.search.result import Front
from bort_engine.show import budget as budgets
from pages.parts import form, runs
from pages.parts import point as chosen

FIELD = 107  # pixels: three in a row fit on the screen of a phone
PREFER = {"latency": "fast", "size": "small", "error": "accurate"}
# Only a narrow screen offers to fold the form; where it is folded, the plot comes soon.
WIDE = "@media (min-width: 640.01px) {.st-key-fold {display: none}}"
FOLDED = "@media (max-width: 640px) {.st-key-form {display: none}}"
STYLES = {True: f"<style>{WIDE}</style>", False: f"<style>{WIDE}{FOLDED}</style>"}


def set_budget(front: Front, name: str) -> None:
    """Put a named budget into the fields, which a person can change then."""
    budget = asdict(budgets.BUDGETS[name].of(front))
    st.query_params["prefer"] = budget.pop("prefer")  # which is read from the address
    st.session_state.update(budget)
    runs.leave_run("point")
    runs.leave_run(chosen.UNEVEN)


def pick(front: Front) -> budgets.Budget:
    """Let it be said what a person can afford; empty fields are no limits."""
    limits = {
        limit.key: st.number_input(
            limit.label,
            min_value=0.0,
            value=limit.value,
            step=limit.step,
            format="%g",
            key=limit.key,
            placeholder="any",
            help=limit.what,
            bind="query-params",
            width=FIELD,
        )
        for limit in budgets.limits(front)
    }
    prefer = form.pick("Then prefer", PREFER, "prefer", addressed=True)
    with st.container(horizontal=True, gap="xsmall", width="content"):
        for name, budget in budgets.BUDGETS.items():
            st.button(
                name,
                icon=f":material/{budget.icon}:",
                type="tertiary",
                on_click=set_budget,
                args=[front, name],
                help=budget.what,
                key=f"budget-{name}",
            )
    return budgets.Budget(prefer, **limits)


def show_fold(place: DeltaGenerator, title: str) -> None:
    """Let the form be unfolded on a narrow screen; Streamlit tells its width only to CSS."""
    with place:
        unfolded = st.toggle(title, key="unfolded")
        st.html(STYLES[unfolded])
