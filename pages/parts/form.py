"""What the forms of Explore, Fine-tune and Baselines share: place, fields, choices, the start."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bort_engine.data.tasks import TASKS
from bort_engine.data.uploads import uploads
from bort_engine.encoder.own import own_models
from bort_engine.encoder.sources import Source, sources
from bort_engine.runs.text import literal
from bort_engine.runs.time_left import Stage, about
from pages.parts import runs

DEFAULT = "minilm-l6"  # its weights come with a package, and its fronts are on record
Callback = Callable[..., None]
Name = TypeVar("Name", bound=str)


def place(title: str, folded: bool) -> DeltaGenerator:
    """Return where the form stands: folded under a title where something else is looked at."""
    if folded:
        return st.expander(title, icon=":material/play_circle:")
    return st.container(border=True)


def pick_source(column: DeltaGenerator, key: str, on_change: Callback | None = None) -> str:
    names = [*own_models(), *(name for name, source in sources.items() if source.weights)]
    names.sort(key=lambda name: name != DEFAULT)
    say_unknown(key, names)
    return column.selectbox(
        "Source model", names, key=key, bind="query-params", on_change=on_change
    )


def source_of(name: str) -> Source:
    """Return a source by its name. Raises ValueError where it cannot be read (any more)."""
    return sources[name] if name in sources else _load(name)


@st.cache_resource(max_entries=16, ttl=60, show_spinner=False)
def _load(name: str) -> Source:
    return Source.load(name)


def tasks() -> dict[str, str]:
    """Return the titles of all tasks by name: the embedded ones, then the user's own files."""
    own = [upload for upload in uploads() if upload.columns]
    return {name: task.title for name, task in TASKS.items()} | {
        upload.task: f"Your {literal(upload.path.name)}" for upload in own
    }


def pick_task(column: DeltaGenerator, key: str, asked: str | None = None) -> str:
    """Let a task be picked, at first the one that was asked for."""
    titles = tasks()
    names = list(titles)
    return select(column, "Task", titles, key, index=names.index(asked) if asked in titles else 0)


def select(column: Any, label: str, titles: Mapping[Name, str], key: str, **settings: Any) -> Name:
    """Let a name be chosen by its title, in a column or `st`; settings are of `selectbox`."""
    return column.selectbox(
        label, list(titles), format_func=titles.__getitem__, key=key, **settings
    )


def say_unknown(key: str, ids: Iterable[str]) -> None:
    """Say in a line where the address names something that is not there (any more)."""
    asked = st.query_params.get(key)
    if asked and asked not in (names := list(ids)):
        allowed = ", ".join(names)
        st.caption(literal(f"{key} is {asked!r} in the address; allowed: {allowed}."))


def in_address(key: str, ids: Iterable[str], on_change: Callback | None = None) -> dict[str, Any]:
    """Return the settings of a widget whose choice the address holds: by its id, not its title.

    The first is the default, which the address leaves out.
    """
    names = list(ids)
    say_unknown(key, names)
    asked = st.query_params.get(key)
    st.session_state[key] = asked if asked in names else names[0]
    return {"key": key, "on_change": _note, "args": [key, names[0], on_change]}


def _note(key: str, default: str, then: Callback | None) -> None:
    choice = st.session_state[key]
    if choice in (None, default):
        runs.leave_run(key)
    else:
        st.query_params[key] = choice
    if then:
        then()


def pick(
    label: str,
    options: Iterable[Any],
    key: str,
    default: Any = None,
    addressed: bool = False,
    **settings: Any,
) -> Any:
    """Let one of a few options be picked, the first unless told.

    Args:
        options: where a mapping, its values are what is read.
        addressed: does the address hold it? See `in_address`.
        settings: further ones of `st.segmented_control`.
    """
    names = list(options)
    default = names[0] if default is None else default
    settings |= in_address(key, names) if addressed else {"key": key, "default": default}
    choice = st.segmented_control(
        label,
        names,
        required=True,
        format_func=options.__getitem__ if isinstance(options, Mapping) else str,
        **settings,
    )
    return choice if choice in names else default  # an address may hold nothing


def length(stages: Sequence[Stage], to_fetch_mb: float = 0.0) -> str:
    """Say about how long a run of these stages takes on this machine, and what is fetched first."""
    text = f"About {about(sum(s.low for s in stages), sum(s.high for s in stages))} here"
    return f"{text}; {to_fetch_mb:,.0f} MB are fetched first." if to_fetch_mb else f"{text}."


def show_start(start: Callback, argument: object, refusal: str, note: str = "") -> None:
    """Offer to start, or say why that cannot be."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            runs.main_label("Start", disabled=bool(refusal)),
            icon=":material/play_arrow:",
            on_click=start,
            args=[argument],
            disabled=bool(refusal),
            key="start",
        )
        if refusal:
            st.markdown(f":red[:material/error: {literal(refusal)}]", width="content")
        elif note:
            st.caption(note, width="content")
