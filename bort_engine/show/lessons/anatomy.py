"""Size, work, time: where a network's parameters, operations and milliseconds sit.

A network is f = C(B_D(... B_1(A(x)))): A the embeddings, B one encoder layer, C what follows.
Parameters and operations are exact; times are added up from a recorded calibration's parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bort_engine.encoder.costs import PartCounts, n_operations, n_parameters
from bort_engine.encoder.latency import Calibration, recorded_calibration
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.show.theme import BLUE, GREEN, ORANGE, PURPLE, laid_out

# What can be asked for, with every source: all shapes of the references and of the calibrations.
DEPTHS = range(1, 25)
LENGTHS = (16, 32, 64, 128, 256, 512)
HEADS = (1, 2, 3, 4, 6, 8, 12, 16)
HIDDEN = (96, 128, 192, 256, 288, 312, 384, 512, 768, 1024)
INTERMEDIATE = (192, 256, 384, 512, 768, 1024, 1200, 1536, 2048, 3072, 4096)
PARTS = ("A: embeddings", "Bⁿ: layers", "C: pooler", "A and C, timed as one")
# Colour, pattern and the colour of what is written on them.
LOOKS = ((ORANGE, "/", "black"), (BLUE, "", "white"), (GREEN, "x", "black"), (PURPLE, ".", "black"))
HATCH = {"fgcolor": "rgba(0,0,0,0.3)", "size": 10, "solidity": 0.15}
MEASURES = ("Parameters", "Operations", "Time")


@dataclass(frozen=True, slots=True)
class Split:
    """One cost by `PARTS`; a part that is not known on its own is 0."""

    amounts: tuple[float, ...]

    @property
    def total(self) -> float:
        return sum(self.amounts)

    @property
    def shares(self) -> tuple[float, ...]:
        return tuple(amount / self.total for amount in self.amounts)

    @property
    def layers(self) -> float:
        """The share of B^n."""
        return self.shares[1]

    @classmethod
    def of(cls, counts: PartCounts) -> Split:
        return cls((counts.embeddings, counts.encoder, counts.head, 0))


@dataclass(frozen=True, slots=True)
class CostSplits:
    """A shape's three costs; where its time is not on record, `time` says why."""

    name: str
    architecture: Architecture
    length: int
    parameters: Split
    operations: Split
    time: Split | str

    @property
    def by_measure(self) -> dict[str, Split | str]:
        return dict(zip(MEASURES, (self.parameters, self.operations, self.time), strict=True))


def heads_for(hidden_size: int) -> list[int]:
    """Return the head counts that divide a hidden size."""
    return [heads for heads in HEADS if hidden_size % heads == 0]


def calibration_of(source: Source) -> Calibration | None:
    """Return the shipped calibration of a source, if there is one."""
    spaces = (SearchSpace.of(source), SearchSpace.bort())
    calibrations = (recorded_calibration(source, space) for space in spaces)
    return next((calibration for calibration in calibrations if calibration), None)


def costs(
    name: str,
    architecture: Architecture,
    source: Source,
    length: int,
    calibration: Calibration | None,
) -> CostSplits:
    """Return a shape's costs by part, for one sequence of `length` tokens."""
    return CostSplits(
        name,
        architecture,
        length,
        Split.of(n_parameters(architecture, source)),
        Split.of(n_operations(architecture, source, length)),
        _time(architecture, length, calibration),
    )


def _time(architecture: Architecture, length: int, calibration: Calibration | None) -> Split | str:
    """Return the milliseconds by part, or why they are not known."""
    if calibration is None:
        return "not recorded for this source"
    recorded = calibration.settings.sequence_length
    if length != recorded:
        return f"recorded at {recorded} tokens only"
    if not calibration.covers([architecture]):
        return f"not recorded for {architecture}"
    outside = calibration.outside_ms[str(architecture.hidden_size)]
    return Split((0, calibration.predict_ms(architecture) - outside, 0, outside))


def timing(calibration: Calibration) -> str:
    """Say where a calibration's times are from, and how far off they were."""
    report = calibration.report()
    return (
        f"times (fp32): {calibration.device}, {calibration.made_on}, {calibration.versions}. Parts "
        "were timed and are added up, t = outside(H) + D * layer(A, H, I); on "
        f"{report.n_held_out} shapes timed in full that was off by "
        f"{100 * report.median_relative_error:.1f} % (median), at worst "
        f"{100 * report.worst_relative_error:.0f} %."
    )


