"""The child's end of a run: `working` hears a stop and writes how it ended.

Its turn comes with the first event: what a verb does before that, to check what was asked for, is
done at once, so that a mistake is never told after waiting in line.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import psutil
from annotated_types import Ge, Gt, Le, Lt, MaxLen

from bort_engine.runs import records
from bort_engine.runs.events import Cancelled, Event, Refused
from bort_engine.runs.records import Share
from bort_engine.runs.text import one_line, printable
from bort_engine.runs.time_left import TimeLeft, about

STATUS, STOP = "status.json", "stop"  # files of a run folder, beside request.json
STATUS_EVERY_S = 0.2
TELL_EVERY_S = 60.0  # for whom a run waits
Seconds = Annotated[float, Ge(0), Le(1e15)]
State = Literal["waiting", "running", "done", "failed", "cancelled"]
WAITING = "waiting in line"  # the stage of a run whose turn it is not yet
ANEW = "start a new run, and delete the folder of this one"


@dataclass(frozen=True, slots=True)
class Request:
    """What a run was asked for: a command, and its arguments without `--out`."""

    command: str
    arguments: tuple[str, ...] = ()
    AGAIN: ClassVar[str] = ANEW

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z]*", self.command):
            raise ValueError(f"command is {self.command[:60]!r}; only a-z may occur.")


@dataclass(frozen=True, slots=True)
class Process:
    """A process by its pid and when it began: a later process may be given the same pid."""

    pid: Annotated[int, Gt(0), Lt(2**31)]
    began: Seconds

    @classmethod
    def current(cls) -> Process:
        process = psutil.Process()
        return cls(process.pid, process.create_time())

    @property
    def alive(self) -> bool:
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            # It is told by the system's clock: one that is set right moves it by a little.
            is_same = abs(process.create_time() - self.began) < 5
            return is_same and process.status() != psutil.STATUS_ZOMBIE
        return False

    def terminate(self) -> None:
        with suppress(psutil.Error):
            if self.alive:
                psutil.Process(self.pid).terminate()


@dataclass(frozen=True, slots=True)
class Status:
    """Where a run stands. Times are seconds since the epoch; `message` says why it ended so.

    `done` of `total` are of the stage at work. The seconds left, and the `share` of the time over,
    are of the whole run where it has a plan: stage `number` of `stages`.
    """

    state: State
    stage: Annotated[str, MaxLen(200)] = ""
    detail: Annotated[str, MaxLen(200)] = ""
    done: Annotated[int, Ge(0)] = 0
    total: Annotated[int, Ge(0)] = 0
    seconds_left: Seconds | None = None
    most_seconds_left: Seconds | None = None
    share: Share | None = None
    number: Annotated[int, Ge(0)] = 0
    stages: Annotated[tuple[str, ...], MaxLen(100)] = ()
    started: Seconds | None = None
    updated: Seconds | None = None
    message: Annotated[str, MaxLen(2000)] = ""
    refused: bool = False  # to resume it would end in the same way
    process: Process | None = None
    AGAIN: ClassVar[str] = ANEW

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    @property
    def fraction(self) -> float:
        """The share of the run that is over, or without a plan, of its stage that is done."""
        if self.share is not None:
            return self.share
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def progress(self) -> str:
        """How far the run is, in words."""
        if self.state == "waiting":
            in_line = "Another run is at work here; this one starts when that one ends."
            return in_line if self.stage == WAITING else "Starting."
        if self.seconds_left is None:
            steps = f"{self.done} of {self.total}"
            return steps if self.total else "Under way; how long it takes is not known yet."
        left = about(self.seconds_left, self.most_seconds_left)
        steps = f", {self.done} of {self.total}" if self.total > 1 else ""
        if not self.stages:
            return f"{steps[2:]}, about {left} left"
        number = f"Stage {self.number} of {len(self.stages)}" if self.number else "Beginning"
        return f"{number}{steps}; about {left} left of the run"


class Job:
    """A run at work: `stop` is set when it should end, `report` tells how far it is."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        from filelock import FileLock

        self.folder, self._tell = folder, tell
        self._turn = FileLock(records.lock_of(folder.parent), thread_local=False)
        self.stop = threading.Event()
        self._status = Status("waiting", started=time.time(), process=Process.current())
        self._time_left = TimeLeft()
        self.refused = False
        self._written, self._unwritten = 0.0, True
        self._pending: Event | None = None

    def report(self, event: Event) -> None:
        """Note one event: {"stage", "done", "total"}, optionally "detail", "seconds_left", more.

        Events of one stage that follow each other within a fifth of a second are thinned out, but
        never the last, nor one that carries an "architecture". The first one waits in line.
        """
        if not self._turn.is_locked:
            self._wait()
        # Texts come from anywhere, a file's name included: what JSON cannot hold is replaced.
        event = {k: printable(v) if isinstance(v, str) else v for k, v in event.items()}
        now, stage = time.time(), event["stage"][:200]
        fresh = stage != self._status.stage
        if fresh:
            self._flush()  # the last event of the stage before
        left = self._time_left.note(event, now)
        self._status = replace(
            self._status,
            state="running",
            stage=stage,
            detail=str(event.get("detail") or event.get("architecture") or "")[:200],
            done=int(event["done"]),
            total=int(event["total"]),
            seconds_left=left and left.low,
            most_seconds_left=left and left.high,
            share=left.share if left and self._time_left.plan else None,
            number=self._time_left.number,
            stages=tuple(self._time_left.plan),
            updated=now,
        )
        self._pending = {"time": round(now, 3)} | event
        last = event["done"] >= event["total"]
        if fresh or last or "architecture" in event or now - self._written >= STATUS_EVERY_S:
            self._flush()

    def enter(self, state: State, stage: str, message: str = "", detail: str = "") -> None:
        """Go into another state, and write that down."""
        values = {"state": state, "stage": stage, "message": message, "updated": time.time()}
        values |= {"refused": self.refused}
        self._status = replace(self._status, detail=detail[:200], seconds_left=None, **values)
        self._flush()

    def _wait(self) -> None:
        """Wait for the root's only place, and take it; say at once who has it."""
        from filelock import Timeout

        told = 0.0
        while not self._turn.is_locked:
            if self.stop.is_set() or (self.folder / STOP).exists():
                self.stop.set()
                raise Cancelled("Stopped while waiting in line.")
            with suppress(Timeout):
                self._turn.acquire(timeout=0.2 if told else 0)
                break
            if time.monotonic() - told > TELL_EVERY_S:
                told, who = time.monotonic(), _at_work(self.folder.parent)
                self.enter("waiting", WAITING, detail=who)
                self._tell(f"{WAITING}: {who}")
        self._status = replace(self._status, started=time.time())

    def leave(self) -> None:
        """Give the place to the next in line."""
        self._turn.release()

    def finish(self, state: State, message: str = "") -> None:
        """Write the final state, even where the disk is full: then over the old one, in place."""
        self.enter(state, self._status.stage, message)
        if self._unwritten:
            with (self.folder / STATUS).open("r+b") as file:
                file.write(records.dump_line(self._status))
                file.truncate()

    def _flush(self) -> None:
        """Write what is pending. A full disk must not kill the work: its own record will tell."""
        from pydantic_core import to_json

        event, self._pending = self._pending, None
        self._written, self._unwritten = time.time(), True
        with suppress(OSError):
            if event is not None:
                # numpy's numbers have an item(); NaN is no JSON, so it becomes null
                line = to_json(event, inf_nan_mode="null", fallback=_plain)
                with (self.folder / "metrics.jsonl").open("ab") as file:
                    file.write(line + b"\n")
            records.write(self.folder / STATUS, self._status)
            self._unwritten = False

    def on_signal(self, number: int, frame: object) -> None:
        if self.stop.is_set():  # asked twice: at once, as if nobody listened
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.stop.set()


