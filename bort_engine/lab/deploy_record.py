"""The record of benchmarks/deploy.py: a source and points of its front, in several formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import MinLen

from bort_engine.data.resources import ASSETS
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import NonNegative, PositiveCount, Share

RECORDED = ASSETS / "recorded" / "deploy-minilm-l6.json"
SOURCE, TASK, N_TOKENS = "minilm-l6", "rotten-tomatoes", 64  # what is timed is one text so long


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
    """Shapes in several formats; the first row is the source in PyTorch."""

    made: Provenance
    cpu_flags: str
    n_dev: PositiveCount
    rows: Annotated[tuple[Deployed, ...], MinLen(1)]
    schema: Literal[1] = 1

    AGAIN: ClassVar[str] = "delete it and run benchmarks/deploy.py again"
