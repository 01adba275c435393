"""Run folders: every state, and everything hostile that can lie in one."""

import errno
import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from bort_engine.runs import jobs
from bort_engine.runs.text import DISK_FULL

ARGUMENTS = ["minilm-l6", "--epsilon", "0.5"]


def ended(run: jobs.Run):
    return lambda: run.status().over


def test_a_run_goes_from_start_to_done_and_leaves_no_process(run_root, wait):
    run = jobs.start("front", ARGUMENTS)
    assert run.folder.parent == run_root and run.status().state in ("waiting", "running")
    wait(ended(run))
    status = run.status()
    assert (status.state, status.stage, status.done, status.total, status.message) == (
        "done",
        "evaluating candidates",
        3,
        3,
        "",
    )
    assert run.request == {"command": "front", "arguments": ARGUMENTS}
    assert [event["architecture"] for event in run.metrics() if "architecture" in event] == [
        "6,12,384,1536",
        "5,12,384,1536",
        "4,12,384,1536",
    ]
    wait(lambda: run.status() and not Path(f"/proc/{status.pid}").exists())  # no zombie


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("fail", "the weights of minilm-l6 could not be read; run `fetch` again."),
        ("kill", "without a word. The end of its log: about to run out of memory"),
        ("usage", "error: unknown source 'nowhere'; allowed: minilm-l6."),
    ],
)
def test_every_end_but_success_reads_as_failed_with_its_reason(
    run_root, wait, monkeypatch, end, said
):
    monkeypatch.setenv("FAKE_END", end)
    run = jobs.start("front", ARGUMENTS)
    wait(ended(run))
    assert run.status().state == "failed"
    assert said in run.status().message
    assert run.status().state == "failed"  # and stays so when asked again


def test_a_stopped_run_is_cancelled_and_can_be_resumed(run_root, wait, monkeypatch):
    monkeypatch.setenv("FAKE_STEPS", "500")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    run = jobs.start("front", ARGUMENTS)
    wait(lambda: run.status().done > 1)
    with pytest.raises(ValueError, match="still at work"):
        jobs.resume(run)
    run.cancel()
    wait(ended(run))
    assert run.status().state == "cancelled"
    assert run.status().message == "Stopped after this candidate."
    before = run.status().done
    assert 1 < before < 500

    monkeypatch.setenv("FAKE_STEPS", "2")
    again = jobs.resume(jobs.find(run.id))
    wait(ended(again))
    assert again.folder == run.folder and again.status().state == "done"
    assert not again.stopping


def test_a_run_that_hears_no_stop_ends_at_the_second(run_root, wait, monkeypatch):
    monkeypatch.setenv("FAKE_END", "deaf")
    run = jobs.start("front", ARGUMENTS)
    wait(lambda: run.status().stage == "hearing nothing")
    run.cancel()
    assert run.stopping and not run.status().over
    wait(lambda: run.cancel() or run.status().over)  # signals that come too close are one
    assert (run.status().state, run.status().message) == ("cancelled", "Stopped.")


def test_a_stop_right_after_the_start_is_a_stop_and_no_failure(run_root, wait):
    run = jobs.start("front", ARGUMENTS)
    run.cancel()
    wait(ended(run))
    assert run.status().state == "cancelled"


def test_a_second_run_waits_in_line_visibly_and_can_be_stopped_there(run_root, wait):
    run_root.mkdir()
    with FileLock(run_root / ".lock"):
        run = jobs.start("front", ARGUMENTS)
        wait(lambda: run.status().stage == "waiting in line")
        assert run.status().state == "waiting"
        assert run.status().progress.startswith("Another run is at work here")
        run.cancel()
        wait(ended(run))
    assert run.status().state == "cancelled"
    assert run.status().message == "Stopped while waiting in line."
    assert not run.metrics()


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/b", "A", "a b", "x" * 81, "front\n", "a.b", "no-such-run"]
)
def test_ids_from_outside_are_checked(run_root, name):
    (run_root / "front-1").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"is not an id|there is no run"):
        jobs.find(name)


def test_a_link_out_of_the_root_is_not_followed(run_root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "request.json").write_text('{"command": "front", "arguments": []}')
    run_root.mkdir()
    (run_root / "inside").symlink_to(outside)
    with pytest.raises(ValueError, match="there is no run 'inside'"):
        jobs.find("inside")
    assert jobs.runs() == []


REQUEST = '{"command": "front", "arguments": ["minilm-l6"]}'


@pytest.mark.parametrize(
    ("request_text", "status_text"),
    [
        (REQUEST, ""),
        (REQUEST, '{"state": "runn'),
        (REQUEST, "[" * 100_000),
        (REQUEST, '{"state": "excellent"}'),
        (REQUEST, '{"state": ["done"]}'),
        (REQUEST, "9" * 5000),
        (REQUEST, "\xff\x00"),
        ("{", '{"state": "done"}'),
        ('{"command": "front; rm -rf /", "arguments": []}', '{"state": "done"}'),
        ('{"command": "front", "arguments": "--out /etc"}', '{"state": "done"}'),
        ('{"command": "front", "arguments": [1, null]}', '{"state": "done"}'),
    ],
)
def test_damaged_records_read_as_failed_with_one_line(run_root, request_text, status_text):
    folder = run_root / "front-1"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(request_text)
    (folder / "status.json").write_text(status_text, encoding="latin-1")
    status = jobs.find("front-1").status()
    assert status.state == "failed"
    assert status.message.startswith("The record of run front-1 is damaged")
    assert "\n" not in status.message


