"""The ledger: what was published of Bort beside what its shape counts to and what a clock says.

Published figures are data (assets/published.json), each with its place. Nothing else is typed: the
counts come from `costs`, the times from a `Ledger`. Sizes fit a network with the hidden size H and
the intermediate size I exchanged, so every size and speed is worked out for that shape as well.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.costs import PartCounts, n_operations, n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.lab.ledger import BASE, BORT, LARGE, LENGTHS, MODELS, SWAPPED, Ledger, Spread
from bort_engine.show.theme import BLUE, GREEN, GREY, LEGEND, PURPLE, millions

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

TITLES = {
    BORT.name: "Bort, as released",
    SWAPPED.name: "Bort, H and I swapped",
    BASE.name: "BERT-base",
    LARGE.name: "BERT-large",
}
GOOD = 128  # tokens
SIZE, EFFECTIVE = "Size", "Effective size"
AGAINST = {"Speed, BERT-large": LARGE, "Speed, BERT-base": BASE}
SHAPES = ((BORT, ""), (SWAPPED, ", H and I swapped"))
NOT_OURS = "not reproduced"
TICKS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 60, 100)


@dataclass(frozen=True, slots=True)
class Published:
    """A figure as it was published, and where."""

    value: Any
    where: str
    url: str


@cache
def published() -> dict[str, Published]:
    """Return the published figures by name."""
    plain = json.loads((ASSETS / "published.json").read_text())
    found = {}
    for name, claim in plain["claims"].items():
        source = plain["sources"][claim["source"]]
        where = f"{source['name']}, {claim['place']}"
        found[name] = Published(claim["value"], where, source["url"])
    return found


def counted(source: Source) -> PartCounts:
    """Count a model's parameters; the swapped one as published: with pooler and output head."""
    whole = replace(source, pooler=True, mlm_head=True) if source is SWAPPED else source
    return n_parameters(source.architecture, whole)


def share(source: Source, effective: bool = False) -> float:
    """Return a model's part of BERT-large's parameters; `effective` leaves the embeddings out.

    "Effective (that is, not counting the embedding layer)": [BORT], abstract.
    """
    own, large = counted(source), counted(LARGE)
    if effective:
        return (own.total - own.embeddings) / (large.total - large.embeddings)
    return own.total / large.total


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
    told, found = published(), []
    timed = ledger if ledger and length in ledger.lengths else None
    for swapped, own in ((False, BORT), (True, SWAPPED)):
        small, effective = told["share_percent"].value, told["effective_percent"].value
        found.append(Claim(SIZE, swapped, 100 / small, 1 / share(own)))
        found.append(Claim(EFFECTIVE, swapped, 100 / effective, 1 / share(own, True)))
        for (name, other), key in zip(AGAINST.items(), ("large", "base"), strict=True):
            clock = timed.ratio(other.name, own.name, length) if timed else None
            said, expected = told[f"faster_than_{key}"].value, operations(other, own, length)
            found.append(Claim(name, swapped, said, expected, clock))
    return sorted(found, key=lambda claim: [SIZE, EFFECTIVE, *AGAINST].index(claim.name))


def speed(ledger: Ledger | None, length: int) -> tuple[float, bool]:
    """Return how many times BERT-large's speed Bort has, and whether that was timed."""
    claim = next(c for c in claims(ledger, length) if c.name == next(iter(AGAINST)))
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


def preset_says(ledger: Ledger | None, length: int) -> str:
    """Say Bort's speed at a length, and how that stands to what was published."""
    times, timed = speed(ledger, length)
    how = "by the clock" if timed else "by operations, untimed"
    goal = published()["faster_than_large"].value
    last = " Of the lengths here, the farthest from it." if length == farthest(ledger) else ""
    return f"{times:.1f} times BERT-large's speed, {how}; {goal:g} is published.{last}"