@contextmanager
def working(
    folder: Path,
    command: str,
    arguments: Sequence[str],
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[Job]:
    """Do a run's work: one at a time per root, stoppable, with a final state whatever happens.

    While another run of the same root is at work this one waits in line with its first event,
    visibly; `tell` is told for whom. SIGTERM and SIGINT set `job.stop`; the work should then raise
    soon. An exception is passed on, and the run reads as cancelled if a stop was asked for, else as
    failed with the exception's first line.

    Raises:
        Cancelled: the stop came while the run was still in line.
    """
    folder = Path(folder).resolve()
    request = Request(command, _without_out(arguments))
    try:
        old = records.read(folder / "request.json", Request)
    except ValueError:
        old = None
    if request != old:  # unchanged, it keeps its date: the run is listed by when it was asked for
        records.write(folder / "request.json", request)
    job = Job(folder, tell)
    with _signals(job):
        try:
            job.enter("waiting", "getting ready")
            yield job
        except BaseException as e:
            state = "cancelled" if job.stop.is_set() else "failed"
            job.refused = isinstance(e, Refused)
            with suppress(OSError):
                job.finish(state, printable(one_line(e), 500))
            raise
        else:
            job.finish("done")
        finally:
            job.leave()


@contextmanager
def _signals(job: Job) -> Iterator[None]:
    """Let SIGTERM and SIGINT set the stop flag; only the main thread may, elsewhere do nothing."""
    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if is_main else ()
    before = {number: signal.signal(number, job.on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _at_work(root: Path) -> str:
    """Say which run of a root is at work, and since when."""
    for path in root.glob(f"*/{STATUS}"):
        with suppress(ValueError):
            status = records.read(path, Status)
            if status.state == "running" and status.process and status.process.alive:
                minutes = (time.time() - (status.started or time.time())) / 60
                since = f"for {minutes:.0f} min" if minutes >= 1.5 else "since a moment ago"
                return f"{path.parent.name} has been at work {since}, at {status.stage}"
    return "another run is at work"


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _without_out(arguments: Sequence[str]) -> tuple[str, ...]:
    """Drop `--out FOLDER`: a run is resumed where it lies."""
    rest, others = iter(arguments), []
    for argument in rest:
        if argument == "--out":
            next(rest, None)
        elif not argument.startswith("--out="):
            others.append(argument)
    return tuple(others)
