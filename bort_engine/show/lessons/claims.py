"""The ledger: what was published of Bort beside what its shape counts to and what a clock says.

Published figures are data (assets/published.json), each with its place. Nothing else is typed: the
counts come from `costs`, the times from a `Ledger`. Sizes fit a network with the hidden size H and
the intermediate size I exchanged, so every size and speed is worked out for that shape as well.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.costs import PartCounts, n_operations, n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.lab.ledger import (
    BASE,
    BORT,
    DEFAULT,
    LARGE,
    LENGTHS,
    MODELS,
    SWAPPED,
    DeployedLedger,
    Ledger,
    Spread,
)
from bort_engine.search import front as extract
from bort_engine.show.theme import BLUE, GREEN, GREY, PURPLE, RUNTIMES, laid_out, log_axis, millions

TITLES = ("Bort, as released", "Bort, H and I swapped", "BERT-base", "BERT-large")  # of MODELS
GOOD = 128  # tokens
SIZE, EFFECTIVE, SPEED = "Size", "Effective size", "Speed, BERT-large"
SPEEDS = {SPEED: (LARGE, "faster_than_large"), "Speed, BERT-base": (BASE, "faster_than_base")}
NAMES = [SIZE, EFFECTIVE, *SPEEDS]
SHAPES = ((BORT, ""), (SWAPPED, ", H and I swapped"))
NOT_OURS = "not reproduced"


@dataclass(frozen=True, slots=True)
class Published:
    """A figure as it was published, and where."""

    value: Any
    where: str
    url: str


@cache
def published() -> dict[str, Published]:
    """Return the published figures by name."""
    record = json.loads((ASSETS / "published.json").read_text())
    figures = {}
    for name, claim in record["claims"].items():
        source = record["sources"][claim["source"]]
        where = f"{source['name']}, {claim['place']}"
        figures[name] = Published(claim["value"], where, source["url"])
    return figures


def counted(source: Source) -> PartCounts:
    """Count a model's parameters; the swapped one as published: with pooler and output head."""
    whole = replace(source, pooler=True, mlm_head=True) if source is SWAPPED else source
    return n_parameters(source.architecture, whole)


def share(source: Source, effective: bool = False) -> float:
    """Return a model's part of BERT-large's parameters; `effective` leaves the embeddings out.

    "Effective (that is, not counting the embedding layer)": [BORT], abstract.
    """
    small, large = counted(source), counted(LARGE)
    if effective:
        return (small.total - small.embeddings) / (large.total - large.embeddings)
    return small.total / large.total


def operations(slow: Source, fast: Source, length: int) -> float:
    """Return how many times the multiply-accumulates of the second the first needs."""
    many, few = (n_operations(s.architecture, s, length).total for s in (slow, fast))
    return many / few


@dataclass(frozen=True, slots=True)
class Claim:
    """How many times smaller or faster than a BERT, three ways; for one of Bort's two shapes."""

    name: str
    swapped: bool
    published: float
    recomputed: float
    timed: Spread | None = None


def claims(ledger: Ledger | None, length: int) -> list[Claim]:
    """Return every claim that is a ratio, for the released shape and for the swapped one.

    A speed is recomputed as the ratio of operations, and timed where the ledger has the length.
    """
    figures, rows = published(), []
    timed = ledger if ledger and length in ledger.lengths else None
    small, effective = figures["share_percent"].value, figures["effective_percent"].value
    for bort, _ in SHAPES:
        swapped = bort is SWAPPED
        rows.append(Claim(SIZE, swapped, 100 / small, 1 / share(bort)))
        rows.append(Claim(EFFECTIVE, swapped, 100 / effective, 1 / share(bort, True)))
        for name, (slow, key) in SPEEDS.items():
            clock = timed.ratio(slow.name, bort.name, length) if timed else None
            recomputed = operations(slow, bort, length)
            rows.append(Claim(name, swapped, figures[key].value, recomputed, clock))
    return sorted(rows, key=lambda claim: NAMES.index(claim.name))


def speed(ledger: Ledger | None, length: int) -> tuple[float, bool]:
    """Return how many times BERT-large's speed Bort has, and whether that was timed."""
    claim = next(claim for claim in claims(ledger, length) if claim.name == SPEED)
    return (claim.timed.median, True) if claim.timed else (claim.recomputed, False)


def lengths(ledger: Ledger | None) -> list[int]:
    """Return the lengths that can be looked at: the usual ones, and all that were timed."""
    return sorted({*LENGTHS, *(ledger.lengths if ledger else ())})


def farthest(ledger: Ledger | None) -> int:
    """Return the length, of those timed, at which Bort's speed is farthest from the published one.

    The good one, 128, is left out. Where the rest are not timed, the operations decide.
    """
    goal = published()["faster_than_large"].value
    timed = [n for n in (ledger.lengths if ledger else ()) if n != GOOD]
    others = timed or [n for n in LENGTHS if n != GOOD]
    return max(others, key=lambda n: abs(math.log(speed(ledger, n)[0] / goal)))


