"""The AB^nC form, checked: layers dominate, heads are free, errors in order, gradients bounded.

What the guarantee of the FPTAS rests on ([OSE], arXiv 2010.08512). Costs are computed; times,
errors and gradients are read from records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
from annotated_types import MinLen

from bort_engine.algorithms import fptas
from bort_engine.data.resources import ASSETS
from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.latency import Calibration, recorded_calibration
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.lab import ground_truth
from bort_engine.runs import records
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import Positive
from bort_engine.search.candidates import candidate, costs_of
from bort_engine.search.evaluate import EvaluationTable, Setup
from bort_engine.search.scale import Scale
from bort_engine.show.lessons.anatomy import (
    CostSplits,
    Split,
    calibration_of,
    costs,
    heads_for,
    percent,
)

MEASURED = "minilm-l6"  # the source whose errors and gradients are on record
GRADIENTS = ASSETS / "recorded" / "gradients-minilm-l6.json"
# The verdicts' borders. They are ours: the papers ask that B dominates, but not by how much.
MOST, HALF = 2 / 3, 1 / 2  # of a cost, in the layers
CLOSE, LOOSE = 0.8, 0.5  # Kendall's tau
FEW = 0.05  # of the ordered pairs
BOUND = 10  # times the median
RULES = (
    f"Where pass, warn and fail part is our choice: layers hold {MOST:.0%} or {HALF:.0%} of a "
    f"cost; tau is beyond -{CLOSE:g} or -{LOOSE:g}; no pair, or up to {FEW:.0%}, is out of order; "
    f"no gradient is beyond {BOUND} or {BOUND**2} times the median."
).replace("%", " %")


@dataclass(frozen=True, slots=True)
class Gradient:
    """The norms of one brief training's gradients, step by step; `error` is what it ended with."""

    architecture: Architecture
    error: Positive
    norms: Annotated[tuple[Positive, ...], MinLen(1)]

    @property
    def median(self) -> float:
        return median(self.norms)

    @property
    def ratio(self) -> float:
        return max(self.norms) / self.median


