"""The exports of a checkpoint, found on disk by its folder, and their start."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

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
