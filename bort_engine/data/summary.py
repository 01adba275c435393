"""What a task's data look like, before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from bort_engine.data.splits import SPLIT_SEED
from bort_engine.data.tasks import count_rows, find_task, load_task
from bort_engine.runs.events import Progress, silent

N_EXAMPLES, MOST_CHARACTERS = 10, 200
RARE = 10  # a class of fewer rows than this in train is hardly learnt


@dataclass(frozen=True, slots=True)
class Example:
    """A row of the train split; texts are cut."""

    text: str
    second: str
    label: str | float


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """A task's data in numbers; of the test split, only how many rows it has.

    Attributes:
        n_rows: by split.
        n_empty: rows that were dropped, since a text was empty.
        n_repeated: rows that were dropped, since their text is in another row.
        n_conflicting: texts that occur with several labels, and keep the first.
        median_words: in a row of train, both texts of a pair together.
        p95_words: the same, 95th percentile.
        classes: each class with its number of rows in train; none where labels are numbers.
        rare_classes: those of fewer than RARE rows.
        majority: the most frequent class on dev; empty where labels are numbers.
        majority_share: its share of dev: what one gets right who always names it.
        quartiles: of the numbers to predict in train; none where labels are classes.
        examples: rows of train, spread over the classes or the numbers.
    """

    n_rows: dict[str, int]
    n_empty: int
    n_repeated: int
    n_conflicting: int
    median_words: float
    p95_words: float
    classes: tuple[tuple[str, int], ...]
    rare_classes: tuple[str, ...]
    majority: str
    majority_share: float
    quartiles: tuple[float, ...]
    examples: tuple[Example, ...]


def summary(name: str, on_progress: Progress = silent) -> TaskSummary:
    """Return what a task's data look like.

    Raises:
        ValueError: the name is unknown, or a file is not what is needed.
        OSError: a file cannot be read.
    """
    task, data = find_task(name), load_task(name, on_progress)
    n_rows, dropped = count_rows(name)
    train, labels = data["train"], np.array(data["train"]["label"])
    names = tuple(label[:MOST_CHARACTERS] for label in task.labels)
    texts = list(train["text"])
    seconds = list(train["second"]) if task.is_pair else [""] * len(texts)
    n_words = [
        len(text.split()) + len(second.split()) for text, second in zip(texts, seconds, strict=True)
    ]
    majority, majority_share = "", 0.0
    counts = np.zeros(0, dtype=int)
    if task.kind == "class":
        counts = np.bincount(labels, minlength=len(names))
        dev = np.bincount(data["validation"]["label"], minlength=len(names))
        majority, majority_share = names[dev.argmax()], float(dev.max() / dev.sum())
    median, p95 = np.percentile(n_words, [50, 95])
    return TaskSummary(
        n_rows=n_rows,
        n_empty=dropped.n_empty,
        n_repeated=dropped.n_repeated,
        n_conflicting=dropped.n_conflicting,
        median_words=float(median),
        p95_words=float(p95),
        classes=tuple(zip(names, counts.tolist(), strict=True)),
        rare_classes=tuple(names[at] for at in np.flatnonzero(counts < RARE)),
        majority=majority,
        majority_share=majority_share,
        quartiles=() if names else tuple(np.percentile(labels, [25, 50, 75]).tolist()),
        examples=tuple(
            Example(
                texts[row][:MOST_CHARACTERS],
                seconds[row][:MOST_CHARACTERS],
                names[labels[row]] if names else float(labels[row]),
            )
            for row in _spread(labels, task.kind == "class")
        ),
    )


def _spread(labels: np.ndarray, is_class: bool) -> np.ndarray:
    """Return rows drawn at random: of each class in turn, or at even distances among numbers."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    if not is_class:
        places = np.linspace(0, len(labels) - 1, N_EXAMPLES).round().astype(int)
        return order[np.argsort(labels[order], kind="stable")][places]
    seen: Counter[int] = Counter()
    turns = []  # how many of a row's class stand before it in the order
    for label in labels[order].tolist():
        turns.append(seen[label])
        seen[label] += 1
    return order[np.argsort(turns, kind="stable")][:N_EXAMPLES]
