"""Run folders: every state, and everything hostile that can lie in one."""

import errno
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from filelock import FileLock

from bort_engine.runs import jobs, records, work
from bort_engine.runs.events import Cancelled
from bort_engine.runs.text import DISK_FULL
from bort_engine.runs.work import Process

ARGUMENTS = ("minilm-l6", "--epsilon", "0.5")
REQUEST = '{"command": "front", "arguments": ["minilm-l6"]}'


def written(run_root: Path, request: str = REQUEST, status: str = "") -> jobs.Run:
    """Return a run whose two records hold these texts."""
    folder = run_root / "front-1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request.json").write_text(request)
    (folder / "status.json").write_text(status, encoding="latin-1")
    return jobs.find("front-1")


def test_a_run_goes_from_start_to_done_and_leaves_no_process(run_root, wait):
    run = jobs.start("front", ARGUMENTS)
    assert run.folder.parent == run_root and run.status().state in ("waiting", "running")
    wait(lambda: run.status().over)
    status = run.status()
    assert (status.state, status.stage, status.message) == ("done", "evaluating candidates", "")
    assert (status.done, status.total, status.fraction) == (3, 3, 1.0)
    assert run.request == jobs.Request("front", ARGUMENTS)
    shapes = [event["architecture"] for event in run.metrics() if "architecture" in event]
    assert shapes == ["6,12,384,1536", "5,12,384,1536", "4,12,384,1536"]
    wait(lambda: run.status() and not psutil.pid_exists(status.process.pid))  # no zombie


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        ("fail", "the weights of minilm-l6 could not be read; run `fetch` again."),
        ("kill", "The end of its log: about to run out of memory"),
        ("usage", "error: unknown source 'nowhere'; allowed: minilm-l6."),
    ],
)
def test_every_end_but_success_reads_as_failed_with_its_cause(
    run_root, wait, monkeypatch, end, cause
):
    monkeypatch.setenv("FAKE_END", end)
    run = jobs.start("front", ARGUMENTS)
    wait(lambda: run.status().over)
    assert run.status().state == "failed" and cause in run.status().message


def test_a_stopped_run_is_cancelled_and_can_be_resumed(run_root, wait, monkeypatch):
    monkeypatch.setenv("FAKE_STEPS", "500")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    run = jobs.start("front", ARGUMENTS)
    wait(lambda: run.status().done > 1)
    with pytest.raises(ValueError, match="still at work"):
        jobs.resume(run)
    run.cancel()
    wait(lambda: run.status().over)
    status = run.status()
    assert (status.state, status.message) == ("cancelled", "Stopped after this candidate.")
    assert 1 < status.done < 500
    monkeypatch.setenv("FAKE_STEPS", "2")
    again = jobs.resume(jobs.find(run.id))
    wait(lambda: again.status().over)
    assert (again.folder, again.status().state, again.stopping) == (run.folder, "done", False)


def test_a_run_that_hears_no_stop_ends_at_the_second(run_root, wait, monkeypatch):
    monkeypatch.setenv("FAKE_END", "deaf")
    run = jobs.start("front", ARGUMENTS)
    wait(lambda: run.status().stage == "hearing nothing")
    run.cancel()
    assert run.stopping and not run.status().over
    wait(lambda: run.cancel() or run.status().over)  # signals that come too close are one
    assert (run.status().state, run.status().message) == ("cancelled", "Stopped.")


def test_a_second_run_waits_in_line_visibly_and_can_be_stopped_there(run_root, wait):
    run_root.mkdir()
    with FileLock(records.lock_of(run_root)):
        run, early = jobs.start("front", ARGUMENTS), jobs.start("front", ARGUMENTS)
        early.cancel()  # right after the start: a stop, and no failure
        wait(lambda: run.status().stage == "waiting in line")
        assert run.status().progress.startswith("Another run is at work here")
        run.cancel()
        wait(lambda: run.status().over and early.status().over)
    assert (run.status().state, early.status().state) == ("cancelled", "cancelled")
    assert run.status().message == "Stopped while waiting in line."
    assert not run.metrics()
    with pytest.raises(Cancelled), jobs.working(run.folder, "front", ARGUMENTS) as job:
        job.report({"stage": "x", "done": 0, "total": 1})  # the stop holds until it is resumed


