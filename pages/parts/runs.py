"""What pages share: runs (started, live, ended, earlier), records, tables, facts, downloads."""

import mimetypes
import re
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import streamlit as st

from bort_engine.runs import jobs
from bort_engine.runs.events import Event
from bort_engine.runs.text import literal, near
from bort_engine.search import errors as oracles
from bort_engine.show.front import Fact
from bort_engine.show.theme import short

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Record = TypeVar("Record")
RUN = "run"  # the part of the address that names the run that is looked at, unless a page says
# What a run's options are where its command line, written by other hands, leaves them out.
DEFAULTS = {"--task": "rotten-tomatoes", "--epsilon": "0.1"}
DEFAULTS |= dict.fromkeys(("--architecture", "--budget", "--seeds"), "?")
KEPT = "What was trained or measured is kept; resuming goes on from there."
CLOSE_LATER = "You can close this page: the run goes on, and its address leads back to it."


# What changes the address, and so what is looked at. Only callbacks call these.


def leave_run(name: str = RUN) -> None:
    st.query_params.pop(name, None)


def open_run(run_id: str, *replaced: str, name: str = RUN) -> None:
    """Look at a run, and no longer at what these parts of the address show."""
    st.query_params[name] = run_id
    for other in replaced:
        st.query_params.pop(other, None)


@contextmanager
def reporting() -> Iterator[None]:
    """Keep what a callback could not do for `show_problem`; also a callback's decorator."""
    try:
        yield
    except (ValueError, OSError) as e:
        st.session_state["problem"] = str(e)


def start_run(
    command: str, source: str | None, options: Mapping[str, object], *replaced: str, name: str = RUN
) -> None:
    """Start `bort_engine COMMAND [SOURCE] --option value ...` for a callback, and look at it."""
    words = [source] if source else []
    words += [str(word) for option in options.items() for word in option]
    open_run(jobs.start(command, words).id, *replaced, name=name)


def beside(command: str) -> str:
    """Return the part of the address that names the run of this command beside what is shown."""
    return f"{command}_run"


@reporting()
def start_beside(command: str, options: Mapping[str, object], source: str | None = None) -> None:
    start_run(command, source, options, name=beside(command))


@reporting()
def resume(run: jobs.Run, *more: str) -> None:
    jobs.resume(run, *more)


def show_problem() -> None:
    """Show what a callback could not do, once."""
    if problem := st.session_state.pop("problem", None):
        st.error(literal(problem), icon=":material/error:")


@contextmanager
def warning(closing: bool = False) -> Iterator[None]:
    """Show a ValueError as one line, and where `closing` a way back from the run looked at."""
    try:
        yield
    except ValueError as e:
        st.warning(literal(e), icon=":material/warning:")
        if closing:
            show_close()


def find(run_id: str, command: str) -> jobs.Run:
    """Return the run of a command that the address names, or raise ValueError: it is untrusted."""
    run = jobs.find(run_id)
    if run.request.command not in (command, ""):
        raise ValueError(f"run {run_id} is not of this page; pick one of the earlier runs.")
    return run


def options(run: jobs.Run) -> dict[str, str]:
    """Return what was asked for by option, and the `source`."""
    words = run.request.arguments
    source = words[0] if words and not words[0].startswith("--") else "another source"
    named = DEFAULTS | dict(pairwise(words)) | {"source": source}
    return named | {"source_name": short(source), "task_name": short(named["--task"])}


@st.fragment(run_every="1s")
def show_live(run: jobs.Run, below: Callable[[list[Event]], None] | None = None) -> None:
    """Show what a run is at, and below what its last events (oldest first) say, until it ends."""
    status = run.status()
    if status.over:
        st.rerun()
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.header(literal((status.stage or "starting").capitalize()), anchor=False)
            label = "Stop at once" if run.stopping else "Stop"
            st.button(label, icon=":material/stop:", on_click=run.cancel, key=f"stop-{run.id}")
        st.progress(status.fraction, status.progress)
        if run.stopping:
            st.caption("Finishing the step at hand, then stopping.")
        elif status.detail:
            st.caption(f"Now: {literal(status.detail)}.")
        if later := status.stages[status.number :]:
            st.caption(f"Then: {literal(', '.join(later))}.")
        if below:
            below(run.metrics(last=2000))
        st.caption(CLOSE_LATER)


def show_ended(run: jobs.Run, status: jobs.Status, kept: str = KEPT, name: str = RUN) -> None:
    """Say why a run has no result, what is kept of it, and how to go on, where that can work."""
    if status.state == "failed":
        message = literal(status.message)
        st.error(
            f"**This run failed.** {message}  \n{kept * (not status.refused)}",
            icon=":material/error:",
        )
    else:
        steps = f" after {status.done:,} of {status.total:,} steps" if status.total else ""
        st.info(
            f"**This run was stopped**{steps} of “{literal(status.stage)}”. {kept}",
            icon=":material/pause_circle:",
        )
    watch(run)
    with st.container(horizontal=True):
        if not status.refused:
            st.button(
                main_label("Resume"),
                icon=":material/restart_alt:",
                on_click=resume,
                args=[run],
                key=f"resume-{run.id}",  # there may be two on a page
            )
        show_close(name)
    with st.expander("Last lines of its log", icon=":material/description:"):
        st.code(near(run.log_tail(20)) or "The log is empty.", language=None)


