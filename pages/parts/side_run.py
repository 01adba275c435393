"""A run beside what a page shows, in any state; `runs.start_beside` starts one."""

from collections.abc import Callable, Iterable
from pathlib import Path

import streamlit as st

from bort_engine.runs import jobs
from pages.parts import runs


def opened(path: Path, load: Callable[[Path], runs.Record]) -> runs.Record | None:
    """Return the record in a file; None, and a line that says why, where it cannot be read."""
    with runs.warning():
        return runs.opened(path, load)


def run_here(command: str, load: Callable[[Path], runs.Record], kept: str) -> runs.Record | None:
    """Show the run that the address names until it is done, then return its result.

    Args:
        load: reads the file COMMAND.json of the run's folder.
        kept: says what is kept of a run that failed or was stopped.
    """
    run_id = st.query_params.get(runs.beside(command))
    if not run_id:
        return None
    with runs.warning():
        run = runs.find(run_id, command)
        status = run.status()
        if status.state == "done":
            return runs.opened(run.folder / f"{command}.json", load)
        if status.over:
            runs.show_ended(run, status, kept, runs.beside(command))
            return None
        runs.show_live(run)
    runs.show_close(runs.beside(command))
    return None


def show_newest(
    candidates: Iterable[jobs.Run], address: str, kept: str, offer: Callable[[], None]
) -> jobs.Run | None:
    """Return the newest run that is done, or show what there is instead.

    The address names only the run that was started last, so that one that ended can be closed.

    Args:
        candidates: runs that were asked for the same, newest first.
        address: the part of the address that names one that ended, which is then shown.
        kept: says what is kept of that one.
        offer: draws the way to start one, where none is at work or shown.
    """
    for run in candidates:
        status = run.status()
        if status.state == "done":
            return run
        if not status.over:
            runs.show_live(run)
            return None
        if run.id == st.query_params.get(address):
            runs.show_ended(run, status, kept, address)
            return None
    offer()
    return None
