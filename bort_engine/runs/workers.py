"""Pieces of work side by side, each in a process of its own with one thread.

On two cores, two trainings of one thread do about 1.4 times the work of one with two threads.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Generic, TypeVar

from bort_engine.runs.checks import check_whole
from bort_engine.runs.events import Event, Progress, Stop, check, never, silent
from bort_engine.runs.provenance import n_threads

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Item, Progress, Stop], Result]  # a module's own function: another process finds it
MOST_WORKERS, USUAL_WORKERS = 256, 8
THREADS = "OMP_NUM_THREADS"  # read by OpenMP when torch is loaded
# How many compiled kernels oneDNN keeps, 1024 by default. A worker sees ever other shapes: after 64
# evaluations it held 2.2 GB, with 64 kernels 1.3 GB, in as many seconds of processor time; steps of
# MiniLM-L6's training took no longer either (AMD EPYC, 2026-11-27).
FEW_KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}

# In a worker: how it tells of its work, and how it hears that it should stop.
_tell: Progress = silent
_stop: Stop = never
_at_work = threading.Lock()


def n_workers(asked: int, usual: int | None = None) -> int:
    """Return how many processes to use: as many as were asked for, or `usual` where that is 0, by
    default as many as there are processors, at most 8.

    Raises:
        ValueError: the number is out of range.
    """
    check_whole("workers", asked, 0, MOST_WORKERS)
    return asked or usual or min(n_threads(), USUAL_WORKERS)


class Workers(Generic[Item, Result]):
    """Those who do pieces of work: `submit` gives them one, `next` waits for what ends first.

    Args:
        work: called with an item, what hears of its progress, and what says that it should stop.
        n: how many pieces to do at a time.
        on_progress: told of the work by `next`; events carry the name of their "item".
        stop: asked by `next`.

    While nothing is submitted, `work` and `on_progress` may be set to others.
    """

    def __init__(
        self, work: Work[Item, Result], n: int, on_progress: Progress = silent, stop: Stop = never
    ) -> None:
        self.work, self.n, self.on_progress, self._stop = work, n, on_progress, stop

    def each(self, items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
        """Do the work on every item, `n` at a time, and yield each with its result as they end.

        Items that are appended meanwhile are done as well. Raises as `next`.
        """
        begun = ended = 0
        while ended < len(items):
            for item in items[begun : ended + self.n]:
                self.submit(item)
                begun += 1
            yield self.next()
            ended += 1

    def submit(self, item: Item) -> None:
        raise NotImplementedError

    def next(self) -> tuple[Item, Result]:
        """Return what ends first of all that was submitted and not returned yet, with its item.

        Raises:
            Cancelled: a stop was asked for.
            ChildProcessError: a worker was killed, as the system does when memory runs out.
            Exception: what the work raised.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let workers stop after the step they are in; what was not returned is lost."""


class Here(Workers[Item, Result]):
    """This process, with all its threads."""

    def submit(self, item: Item) -> None:
        self._items.append(item)

    def __init__(
        self, work: Work[Item, Result], on_progress: Progress = silent, stop: Stop = never
    ) -> None:
        super().__init__(work, 1, on_progress, stop)
        self._items: deque[Item] = deque()

    def next(self) -> tuple[Item, Result]:
        item, on_progress = self._items.popleft(), self.on_progress
        return item, self.work(item, lambda e: on_progress(e | {"item": str(item)}), self._stop)


class Processes(Workers[Item, Result]):
    """Processes of one thread, which start at the first items and stay."""

    def __init__(
        self,
        work: Work[Item, Result],
        n: int,
        on_progress: Progress = silent,
        stop: Stop = never,
    ) -> None:
        super().__init__(work, n, on_progress, stop)
        context = get_context("spawn")
        self._events, self._stopping = context.Queue(), context.Event()
        begin = (self._events, self._stopping, os.getpid())
        self._pool = ProcessPoolExecutor(n, context, _begin, begin)
        self._waiting: dict[Future[Result], Item] = {}
        self._done: list[Future[Result]] = []

    def submit(self, item: Item) -> None:
        with _environment(**{THREADS: "1"} | FEW_KERNELS), self._broken_in_one_line():
            self._waiting[self._pool.submit(_do, self.work, item)] = item

    def next(self) -> tuple[Item, Result]:
        while not self._done:
            self._done = list(wait(self._waiting, 0.2, FIRST_COMPLETED).done)
            while not self._events.empty():
                self.on_progress(self._events.get())
            check(self._stop)
        future = self._done.pop()
        with self._broken_in_one_line():
            return self._waiting.pop(future), future.result()

    def close(self) -> None:
        self._stopping.set()
        self._pool.shutdown(cancel_futures=True)

    @contextmanager
    def _broken_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool as e:
            raise ChildProcessError(
                f"one of {self.n} processes was killed, most often because memory ran out; what "
                "was made is kept. Go on with fewer processes."
            ) from e


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Let processes that start meanwhile inherit these variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def _begin(events: Any, stopping: Any, parent: int) -> None:
    """Set a worker up; it also stops, and ends, where its parent was killed."""
    global _tell, _stop

    def is_orphan() -> bool:
        return os.getppid() != parent

    def end_after_parent() -> None:
        # Its siblings hold the queue open that it waits at, so that it would wait for good.
        while not is_orphan():
            time.sleep(1)
        with _at_work:
            os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C: the parent tells of it
    _tell, _stop = events.put, lambda: stopping.is_set() or is_orphan()
    threading.Thread(target=end_after_parent, daemon=True).start()


def _do(work: Work[Item, Result], item: Item) -> Result:
    def tell(event: Event) -> None:
        _tell(event | {"item": str(item)})

    with _at_work:
        return work(item, tell, _stop)
