"""The record of benchmarks/deploy.py: a source and points of its front, in several formats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import MinLen

from bort_engine.data.columns import parse_name
from bort_engine.data.resources import ASSETS
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import Count, NonNegative, PositiveCount, Share

FOLDER = ASSETS / "recorded"


def path_of(source: str, task: str) -> Path:
    """Return where the record of a source and a task ships, if it does."""
    return FOLDER / f"deploy-{source}-{Path(parse_name(task)[0]).name}.json"


@dataclass(frozen=True, slots=True)
class Deployed:
    """One shape in one format; `ms` are quartiles of a forward pass, `agrees` with PyTorch's."""

    shape: str
    format: str
    mb: NonNegative
    dev_error: Share
    agrees: Share
    ms: tuple[NonNegative, NonNegative, NonNegative]


@dataclass(frozen=True, slots=True)
class Deployment:
    """Shapes in several formats; the first row is the source in PyTorch.

    Points of the front were distilled on their own for `polish` steps more. What is timed is one
    text of `n_tokens`, as many as are read of a text of the task at most.
    """

    source: str
    task: str
    polish: Count
    n_tokens: PositiveCount
    made: Provenance
    cpu_flags: str
    n_dev: PositiveCount
    rows: Annotated[tuple[Deployed, ...], MinLen(1)]
    schema: Literal[2] = 2

    AGAIN: ClassVar[str] = "delete it and run benchmarks/deploy.py again"
