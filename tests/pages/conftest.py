"""Fixtures of the pages' tests: nothing on record and no engine; what a page offers to take."""

import os
import shutil
from pathlib import Path

import pytest
import streamlit as st

from bort_engine.finetune import report as agora_report
from bort_engine.lab import table_record
from bort_engine.search import errors as oracles
from bort_engine.show import race as race_report

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, run_root: Path, tmp_path: Path) -> None:
    """Nothing is on record, nothing has run, and nobody has handed a file over."""
    monkeypatch.setenv("BORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(oracles, "recorded_tasks", list)
    monkeypatch.setattr(agora_report, "RECORDED", tmp_path)
    monkeypatch.setattr(race_report, "RECORDED", tmp_path / "nothing.json")
    monkeypatch.setattr(table_record, "RECORDED", tmp_path / "nothing.json")
    st.cache_data.clear()


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> dict:
    """What makes the files that a page offers, by name."""
    files = {}

    def note(label, data, name, kind, **options):
        files[name] = data

    monkeypatch.setattr(st, "download_button", note)
    return files


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the fake engine last until they are stopped."""
    monkeypatch.setenv("FAKE_STEPS", "400")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")


@pytest.fixture(scope="session")
def browser():
    """Chromium, one for all."""
    if not Path(CHROMIUM).exists():
        assert os.environ.get("CI") != "true", f"CI needs a browser, and there is none: {CHROMIUM}"
        pytest.skip(f"no browser at {CHROMIUM}; install chromium, or name it in CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=FLAGS, timeout=60_000
        )
        yield browser
        browser.close()
