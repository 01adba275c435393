"""What holds on every page alike, through Streamlit's AppTest; slow work is faked."""

import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pexpect
import pytest

from bort_engine.runs import jobs
from tests.app import APP, button, ended, opened, words

pytestmark = pytest.mark.usefixtures("quiet")
ROOT = Path(__file__).parents[2]
# By command: the page, what it says with nothing to show, what starts a run, and its result.
PAGES = {
    "front": ("", "Nothing is on record", "Extract the front", "front.json"),
    "agora": ("pages/finetune.py", "What happens here", "Start", "report.json"),
    "race": ("pages/compare.py", "No race ships", "Start", "race.json"),
}
on_every_page = pytest.mark.parametrize("command", PAGES)


@on_every_page
def test_a_run_that_is_not_there_is_one_line_and_a_way_back(run_root, command):
    page, empty, *_ = PAGES[command]
    ended(run_root, "params")
    causes = {
        "../../etc": "is not an id",
        "no-such-run": "there is no run",
        "params-by-hand": "is not of this page",
    }
    for run, cause in causes.items():
        at = opened(page, run=run, source="<b>", parent="<b>", race_source="<b>")
        assert not at.exception and len(at.warning) == 1 and cause in words(at)
    button(at, "Close this run").click().run()
    assert not at.exception and empty in words(at)


@on_every_page
def test_a_failed_run_says_why_and_shows_its_log(run_root, command):
    run = ended(run_root, command, "no *memory*", log__txt="about to run out of memory\n")
    at = opened(PAGES[command][0], run=run.id)
    assert not at.exception and button(at, "Resume")
    assert at.error[0].value.startswith(r"**This run failed.** no \*memory\*")
    assert at.code[0].value == "about to run out of memory"


@pytest.mark.parametrize("text", ["{", '{"schema": 1, "points": [7]}', None])
@on_every_page
def test_a_damaged_or_missing_result_of_a_finished_run_is_one_line(run_root, command, text):
    page, *_, result = PAGES[command]
    files = {} if text is None else {result.replace(".", "__"): text}
    run = ended(run_root, command, **files)
    at = opened(page, run=run.id)
    assert not at.exception and len(at.warning) == 1
    assert str(run.folder / result) in words(at) and button(at, "Close this run")


@on_every_page
def test_a_full_disk_when_starting_is_one_line(monkeypatch, command):
    def full(*_):
        raise OSError(28, "No space left on device")

    page, _, start, _ = PAGES[command]
    monkeypatch.setattr(jobs, "start", full)
    at = opened(page)
    button(at, start).click().run()
    assert not at.exception and "No space left on device" in at.error[0].value


def test_the_process_of_the_page_never_loads_torch(tmp_path):
    """In a process of its own, with the real engine: nothing here may pull it in."""
    script = f"""
import sys
from streamlit.testing.v1 import AppTest
for source in ("minilm-l6", "bert-large-uncased"):
    at = AppTest.from_file({APP!r}, default_timeout=60)
    at.query_params["source"] = source
    at.run()
    assert not at.exception and at.metric, at.exception
at.switch_page("pages/finetune.py").run()
assert not at.exception and "What happens here" in [h.value for h in at.header]
heavy = {{"torch", "transformers", "datasets", "optuna"}} & set(sys.modules)
assert not heavy, heavy
"""
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "BORT_RUNS": str(tmp_path)},
    )
    assert process.returncode == 0, process.stderr[-2000:]


def test_nothing_of_a_run_can_be_read_as_markup():
    """`unsafe_allow_html` appears nowhere; an exception is never shown but literally."""
    for path in [ROOT / "app.py", *(ROOT / "pages").rglob("*.py")]:
        text = path.read_text()
        assert "unsafe" not in text
        assert {*re.findall(r"st\.html\((.*)\)", text)} <= {"STYLES[unfolded]"}  # constants
        assert not re.search(r"st\.(warning|error|info|caption|markdown)\((str\(e\)|e\b)", text)


def test_the_settings_of_the_server_are_closed():
    config = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
    assert config["server"]["address"] == "localhost"
    assert config["server"]["enableXsrfProtection"] and config["server"]["enableCORS"]
    assert not config["server"]["enableStaticServing"]
    assert config["client"]["showErrorDetails"] == "type"
    assert config["browser"]["gatherUsageStats"] is False


def test_a_first_start_in_a_terminal_asks_nothing(tmp_path):
    """Where it never ran and there is a screen, Streamlit would wait for an e-mail address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = ["-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    env = os.environ | {"HOME": str(tmp_path), "DISPLAY": ":0", "BROWSER": "true"}
    child = pexpect.spawn(sys.executable, command, cwd=ROOT, env=env, timeout=60)
    try:
        assert child.expect(["You can now view", "Email"]) == 0
    finally:
        child.close(force=True)