def sentences(ledger: Ledger | None, length: int) -> tuple[str, str, str]:
    """Return the lesson in three sentences, from the numbers."""
    told, own, other = published(), counted(BORT), counted(SWAPPED)
    a, b = BORT.architecture, SWAPPED.architecture
    times, timed = speed(ledger, length)
    clock = f", and by the clock it is {times:.1f} times as fast" * timed
    return (
        f"A size can be counted: the released shape {a} has {millions(own.total)} parameters, "
        f"{100 * share(BORT):.1f} % of BERT-large, where {told['parameters_m'].value} M and "
        f"{told['share_percent'].value} % were published.",
        f"With the hidden size H and the intermediate size I exchanged ({b}), and a pooler and an "
        f"output head on top, it counts {other.total:,}: the published sizes fit that network.",
        f"A speed depends on how many tokens are read, and no number was published with it: at "
        f"{length} tokens Bort needs {operations(LARGE, BORT, length):.1f} times fewer operations "
        f"than BERT-large{clock}; published is {told['faster_than_large'].value} times.",
    )


# Tables.


def table(ledger: Ledger | None, length: int) -> pd.DataFrame:
    """Return one row a claim: published, recomputed, timed, and where it was published."""
    import pandas as pd

    told, by_claim = published(), {(c.name, c.swapped): c for c in claims(ledger, length)}
    rows: list[dict[str, Any]] = []

    def add(claim: str, said: str, key: str, recomputed: str, timed: str = "") -> None:
        where = {"Where it is published": told[key].where, "Link": told[key].url}
        row = {"Claim": claim, "Published": said, "Recomputed": recomputed, "Timed": timed}
        rows.append(row | where)

    add("Architecture D,A,H,I", told["architecture"].value, "architecture", "counted below")
    less = told["smaller_percent"].value
    sizes: tuple[tuple[str, str, str, Callable[[Source], str]], ...] = (
        ("Parameters", "parameters_m", " M", lambda own: f"{counted(own).total:,}"),
        ("Embeddings", "embeddings_m", " M", lambda own: f"{counted(own).embeddings:,}"),
        ("Size, of BERT-large", "share_percent", f" % ({less} % smaller)",
         lambda own: f"{100 * share(own):.1f} %"),
        ("Effective size, of BERT-large", "effective_percent", " %",
         lambda own: f"{100 * share(own, True):.1f} %"),
    )  # fmt: skip
    for claim, key, unit, count in sizes:
        for own, end in SHAPES:
            add(f"{claim}{end}", f"{told[key].value}{unit}", key, count(own))
    for name, key in zip(AGAINST, ("faster_than_large", "faster_than_base"), strict=True):
        for own, end in SHAPES:
            claim = by_claim[name, own is SWAPPED]
            recomputed = f"{claim.recomputed:.1f}x, by operations"
            add(f"{name}, {length} tokens{end}", f"{told[key].value:g}x", key, recomputed,
                _timed(claim.timed))  # fmt: skip
    for name, key in (("GLUE", "glue"), ("SuperGLUE", "superglue")):
        said = f"{told[key].value} (BERT-large {told[f'{key}_large'].value})"
        add(f"{name} test score", said, key, NOT_OURS)
    won = f"{told['tasks_won'].value} of {told['tasks'].value}"
    add("Tasks better than BERT-large", won, "tasks_won", NOT_OURS)
    return pd.DataFrame(rows)


def _timed(spread: Spread | None) -> str:
    if spread is None:
        return "not at this length"
    return f"{spread.median:.1f}x ({spread.low:.1f} to {spread.high:.1f})"


def times_table(ledger: Ledger, length: int) -> pd.DataFrame:
    """Return one row a model: what it counts, and its milliseconds with their quartiles."""
    import pandas as pd

    rows = []
    for name, source in MODELS.items():
        ms = ledger.ms(name, length)
        work = n_operations(source.architecture, source, length).total
        rows.append(
            {
                "Model": TITLES[name],
                "D,A,H,I": str(source.architecture),
                "Operations (billions)": work / 1e9,
                "Median (ms)": ms.median,
                "Quartiles from": ms.low,
                "to (ms)": ms.high,
                "Rounds": ms.n,
            }
        )
    return pd.DataFrame(rows)