def preset_summary(ledger: Ledger | None, length: int) -> str:
    """Return Bort's speed at a length, and how that stands to what was published."""
    times, timed = speed(ledger, length)
    how = "by the clock" if timed else "by operations, untimed"
    goal = published()["faster_than_large"].value
    last = " Of the lengths here, the farthest from it." if length == farthest(ledger) else ""
    return f"{times:.1f} times BERT-large's speed, {how}; {goal:g} is published.{last}"


def sentences(ledger: Ledger | None, length: int) -> tuple[str, str, str]:
    """Return the lesson in three sentences, from the numbers."""
    figures, times = published(), speed(ledger, length)
    clock = f", and by the clock it is {times[0]:.1f} times as fast" * times[1]
    return (
        f"A size can be counted: the released shape {BORT.architecture} has "
        f"{millions(counted(BORT).total)} parameters, {100 * share(BORT):.1f} % of BERT-large, "
        f"where {figures['parameters_m'].value} M and {figures['share_percent'].value} % were "
        "published.",
        f"With the hidden size H and the intermediate size I exchanged ({SWAPPED.architecture}), "
        f"and a pooler and an output head on top, it counts {counted(SWAPPED).total:,}: the "
        "published sizes fit that network.",
        f"A speed depends on how many tokens are read, and no number was published with it: at "
        f"{length} tokens Bort needs {operations(LARGE, BORT, length):.1f} times fewer operations "
        f"than BERT-large{clock}; published is {figures['faster_than_large'].value} times.",
    )


@cache
def found() -> str:
    """Say where Bort stands in the space it was searched in, by predicted errors."""
    front = extract.front(
        LARGE,
        oracle="glue",
        latency="recorded",
        search=extract.Search(space="bort", selection="exhaustive"),
    )
    bort = front[BORT.architecture]
    rank = 1 + sum(point.w > bort.w for point in front.points)
    on = "on the front" if bort.pareto else "not on the front"
    return f"number {rank} of {len(front.points)} by W, {on}; errors predicted"


def table(ledger: Ledger | None, length: int) -> pd.DataFrame:
    """Return one row a claim: published, recomputed, timed, and where it was published."""
    figures = published()
    value = {name: figure.value for name, figure in figures.items()}
    # Each row: the claim, as published, recomputed, timed; and the name of the published figure.
    rows = [
        ("Architecture D,A,H,I", value["architecture"], "counted below", "", "architecture"),
        ("What the FPTAS chooses", value["architecture"], found(), "", "architecture"),
    ]
    for claim, key, unit in (
        ("Parameters", "parameters_m", " M"),
        ("Embeddings", "embeddings_m", " M"),
        ("Size, of BERT-large", "share_percent", f" % ({value['smaller_percent']} % smaller)"),
        ("Effective size, of BERT-large", "effective_percent", " %"),
    ):
        for bort, ending in SHAPES:
            recomputed = {
                "parameters_m": f"{counted(bort).total:,}",
                "embeddings_m": f"{counted(bort).embeddings:,}",
                "share_percent": f"{100 * share(bort):.1f} %",
                "effective_percent": f"{100 * share(bort, True):.1f} %",
            }
            rows.append((claim + ending, f"{value[key]}{unit}", recomputed[key], "", key))
    for claim in claims(ledger, length):
        if claim.name in SPEEDS:
            name = f"{claim.name}, {length} tokens{SHAPES[claim.swapped][1]}"
            recomputed, timed = f"{claim.recomputed:.1f}x, by operations", _timed(claim.timed)
            rows.append((name, f"{claim.published:g}x", recomputed, timed, SPEEDS[claim.name][1]))
    for name, key in (("GLUE", "glue"), ("SuperGLUE", "superglue")):
        both = f"{value[key]} (BERT-large {value[f'{key}_large']})"
        rows.append((f"{name} test score", both, NOT_OURS, "", key))
    better = f"{value['tasks_won']} of {value['tasks']}"
    rows.append(("Tasks better than BERT-large", better, NOT_OURS, "", "tasks_won"))
    return pd.DataFrame(
        [(*row, figures[key].where, figures[key].url) for *row, key in rows],
        columns=["Claim", "Published", "Recomputed", "Timed", "Where it is published", "Link"],
    )


def _timed(spread: Spread | None) -> str:
    if spread is None:
        return "not at this length"
    return _quartiles(spread, "x")


def _quartiles(spread: Spread, unit: str) -> str:
    return f"{spread.median:.1f}{unit} ({spread.low:.1f} to {spread.high:.1f})"


def times_table(ledger: Ledger, length: int) -> pd.DataFrame:
    """Return one row a model: what it counts, and its milliseconds with their quartiles."""
    rows = []
    for title, (name, source) in zip(TITLES, MODELS.items(), strict=True):
        ms, shape = ledger.ms(name, length), source.architecture
        billions = n_operations(shape, source, length).total / 1e9
        rows.append((title, str(shape), billions, ms.median, ms.low, ms.high, ms.n))
    times = ["Median (ms)", "Quartiles from", "to (ms)"]
    return pd.DataFrame(
        rows, columns=["Model", "D,A,H,I", "Operations (billions)", *times, "Rounds"]
    )


