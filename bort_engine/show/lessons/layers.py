"""Layers that differ: more networks than can be looked at, searched by sums, and what was measured.

The record has what each layer loses and how long it takes, so the search is run again at any
epsilon. Its promise is of summed losses; the measured errors and the audit say what that is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from time import perf_counter
from typing import Protocol

import numpy as np
import pandas as pd

from bort_engine.algorithms.pareto import nondominated
from bort_engine.data.resources import ASSETS
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.uneven import LEFT_OUT, Layer, Uneven
from bort_engine.search.layer_losses import Found, log_loss, search
from bort_engine.search.layer_result import LayersFront, UnevenPoint
from bort_engine.show.lessons.anatomy import percent
from bort_engine.show.lessons.table import Table

RECORDED = ASSETS / "recorded" / "layers-minilm-l6-rotten-tomatoes-seed0.json"
EPSILONS = (0.5, 0.3, 0.2, 0.1, 0.05)
BUDGETS = (1, 2, 3, 5, 8)  # points of dev accuracy that may be lost in the comparison
LEVEL = 0.05  # of a latency: what differs by less counts as the same
STEP = 128  # neurons from one column of the heat map to the next


class Measured(Protocol):
    """What was measured, uneven or uniform: its latency is predicted by the same sums."""

    @property
    def n_parameters(self) -> int: ...
    @property
    def latency_ms(self) -> float: ...
    @property
    def dev_error(self) -> float: ...


@dataclass(frozen=True, slots=True)
class UniformPoint:
    """A shape of the recorded table, all layers alike; `latency_ms` is by layer, as of uneven."""

    architecture: Architecture
    n_parameters: int
    latency_ms: float
    dev_error: float
    pareto: bool


@dataclass(frozen=True, slots=True)
class Searched:
    """What the search returns at an epsilon, the most states it kept, and how long it took here."""

    record: LayersFront
    epsilon: float
    found: tuple[Found, ...]
    n_states: int
    seconds: float


def searched(record: LayersFront, epsilon: float) -> Searched:
    """Search all shapes again, from what the record says of each layer."""
    start = perf_counter()
    found, n_states = search(record.losses, record.latency, sources[record.source], epsilon)
    return Searched(record, epsilon, tuple(found), max(n_states), perf_counter() - start)


def uniform(record: LayersFront, table: Table) -> tuple[UniformPoint, ...]:
    """Return the table's shapes with all heads and a hidden size that was timed by layer."""
    source, latency = sources[record.source], record.latency
    points = [
        p
        for p in table.points
        if p.architecture.num_attention_heads == source.architecture.num_attention_heads
        and p.architecture.hidden_size in latency.outside_ms
    ]
    ms = [latency.predict_ms(Uneven.of(p.architecture, source)) for p in points]
    costs = [(p.n_parameters, t, p.shown_error) for p, t in zip(points, ms, strict=True)]
    front = nondominated(np.array(costs))
    return tuple(
        UniformPoint(p.architecture, *cost, pareto=bool(on))
        for p, cost, on in zip(points, costs, front, strict=True)
    )


def fastest(points: Iterable[Measured], source: Measured, lost: float) -> Measured:
    """Return the fastest that loses at most so many points of dev accuracy."""
    limit = source.dev_error + lost / 100 + 1e-12
    return min((p for p in points if p.dev_error <= limit), key=lambda p: p.latency_ms)


def chosen(record: LayersFront, lost: float) -> UnevenPoint:
    """Return the fastest uneven shape within a budget; the source always is."""
    point = fastest(record.pareto, record.source_point, lost)
    assert isinstance(point, UnevenPoint)
    return point


def compare(record: LayersFront, others: Sequence[UniformPoint]) -> list[tuple[int, float, float]]:
    """Return, for some budgets, the latency of the fastest uneven and of the fastest uniform."""
    source = record.source_point
    return [
        (
            lost,
            fastest(record.points, source, lost).latency_ms,
            fastest(others, source, lost).latency_ms,
        )
        for lost in BUDGETS
    ]


def compare_frame(record: LayersFront, others: Sequence[UniformPoint]) -> pd.DataFrame:
    columns = ["Lose at most (points)", "Uneven (ms)", "Uniform (ms)"]
    return pd.DataFrame(compare(record, others), columns=columns)


def scientific(n: int) -> str:
    """Return a large count as 1.2 times a power of ten, for a person."""
    mantissa, exponent = f"{n:.1e}".split("e+")
    superscript = str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} · 10{superscript}"


def measured_loss(point: UnevenPoint, record: LayersFront) -> float:
    """Return what was measured of what the sum predicts: log KL."""
    return log_loss(point.error, record.teacher.error)


def lost_by_layer(record: LayersFront, hidden_size: int) -> pd.DataFrame:
    """Return what is lost against a whole layer, by layer and by what is left of it (log KL).

    Columns: Layer, Kept (heads, neurons or layer), Number, Lost.
    """
    whole = record.losses.whole
    all_heads, all_neurons = whole.num_attention_heads, whole.intermediate_size
    options: list[tuple[str, int, Layer]] = [
        *(("heads", heads, (heads, all_neurons)) for heads in range(all_heads, -1, -1)),
        *(("neurons", n, (all_heads, n)) for n in range(all_neurons, -1, -STEP)),
        ("layer", 0, LEFT_OUT),
    ]
    _, losses = record.losses.of_layers(np.array([layer for *_, layer in options]), hidden_size)
    rows = [
        (k + 1, kind, number, round(float(loss - row[0]), 4))  # the first option is the whole layer
        for k, row in enumerate(losses)
        for (kind, number, _), loss in zip(options, row, strict=True)
    ]
    return pd.DataFrame(rows, columns=["Layer", "Kept", "Number", "Lost"])