@st.fragment(run_every="5s")
def watch(run: jobs.Run) -> None:
    """Draw the page again once a run that ended is resumed, perhaps in another tab."""
    if not run.status().over:
        st.rerun()


def show_close(name: str = RUN) -> None:
    label, key = "Close this run", f"close-{name}"  # there may be two on a page
    st.button(label, icon=":material/close:", on_click=leave_run, args=[name], key=key)


def show_earlier(command: str, summary: str, *replaced: str) -> None:
    """List a command's last runs, each a way to open it; `summary` has options in braces."""
    if earlier := jobs.runs(command=command)[:20]:
        with st.expander("Earlier runs", icon=":material/history:"):
            for run in earlier:
                date = time.strftime("%d %b %H:%M", time.localtime(run.asked_at))
                text = literal(f"{date}: {summary.format_map(options(run))}")
                st.button(
                    f"{text}, **{run.status().state}**",
                    key=f"open-{run.id}",
                    type="tertiary",
                    icon=":material/open_in_new:",
                    on_click=open_run,
                    args=[run.id, *replaced],
                )


def main_label(label: str, disabled: bool = False) -> str:
    """Return the label of the button that matters most: bold, in the primary colour.

    Such a button is not of the type "primary": on that Streamlit writes in white, and in the dark
    theme a primary colour that is legible as text is too light for that.
    """
    return label if disabled else f":primary[**{label}**]"


# What is shown of a record.


def opened(path: Path, load: Callable[[Path], Record]) -> Record:
    """Return the record in a file, read again only once the file changes.

    Raises:
        ValueError: there is no such file, or it is damaged.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError as e:
        raise ValueError(f"{path} is missing; start a new run.") from e
    return _opened(path, changed, load)


def tables() -> tuple[tuple[Path, int], ...]:
    """Return the shipped tables of errors and when each changed: a key for what they lead to."""
    return tuple((path, path.stat().st_mtime_ns) for path in oracles.tables())


# `_load` is no part of the key: a file is of one kind.
@st.cache_resource(max_entries=32, show_spinner=False)
def _opened(path: Path, changed: int, _load: Callable[[Path], Record]) -> Record:
    return _load(path)


def show_table(
    table: "pd.DataFrame",
    formats: Mapping[str, str],
    alt: str,
    columns: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """Show a table, its numbers in printf formats by column, other columns with their settings."""
    settings = {name: st.column_config.NumberColumn(format=formats[name]) for name in formats}
    settings |= columns or {}
    st.dataframe(table, hide_index=True, column_config=settings, alt=alt, **options)


def show_title(badge: str, title: str, origin: str, colour: str = "primary") -> None:
    st.header(f":{colour}-badge[{badge}] {title}", anchor=False)
    st.markdown(f":small[{origin}]")


def legible(figure: "go.Figure") -> "go.Figure":
    """Darken a figure's words on a light page, where Streamlit's grey has a contrast of 3.7.

    No darker than this: who turns to the dark theme sees it there until the next rerun.
    """
    if st.context.theme.type == "light":
        ink = {"color": "#6B737B"}  # contrast: 4.8 on the light page, 3.7 on the dark one
        figure.update_layout(font=ink)
        for update in (figure.update_xaxes, figure.update_yaxes):
            update(tickfont=ink, title_font=ink)
    return figure


def show_chart(title: str, figure: "go.Figure", alt: str, caption: str) -> None:
    st.markdown(f"**{title}**")
    st.plotly_chart(legible(figure), key=title, config={"displayModeBar": False}, alt=alt)
    st.caption(caption)


def show_facts(facts: Iterable[Fact]) -> None:
    """Show numbers side by side, each with what it is against the source."""
    with st.grid(4, min_column_width=150):
        for fact in facts:
            st.metric(
                fact.label,
                fact.text,
                fact.delta,
                delta_color="normal" if fact.more_is_better else "inverse",
                border=True,
                height="stretch",
            )


def show_downloads(
    files: Mapping[str, tuple[str, Callable[[], Any]]],
    primary: str = "",
    type: Literal["secondary", "tertiary"] = "secondary",
    key: str = "",
) -> None:
    """Offer files, side by side, each made only when it is asked for; `primary` stands out.

    Args:
        files: by what a button says, the file's name and what makes its content.
        key: tells these buttons from others of their name on the page.
    """
    with st.container(horizontal=True):
        for what, (name, make) in files.items():
            label = f"Download {what}"
            st.download_button(
                main_label(label) if what == primary else label,
                make,
                name,
                mimetypes.guess_type(name)[0],
                icon=":material/download:",
                type=type,
                on_click="ignore",
                key=f"{key}-{what}" if key else None,
            )


def packed(folder: Path) -> IO[bytes]:
    """Return the plain files of a folder as an open zip that has no name on the disk.

    Weights hardly shrink, so nothing is compressed; links and folders are left out. Unbuffered, as
    a download's data must be a raw file or a reader.
    """
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (whoever reads it closes it)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as pack:
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.is_symlink() and re.fullmatch(r"[\w.-]+", path.name):
                pack.write(path, f"{folder.name}/{path.name}")
    file.seek(0)
    return file