# The figure, and its message.


def figure(ledger: Ledger | None, length: int) -> go.Figure:
    """Draw every claim's ratios on one logarithmic axis; its range is the same for all lengths."""
    import plotly.graph_objects as go

    drawn, found = go.Figure(), claims(ledger, length)
    names = [SIZE, EFFECTIVE, *AGAINST]
    for row, name in enumerate(names):
        x = next(claim.published for claim in found if claim.name == name)
        line = {"color": PURPLE, "width": 1, "dash": "dot"}
        drawn.add_shape(type="line", x0=x, x1=x, y0=row - 0.4, y1=row + 0.4, line=line)
        if row:
            drawn.add_hline(y=row - 0.5, line={"color": GREY, "width": 0.5})

    def draw(
        legend: str, mark: tuple[str, str], rows: Sequence[Claim], up: float, how: str
    ) -> None:
        spreads = [claim.timed for claim in rows] if how == "timed" else []
        x = [s.median for s in spreads if s] or [getattr(claim, how) for claim in rows]
        texts = [f"{legend}: {value:.1f} times" for value in x]
        error, ring = None, 2 if mark[1].endswith("open") else 0
        if spreads:
            high = [max(s.high - s.median, 0) for s in spreads if s]
            low = [max(s.median - s.low, 0) for s in spreads if s]
            error = {"type": "data", "symmetric": False, "array": high, "arrayminus": low}
            texts = [f"{legend}: {_timed(s)}" for s in spreads if s]
        drawn.add_scatter(
            x=x,
            y=[names.index(claim.name) + up for claim in rows],
            error_x=error,
            name=legend,
            mode="markers",
            marker={"color": mark[0], "symbol": mark[1], "size": 12, "line": {"width": ring}},
            text=texts,
            hovertemplate="%{text}<extra></extra>",
        )

    own = [claim for claim in found if not claim.swapped]
    swapped = [claim for claim in found if claim.swapped]
    draw("Published", (PURPLE, "diamond"), own, -0.25, "published")
    draw("Recomputed", (BLUE, "circle"), own, 0, "recomputed")
    draw("Recomputed, swapped", (BLUE, "circle-open"), swapped, 0, "recomputed")
    if any(claim.timed for claim in own):
        draw("Timed", (GREEN, "square"), [c for c in own if c.timed], 0.25, "timed")
        swapped = [c for c in swapped if c.timed]
        draw("Timed, swapped", (GREEN, "square-open"), swapped, 0.25, "timed")
    low, high = _reach(ledger)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    drawn.update_xaxes(
        title="Times smaller, or faster (ratio)",
        type="log",
        range=[math.log10(low), math.log10(high)],
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )
    drawn.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[name.replace(", ", ",<br>").replace(" size", "<br>size") for name in names],
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )
    margin = {"l": 10, "r": 20, "t": 10, "b": 10}
    return drawn.update_layout(height=460, margin=margin, legend=LEGEND, hovermode="closest")


def _reach(ledger: Ledger | None) -> tuple[float, float]:
    """Return the ends of the axis: all that any length will show fits in."""
    every = [claim for length in lengths(ledger) for claim in claims(ledger, length)]
    values = [value for c in every for value in (c.published, c.recomputed)]
    values += [value for c in every if c.timed for value in (c.timed.low, c.timed.high)]
    values += [c.timed.median for c in every if c.timed]
    return min(values) / 1.15, max(values) * 1.15


def summary(ledger: Ledger | None, length: int) -> str:
    """Say the picture's message, for those who cannot see it."""
    said = []
    for claim in claims(ledger, length):
        if not claim.swapped:
            clock = f", timed {claim.timed.median:.1f}" if claim.timed else ""
            said.append(
                f"{claim.name}: published {claim.published:.1f}, recomputed "
                f"{claim.recomputed:.1f}{clock}"
            )
    return f"Times smaller or faster at {length} tokens. {'; '.join(said)}"
