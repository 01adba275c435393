"""Fixtures of the lessons: made-up records, and the page opened on a lesson as from an address."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bort_engine.encoder.latency import Calibration, HeldOut, LatencySettings
from bort_engine.runs import jobs
from bort_engine.show.lessons.table import Table, tables
from tests import made_up_record

ROOT = Path(__file__).parents[3]


def made_up_calibration(
    outside_ms: dict[str, float], layer_ms: dict[str, float], length: int = 64
) -> Calibration:
    """Return times by hand, at batch 1: by H outside, by A,H,I of a layer."""
    row = HeldOut("1,2,96,192", measured_ms=2.0, iqr_ms=0.1, predicted_ms=2.1)
    settings = LatencySettings(1, length, 2)
    where = "CPU", "torch 0", "2000-01-01", 1.0
    return Calibration("minilm-l6", settings, *where, outside_ms, layer_ms, (row,))


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two made-up records of the whole space, of training seeds 0 and 1."""
    folder = tmp_path_factory.mktemp("records")
    return [made_up_record.write(folder / f"{seed}.jsonl", seed) for seed in (0, 1)]


@pytest.fixture(scope="session")
def table(records: list[Path]) -> Table:
    return tables(records)[0]


@pytest.fixture
def on_record(monkeypatch: pytest.MonkeyPatch, records: list[Path]) -> None:
    """Only the made-up records ship."""
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: records)


@pytest.fixture
def open_lesson(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Open a lesson by its id, its question skipped; the rest of the address is by name."""
    monkeypatch.chdir(ROOT)

    def opened(lesson: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "pages/learn.py"), default_timeout=60)
        for name, value in ({"lesson": lesson, f"{lesson}_guess": "skip"} | query).items():
            at.query_params[name] = value
        at.run()
        title = import_module(f"pages.parts.lessons.{lesson}").TITLE
        assert not at.exception and at.header[0].value == title
        return at

    return opened


def words(at: AppTest) -> str:
    return "\n".join(e.value for kind in (at.markdown, at.caption, at.warning) for e in kind)


def press(at: AppTest, label: str) -> None:
    next(button for button in at.button if button.label == label).click().run()
    assert not at.exception and not at.warning


def finish(run: jobs.Run, result: str, text: str | None) -> None:
    """Let a run that has ended read as done, with this text as the file of its result."""
    if text is not None:
        (run.folder / result).write_text(text)
    path = run.folder / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "done"}))
