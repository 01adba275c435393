"""Run folders: slow work in a child process, seen and steered through the files it writes.

A run is a folder `runs/<id>/` with request.json (what was asked), status.json (where it stands),
metrics.jsonl (what it reported), log.txt and its results. The parent calls `start`, `resume`,
`find` and `runs`; the child wraps its work in `working`. Only the child writes a final state; a
dead process without one reads as failed. Who closes a window, or restarts the app, loses nothing.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

from bort_engine.runs.text import one_line

PROGRAM = (sys.executable, "-m", "bort_engine")
STATES = ("waiting", "running", "done", "failed", "cancelled")
FINAL = ("done", "failed", "cancelled")
STATUS_EVERY_S = 0.2
MOST_BYTES = 256 * 1024  # of a file that is read back: what comes from disk is not trusted


class Stopped(Exception):
    """The run was stopped while it waited in line; nothing was begun."""


@dataclass(frozen=True, slots=True)
class Status:
    """Where a run stands. Times are seconds since the epoch; `message` says why it ended so."""

    state: str
    stage: str = ""
    detail: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    started: float | None = None
    updated: float | None = None
    pid: int | None = None
    message: str = ""

    @property
    def over(self) -> bool:
        return self.state in FINAL

    @property
    def fraction(self) -> float:
        """How much of the current stage is done, 0 to 1."""
        return min(max(self.done / self.total, 0.0), 1.0) if self.total > 0 else 0.0

    @property
    def progress(self) -> str:
        """How far the current stage is, in words."""
        if self.state == "waiting":
            in_line = "Another run is at work here; this one starts when that one ends."
            return in_line if self.stage == "waiting in line" else "Starting."
        if not self.total:
            return "Under way; how long it takes is not known yet."
        said = f"{self.done} of {self.total}"
        if self.seconds_left is None:
            return said
        minutes = self.seconds_left / 60
        return f"{said}, about " + (
            f"{self.seconds_left:.0f} s left" if minutes < 1.5 else f"{minutes:.0f} min left"
        )


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
    def request(self) -> dict[str, Any]:
        """What was asked: {"command", "arguments"}; both empty where the file is damaged."""
        plain = _read_json(self.folder / "request.json")
        command, arguments = plain.get("command"), plain.get("arguments")
        texts = isinstance(arguments, list) and all(isinstance(a, str) for a in arguments)
        if not texts or not isinstance(command, str) or not re.fullmatch(r"[a-z]+", command):
            return {"command": "", "arguments": []}
        return {"command": command, "arguments": arguments}

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
        plain = _read_json(self.folder / "status.json")
        status = _status(plain)
        if status is None or not self.request["command"]:
            return Status(
                "failed",
                message=f"The record of run {self.id} is damaged; start a new one, or delete "
                f"the folder {self.folder}.",
            )
        if status.over or self._alive(plain):
            return status
        status = _status(_read_json(self.folder / "status.json")) or status
        if status.over:  # it ended between the two looks
            return status
        if self.stopping:
            return replace(status, state="cancelled", seconds_left=None, message="Stopped.")
        last = self.log_tail(3).strip()
        message = "The process ended without a word, and its log is empty."
        if last:
            message = f"The process ended without a word. The end of its log: {last}"
        return replace(status, state="failed", seconds_left=None, message=message)

    def metrics(self, last: int = 200) -> list[dict[str, Any]]:
        """Return the last reported events, oldest first; damaged lines are left out."""
        events = []
        for line in _tail(self.folder / "metrics.jsonl").splitlines()[-last:]:
            with suppress(ValueError, RecursionError):
                event = json.loads(line)
                if isinstance(event, dict):
                    events.append(event)
        return events

    def log_tail(self, n: int = 20) -> str:
        """Return the last lines that the process wrote, without control characters."""
        lines = re.split(r"[\r\n]+", _tail(self.folder / "log.txt").strip())
        return "\n".join(
            re.sub(r"\x1b\[[\d;]*m|[^\S\n ]|[\x00-\x09\x7f]", "", x) for x in lines[-n:]
        )

    @property
    def stopping(self) -> bool:
        """True once a stop was asked for, until the run is resumed."""
        return self._stop_file.exists()

    def cancel(self) -> None:
        """Ask the run to stop: it finishes its step and saves. Asked twice, it ends at once."""
        with suppress(OSError):
            self._stop_file.touch()
        child = _children.get(self.folder)
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM)
            return
        plain = _read_json(self.folder / "status.json")
        pid, born = plain.get("pid"), plain.get("born")
        if isinstance(pid, int) and pid > 1 and born and _born(pid) == born:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)

    @property
    def _stop_file(self) -> Path:
        return self.folder / "stop"

    def _alive(self, plain: dict[str, Any]) -> bool:
        """Is there a process that will still write a final state?"""
        child = _children.get(self.folder)
        if child is not None and child.poll() is None:
            return True
        pid, born = plain.get("pid"), plain.get("born")
        if pid is None and child is None:  # not begun: whoever starts it answers for it
            pid, born = plain.get("starter"), plain.get("starter_born")
        return isinstance(pid, int) and pid > 0 and born is not None and _born(pid) == born


def default_root() -> Path:
    """Return where runs are kept: the folder named by BORT_RUNS, else `runs` right here."""
    return Path(os.environ.get("BORT_RUNS") or "runs")


def start(command: str, arguments: Sequence[str], root: Path | None = None) -> Run:
    """Start `python -m bort_engine command ...` as a run of its own, and return it at once."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = (root or default_root()).resolve() / f"{command}-{stamp}-{secrets.token_hex(2)}"
    folder.mkdir(parents=True)
    _write_json(
        folder / "request.json", {"command": command, "arguments": [str(a) for a in arguments]}
    )
    return _launch(Run(folder))