def deployed_table(deployed: DeployedLedger, length: int) -> pd.DataFrame:
    """Return one row a runtime: both times, and what Bort gains on BERT-large in it and in fp32."""
    columns = ["Runtime", "BERT-large", "Bort", "Same runtime"]
    rows = [
        (
            RUNTIMES[runtime],
            *(_quartiles(deployed.ms(runtime, s.name, length), " ms") for s in (LARGE, BORT)),
            *(_timed(deployed.ratio(slow, runtime, length)) for slow in (runtime, DEFAULT)),
        )
        for runtime in deployed.times_ms
    ]
    return pd.DataFrame(rows, columns=[*columns, f"BERT-large in {RUNTIMES[DEFAULT]}"])


def deployed_sentence(deployed: DeployedLedger, length: int) -> str:
    """Say what of the ratio is the shape's, and what the runtime's."""
    best = deployed.best(length)
    ratios = [deployed.ratio(name, name, length).median for name in deployed.times_ms]
    mixed, gain = deployed.ratio(DEFAULT, best, length), deployed.gain(best, length)
    text = (
        f"At {length} tokens and in one runtime, Bort is {min(ratios):.1f} to {max(ratios):.1f} "
        f"times as fast as BERT-large ({operations(LARGE, BORT, length):.1f} by operations)."
    )
    if best == DEFAULT:
        return f"{text} No other runtime that was timed is faster for Bort."
    return (
        f"{text} Bort in {RUNTIMES[best]} is {mixed.median:.1f} times as fast as BERT-large in "
        f"{RUNTIMES[DEFAULT]}, but by that change of runtime alone BERT-large is "
        f"{gain.median:.1f} times as fast as before."
    )


def figure(ledger: Ledger | None, length: int) -> go.Figure:
    """Draw every claim's ratios on one logarithmic axis; its range is the same for all lengths."""
    chart, rows = go.Figure(), claims(ledger, length)
    released, swapped = ([c for c in rows if c.swapped == which] for which in (False, True))
    for row, claim in enumerate(released):
        line = {"color": PURPLE, "width": 1, "dash": "dot"}
        x = claim.published
        chart.add_shape(type="line", x0=x, x1=x, y0=row - 0.4, y1=row + 0.4, line=line)
        if row:
            chart.add_hline(y=row - 0.5, line={"color": GREY, "width": 0.5})
    published_by_row = [(claim, claim.published) for claim in released]
    _add_marks(chart, "Published", PURPLE, "diamond", -0.25, published_by_row)
    for of_shape, ending, ring in ((released, "", ""), (swapped, ", swapped", "-open")):
        counts = [(claim, claim.recomputed) for claim in of_shape]
        _add_marks(chart, f"Recomputed{ending}", BLUE, f"circle{ring}", 0, counts)
        times = [(claim, claim.timed) for claim in of_shape if claim.timed]
        if times:
            _add_marks(chart, f"Timed{ending}", GREEN, f"square{ring}", 0.25, times)
    every = [claim for n in lengths(ledger) for claim in claims(ledger, n)]
    ends = [value for claim in every for value in (claim.published, claim.recomputed)]
    ends += [value for c in every if c.timed for value in (c.timed.low, c.timed.high)]
    chart.update_xaxes(log_axis(min(ends), max(ends)), title="Times smaller, or faster (ratio)")
    chart.update_yaxes(
        tickvals=list(range(len(NAMES))),
        ticktext=[name.replace(", ", ",<br>").replace(" size", "<br>size") for name in NAMES],
        range=[len(NAMES) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )
    return laid_out(chart, 460)


def _add_marks(
    chart: go.Figure,
    legend: str,
    colour: str,
    symbol: str,
    up: float,
    values: Sequence[tuple[Claim, float | Spread]],
) -> None:
    """Add one kind of mark, a claim's row moved by `up`; a spread also has its quartiles."""
    spreads = [value for _, value in values if isinstance(value, Spread)]
    x = [value.median if isinstance(value, Spread) else value for _, value in values]
    texts = [f"{value:.1f} times" for value in x] if not spreads else map(_timed, spreads)
    above, below = [s.high - s.median for s in spreads], [s.median - s.low for s in spreads]
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
    chart.add_scatter(
        x=x,
        y=[NAMES.index(claim.name) + up for claim, _ in values],
        error_x=bars if spreads else None,
        name=legend,
        mode="markers",
        marker={
            "color": colour,
            "symbol": symbol,
            "size": 12,
            "line": {"width": 2 if symbol.endswith("open") else 0},
        },
        text=[f"{legend}: {text}" for text in texts],
        hovertemplate="%{text}<extra></extra>",
    )


def summary(ledger: Ledger | None, length: int) -> str:
    """Return the picture's message, for those who cannot see it."""
    texts = []
    for claim in claims(ledger, length):
        if not claim.swapped:
            clock = f", timed {claim.timed.median:.1f}" if claim.timed else ""
            ratios = f"published {claim.published:.1f}, recomputed {claim.recomputed:.1f}{clock}"
            texts.append(f"{claim.name}: {ratios}")
    return f"Times smaller or faster at {length} tokens. {'; '.join(texts)}"
