"""Rows of text and label become a task's splits: repeats dropped, labels numbered, all digested."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("train", "validation", "test")
SPLIT_SEED = 0

# A text, a second one (empty where the task has none), and a class's name or a number to predict.
Row = tuple[str, str, str | float]
Tables = dict[str, list[Row]]  # by split
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows that were left out: a text was empty, or is in another row.

    `n_conflicting` is how many texts occur with several labels: they keep the first.
    """

    n_empty: int = 0
    n_repeated: int = 0
    n_conflicting: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """A task's labels (none where they are numbers to predict) and data, all three splits.

    Columns are `text`, `second` where the task is about pairs, and `label`: a class's number, or
    the number to predict. `digest` changes with the rows that train and validate.
    """

    labels: tuple[str, ...]
    data: dict[str, Dataset]
    dropped: Dropped
    digest: str

    @classmethod
    def of(
        cls, tables: Tables, labels: tuple[str, ...], is_pair: bool, dropped: Dropped
    ) -> Content:
        from datasets import Dataset

        number_of: dict[Any, int] = {label: number for number, label in enumerate(labels)}
        digest, data = hashlib.sha256(repr((labels, is_pair)).encode()), {}
        for split in SPLITS:
            rows = tables[split]
            columns: dict[str, list[Any]] = {"text": [text for text, _, _ in rows]}
            if is_pair:
                columns["second"] = [second for _, second, _ in rows]
            columns["label"] = [number_of[label] if labels else label for *_, label in rows]
            data[split] = Dataset.from_dict(columns)
            if split != "test":
                for row in zip(*columns.values(), strict=True):
                    digest.update(repr((split, *row)).encode())
        return cls(labels, data, dropped, digest.hexdigest())


def shuffle_split(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Split items 80/10/10 by a shuffle with SPLIT_SEED."""
    n = len(items)
    order = np.random.default_rng(SPLIT_SEED).permutation(n)
    parts = np.split(order, [n * 8 // 10, n * 9 // 10])
    return {split: [items[i] for i in part] for split, part in zip(SPLITS, parts, strict=True)}


def hold_out(rows: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Return the rows without a tenth drawn at random with SPLIT_SEED, and that tenth, for dev."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    tenth = set(order[: len(rows) // 10].tolist())
    rest = [row for at, row in enumerate(rows) if at not in tenth]
    return rest, [row for at, row in enumerate(rows) if at in tenth]


def drop_repeats(tables: Tables) -> tuple[Tables, Dropped]:
    """Keep each text, or pair of texts, once, with its first label.

    From the last split backwards: a text in several stays where it must not be learnt from.
    """
    label_of: dict[tuple[str, str], str | float] = {}
    clean: Tables = {}
    conflicting = set()
    for split, rows in reversed(tables.items()):
        clean[split] = []
        for row in rows:
            *_, label = row
            if row[:2] not in label_of:
                label_of[row[:2]] = label
                clean[split].append(row)
            elif label_of[row[:2]] != label:
                conflicting.add(row[:2])
    n_repeated = sum(map(len, tables.values())) - len(label_of)
    return clean, Dropped(n_repeated=n_repeated, n_conflicting=len(conflicting))