def test_a_run_tells_at_once_for_whom_it_waits_and_a_mistake_does_not_wait(run_root, monkeypatch):
    monkeypatch.setenv("BORT_CACHE", str(run_root.parent / "cache"))
    event, told = {"stage": "calibrating", "done": 0, "total": 9}, []
    with jobs.working(run_root / "first", "front", ARGUMENTS) as first:
        first.report(event)
        with (
            pytest.raises(ValueError, match="no column"),
            jobs.working(run_root / "second", "front", ARGUMENTS, told.append),
        ):
            raise ValueError("no column")  # as a verb does before its first event
        with (
            pytest.raises(Cancelled),
            jobs.working(run_root / "third", "front", ARGUMENTS, told.append) as third,
        ):
            third._tell = lambda text: (told.append(text), third.stop.set())
            third.report(event)
    assert told == ["waiting in line: first has been at work since a moment ago, at calibrating"]
    assert sorted(path.name for path in run_root.iterdir()) == ["first", "second", "third"]


@pytest.mark.parametrize("name", ["", "../x", "A", "x" * 81, "front\n", "no-such-run", "link"])
def test_ids_from_outside_are_checked_and_links_not_followed(run_root, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "request.json").write_text(REQUEST)
    run_root.mkdir()
    (run_root / "link").symlink_to(outside)
    with pytest.raises(ValueError, match=r"is not an id|there is no run"):
        jobs.find(name)
    assert jobs.runs() == []


@pytest.mark.parametrize(
    ("request_text", "status_text"),
    [
        (REQUEST, ""),
        (REQUEST, "\xff\x00"),
        (REQUEST, '{"state": "excellent"}'),
        (REQUEST, '{"state": "done", "seconds_left": 1e999}'),
        (REQUEST, '{"state": "done", "process": {"pid": -1, "began": 1}}'),
        (REQUEST, '{"state": "running", "pid": 7, "born": "1"}'),  # of the last version
        ("{", '{"state": "done"}'),
        ('{"command": "front; rm -rf /", "arguments": []}', '{"state": "done"}'),
        ('{"command": "front", "arguments": [1, null]}', '{"state": "done"}'),
    ],
)
def test_damaged_records_read_as_failed_with_one_line(run_root, request_text, status_text):
    run = written(run_root, request_text, status_text)
    status = run.status()
    assert status.state == "failed" and "\n" not in status.message
    assert status.message.startswith("The record of run front-1: ")
    assert "start a new run" in status.message
    run.cancel()  # nobody is there to hear it
    if request_text != REQUEST:
        assert run.request == jobs.Request("")
        with pytest.raises(ValueError, match=r"request\.json: damaged request"):
            jobs.resume(run)


def test_lines_of_the_metrics_that_are_damaged_are_left_out(run_root):
    run = written(run_root)
    (run.folder / "metrics.jsonl").write_text('{"stage": "a"}\nnull\n{"stage": "b"\n[[[')
    assert run.metrics() == [{"stage": "a"}]


def test_another_process_that_got_the_pid_is_neither_awaited_nor_stopped(run_root):
    status = jobs.Status("running", "x", process=replace(Process.current(), began=1.0))
    run = written(run_root, status=records.dump_line(status).decode())
    signals = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    try:
        assert run.status().state == "failed"
        run.cancel()
        assert not signals
        records.write(run.folder / "status.json", replace(status, process=Process.current()))
        assert run.status().state == "running"
        run.cancel()  # and now it is that very process
        assert signals == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_that_another_process_started_has_a_minute_to_come_up(run_root):
    now = time.time()
    status = jobs.Status("waiting", "starting", updated=now - 30)
    run = written(run_root, status=records.dump_line(status).decode())
    assert run.status() == status
    records.write(run.folder / "status.json", replace(status, updated=now - 61))
    assert run.status().state == "failed"


