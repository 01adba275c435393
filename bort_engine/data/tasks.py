"""Labelled text: a task is a name, its labels, and train / validation / test splits.

A task is embedded (embedded.py), or made of the user's files (files.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bort_engine.data import embedded, files, hub
from bort_engine.data.columns import Columns, Kind, compose_name, parse_name
from bort_engine.data.resources import fetch
from bort_engine.data.splits import Content, Dropped, drop_repeats
from bort_engine.runs.events import Progress, silent

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


@dataclass(frozen=True, slots=True)
class Task:
    """What a model is trained for; `note` says what the data is and how it is split.

    A label is one of `labels`; where the kind is `number`, it is a number to predict, and there are
    no `labels`. At most `max_length` tokens of a text are read; 0 where its texts decide (see
    teacher.py). `digest` changes with the texts and labels that train and validate. It is empty for
    an embedded task, whose data are pinned.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    note: str
    digest: str = ""
    kind: Kind = "class"
    is_pair: bool = False
    max_length: int = 0


MAX_LENGTH = 64  # tokens; a film-review sentence of more is rare

TASKS = {
    task.name: task
    for task in (
        Task(
            "rotten-tomatoes",
            "Film-review sentences: fresh or rotten",
            ("rotten", "fresh"),
            "12,659 sentences about 507 films; split by film (80/10/10), so that no film is in two "
            f"splits; at most {MAX_LENGTH} tokens are read",
            max_length=MAX_LENGTH,
        ),
        Task(
            "newsgroups",
            "Newsgroup posts: which of 20 groups",
            (
                "alt.atheism",
                "comp.graphics",
                "comp.os.ms-windows.misc",
                "comp.sys.ibm.pc.hardware",
                "comp.sys.mac.hardware",
                "comp.windows.x",
                "misc.forsale",
                "rec.autos",
                "rec.motorcycles",
                "rec.sport.baseball",
                "rec.sport.hockey",
                "sci.crypt",
                "sci.electronics",
                "sci.med",
                "sci.space",
                "soc.religion.christian",
                "talk.politics.guns",
                "talk.politics.mideast",
                "talk.politics.misc",
                "talk.religion.misc",
            ),
            "18,787 posts, prepared by A. Cardoso Cachopo: lower-case letters only, of the headers "
            "just the subject, yet 3 % of posts name their group. Test is her own, by date; dev is "
            "a tenth of her train posts at random, so that threads are in both: naive Bayes is "
            "right on 89 % of dev, 83 % of test. 163 words in the median",
        ),
        Task(
            "reuters-r8",
            "Reuters news of 1987: which of 8 topics",
            ("acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade"),
            "7,595 news, prepared by A. Cardoso Cachopo: lower-case letters only. Test is her own, "
            "by date; dev is a tenth of her train news at random. Skewed: every second is about "
            "earnings, 40 in train are about grain. 66 words in the median",
        ),
        Task(
            "rated-tweets",
            "Tweets: how positive, from -4 to 4",
            (),
            "4,200 tweets (Hutto and Gilbert 2014, VADER), 200 of them written for the purpose, "
            "each with the mean of 20 or more people's ratings; names and links are replaced; "
            "split 80/10/10 by a shuffle with seed 0",
            kind="number",
        ),
        Task(
            "same-article",
            "Two sentences: of one Wikipedia article?",
            ("different", "same"),
            "9,256 pairs, made here from introductions of Wikipedia articles, split 80/10/10 by "
            "article; half are of one article, half of it and the nearest other one in its split, "
            "so that the topic tells little: TF-IDF similarity alone is right on 57 % of dev. 42 "
            "words in the median",
            is_pair=True,
        ),
    )
}


def find_task(name: str) -> Task:
    """Return a task by its name, or by the path of a file or folder with its texts.

    What is read of it may follow, as in `reviews.csv?text=review&label=stars` or
    `newsgroups?length=128` (columns.py).

    Raises:
        ValueError: the name is unknown, or a file is not what is needed.
        OSError: a file cannot be read.
    """
    path, columns = _check_name(name)
    if path not in TASKS:
        return _user_task(name)[0]
    if not columns.max_length:
        return TASKS[path]
    return replace(TASKS[path], name=name, max_length=columns.max_length)


