"""Bort Explorer's engine: the Pareto-optimal subarchitectures of a BERT-family encoder, computed.

The public names are bound on first use, so that importing the package stays cheap and pulls in
neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bort_engine.encoder.build import build
    from bort_engine.encoder.costs import n_operations, n_parameters
    from bort_engine.encoder.export import export
    from bort_engine.encoder.sources import Source, sources
    from bort_engine.encoder.space import Architecture, SearchSpace
    from bort_engine.finetune.agora import agora
    from bort_engine.runs.events import Cancelled
    from bort_engine.search.cut import cut
    from bort_engine.search.front import front
    from bort_engine.search.race import race
    from bort_engine.search.result import Front

__version__ = "0.1.0"

_HOME = {
    "Architecture": "encoder.space",
    "Cancelled": "runs.events",
    "Front": "search.result",
    "SearchSpace": "encoder.space",
    "Source": "encoder.sources",
    "agora": "finetune.agora",
    "build": "encoder.build",
    "cut": "search.cut",
    "export": "encoder.export",
    "front": "search.front",
    "n_operations": "encoder.costs",
    "n_parameters": "encoder.costs",
    "race": "search.race",
    "sources": "encoder.sources",
}
__all__ = [
    "Architecture",
    "Cancelled",
    "Front",
    "SearchSpace",
    "Source",
    "agora",
    "build",
    "cut",
    "export",
    "front",
    "n_operations",
    "n_parameters",
    "race",
    "sources",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bort_engine' has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(f"bort_engine.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
