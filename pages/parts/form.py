"""What the forms of Explore, Fine-tune and Baselines share: place, fields, choices, the start."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bort_engine.data.tasks import TASKS
from bort_engine.encoder.sources import sources
from bort_engine.runs.text import literal


def place(title: str, folded: bool) -> DeltaGenerator:
    """Return where the form stands: folded under a title where something else is looked at."""
    if folded:
        return st.expander(title, icon=":material/play_circle:")
    return st.container(border=True)


def pick_source(
    column: DeltaGenerator, key: str, on_change: Callable[[], None] | None = None
) -> str:
    names = [name for name, source in sources.items() if source.weights]
    return column.selectbox(
        "Source model", names, key=key, bind="query-params", on_change=on_change
    )


def pick_task(column: DeltaGenerator, key: str) -> str:
    return column.selectbox(
        "Task", list(TASKS), format_func=lambda name: TASKS[name].title, key=key
    )


def pick(
    label: str,
    options: Iterable[Any],
    key: str,
    default: Any = None,
    **settings: Any,  # further ones of `st.segmented_control`
) -> Any:
    """Let one of a few options be picked, the first unless told.

    Args:
        options: where a mapping, its values are what is read.
    """
    allowed = list(options)
    usual = allowed[0] if default is None else default
    titles = options if isinstance(options, Mapping) else {}
    choice = st.segmented_control(
        label,
        allowed,
        default=usual,
        required=True,
        format_func=lambda option: titles.get(option, str(option)),
        key=key,
        **settings,
    )
    return choice if choice in allowed else usual  # an address may hold nothing


def show_start(start: Callable[..., None], argument: object, refusal: str, note: str = "") -> None:
    """Offer to start, or say why that cannot be."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Start",
            icon=":material/play_arrow:",
            type="primary",
            on_click=start,
            args=[argument],
            disabled=bool(refusal),
            key="start",
        )
        if refusal:
            st.markdown(f":red[:material/error: {literal(refusal)}]", width="content")
        elif note:
            st.caption(note, width="content")