@dataclass(frozen=True, slots=True)
class Gradients:
    """What `benchmarks/gradients.py` records of brief trainings."""

    AGAIN: ClassVar[str] = "run benchmarks/gradients.py to make it anew"

    schema: Literal[2] = field(default=2, kw_only=True)
    what: str = field(
        default="norm of all weights' gradient at each step, before it is clipped", kw_only=True
    )
    setup: Setup
    clipped_at: Positive
    shapes: tuple[Gradient, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the property; the verdict is pass, warn, fail, or unknown."""

    name: str
    verdict: str
    says: str


def check_shares(shape: CostSplits, source: Source) -> list[Check]:
    """Do the layers dominate each cost? With the range over the source's default space."""
    space = [*SearchSpace.of(source)]
    ranges = {
        "Parameters": [Split.of(n_parameters(a, source)).layers for a in space],
        "Operations": [Split.of(n_operations(a, source, shape.length)).layers for a in space],
    }
    checks = []
    for measure, split in shape.by_measure.items():
        name = f"Layers dominate the {measure.lower()}"
        if isinstance(split, str):
            checks.append(Check(name, "unknown", f"{split}."))
            continue
        share = split.layers
        says = f"the layers hold {percent(share)}, all else {percent(1 - share)}."
        if measure in ranges:
            low, high = (percent(end(ranges[measure])) for end in (min, max))
            span = low if low == high else f"{low} to {high}"
            says += f" Over the {len(space):,} shapes of {source.name}'s space: {span}."
        checks.append(Check(name, _verdict(share >= MOST, share > HALF), says))
    return checks


def by_heads(
    architecture: Architecture, source: Source, length: int, calibration: Calibration | None
) -> pd.DataFrame:
    """Return parameters, operations and time of the same shape with every head count."""
    rows = []
    for heads in heads_for(architecture.hidden_size):
        shape = replace(architecture, num_attention_heads=heads)
        variant = costs("", shape, source, length, calibration)
        layers_ms = variant.time.amounts[1] if isinstance(variant.time, Split) else math.nan
        rows.append(
            {
                "Heads A": heads,
                "Parameters": int(variant.parameters.total),
                "Operations": int(variant.operations.total),
                "One layer (ms)": round(layers_ms / shape.num_hidden_layers, 3),
            }
        )
    return pd.DataFrame(rows)


def heads_say(calibration: Calibration) -> str:
    """Say which layers a calibration has timed, and how little the heads matter to it."""
    blocks = [map(int, block.split(",")) for block in calibration.layer_ms]
    axes = zip("AHI", zip(*blocks, strict=True), strict=True)
    timed = "; ".join(f"{name} {', '.join(map(str, sorted(set(axis))))}" for name, axis in axes)
    times: dict[str, list[float]] = {}
    for block, ms in calibration.layer_ms.items():  # a block is written A,H,I
        times.setdefault(block.partition(",")[2], []).append(ms)
    spreads = [max(ms) / min(ms) - 1 for ms in times.values() if len(ms) > 1] or [0.0]
    return (
        f"Timed for {calibration.source}: {timed}. Over {len(spreads)} pairs of H and I, the "
        f"slowest head count takes {100 * median(spreads):.0f} % longer than the quickest "
        f"(median), at worst {100 * max(spreads):.0f} %: each head makes a table of attention of "
        "its own, which the count of multiplications does not see."
    )


def fullest(paths: Sequence[Path]) -> list[EvaluationTable]:
    """Return the tables of `MEASURED` with the most shapes; ValueError if one is damaged."""
    tables = [EvaluationTable(path) for path in paths]
    tables = [table for table in tables if table.header.setup.source == MEASURED]
    most = max((len(table.evaluations) for table in tables), default=0)
    return [table for table in tables if 1 < len(table.evaluations) == most]


def check_errors(record: EvaluationTable) -> list[Check]:
    """Does the error fall as the network grows, on the whole and pair by pair?

    On the whole: Kendall's tau of the error and the size of the layers; -1 is a perfect order.
    """
    from scipy.stats import kendalltau

    source = sources[MEASURED]
    # One that has timed all shapes of the record, where there is one.
    uniform = {a: e for a, e in record.evaluations.items() if isinstance(a, Architecture)}
    calibration = recorded_calibration(source, uniform) or calibration_of(source)
    assert calibration, f"{MEASURED}'s calibration ships"
    evaluations = {a: e for a, e in uniform.items() if calibration.covers([a])}
    scale = Scale.of(record.header.teacher)
    errors = [scale.r(evaluation.wrong) for evaluation in evaluations.values()]
    points = [costs_of(a, source, calibration) for a in evaluations]
    candidates = [candidate(point) for point in points]
    correlation: Any = kendalltau([point.n_encoder_parameters for point in points], errors)
    tau = float(correlation.statistic)
    order = ground_truth.order(candidates, errors)
    any_rise = ground_truth.order(candidates, errors, tolerance=0.0).violations
    share = order.violations / max(order.pairs, 1)
    seed = record.header.setup.seed
    on = f"{len(errors):,} of {len(record.evaluations):,} shapes on record, training seed {seed}"
    return [
        Check(
            "Error follows size",
            _verdict(tau <= -CLOSE, tau <= -LOOSE),
            f"Kendall's tau of error and layer size is {tau:.2f}: it is -1 where each larger "
            f"one errs less, and 0 where size says nothing ({on}).",
        ),
        Check(
            "Larger never errs more",
            _verdict(not order.violations, share <= FEW),
            f"of {order.pairs:,} pairs of which one contains the other, {order.violations:,} "
            f"({100 * share:.1f} %) have the larger one lose over "
            f"{scale.points(fptas.TOLERANCE):.1f} points of accuracy more, at worst "
            f"{scale.points(order.worst):.1f}; {any_rise:,} at all ({on}).",
        ),
    ]


def read_gradients(path: Path = GRADIENTS) -> Gradients | None:
    """Return the recorded gradient norms, None where there are none; ValueError if damaged."""
    return records.read(path, Gradients) if path.is_file() else None


def check_gradients(gradients: Gradients | None) -> Check:
    """Are the gradients of the brief trainings bounded, by a stated factor over their median?"""
    name = "Gradients stay bounded"
    if not gradients or not gradients.shapes:
        return Check(name, "unknown", "not measured.")
    worst = max(gradients.shapes, key=lambda training: training.ratio)
    steps = sum(len(training.norms) for training in gradients.shapes)
    return Check(
        name,
        _verdict(worst.ratio <= BOUND, worst.ratio <= BOUND**2),
        f"in {steps} steps of {len(gradients.shapes)} brief trainings, the largest norm is "
        f"{worst.ratio:.1f} times its training's median ({worst.architecture}).",
    )


def to_frame(gradients: Gradients) -> pd.DataFrame:
    """Return each training's median and largest norm, and their ratio."""
    rows = [
        {
            "Shape D,A,H,I": str(training.architecture),
            "Steps": len(training.norms),
            "Median norm": round(training.median, 3),
            "Largest norm": round(max(training.norms), 3),
            "At step": training.norms.index(max(training.norms)) + 1,
            "Largest / median": round(training.ratio, 1),
        }
        for training in gradients.shapes
    ]
    return pd.DataFrame(rows)


def _verdict(passes: bool, nearly: bool) -> str:
    return "pass" if passes else "warn" if nearly else "fail"
