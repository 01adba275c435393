"""Work side by side: in processes of one thread, in the order it ends, stopped with its parent."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil
import pytest

from bort_engine.runs.events import Cancelled, silent
from bort_engine.runs.workers import Here, Processes

ROOT = Path(__file__).parents[2]


def square(item, on_progress, stop):
    """Stand in for a training: tell, and say where and with how many threads it ran."""
    on_progress({"stage": "squaring", "done": 1, "total": 1})
    return item, item**2, os.getpid(), os.environ.get("OMP_NUM_THREADS")


def cube(item, on_progress, stop):
    return item**3, os.getpid()


def last_first(item, on_progress, stop):
    time.sleep(item / 10)
    return item


def refuse(item, on_progress, stop):
    raise ValueError(f"{item} is refused")


def until_stopped(item, on_progress, stop):
    """Say that it began and, when it was told to, that it ended."""
    Path(item, f"{os.getpid()}.begun").touch()
    while not stop():
        time.sleep(0.02)
    Path(item, f"{os.getpid()}.ended").touch()
    raise Cancelled("stopped on request")


def pairs(workers, items):
    """Return each item with its result, as they end."""
    with closing(workers):
        return list(workers.each(items))


def test_every_item_is_done_in_a_process_of_one_thread(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    told = []
    results = sorted(r for _, r in pairs(Processes(square, 2, told.append), [3, 4, 5]))
    assert [(item, result) for item, result, *_ in results] == [(3, 9), (4, 16), (5, 25)]
    assert os.getpid() not in {pid for *_, pid, _ in results}
    assert {threads for *_, threads in results} == {"1"}
    assert "OMP_NUM_THREADS" not in os.environ
    assert {event["item"] for event in told} <= {"3", "4", "5"}


def test_one_process_is_this_one_with_all_its_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    told = []
    assert pairs(Here(square, told.append), [3]) == [(3, (3, 9, os.getpid(), None))]
    assert told == [{"stage": "squaring", "done": 1, "total": 1, "item": "3"}]


def test_what_ends_first_comes_first():
    assert pairs(Processes(last_first, 2), [20, 0]) == [(0, 0), (20, 20)]


def test_an_error_is_passed_on():
    with pytest.raises(ValueError, match="7 is refused"):
        pairs(Processes(refuse, 2), [7])


@pytest.mark.parametrize("make", [Here, partial(Processes, n=1)], ids=["here", "process"])
def test_those_who_are_there_do_other_work(make):
    with closing(make(square)) as workers:
        ((_, (*_, first, _)),) = workers.each([3])
        workers.work = cube
        assert list(workers.each([3])) == [(3, (27, first))]


def killed(item, on_progress, stop):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_one_line():
    with pytest.raises(ChildProcessError, match="one of 2 processes was killed"):
        pairs(Processes(killed, 2), [1, 2])


def test_a_stop_reaches_the_workers(tmp_path):
    def begun():
        return len(list(tmp_path.glob("*.begun"))) == 2

    with pytest.raises(Cancelled):
        pairs(Processes(until_stopped, 2, silent, begun), [str(tmp_path)] * 2)
    assert len(list(tmp_path.glob("*.ended"))) == 2


def test_workers_end_after_their_parent_was_killed(tmp_path):
    code = (
        "from bort_engine.runs.workers import Here, Processes\n"
        "from tests.runs.test_workers import until_stopped\n"
        "if __name__ == '__main__':\n"
        f"    list(Processes(until_stopped, 2).each([{str(tmp_path)!r}] * 2))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    wait_for(lambda: len(list(tmp_path.glob("*.begun"))) == 2)
    workers = [int(path.stem) for path in tmp_path.glob("*.begun")]
    parent.send_signal(signal.SIGKILL)
    parent.wait(20)
    wait_for(lambda: len(list(tmp_path.glob("*.ended"))) == 2)
    wait_for(lambda: not any(map(is_alive, workers)))


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_for(true, seconds=60):
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.05)
