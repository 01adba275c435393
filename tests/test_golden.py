"""What the shipped records say, to six digits: it may not change unless a record does.

`python tests/test_golden.py` writes the expected values anew; say in the commit why they changed.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bort_engine import race, sources
from bort_engine.data.resources import ASSETS
from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.latency import Calibration
from bort_engine.encoder.space import Architecture
from bort_engine.finetune.report import Report
from bort_engine.lab.ledger import Ledger
from bort_engine.lab.torus_run import Torus
from bort_engine.runs.records import read
from bort_engine.search.evaluate import EvaluationTable
from bort_engine.search.front import front
from bort_engine.search.layer_result import LayersFront
from bort_engine.search.result import Search
from bort_engine.search.scores import Race
from bort_engine.show.agora import leakage

GOLDEN = Path(__file__).parent / "golden"
RECORDED = ASSETS / "recorded"


def params() -> Any:
    """Parameters and operations of every source, by part."""
    parts = ("embeddings", "encoder", "head", "total")
    return {
        name: {
            "parameters": [getattr(n_parameters(s.architecture, s), part) for part in parts],
            "operations": [getattr(n_operations(s.architecture, s), part) for part in parts],
        }
        for name, s in sources.items()
    }


def fronts() -> Any:
    """The recorded fronts at two epsilons, lazily and not, by encoder size, and of briefs."""
    searches = {
        "lazy": Search(),
        "every cell": Search(lazy=False),
        "effective": Search(size="effective"),
        "stride": Search(selection="stride"),
    }
    told = {
        f"{name} {epsilon}": _front(
            front("minilm-l6", epsilon=epsilon, errors="recorded", search=search)
        )
        for name, search in searches.items()
        for epsilon in (0.5, 0.2)
    }
    return told | {
        "brief": _front(front("minilm-l6", epsilon=0.2, oracle="brief", errors="recorded"))
    }


def _front(found: Any) -> Any:
    knee = found.knee
    names = ("n_parameters", "latency_ms", "error", "dev_error", "r", "w")
    names += ("pareto", "at_chance", "role")
    return {
        "cells": found.n_cells,
        "evaluated": found.n_evaluated,
        "space": found.space_size,
        "achieved": found.achieved_epsilon,
        "missed": [found.guarantee.n_missed, found.guarantee.most_uncovered],
        "uncovered": found.guarantee.n_uncovered,
        "points of accuracy": found.promised_points,
        "best": str(found.best.architecture),
        "recommended": str(found.recommended.architecture),
        "knee": str(knee.architecture) if knee else None,
        "maximum": str(found.maximum),
        "points": {str(p.architecture): [getattr(p, name) for name in names] for p in found.points},
    }


def races() -> Any:
    """A short race, replayed now, and the scores of the shipped one."""
    shipped = Race.load(RECORDED / "race-minilm-l6-rotten-tomatoes.json")
    return {
        "replayed": race("minilm-l6", budget=24, seeds=2).summary(),
        "shipped": shipped.summary(),
    }


def records() -> Any:
    """Every other file in assets/, by what it holds."""
    told: dict[str, Any] = {}
    for path in sorted((ASSETS / "calibrations").glob("*.json")):
        calibration = read(path, Calibration)
        told[path.stem] = {
            "blocks": len(calibration.layer_ms),
            "largest, 2 layers": calibration.predict_ms(
                Architecture.parse("2," + max(calibration.layer_ms, key=calibration.layer_ms.get))
            ),
            "median relative error": calibration.report().median_relative_error,
            "kendall tau": calibration.report().kendall_tau,
        }
    for path in sorted(RECORDED.glob("*.jsonl")):
        evaluations = EvaluationTable(path).evaluations
        told[path.stem] = {
            "rows": len(evaluations),
            "errors": sum(e.error for e in evaluations.values()),
            "dev errors": sum(e.dev_error for e in evaluations.values()),
            "seconds": sum(e.seconds for e in evaluations.values()),
        }
    for name in ("torus", "torus-guesser"):
        run = Torus.load(RECORDED / f"{name}.json")
        told[name] = [
            [s.seed, s.before, s.after, *s.betti, *(c.test for c in s.controls.values())]
            for s in run.scores
        ]
    ledger = Ledger.load(RECORDED / "ledger.json")
    told["ledger"] = {
        str(length): ledger.ratio("bert-large-uncased", "bort", length).median
        for length in ledger.lengths
    }
    layers = LayersFront.load(RECORDED / "layers-minilm-l6-rotten-tomatoes-seed0.json")
    names = ("n_parameters", "latency_ms", "loss", "dev_error", "pareto")
    told["layers"] = {
        "shapes": float(layers.n_shapes),
        "tau": layers.tau,
        "bias": layers.bias(),
        "recommended": str(layers.recommended.shape),
        "points": {str(p.shape): [getattr(p, name) for name in names] for p in layers.points},
    }
    report = read(RECORDED / "agora-minilm-l6-rotten-tomatoes-few.json", Report)
    rows = report.test.rows if report.test else ()
    told["agora"] = {
        "rows": {row.arm: [row.accuracy, row.low, row.high] for row in rows},
        "leakage": [[leak.seen, leak.other] for leak in leakage(report)],
        "rounds": {
            f"{run.seed} {name}": [
                [len(r.fits), len(r.mistakes), len(r.points)] for r in arm.rounds
            ]
            for run in report.runs
            for name, arm in run.arms.items()
        },
    }
    gradients = json.loads((RECORDED / "gradients-minilm-l6.json").read_text())
    keys = {*gradients, *gradients.pop("provenance"), *gradients.pop("setup")}
    newer = {
        "precision",
        "provenance",
        "recipe",
        "seed",
        "setup",
        "task",
        "task_digest",
        "training",
    }
    told["gradients"] = sorted(keys - newer)
    return told


TELL = {"params": params, "fronts": fronts, "races": races, "records": records}


def rounded(value: Any) -> Any:
    """Plain values with six significant digits: sums differ in the last ones between processors."""
    if isinstance(value, dict):
        return {str(key): rounded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


@pytest.mark.parametrize("name", TELL)
def test_shipped_records_say_what_they_said(name):
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    assert rounded(TELL[name]()) == expected


if __name__ == "__main__":
    for name, tell in TELL.items():
        text = json.dumps(rounded(tell()), separators=(",", ":"))
        (GOLDEN / f"{name}.json").write_text(text + "\n")
