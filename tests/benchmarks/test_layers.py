"""The pairs of uneven and uniform shapes, timed: by hand, and on with what was stopped."""

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from bort_engine.encoder.uneven import Uneven

FINISHED = Path(__file__).parents[2] / "assets" / "recorded" / "layers-finished.json"


@pytest.fixture
def benchmark(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return import_module("layers")


def test_a_ratio_is_that_of_medians_and_its_spread_that_of_rounds_by_hand(benchmark):
    assert benchmark.times_of([2.0, 4.0, 6.0], [1.0, 2.0, 4.0]) == {
        "uniform_ms": [3.0, 4.0, 5.0],
        "uneven_ms": [1.5, 2.0, 3.0],
        "ratio_quartiles": [1.75, 2.0, 2.0],
        "ratio": 2.0,
    }


def test_pairs_are_written_as_they_come_and_not_timed_twice(benchmark, monkeypatch, tmp_path):
    exported = []

    def passes(shape, folder, ids):
        exported.append(str(shape))
        if len(exported) == 4:
            raise KeyboardInterrupt
        return {"pytorch": lambda: None, "onnx": lambda: None}

    monkeypatch.setattr(benchmark, "passes", passes)
    out = tmp_path / "timed.json"
    with pytest.raises(KeyboardInterrupt):
        benchmark.time_pairs(out, rounds=2)
    first = json.loads(out.read_text())
    pairs = json.loads(FINISHED.read_text())["pairs"]
    assert [row["uneven"] for row in first["pairs"]] == [pairs[0]["uneven"]]
    assert first["weights"].startswith("untrained") and first["n_tokens"] == 64
    benchmark.time_pairs(out, rounds=2, n_pairs=2)
    both = json.loads(out.read_text())["pairs"]
    assert both[0] == first["pairs"][0] and both[1]["uneven"] == pairs[1]["uneven"]
    assert exported[4:] == [pairs[1]["uniform"], pairs[1]["uneven"]]
    with pytest.raises(SystemExit, match="measured otherwise"):
        benchmark.time_pairs(out, rounds=3)


def test_what_is_timed_has_the_parameters_that_were_recorded(benchmark):
    pair = json.loads(FINISHED.read_text())["pairs"][1]
    model = benchmark.untrained(Uneven.parse(pair["uneven"]))
    assert sum(p.numel() for p in model.base_model.parameters()) == pair["n_parameters"][1]
