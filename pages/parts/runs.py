"""What every page shows of a run: its head while at work, how it ended, and the earlier ones."""

import os
import re
import tempfile
import time
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import IO

import streamlit as st

from bort_engine.encoder.sources import sources
from bort_engine.runs import jobs
from bort_engine.runs.text import literal

CLOSE_LATER = "You can close this page. The run goes on, and is listed under earlier runs."


# What changes the address, and so what is looked at. Only callbacks call these.


def leave_run() -> None:
    st.query_params.pop("run", None)


def open_run(run_id: str, *replaced: str) -> None:
    """Look at a run, and no longer at what these parts of the address show."""
    st.query_params["run"] = run_id
    for name in replaced:
        st.query_params.pop(name, None)


def resume(run: jobs.Run) -> None:
    try:
        jobs.resume(run)
    except (ValueError, OSError) as e:
        st.session_state["problem"] = str(e)


def show_problem() -> None:
    """Show what a callback could not do, once."""
    if problem := st.session_state.pop("problem", None):
        st.error(problem, icon=":material/error:")


def find(run_id: str, command: str) -> jobs.Run:
    """Return the run that the address names, untrusted as it is.

    Raises:
        ValueError: it is not an id, there is no such run, or it is not of this command.
    """
    run = jobs.find(run_id)
    if run.request["command"] not in (command, ""):
        raise ValueError(f"run {run_id} is not of this page; pick one of the earlier runs.")
    return run


def options(run: jobs.Run) -> dict[str, str]:
    """Return what was asked for by option, the source first; made by other hands, it may lack."""
    words = run.request["arguments"]
    source = next((word for word in words if word in sources), "another source")
    return dict(pairwise(words)) | {"source": source}


def asked_at(run: jobs.Run) -> str:
    return time.strftime("%d %b %H:%M", time.localtime(run.asked_at))


def show_head(run: jobs.Run, status: jobs.Status) -> None:
    """Show the stage of a run at work, how far it is, and the button that stops it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader((status.stage or "starting").capitalize(), anchor=False)
        label = "Stop at once" if run.stopping else "Stop"
        st.button(label, icon=":material/stop:", on_click=run.cancel, key="stop")
    st.progress(status.fraction, status.progress)


@st.fragment(run_every="1s")
def show_live(run: jobs.Run) -> None:
    """Show what a lesson's run is at; when it ends, draw the page anew."""
    status = run.status()
    if status.over:
        st.rerun()
    with st.container(border=True):
        show_head(run, status)
        if status.detail:
            st.caption(f"Now: {literal(status.detail)}.")
        st.caption("You can close this page; its address leads back to the run.")


def show_ended(run: jobs.Run, status: jobs.Status, kept: str) -> None:
    """Say why a run has no result, and how to go on."""
    if status.state == "failed":
        said = literal(status.message)
        st.error(f"**This run failed.** {said}  \n{kept}", icon=":material/error:")
    else:
        st.info(
            f"**This run was stopped** after {status.done} of {status.total} steps of "
            f"“{literal(status.stage)}”. {kept}",
            icon=":material/pause_circle:",
        )
    with st.container(horizontal=True):
        st.button(
            "Resume", icon=":material/restart_alt:", type="primary", on_click=resume, args=[run]
        )
        show_close()
    with st.expander("Last lines of its log", icon=":material/description:"):
        st.code(run.log_tail(20) or "The log is empty.", language=None)


def show_close() -> None:
    st.button("Close this run", icon=":material/close:", on_click=leave_run)


def show_earlier(command: str, summary: Callable[[jobs.Run], str], *replaced: str) -> None:
    """List a command's last runs, each a way to open it."""
    if earlier := jobs.runs(command=command)[:20]:
        with st.expander("Earlier runs", icon=":material/history:"):
            for run in earlier:
                st.button(
                    f"{literal(summary(run))}, **{run.status().state}**",
                    key=f"open-{run.id}",
                    type="tertiary",
                    icon=":material/open_in_new:",
                    on_click=open_run,
                    args=[run.id, *replaced],
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
    file.seek(0, os.SEEK_SET)
    return file
