"""The user's own models: names of folders or on the hub, remembered for the forms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import MaxLen

from bort_engine.data.resources import cache_dir
from bort_engine.encoder.sources import Source, sources
from bort_engine.runs import records

MOST = 50


@dataclass(frozen=True, slots=True)
class OwnModels:
    """Names as `Source.load` takes them, the latest first."""

    names: Annotated[tuple[str, ...], MaxLen(MOST)] = ()


def own_models() -> tuple[str, ...]:
    """Return the names that were added; none where the file is damaged."""
    try:
        return records.read(_path(), OwnModels).names
    except ValueError:
        return ()


def add_model(name: str) -> Source:
    """Remember a model once it is known to be a source.

    Raises:
        ValueError: it is none; the line says why.
    """
    source = Source.load(name)
    if name not in sources:
        others = [other for other in own_models() if other != name]
        records.write(_path(), OwnModels((name, *others[: MOST - 1])))
    return source


def forget_model(name: str) -> None:
    records.write(_path(), OwnModels(tuple(other for other in own_models() if other != name)))


def _path() -> Path:
    return cache_dir() / "models.json"