def test_runs_are_listed_newest_first_and_by_command(run_root):
    for age, name in enumerate(["front-a", "front-b", "agora-c"]):
        request = jobs.Request(name.partition("-")[0])
        path = records.write(run_root / name / "request.json", request)
        os.utime(path, (1000 - age, 1000 - age))
    (run_root / "Not an id").mkdir()
    (run_root / "stray.txt").touch()
    assert [run.id for run in jobs.runs()] == ["front-a", "front-b", "agora-c"]
    assert [run.id for run in jobs.runs(command="agora")] == ["agora-c"]
    assert jobs.runs(run_root / "nowhere") == []


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that work.py sees, to be set by the test."""
    now = [1000.0]
    monkeypatch.setattr(work.time, "time", lambda: now[0])
    return now


@pytest.fixture
def run(tmp_path) -> jobs.Run:
    return jobs.Run(tmp_path / "x")


def test_reports_are_thinned_out_but_never_the_last_nor_a_candidate(run, clock):
    with jobs.working(run.folder, "front", []) as job:
        for done in range(1, 101):  # 100 events in one second: 1, then one each 0.2 s
            clock[0] = 1000 + done / 100
            job.report({"stage": "a", "done": done, "total": 200})
        assert len(run.metrics()) == 5
        job.report({"stage": "b", "done": 1, "total": 9})  # writes a's last one first
        job.report({"stage": "b", "done": 2, "total": 9, "architecture": "1,1,1,1"})
        job.report({"stage": "b", "done": 3, "total": 9})
    events = [(event["stage"], event["done"]) for event in run.metrics(last=4)]
    assert events == [("a", 100), ("b", 1), ("b", 2), ("b", 3)]


def test_the_time_left_is_that_of_the_stage(run, clock):
    with jobs.working(run.folder, "front", []) as job:
        job.report({"stage": "a", "done": 20, "total": 50})  # resumed: 20 cost nothing
        assert run.status().seconds_left is None
        clock[0] += 60
        job.report({"stage": "a", "done": 30, "total": 50})  # 10 in 60 s, so 20 in 120 s
        assert run.status().progress == "30 of 50, about 2 min left"
        clock[0] += 1
        job.report({"stage": "a", "done": 31, "total": 50, "seconds_left": 7.0})
        assert run.status().progress == "31 of 50, about 7 s left"


def test_events_may_hold_numpy_nan_and_names_that_are_no_text(run):
    numbers = {"done": np.int64(3), "total": np.int64(3), "loss": np.float32("nan")}
    with jobs.working(run.folder, "front", []) as job:
        job.report({"stage": "a", "error": np.float32(0.5), "where": Path("y")} | numbers)
        job.report({"stage": "a", "done": 3, "total": 3, "detail": "a \udce9 file"})
        assert run.status().detail == "a ? file"
    event, _ = run.metrics()
    assert (event["done"], event["loss"], event["error"], event["where"]) == (3, None, 0.5, "y")


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_does_not_stop_the_work_and_its_end_is_still_written(run, monkeypatch):
    def full(path: Path, record: object) -> None:
        raise FULL

    with jobs.working(run.folder, "front", []) as job:
        monkeypatch.setattr(records, "write", full)
        job.report({"stage": "a", "done": 1, "total": 1})
    assert run.status().state == "done"  # written over the old one, in place


def test_a_disk_that_fills_up_in_the_work_is_told_in_plain_words(run):
    arguments = ["--out", "y", "--seed", "1", "--out=z"]
    with pytest.raises(OSError, match="No space"), jobs.working(run.folder, "front", arguments):
        raise FULL
    assert run.status().state == "failed" and run.status().message.startswith(DISK_FULL)
    assert run.request.arguments == ("--seed", "1")


def test_signals_are_given_back_and_work_outside_the_main_thread(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with jobs.working(tmp_path / "x", "front", []) as job:
        signal.raise_signal(signal.SIGINT)
        assert job.stop.is_set()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    states = []

    def elsewhere() -> None:
        with jobs.working(tmp_path / "y", "front", []) as job:
            job.report({"stage": "x", "done": 0, "total": 1})
            states.append(json.loads((tmp_path / "y" / "status.json").read_text())["state"])

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert states == ["running"]