def with_columns(task: str, columns: Columns) -> str:
    """Return the name of the task that reads these columns, and so many tokens, of its data.

    Where the name says some already, those stay that are not given or the default ones.

    Raises:
        ValueError: the task is embedded, so that its columns are fixed; or its name is not valid.
    """
    changes = {
        field.name: value
        for field in fields(columns)
        if (value := getattr(columns, field.name)) != field.default
    }
    if not changes:
        return task
    path, own = parse_name(task)
    name = compose_name(path, replace(own, **changes))
    _check_name(name)
    return name


def load_task(name: str, on_progress: Progress = silent) -> DatasetDict:
    """Return the splits `train` and `validation` of a task.

    Columns are `text`, `second` where the task is about pairs of texts, and `label`: the number of
    a class, or the number to predict.

    The test split is left out on purpose: what chooses an architecture must not see it.
    """
    from datasets import DatasetDict

    data = _content(name, on_progress).data
    return DatasetDict({split: data[split] for split in ("train", "validation")})


def load_test(name: str, on_progress: Progress = silent) -> Dataset:
    """Return the locked test split, with the columns that `load_task` has.

    To be loaded once, at the end, by the one function that scores the finished model on it.
    Whatever else reads it makes that score a choice, and no longer a test.
    """
    return _content(name, on_progress).data["test"]


def count_rows(name: str, on_progress: Progress = silent) -> tuple[dict[str, int], Dropped]:
    """Return how many rows each split of a task has, and how many were left out."""
    content = _content(name, on_progress)
    return {split: len(rows) for split, rows in content.data.items()}, content.dropped


def _content(name: str, on_progress: Progress) -> Content:
    path, _ = _check_name(name)
    if path not in TASKS:
        return _user_task(name)[1]
    fetch(embedded.LOADERS[path][0], on_progress)
    return _embedded_content(path)


@lru_cache(maxsize=2)  # few, since the texts stay in memory
def _embedded_content(name: str) -> Content:
    tables, dropped = drop_repeats(embedded.LOADERS[name][1]())
    return Content.of(tables, TASKS[name].labels, TASKS[name].is_pair, dropped)


def _user_task(name: str) -> tuple[Task, Content]:
    """Return the task that the user's files make, and its content."""
    path, columns = _check_name(name)
    if path.startswith(hub.PREFIX):
        return _hub_task(path, hub.columns_of(path, columns))
    if not os.path.isfile(path) and not os.path.isdir(path):  # pathlib's raise on some names
        raise ValueError(
            f"task {name[:300]!r} is not known; allowed: {', '.join(TASKS)}, or the path of a file "
            f"({files.ENDINGS}) with the columns text and label, of a folder with one a split, or "
            "a name on the hub such as hub:nyu-mll/glue/mrpc."
        )
    by_split = files.find_files(Path(path).resolve())
    stamps = ((f.stat().st_size, f.stat().st_mtime_ns) for f in by_split.values())
    return _parse(Path(path).resolve(), columns, tuple(by_split.items()), tuple(stamps))


def _check_name(name: str) -> tuple[str, Columns]:
    path, columns = parse_name(name)
    if path in TASKS and replace(columns, max_length=0) != Columns():
        raise ValueError(f"task {path!r} is embedded, and its columns are fixed; leave them out.")
    return path, columns


@lru_cache(maxsize=2)
def _hub_task(name: str, columns: Columns) -> tuple[Task, Content]:
    tables, how = hub.load(name, columns)
    tables, dropped = drop_repeats(tables)
    labels = ()
    if columns.label_kind == "class":
        labels = tuple(sorted({str(label) for rows in tables.values() for *_, label in rows}))
    content = Content.of(tables, labels, bool(columns.second_column), dropped)
    n_rows = sum(map(len, tables.values()))
    task = Task(
        name=compose_name(name, columns),
        title=name.removeprefix(hub.PREFIX),
        labels=labels,
        note=f"{n_rows:,} rows from the Hugging Face hub; {how}",
        digest=content.digest,
        kind=columns.label_kind,
        is_pair=bool(columns.second_column),
        max_length=columns.max_length,
    )
    return task, content


@lru_cache(maxsize=2)  # by the files' times and sizes, too; few, since the texts stay in memory
def _parse(
    path: Path,
    columns: Columns,
    by_split: tuple[tuple[str, Path], ...],
    stamps: tuple[tuple[int, int], ...],
) -> tuple[Task, Content]:
    content, note = files.load(path, dict(by_split), columns)
    task = Task(
        name=compose_name(str(path), columns),
        title=path.name,
        labels=content.labels,
        note=note,
        digest=content.digest,
        kind=columns.label_kind,
        is_pair=bool(columns.second_column),
        max_length=columns.max_length,
    )
    return task, content