def resume(run: Run) -> Run:
    """Start a run that ended once more, with the same arguments in the same folder.

    Raises:
        ValueError: it is still at work, or what was asked cannot be read.
    """
    if not run.request["command"]:
        raise ValueError(f"run {run.id}: request.json is damaged; start a new run instead.")
    if not run.status().over:
        raise ValueError(f"run {run.id} is still at work; stop it first.")
    return _launch(Run(run.folder.resolve()))


def _launch(run: Run) -> Run:
    request, folder = run.request, run.folder
    if earlier := _children.get(folder):  # it has said its last word, but may still be leaving
        with suppress(subprocess.TimeoutExpired):
            earlier.wait(timeout=5)
    run._stop_file.unlink(missing_ok=True)
    now = time.time()
    status = Status("waiting", stage="starting", started=now, updated=now)
    starter = {"starter": os.getpid(), "starter_born": _born(os.getpid())}
    _write_json(folder / "status.json", asdict(status) | starter)
    command = [*PROGRAM, request["command"], *request["arguments"]]
    with (folder / "log.txt").open("ab") as log:
        _children[folder] = subprocess.Popen(
            [*command, "--out", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return run


def find(run_id: str, root: Path | None = None) -> Run:
    """Return the run of this id, which may come from anywhere.

    Raises:
        ValueError: it is not an id, or there is no such run.
    """
    home = (root or default_root()).resolve()
    if not isinstance(run_id, str) or not re.fullmatch(r"[a-z0-9-]{1,80}", run_id):
        raise ValueError(f"run {str(run_id)[:80]!r} is not an id: only a-z, 0-9 and - may occur.")
    folder = (home / run_id).resolve()
    if folder.parent != home or not (folder / "request.json").is_file():
        raise ValueError(f"there is no run {run_id!r} in {home}; pick one of the earlier runs.")
    return Run(folder)


def runs(root: Path | None = None, command: str | None = None) -> list[Run]:
    """Return all runs, or those of one command, newest first."""
    home = root or default_root()
    found = []
    for path in home.iterdir() if home.is_dir() else ():
        with suppress(ValueError):
            found.append(find(path.name, home))
    wanted = [run for run in found if command in (None, run.request["command"])]
    return sorted(wanted, key=lambda run: (run.asked_at, run.id), reverse=True)


class Job:
    """The child's end of a run: `stop` is set when it should end, `report` tells how far it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stop = threading.Event()
        self._status = Status("waiting", stage="waiting in line", started=time.time())
        self._written = 0.0
        self._pending: dict[str, Any] | None = None
        self._pace: tuple[str, float, int] = ("", 0.0, 0)  # stage, when and where it began

    def report(self, event: dict[str, Any]) -> None:
        """Note one event: {"stage", "done", "total"}, optionally "detail", "seconds_left", more.

        Events of one stage that follow each other within a fifth of a second are thinned out, but
        never the last, nor one that carries an "architecture".
        """
        stage, done = str(event.get("stage", "")), _whole(event.get("done"))
        total = _whole(event.get("total"))
        now = time.time()
        fresh = stage != self._status.stage
        if fresh:
            self._flush()
            self._pace = (stage, now, done)
        self._status = Status(
            state="running",
            stage=stage,
            detail=str(event.get("detail") or event.get("architecture") or "")[:200],
            done=done,
            total=total,
            seconds_left=self._seconds_left(event, now, done, total),
            started=self._status.started,
            updated=now,
        )
        self._pending = {"time": round(now, 3)} | event
        if (
            fresh
            or "architecture" in event
            or done >= total
            or now - self._written >= STATUS_EVERY_S
        ):
            self._flush()

    def _seconds_left(
        self, event: dict[str, Any], now: float, done: int, total: int
    ) -> float | None:
        given = _number(event.get("seconds_left"))
        if given is not None:
            return max(0.0, given)
        _, began, first = self._pace
        if done <= first or total <= done:
            return 0.0 if 0 < total <= done else None
        return (now - began) / (done - first) * (total - done)

    def _flush(self) -> None:
        """Write what is pending. A full disk must not kill the work: its own record will tell."""
        event, self._pending = self._pending, None
        with suppress(OSError):
            if event is not None:
                with (self.folder / "metrics.jsonl").open("a") as file:
                    file.write(json.dumps(_plain(event)) + "\n")
            self._write_status()

    def _write_status(self) -> None:
        self._written = time.time()
        identity = {"pid": os.getpid(), "born": _born(os.getpid())}
        _write_json(self.folder / "status.json", asdict(self._status) | identity)

    def _enter(self, state: str, stage: str, message: str = "") -> None:
        self._status = replace(
            self._status,
            state=state,
            stage=stage,
            detail="",
            seconds_left=None,
            message=message,
            updated=time.time(),
        )

    def _finish(self, state: str, message: str = "") -> None:
        """Write the final state, even where the disk is full: over the old one, in place."""
        if self._pending is not None:
            self._flush()
        self._enter(state, self._status.stage, message)
        try:
            self._write_status()
        except OSError:
            plain = asdict(self._status) | {"pid": os.getpid()}
            with (self.folder / "status.json").open("r+") as file:
                file.write(json.dumps(plain))
                file.truncate()

    def _on_signal(self, number: int, frame: object) -> None:
        if self.stop.is_set():  # asked twice: at once, as if nobody listened
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.stop.set()


@contextmanager
def working(folder: Path, command: str, arguments: Sequence[str]) -> Iterator[Job]:
    """Do a run's work: one at a time per root, stoppable, with a final state whatever happens.

    While another run of the same root is at work this one waits in line, visibly. SIGTERM and
    SIGINT set `job.stop`; the work should then raise soon. An exception is passed on, and the run
    reads as cancelled if a stop was asked for, else as failed with the exception's first line.

    Raises:
        Stopped: the stop came while the run was still in line.
    """
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    request = {"command": command, "arguments": _without_out(arguments)}
    if Run(folder).request != request:
        _write_json(folder / "request.json", request)
    job = Job(folder)
    with _signals(job):
        try:
            with _turn(job):
                job._enter("running", "getting ready")
                job._flush()
                yield job
        except BaseException as e:
            with suppress(OSError):
                job._finish("cancelled" if job.stop.is_set() else "failed", one_line(e)[:500])
            raise
        else:
            job._finish("done")


@contextmanager
def _signals(job: Job) -> Iterator[None]:
    """Let SIGTERM and SIGINT set the stop flag; only the main thread may, elsewhere do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, job._on_signal) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _turn(job: Job) -> Iterator[None]:
    """Wait for the root's only place, and hold it."""
    from filelock import FileLock, Timeout

    lock = FileLock(job.folder.parent / ".lock")
    job._flush()
    while True:
        if job.stop.is_set() or Run(job.folder).stopping:
            job.stop.set()
            raise Stopped("Stopped while waiting in line.")
        with suppress(Timeout):
            lock.acquire(timeout=0.2)
            break
    try:
        yield
    finally:
        lock.release()


def _without_out(arguments: Sequence[str]) -> list[str]:
    """Drop `--out FOLDER`: a run is resumed where it lies."""
    kept, skip = [], False
    for argument in map(str, arguments):
        if skip or argument == "--out":
            skip = not skip
        elif not argument.startswith("--out="):
            kept.append(argument)
    return kept


def _born(pid: int) -> str | None:
    """Return when a process began, which tells it from a later one of its pid; None if dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return None
    except (OSError, IndexError):
        return None
    found = subprocess.run(  # systems without /proc
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return None if len(found) < 2 or found[0].startswith("Z") else found[1].strip()


def _read_json(path: Path) -> dict[str, Any]:
    """Read an object from a small file; anything else is an empty one."""
    try:
        with path.open("rb") as file:
            plain = json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST_BYTES))
            return file.read(MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _write_json(path: Path, plain: dict[str, Any]) -> None:
    """Write to a temporary neighbour, then rename: a reader sees all of it or none."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(_plain(plain)))
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Turn numpy's numbers and whatever else an event may hold into JSON's own; NaN into null."""
    if isinstance(value, dict):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None


def _status(plain: dict[str, Any]) -> Status | None:
    """Check a status as read; None where it is none."""
    if plain.get("state") not in STATES:
        return None
    pid = plain.get("pid")
    return Status(
        state=plain["state"],
        stage=str(plain.get("stage") or "")[:200],
        detail=str(plain.get("detail") or "")[:200],
        done=_whole(plain.get("done")),
        total=_whole(plain.get("total")),
        seconds_left=_number(plain.get("seconds_left")),
        started=_number(plain.get("started")),
        updated=_number(plain.get("updated")),
        pid=pid if type(pid) is int and 0 < pid < 2**31 else None,
        message=str(plain.get("message") or "")[:2000],
    )


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        return None
    return number if abs(number) < 1e15 else None


def _whole(value: Any) -> int:
    return int(_number(value) or 0)