def short(number: float) -> str:
    """Return a count in three or four digits: k, M, G for thousand, million, thousand million."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.{1 if number >= 10 * size else 2}f} {letter}"
    return f"{number:.0f}"


def amount(measure: str, number: float) -> str:
    return f"{number:.2f} ms" if measure == "Time" else short(number)


def percent(share: float) -> str:
    """Return a share in whole percent; what is neither all nor nothing never reads as such."""
    if 0 < share < 0.005:
        return "under 1 %"
    return "over 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def to_frame(shapes: Sequence[CostSplits]) -> pd.DataFrame:
    """Return the numbers behind the picture: a row for each shape, cost and part."""
    rows = [
        {
            "shape": shape.name,
            "D,A,H,I": str(shape.architecture),
            "tokens": shape.length,
            "cost": measure,
            "unit": "ms" if measure == "Time" else "count",
            "part": part,
            "amount": number,
            "share": share,
        }
        for shape in shapes
        for measure, split in shape.by_measure.items()
        if isinstance(split, Split)
        for part, number, share in zip(PARTS, split.amounts, split.shares, strict=True)
        if number
    ]
    return pd.DataFrame(rows)


def figure(shapes: Sequence[CostSplits], settings: str = "") -> go.Figure:
    """Draw each cost of each shape as a bar of its parts' shares; `settings` are the time's."""
    titles = (
        "Parameters (count)",
        f"Operations (multiply-accumulates, {shapes[0].length} tokens)",
        f"Time (ms{settings and f', {settings}'})",
    )
    chart = make_subplots(3, 1, shared_xaxes=True, vertical_spacing=0.11, subplot_titles=titles)
    chart.update_annotations(x=0, xanchor="left", font={"size": 14})
    used = set(to_frame(shapes)["part"])
    for row, measure in enumerate(MEASURES, 1):
        bars: dict[str, Split | str] = {}  # by what stands beside the bar
        for shape in shapes:
            split = shape.by_measure[measure]
            total = f"<br>{amount(measure, split.total)}" if isinstance(split, Split) else ""
            bars[shape.name + total] = split
        for number, part in enumerate(PARTS):
            if part in used:
                _add_bars(chart, row, measure, number, bars)
        for name, split in bars.items():
            if isinstance(split, str):
                chart.add_annotation(
                    x=0, y=name, text=split.capitalize(), xanchor="left", showarrow=False,
                    row=row, col=1,
                )  # fmt: skip
    chart.update_xaxes(range=[0, 100], showgrid=False)
    chart.update_xaxes(title="Share of each cost (%)", row=len(MEASURES))
    chart.update_yaxes(autorange="reversed")
    # What is too narrow for its figures has none.
    fonts = {"mode": "hide", "minsize": 10}
    return laid_out(chart, 560, top=30, barmode="stack", bargap=0.15, uniformtext=fonts)


def _add_bars(
    chart: go.Figure, row: int, measure: str, part: int, bars: dict[str, Split | str]
) -> None:
    """Draw one part of one cost, of all shapes; where that is not known, nothing of it."""
    colour, pattern, ink = LOOKS[part]
    amounts = [
        (split.shares[part], split.amounts[part]) if isinstance(split, Split) else (0.0, 0.0)
        for split in bars.values()
    ]
    chart.add_bar(
        x=[100 * share for share, _ in amounts],
        y=list(bars),
        orientation="h",
        name=PARTS[part],
        legendgroup=PARTS[part],
        showlegend=row == 1,
        marker={"color": colour, "pattern": HATCH | {"shape": pattern, "bgcolor": colour}},
        text=[f"{percent(share)}<br>{amount(measure, n)}" if n else "" for share, n in amounts],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        textfont={"color": ink},
        hovertemplate=f"{PARTS[part]}: %{{text}}<extra></extra>",
        row=row,
        col=1,
    )


def summary(shapes: Sequence[CostSplits]) -> str:
    """Say the picture's message, for those who cannot see it."""
    lines = []
    for shape in shapes:
        parts = []
        for measure, split in shape.by_measure.items():
            text = split
            if isinstance(split, Split):
                text = f"{amount(measure, split.total)}, in layers {percent(split.layers)}"
            parts.append(f"{measure.lower()} {text}")
        lines.append(f"{shape.name} {shape.architecture}: {', '.join(parts)}")
    return f"Stacked bars at {shapes[0].length} tokens. {'. '.join(lines)}."
