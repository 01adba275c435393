"""Run folders: slow work in a child process, seen and steered through the files it writes.

A run is a folder `runs/<id>/` with request.json (what was asked), status.json (where it stands),
metrics.jsonl (what it reported), log.txt and its results. The parent calls `start`, `resume`,
`find` and `runs`; the child wraps its work in `working` (of runs/work.py). Only the child writes a
final state; a dead process without one reads as failed. Who closes a window, or restarts the app,
loses nothing.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bort_engine.runs import records
from bort_engine.runs.events import Event
from bort_engine.runs.text import one_line, printable
from bort_engine.runs.work import STATUS, STOP, Job, Request, Status, working

__all__ = ["PROGRAM", "Job", "Request", "Run", "Status", "default_root", "find", "resume", "runs"]
__all__ += ["start", "working"]

PROGRAM = (sys.executable, "-m", "bort_engine")
MOST_BYTES = 256 * 1024  # of a file that is read back: what comes from disk is not trusted
STARTING_S = 60.0  # that a process may take until it writes its first status

# Children of this process by folder: to reap them, and to see one die before it wrote its pid.
_children: dict[Path, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Run:
    """One run folder."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def request(self) -> Request:
        """What was asked for; an empty command where the file is damaged."""
        try:
            return self._read("request.json", Request)
        except ValueError:
            return Request("")

    @property
    def asked_at(self) -> float:
        """When the run was first asked for, in seconds since the epoch."""
        try:
            return (self.folder / "request.json").stat().st_mtime
        except OSError:
            return 0.0

    def status(self) -> Status:
        """Read where the run stands; damage reads as failed, with a line that says so."""
        if child := _children.get(self.folder):
            child.poll()  # reaps it, once it has ended
        try:
            self._read("request.json", Request)
            status = self._read(STATUS, Status)
            if status.over or self._alive(status):
                return status
            status = self._read(STATUS, Status)  # it may have ended between the two looks
        except ValueError as e:
            message = printable(f"The record of run {self.id}: {one_line(e)}")
            return Status("failed", message=message)
        if status.over:
            return status
        if self.stopping:
            return replace(status, state="cancelled", seconds_left=None, message="Stopped.")
        log = self.log_tail(3).strip()
        end = f". The end of its log: {log}" if log else ", and its log is empty."
        message = f"The process ended without a word{end}"
        return replace(status, state="failed", seconds_left=None, message=message)

    def metrics(self, last: int = 200) -> list[Event]:
        """Return the last reported events, oldest first; damaged lines are left out."""
        events = []
        for line in _tail(self.folder / "metrics.jsonl").splitlines()[-last:]:
            with suppress(ValueError):
                events.append(records.parse(line, dict[str, Any]))
        return events

    def log_tail(self, n: int = 20) -> str:
        """Return the last lines that the process wrote, without control characters."""
        lines = re.split(r"[\r\n]+", _tail(self.folder / "log.txt").strip())
        return "\n".join(
            re.sub(r"\x1b\[[\d;]*m|[^\S\n ]|[\x00-\x09\x7f]", "", line) for line in lines[-n:]
        )

    @property
    def stopping(self) -> bool:
        """True once a stop was asked for, until the run is resumed."""
        return (self.folder / STOP).exists()

    def cancel(self) -> None:
        """Ask the run to stop: it finishes its step and saves. Asked twice, it ends at once."""
        with suppress(OSError):
            (self.folder / STOP).touch()
        child = _children.get(self.folder)
        if child is not None and child.poll() is None:
            child.terminate()
            return
        with suppress(ValueError):
            if process := self._read(STATUS, Status).process:
                process.terminate()

    def _read(self, name: str, kind: type[records.Value]) -> records.Value:
        return records.read(self.folder / name, kind, MOST_BYTES)

    def _alive(self, status: Status) -> bool:
        """Is there a process that will still write a final state?"""
        child = _children.get(self.folder)
        if child is not None and child.poll() is None:
            return True
        if status.process is None:  # started, perhaps by another process, but not yet up
            return child is None and time.time() - (status.updated or 0.0) < STARTING_S
        return status.process.alive


def default_root() -> Path:
    """Return where runs are kept: the folder named by BORT_RUNS, else `runs` right here."""
    return Path(os.environ.get("BORT_RUNS") or "runs")


def start(command: str, arguments: Sequence[str], root: Path | None = None) -> Run:
    """Start `python -m bort_engine command ...` as a run of its own, and return it at once."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = (root or default_root()).resolve() / f"{command}-{stamp}-{secrets.token_hex(2)}"
    folder.mkdir(parents=True)
    records.write(folder / "request.json", Request(command, tuple(map(str, arguments))))
    return _launch(Run(folder))


def resume(run: Run, *more: str) -> Run:
    """Start a run that ended once more, in the same folder; `more` arguments are put after its own.

    Raises:
        ValueError: it is still at work, or what was asked cannot be read.
    """
    if not run.status().over:
        raise ValueError(f"run {run.id} is still at work; stop it first.")
    if more:
        request = run._read("request.json", Request)
        request = replace(request, arguments=(*request.arguments, *more))
        records.write(run.folder / "request.json", request)
    return _launch(Run(run.folder.resolve()))


def _launch(run: Run) -> Run:
    folder, request = run.folder, run._read("request.json", Request)
    if earlier := _children.get(folder):  # its final state is written, but it may still be leaving
        with suppress(subprocess.TimeoutExpired):
            earlier.wait(timeout=5)
    (folder / STOP).unlink(missing_ok=True)
    now = time.time()
    records.write(folder / STATUS, Status("waiting", "starting", started=now, updated=now))
    with (folder / "log.txt").open("ab") as log:
        _children[folder] = subprocess.Popen(
            [*PROGRAM, request.command, *request.arguments, "--out", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C or a hang-up of the parent does not reach it
        )
    return run


def find(run_id: str, root: Path | None = None) -> Run:
    """Return the run of this id, which may come from anywhere.

    Raises:
        ValueError: it is not an id, or there is no such run.
    """
    home = (root or default_root()).resolve()
    if not re.fullmatch(r"[a-z0-9-]{1,80}", run_id):
        raise ValueError(f"run {run_id[:80]!r} is not an id: only a-z, 0-9 and - may occur.")
    folder = (home / run_id).resolve()  # a link out of the root is not followed
    if folder.parent != home or not (folder / "request.json").is_file():
        raise ValueError(f"there is no run {run_id!r} in {home}; pick one of the earlier runs.")
    return Run(folder)


def runs(root: Path | None = None, command: str | None = None) -> list[Run]:
    """Return all runs, or those of one command, newest first."""
    home = root or default_root()
    matches = []
    for path in home.iterdir() if home.is_dir() else ():
        with suppress(ValueError):
            run = find(path.name, home)
            if command in (None, run.request.command):
                matches.append(run)
    return sorted(matches, key=lambda run: (run.asked_at, run.id), reverse=True)


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST_BYTES))
            return file.read(MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""
