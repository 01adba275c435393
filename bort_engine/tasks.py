"""Labelled text: a task is a name, its labels, and train / validation / test splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bort_engine.resources import fetch

if TYPE_CHECKING:
    from datasets import DatasetDict


@dataclass(frozen=True, slots=True)
class Task:
    """A classification task; `note` says what the data is and how it is split."""

    name: str
    title: str
    labels: tuple[str, ...]
    note: str


TASKS = {
    "rotten-tomatoes": Task(
        "rotten-tomatoes",
        "Film-review sentences: fresh or rotten",
        ("rotten", "fresh"),
        "12,659 sentences about 507 films; split by film (80/10/10), so that no film is in two "
        "splits; at most 64 tokens are read",
    )
}
MAX_LENGTH = 64
SPLIT_SEED = 0


def find_task(name: str) -> Task:
    """Return a task by name.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in TASKS:
        raise ValueError(f"task {name[:80]!r} is not known; allowed: {', '.join(TASKS)}.")
    return TASKS[name]


def load_task(
    name: str, on_progress: Callable[[dict[str, Any]], None] = lambda event: None
) -> DatasetDict:
    """Return the splits `train` and `validation` of a task: columns `text` and `label`.

    The test split is left out on purpose: what chooses an architecture must not see it.
    """
    splits = _rotten_tomatoes(find_task(name), on_progress)
    del splits["test"]
    return splits


def _rotten_tomatoes(task: Task, on_progress: Callable[[dict[str, Any]], None]) -> DatasetDict:
    """Read the corpus: no plots, no empty, short (under 3 words) or repeated sentences."""
    import numpy as np
    import pandas as pd
    from datasets import Dataset, DatasetDict

    folder = fetch("rotten-tomatoes", on_progress)
    table: Any = pd.read_csv(folder / "rotten_tomatoes_corpus_full.csv.bz2").dropna()
    table = table[table["category"].isin(task.labels)]
    table = table[table["text"].str.split().str.len() >= 3].drop_duplicates("text")
    films = np.array(sorted(table["movie_name"].unique()))
    films = films[np.random.default_rng(SPLIT_SEED).permutation(len(films))]
    seen = table["movie_name"].value_counts()[films].cumsum() / len(table)
    names = ("train", "validation", "test")
    split = {film: names[(share > 0.8) + (share > 0.9)] for film, share in seen.items()}
    table = table.assign(
        split=table["movie_name"].map(split), label=table["category"].map(task.labels.index)
    )
    return DatasetDict(
        {
            str(name): Dataset.from_pandas(rows[["text", "label"]], preserve_index=False)
            for name, rows in table.groupby("split")
        }
    )
