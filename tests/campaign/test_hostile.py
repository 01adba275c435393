"""Hostile words for the command line, records that the pages read, clicks and addresses."""

import copy
import json
import math
import shlex
import shutil
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import BytesIO, TextIOWrapper
from pathlib import Path

import click
import pytest
import streamlit as st
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as text

from bort_engine.__main__ import VERBS, _Commands, main
from bort_engine.finetune.report import Report
from bort_engine.runs import records
from bort_engine.runs.events import Cancelled
from bort_engine.runs.work import Job, Request, Status
from bort_engine.search.front import front
from bort_engine.search.race import Race
from bort_engine.search.result import Front
from tests.app import ended, opened
from tests.campaign.conftest import times
from tests.fake_engine import synthetic_race, synthetic_record

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(7200)]
many = partial(settings, database=None, suppress_health_check=list(HealthCheck))
BEGINNINGS = {verb: "minilm-l6" for verb in VERBS if verb not in ("ledger", "torus", "fetch")}
BEGINNINGS |= {
    "agora": "minilm-l6 --architecture 3,12,384,768",
    "cut": "minilm-l6 --architecture 3,12,384,768",
    "export": "nowhere --out there",
    "fetch": "--names nothing",
    "ledger": "",
    "torus": "",
}
WORDS = ["", " ", "-1", "0", "nan", "inf", "-inf", "1e999", "9" * 400, "1,2,3", "1,,", "none", "[]"]
WORDS += [
    "../..",
    "/dev/null",
    "/proc/self/mem",
    "a" * 5000,
    "\udc80",
    "\n\n",
    "%s{}",
    "--json",
    "~",
]
WORDS += ["D=1-999999 A=1 H=1 I=1", "D=", "x.csv?text=", "hub:", "hub:../..", "\u202e", "on", "-"]
VALUES = [10**400, -(10**30), math.nan, math.inf, True, None, "", "1", "\x00", "\ud800", [], {}, -1]
VALUES += [0, 1, "<b>", "![](http://198.51.100.1/x.png)", "$x$", "a" * 3000, "../..", [[]], 1e17]


def cause() -> str:
    """Return the last line of the traceback, and where it came from."""
    kind, error, trace = sys.exc_info()
    frame = traceback.extract_tb(trace)[-1]
    return f"{kind.__name__}: {str(error)[:200]} ({Path(frame.filename).name}:{frame.lineno})"


def answer(arguments: list[str]) -> str:
    """Return how an answer to these words is none: a traceback, or not one line and exit code 2."""
    out = TextIOWrapper(BytesIO(), "utf-8")
    err = TextIOWrapper(BytesIO(), "utf-8", errors="backslashreplace")  # as Python opens them
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(arguments)
            out.flush()
    except BaseException:
        return cause()
    err.seek(0)
    lines = err.read().strip().splitlines()
    if code == 2 and (len(lines) != 1 or not lines[0].startswith("bort_engine: ")):
        return f"{len(lines)} lines: {' '.join(lines)[:300]!r}"
    return "" if code in (0, 2, 130) else f"exit code {code}"


def test_hostile_words_are_one_line_and_exit_code_2(quick_cache, tally, tmp_path, monkeypatch):
    def begin(job):  # the words were fine: no more is asked
        raise Cancelled

    monkeypatch.setattr(Job, "_wait", begin)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("BORT_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    context, commands, seen = click.Context(click.Command("")), _Commands(), {}
    options = {
        verb: [p.opts[0] for p in commands.get_command(context, verb).params if p.opts[0][0] == "-"]
        for verb in VERBS
    }
    words = text.one_of(text.sampled_from(WORDS), text.text(max_size=20), text.integers().map(str))

    @seed(0)
    @many(max_examples=times(1000))
    @given(text.sampled_from(list(VERBS)), text.data())
    def attack(verb, data):
        arguments = [verb, *shlex.split(BEGINNINGS[verb])]
        for _ in range(data.draw(text.integers(1, 3))):
            word = data.draw(words).replace("\0", "")
            option = data.draw(text.sampled_from([*options[verb], ""]))
            if option == "--out":
                word = word.lstrip("/~.")  # no folder of others is written to
            arguments += [f"{option}={word}"] if option else [word]
        failure = answer(arguments)
        known = failure.rpartition(" (")[2] in seen
        seen[failure.rpartition(" (")[2]] = arguments
        tally.add("hostile words for a command", failure and not known and f"{failure} {arguments}")

    attack()


def places(plain) -> list[tuple]:
    """List every (container, key) of a JSON value."""
    if not isinstance(plain, dict | list):
        return []
    keys = list(plain) if isinstance(plain, dict) else range(len(plain))
    return [pair for key in keys for pair in [(plain, key), *places(plain[key])]]


def test_a_hostile_record_is_one_line_or_a_page_that_holds(run_root, tally):
    event = {"time": 1.0, "stage": "evaluating candidates", "done": 1, "total": 2, "detail": "x"}
    event |= {"architecture": "1,12,96,192", "error": 0.5, "dev_error": 0.5}
    status = {"state": "cancelled", "done": 1, "total": 2, "stage": "x", "updated": 1.7e9}
    request = {"command": "front", "arguments": ["minilm-l6", "--epsilon", "0.2"]}
    files = {  # by name: the command, the page, what it holds, and how the engine reads it
        "front.json": ("front", "", front("minilm-l6", epsilon=0.5, errors="recorded"), Front.load),
        "report.json": ("agora", "pages/finetune.py", synthetic_record(), Report),
        "race.json": ("race", "pages/compare.py", synthetic_race(), Race.load),
        "status.json": ("front", "", status, Status),
        "request.json": ("front", "", request, Request),
        "metrics.jsonl": ("front", "", event, dict),
    }
    plain = {
        name: value if isinstance(value, dict) else records.dump(value)
        for name, (_, _, value, _) in files.items()
    }
    where = {name: places(value) for name, value in plain.items()}
    seen = set()

    @seed(0)
    @many(max_examples=times(1000))
    @given(text.sampled_from(list(files)), text.data())
    def attack(name, data):
        command, page, _, kind = files[name]
        folder = ended(run_root, command).folder
        container, key = data.draw(text.sampled_from(where[name]))
        before = copy.copy(container)
        container[key] = data.draw(text.sampled_from(VALUES))
        (folder / name).write_bytes(json.dumps(plain[name]).encode(errors="surrogatepass") + b"\n")
        said, value = f"{name} {key} {str(container[key])[:50]!r}", container[key]
        container.clear()
        (container.update if isinstance(container, dict) else container.extend)(before)
        try:
            kind(folder / name) if kind in (Front.load, Race.load) else records.read(
                folder / name, kind
            )
            refused = False
        except ValueError as e:
            refused = True
            failure = "\n" in str(e) and f"several lines: {e}"
        if not refused or data.draw(text.integers(0, 9)) == 0 or value is True:
            try:
                at = opened(page, run=folder.name)
                failure = at.exception and f"{at.exception[0].message[:200]}"
            except Exception:
                failure = cause()
        shutil.rmtree(folder)
        known, _ = failure in seen, failure and seen.add(failure)
        tally.add("hostile records", failure and not known and f"{failure} {said}")

    st.cache_data.clear()
    attack()