def measured_frame(record: LayersFront, others: Sequence[UniformPoint]) -> pd.DataFrame:
    """Return every shape that was measured, uneven or uniform, with its costs and its error."""
    rows = [
        (str(p.shape), p.found_by, p.n_parameters, p.latency_ms, p.dev_error, p.pareto)
        for p in record.points
    ]
    rows += [
        (str(p.architecture), "uniform", p.n_parameters, p.latency_ms, p.dev_error, p.pareto)
        for p in others
    ]
    columns = ["Shape", "From", "Parameters", "Latency (ms)", "Wrong on dev", "On its front"]
    return pd.DataFrame(rows, columns=columns)


def found_frame(result: Searched) -> pd.DataFrame:
    """Return every shape that the search returns, with its costs and its summed loss."""
    rows = [(str(x.shape), x.n_parameters, x.latency_ms, x.loss) for x in result.found]
    return pd.DataFrame(rows, columns=["Shape", "Parameters", "Latency (ms)", "Summed log loss"])


def audit_frame(record: LayersFront) -> pd.DataFrame:
    """Return summed and measured losses, of the random shapes and of those that were found."""
    rows = [(str(a.shape), "random", a.summed, a.measured) for a in record.audit]
    rows += [
        (str(p.shape), p.found_by, p.loss, measured_loss(p, record))
        for p in record.points
        if p.found_by != "source"  # T itself: no slice of the elastic student
    ]
    return pd.DataFrame(rows, columns=["Shape", "From", "Summed", "Measured"])


def gap(record: LayersFront, found_by: str) -> float:
    """Return the mean of summed less measured loss, of what was found in one way."""
    points = [p for p in record.points if p.found_by == found_by]
    return mean(p.loss - measured_loss(p, record) for p in points)


# What is said of it.


def promise(result: Searched) -> str:
    """Say what is promised of how many networks, and by what."""
    most = f"at most {100 * result.epsilon:.0f} %"
    return (
        f"For each of the {scientific(result.record.n_shapes)} networks, one of these "
        f"{len(result.found):,} is {most} larger and {most} slower, and its **sum** of losses is "
        f"no larger. After no layer more than {result.n_states:,} unfinished networks were kept."
    )


def against_uniform(record: LayersFront, others: Sequence[UniformPoint]) -> str:
    """Say for how many budgets the fastest uneven shape is faster than the fastest uniform one."""
    shares = [uneven / uniform - 1 for _, uneven, uniform in compare(record, others)]
    ahead = sum(share < -LEVEL for share in shares)
    behind = sum(share > LEVEL for share in shares)
    off = record.latency.report().median_relative_error
    return (
        f"Of these {len(shares)} budgets, the fastest uneven shape is faster than the fastest "
        f"uniform one **for {ahead}**, and slower for {behind}; what differs by less than "
        f"{percent(LEVEL)} counts as level, since predicted latencies were off by "
        f"{100 * off:.1f} % (median). {len(record.points)} uneven and {len(others)} uniform shapes "
        "were measured, as slices of an elastic student that was trained in uniform slices only."
    )


def audit(record: LayersFront) -> str:
    """Say how well sums rank and meet what was measured, and claim no more."""
    gaps = ", ".join(f"{gap:+.2f} ({percent(share)} left)" for share, gap in record.bias())
    found = [p for p in record.points if p.found_by == "local search"]
    said = (
        "The guarantee is of sums; it says nothing of how far losses add up. That was measured on "
        f"{len(record.audit)} random shapes that no loss was learned from. **Kendall's tau of "
        f"summed and measured losses is {record.tau:.2f}**: of two shapes, the sums put "
        f"{percent((1 + record.tau) / 2)} in the right order. Summed less measured log loss, by "
        f"thirds from the smallest: {gaps}."
    )
    if found:
        said += (
            "\n\nWho looks for the least sum first finds the sums that are too low. So "
            f"{record.effort.rounds} times, what was found was measured and learned from. Of the "
            f"{len(found)} that local search found after that, none of them learned from, the sums "
            f"are off by {gap(record, 'local search'):+.2f} in the mean."
        )
    return said


def drawn(point: UnevenPoint, record: LayersFront) -> str:
    """Say what a shape is, what it costs, and what its sum says against what was measured."""
    source = record.source_point
    if point.found_by == "source":
        return (
            f"The source itself, {point.latency_ms:.2f} ms and wrong on "
            f"{100 * point.dev_error:.1f} %: every uneven shape that was measured loses more than "
            "this budget, or is slower. Allow more."
        )
    times = source.latency_ms / point.latency_ms
    return (
        f"`{point.shape}`, found by {point.found_by}: {point.latency_ms:.2f} ms, {times:.1f} times "
        f"as fast as the source, with {percent(point.n_parameters / source.n_parameters)} of its "
        f"parameters, wrong on {100 * point.dev_error:.1f} % of dev "
        f"({100 * (point.dev_error - source.dev_error):+.1f} points). Log loss: summed "
        f"{point.loss:.2f}, measured {measured_loss(point, record):.2f}."
    )


def command(point: UnevenPoint, record: LayersFront) -> str:
    """Return the command that makes a checkpoint of a shape."""
    return f"python -m bort_engine cut {record.source} --architecture '{point.shape}'"