def test_hostile_numbers_in_a_status_are_tamed(run_root):
    folder = run_root / "front-1"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(REQUEST)
    (folder / "status.json").write_text(
        '{"state": "done", "done": 1e999, "total": "7", "seconds_left": NaN, "pid": -1, '
        f'"updated": {"9" * 400}, "stage": {{"a": 1}}, "message": "{"x" * 9000}"}}'
    )
    (folder / "metrics.jsonl").write_text('{"stage": "a"}\nnull\n{"stage": "b"\n[[[')
    run = jobs.find("front-1")
    status = run.status()
    assert (status.done, status.total, status.seconds_left, status.pid, status.updated) == (
        0,
        0,
        None,
        None,
        None,
    )
    assert len(status.message) == 2000
    assert run.metrics() == [{"stage": "a"}]
    with pytest.raises(ValueError, match=r"request\.json is damaged"):
        (folder / "request.json").write_text("{}")
        jobs.resume(run)


def test_another_process_that_got_the_pid_is_neither_awaited_nor_stopped(run_root):
    folder = run_root / "front-1"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(REQUEST)
    status = {"state": "running", "stage": "x", "pid": os.getpid(), "born": "1"}
    (folder / "status.json").write_text(json.dumps(status))
    run = jobs.find("front-1")
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        assert run.status().state == "failed"
        run.cancel()
        assert not heard
        status["born"] = jobs._born(os.getpid())
        (folder / "status.json").write_text(json.dumps(status))
        assert run.status().state == "running"
        run.cancel()  # and now it is that very process
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_runs_are_listed_newest_first_and_by_command(run_root):
    for age, name in enumerate(["front-a", "front-b", "agora-c"]):
        folder = run_root / name
        folder.mkdir(parents=True)
        request = {"command": name.partition("-")[0], "arguments": []}
        (folder / "request.json").write_text(json.dumps(request))
        os.utime(folder / "request.json", (1000 - age, 1000 - age))
    (run_root / "Not an id").mkdir()
    (run_root / "stray.txt").touch()
    assert [run.id for run in jobs.runs()] == ["front-a", "front-b", "agora-c"]
    assert [run.id for run in jobs.runs(command="agora")] == ["agora-c"]
    assert jobs.runs(run_root / "nowhere") == []


def reported(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_reports_are_thinned_out_but_never_the_last_nor_a_candidate(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(jobs.time, "time", lambda: clock[0])
    with jobs.working(tmp_path / "x", "front", []) as job:
        for done in range(1, 101):  # 100 events in one second: 1, then one each 0.2 s
            clock[0] = 1000 + done / 100
            job.report({"stage": "a", "done": done, "total": 200})
        assert len(reported(tmp_path / "x")) == 5
        job.report({"stage": "b", "done": 1, "total": 9})  # writes a's last one first
        job.report({"stage": "b", "done": 2, "total": 9, "architecture": "1,1,1,1"})
        job.report({"stage": "b", "done": 2, "total": 9, "architecture": "1,1,2,1"})
        job.report({"stage": "b", "done": 3, "total": 9})
    events = reported(tmp_path / "x")
    assert [(e["stage"], e["done"]) for e in events[-5:]] == [
        ("a", 100),
        ("b", 1),
        ("b", 2),
        ("b", 2),
        ("b", 3),
    ]
    assert jobs.Run(tmp_path / "x").status().state == "done"


def test_the_time_left_follows_the_pace_of_the_stage(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(jobs.time, "time", lambda: clock[0])
    run = jobs.Run(tmp_path / "x")
    with jobs.working(run.folder, "front", []) as job:
        job.report({"stage": "a", "done": 20, "total": 50})  # resumed: 20 cost nothing
        assert run.status().seconds_left is None
        clock[0] += 60
        job.report({"stage": "a", "done": 30, "total": 50})  # 10 in 60 s, so 20 in 120 s
        assert run.status().seconds_left == 120
        assert run.status().progress == "30 of 50, about 2 min left"
        clock[0] += 1
        job.report({"stage": "a", "done": 31, "total": 50, "seconds_left": 7.0})
        assert run.status().progress == "31 of 50, about 7 s left"


def test_events_may_hold_numpy_and_nan(tmp_path):
    with jobs.working(tmp_path / "x", "front", []) as job:
        job.report(
            {
                "stage": "a",
                "done": np.int64(3),
                "total": np.int64(3),
                "loss": np.float32("nan"),
                "error": np.float32(0.5),
                "where": Path("y"),
            }
        )
    event = reported(tmp_path / "x")[0]
    assert (event["done"], event["loss"], event["error"], event["where"]) == (3, None, 0.5, "y")


def test_a_full_disk_does_not_stop_the_work_and_its_end_is_still_written(tmp_path, monkeypatch):
    def full(path: Path, plain: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = jobs.Run(tmp_path / "x")
    with jobs.working(run.folder, "front", []) as job:
        monkeypatch.setattr(jobs, "_write_json", full)
        job.report({"stage": "a", "done": 1, "total": 1})
    assert run.status().state == "done"  # written over the old one, in place


def test_a_disk_that_fills_up_in_the_work_is_told_in_plain_words(tmp_path):
    run = jobs.Run(tmp_path / "x")
    with (
        pytest.raises(OSError, match="No space left"),
        jobs.working(run.folder, "front", ["--out", "y", "--seed", "1", "--out=z"]),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert run.status().state == "failed"
    assert run.status().message.startswith(DISK_FULL)
    assert run.request["arguments"] == ["--seed", "1"]


def test_signals_are_given_back_and_work_outside_the_main_thread(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with jobs.working(tmp_path / "x", "front", []) as job:
        assert signal.getsignal(signal.SIGTERM) == job._on_signal
        signal.raise_signal(signal.SIGINT)
        assert job.stop.is_set()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    states = []

    def elsewhere() -> None:
        with jobs.working(tmp_path / "y", "front", []):
            states.append(jobs.Run(tmp_path / "y").status().state)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert states == ["running"]
