"""The exports of a checkpoint, found on disk by its folder: shown at work, ended, or offered.

The address names only the run that was started last, so that one that ended can be closed.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import streamlit as st

from bort_engine.encoder.export import PACKAGES, Export
from bort_engine.runs import jobs, records
from pages.parts import runs, side_run


def of(checkpoint: Path) -> list[jobs.Run]:
    """Return the runs that export this checkpoint, newest first."""
    return [
        run
        for run in jobs.runs(command="export")
        if run.request.arguments[:1] == (str(checkpoint),) and format_of(run) in PACKAGES
    ]


def format_of(run: jobs.Run) -> str:
    return runs.options(run).get("--format", "onnx-int8")


def request(checkpoint: Path, format: str, task: str) -> tuple[str, ...]:
    """Return the arguments of an export that is compared with PyTorch on the task's dev texts."""
    return str(checkpoint), "--format", format, "--task", task


def read(run: jobs.Run) -> Export | None:
    """Return the record of an export; None, and a line that says why, where it cannot be read."""
    return side_run.opened(run.folder / "model" / "export.json", partial(records.read, kind=Export))


@runs.reporting()
def start(command: str, arguments: Iterable[str], address: str) -> None:
    runs.open_run(jobs.start(command, tuple(arguments)).id, name=address)


def show_newest(
    candidates: Iterable[jobs.Run], address: str, kept: str, offer: Callable[[], None]
) -> jobs.Run | None:
    """Return the newest run that is done, or show what there is instead.

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
