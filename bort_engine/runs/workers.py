"""Pieces of work side by side, each in a process of its own with one thread.

On two cores, two trainings of one thread do about 1.4 times the work of one with two threads.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

from bort_engine.runs.events import Event, Progress, Stop, check, never, silent

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Item, Progress, Stop], Result]  # a module's own function: another process finds it
THREADS = "OMP_NUM_THREADS"  # read by OpenMP when torch is loaded

# In a worker: how it tells of its work, and how it hears that it should stop.
_tell: Progress = silent
_stop: Stop = never
_at_work = threading.Lock()


def side_by_side(
    work: Work[Item, Result],
    items: Sequence[Item],
    processes: int,
    on_progress: Progress = silent,
    stop: Stop = never,
) -> Iterator[Result]:
    """Do the work on every item and yield the results as they come; events carry their "item".

    Args:
        work: called with an item, what hears of its progress, and what says that it should stop.
        processes: how many at a time; 1 does it here, with all threads.

    Raises:
        Cancelled: `stop()` became true; workers are told, and end after the step they are in.
        ChildProcessError: a worker was killed, as the system does when memory runs out.
        Exception: what `work` raised; the other workers are stopped.
    """
    if processes == 1:
        for number, item in enumerate(items):
            yield work(item, lambda event, n=number: on_progress(event | {"item": n}), stop)
        return
    context = get_context("spawn")
    events, stopping = context.Queue(), context.Event()
    with _one_thread():
        pool = ProcessPoolExecutor(processes, context, _begin, (events, stopping, os.getpid()))
        waiting = {pool.submit(_do, work, n, item) for n, item in enumerate(items)}
    try:
        while waiting:
            done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            while not events.empty():
                on_progress(events.get())
            check(stop)
            for future in done:
                yield future.result()
    except BrokenProcessPool as e:
        raise ChildProcessError(
            f"one of {processes} processes was killed, most often because memory ran out; what was "
            "made is kept. Go on with fewer processes."
        ) from e
    finally:  # an error, a stop, or whoever asked wants no more
        stopping.set()
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that start meanwhile have one thread: they inherit the environment."""
    before = os.environ.get(THREADS)
    os.environ[THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[THREADS]
        if before is not None:
            os.environ[THREADS] = before


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


def _do(work: Work[Item, Result], number: int, item: Item) -> Result:
    def tell(event: Event) -> None:
        _tell(event | {"item": number})

    with _at_work:
        return work(item, tell, _stop)
