"""What the lessons share: presets to try, a picture with its downloads, where a number is from.

A lesson is a module in pages/parts/lessons/ with a TITLE, an IDEA (one sentence), `asks()`, which
returns its question and its exercise or raises ValueError where a record is missing, and `show()`.
Its widgets are bound to the address, so the address is the link that restores its state.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from bort_engine.show.lessons import table as recorded
from bort_engine.show.lessons.table import Table
from pages.parts import form, runs

# Where a number comes from, always beside it: Streamlit's badge colours.
ORIGINS = {
    "computed": "blue",
    "measured here": "green",
    "recorded": "primary",
    "predicted": "orange",
    "published": "violet",
    "made up": "gray",
}


class Preset(NamedTuple):
    """A state worth trying: values by widget key, and what to look for."""

    label: str
    values: Mapping[str, Any]
    says: str


def apply(values: Mapping[str, Any]) -> None:
    st.session_state.update(values)


def open_lesson(name: str) -> None:
    """Open another lesson, for a callback: what was guessed in this one leaves the address."""
    for key in [key for key in st.query_params if key.endswith("_guess")]:
        st.query_params.pop(key)
    st.query_params["lesson"] = name


def try_this(good: Preset, bad: Preset) -> None:
    """Offer a state in which the idea works, and one in which it is meant to fail."""
    with st.container(border=True):
        st.markdown("**Try this**")
        for preset, icon in ((good, ":material/thumb_up:"), (bad, ":material/thumb_down:")):
            st.button(
                preset.label,
                icon=icon,
                on_click=apply,
                args=[preset.values],
                key=f"try-{preset.label}",
                width="stretch",
            )
            st.caption(preset.says)


def pick(label: str, options: Sequence[Any], key: str, default: Any = None) -> Any:
    """Let one of a few options be picked, and keep it in the address."""
    return form.pick(label, options, key, default, bind="query-params")


def origin(kind: str, detail: str = "") -> None:
    """Say where the numbers near it come from."""
    st.markdown(f":{ORIGINS[kind]}-badge[{kind.capitalize()}] :small[{detail}]")


def sentences(first: str, second: str, third: str, paper: str) -> None:
    """The lesson in three sentences, and its place in the papers (Markdown, with a link)."""
    st.markdown(f"{first} {second} {third}")
    st.markdown(f":small[In the papers: {paper}]")  # a caption would pale its links


def picture(
    figure: go.Figure,
    alt: str,
    name: str,
    table: Callable[[], pd.DataFrame] | None = None,
    **chart: Any,
) -> Any:
    """Draw a figure with a text for those who do not see it, and ways to take it along.

    `name` is the file's and the widget's; `table` makes the numbers behind the picture. The camera
    above a figure saves it as a still picture: a page with all of plotly in it takes 4.6 MB.
    """
    event = st.plotly_chart(
        figure,
        key=name,
        alt=alt,
        config={"displaylogo": False, "toImageButtonOptions": {"filename": name, "format": "svg"}},
        **chart,
    )
    if table is not None:
        numbers = (f"{name}.csv", lambda: table().to_csv(index=False))
        runs.show_downloads({"numbers": numbers}, type="tertiary", key=name)
    return event


@st.cache_resource(max_entries=4, show_spinner=False)
def _tables(records: tuple[tuple[Path, int], ...]) -> dict[int, Table]:
    return recorded.tables()


def recorded_tables() -> dict[int, Table]:
    """Return the recorded tables by training seed. Raises ValueError where there is none."""
    return _tables(runs.tables())


def tables() -> dict[int, Table] | None:
    """Return the recorded tables by training seed; where there is none, say so in one line."""
    with runs.warning():
        return recorded_tables()
