"""Labelled text: a task is a name, its labels, and train / validation / test splits.

A task is built in, or made of the user's files: one with the columns text and label, or a folder
with one for each split. They are read as data, whole, and nothing is written beside them.

datasets' own readers are not used for the users' files: they copy them into the hub's cache, pandas
beneath them ends a text at a NUL and takes a first column without a heading for an index, and a
damaged line is not told by its number. Nor are class_encode_column, which puts label 10 before 9,
and train_test_split, which would give all files a new split.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_engine.data.resources import fetch
from bort_engine.runs.events import Progress, silent

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


@dataclass(frozen=True, slots=True)
class Task:
    """A classification task; `note` says what the data is and how it is split.

    `digest` changes with the texts and labels that train and validate. It is empty for a built-in
    task, whose data are pinned.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    note: str
    digest: str = ""


TASKS = {
    "rotten-tomatoes": Task(
        "rotten-tomatoes",
        "Film-review sentences: fresh or rotten",
        ("rotten", "fresh"),
        "12,659 sentences about 507 films; split by film (80/10/10), so that no film is in two "
        "splits; at most 64 tokens are read",
    )
}
MAX_LENGTH = 64  # tokens; a film-review sentence of more is rare
SPLIT_SEED = 0
STEMS = {"train": ("train",), "validation": ("validation", "dev"), "test": ("test",)}
SPLITS = tuple(STEMS)
MOST_BYTES, MOST_ROWS = 500_000_000, 1_000_000
LEAST_TEXTS, MOST_LABELS = 50, 100  # to train on; more labels than that are a number to predict
# A tokenizer reads a whole text before it cuts; no MAX_LENGTH tokens need more than this.
MOST_CHARACTERS = 20_000

Row = tuple[int, Any, Any]  # the number of its line, its text and its label, as the file has them
Labelled = list[tuple[str, str]]  # texts with their labels


def find_task(name: str) -> Task:
    """Return a task by its name, or by the path of a file or folder with its texts.

    Raises:
        ValueError: the name is unknown, or a file is not what is needed.
        OSError: a file cannot be read.
    """
    return TASKS[name] if name in TASKS else _user_task(name)[0]


def load_task(name: str, on_progress: Progress = silent) -> DatasetDict:
    """Return the splits `train` and `validation` of a task: columns `text` and `label`.

    The test split is left out on purpose: what chooses an architecture must not see it.
    """
    from datasets import DatasetDict

    splits = _splits(name, on_progress)
    return DatasetDict({split: splits[split] for split in ("train", "validation")})


def load_test(name: str, on_progress: Progress = silent) -> Dataset:
    """Return the locked test split: columns `text` and `label`.

    To be loaded once, at the end, by the one function that scores the finished model on it.
    Whatever else reads it makes that score a choice, and no longer a test.
    """
    return _splits(name, on_progress)["test"]


def _splits(name: str, on_progress: Progress) -> DatasetDict:
    return _rotten_tomatoes(TASKS[name], on_progress) if name in TASKS else _user_task(name)[1]


def _rotten_tomatoes(task: Task, on_progress: Progress) -> DatasetDict:
    """Read the corpus: no plots, no empty, short (under 3 words) or repeated sentences."""
    import pandas as pd
    from datasets import Dataset, DatasetDict

    folder = fetch("rotten-tomatoes", on_progress)
    table: Any = pd.read_csv(folder / "rotten_tomatoes_corpus_full.csv.bz2").dropna()
    table = table[table["category"].isin(task.labels)]
    table = table[table["text"].str.split().str.len() >= 3].drop_duplicates("text")
    films = np.array(sorted(table["movie_name"].unique()))
    films = films[np.random.default_rng(SPLIT_SEED).permutation(len(films))]
    # A film goes where the share of sentences up to and with its own falls: 80, 90 or 100 %.
    share = table["movie_name"].value_counts()[films].cumsum() / len(table)
    split = table["movie_name"].map(pd.cut(share, [0, 0.8, 0.9, 1], labels=list(SPLITS)))
    table = table.assign(label=table["category"].map(task.labels.index))[["text", "label"]]
    splits = DatasetDict()
    for name in SPLITS:
        splits[name] = Dataset.from_pandas(table[split == name], preserve_index=False)
    return splits


def _user_task(name: str) -> tuple[Task, DatasetDict]:
    """Return the task that the user's files make, and its splits with the labels' numbers."""
    path = os.path.expanduser(name)
    if not os.path.isfile(path) and not os.path.isdir(path):  # pathlib's raise on some names
        raise ValueError(
            f"task {name[:300]!r} is not known; allowed: {', '.join(TASKS)}, or the path of a file "
            f"({ENDINGS}) with the columns text and label, or of a folder with one a split."
        )
    folder = Path(path).resolve()
    files = _split_files(folder) if folder.is_dir() else {"": folder}
    return _parse(
        folder,
        tuple((split, f, f.stat().st_size, f.stat().st_mtime_ns) for split, f in files.items()),
    )


def _split_files(folder: Path) -> dict[str, Path]:
    files = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in READERS and f.is_file()]
    split_files = {}
    for split, stems in STEMS.items():
        matches = [file for file in files if file.stem in stems]
        if len(matches) != 1:
            names = " and ".join(file.name for file in matches) or "none"
            raise ValueError(
                f"{folder} needs one file for the {split} split, and has {names}; give "
                f"one, named {' or '.join(stems)}, with one of the endings {ENDINGS}."
            )
        split_files[split] = matches[0]
    return split_files


@lru_cache(maxsize=2)  # by the files' times and sizes, too; few, since the texts stay in memory
def _parse(path: Path, files: tuple[tuple[str, Path, int, int], ...]) -> tuple[Task, DatasetDict]:
    from datasets import Dataset, DatasetDict

    tables, seen, n_empty, n_repeated = {}, set(), 0, 0
    # Backwards: a text in several splits stays in the one that must not be learnt from.
    for split, file, *_ in reversed(files):
        rows, empty = _read(file)
        labels_of: dict[str, str] = {}
        for text, label in rows:
            if text not in seen:
                labels_of.setdefault(text, label)
        tables[split] = list(labels_of.items())
        seen |= labels_of.keys()
        n_empty += empty
        n_repeated += len(rows) - len(labels_of)
    how = "by file"
    if "" in tables:
        how = f"80/10/10 by a shuffle with seed {SPLIT_SEED}"
        rows, n = tables[""], len(tables[""])
        order = np.random.default_rng(SPLIT_SEED).permutation(n)
        parts = np.split(order, [n * 8 // 10, n * 9 // 10])
        tables = {split: [rows[i] for i in part] for split, part in zip(SPLITS, parts, strict=True)}
    dropped = f"{n_empty:,} empty and {n_repeated:,} repeated ones dropped"
    sizes = ", ".join(f"{len(tables[split]):,} {split}" for split in SPLITS)
    if not all(tables.values()) or len(tables["train"]) < LEAST_TEXTS:
        raise ValueError(
            f"{path} has {sizes} texts ({dropped}); at least {LEAST_TEXTS} are needed to train on "
            "and 1 in each other split. Add rows."
        )
    labels = _labels(path, tables)
    digest, splits = hashlib.sha256(repr(labels).encode()), DatasetDict()
    for split in SPLITS:
        texts = [text for text, _ in tables[split]]
        numbers = [labels.index(label) for _, label in tables[split]]
        splits[split] = Dataset.from_dict({"text": texts, "label": numbers})
        if split != "test":
            for text, number in zip(texts, numbers, strict=True):
                digest.update(f"{split} {number} {text}\0".encode())
    note = (
        f"{len(seen):,} texts from {path.name} ({sizes}), split {how}; {dropped}; at most "
        f"{MAX_LENGTH} tokens are read"
    )
    return Task(str(path), path.name, labels, note, digest.hexdigest()), splits


def _labels(path: Path, tables: dict[str, Labelled]) -> tuple[str, ...]:
    """Return the labels of the train split, in order: numbers by their value, words by letters."""
    labels_of = {split: {label for _, label in tables[split]} for split in SPLITS}
    labels = sorted(labels_of["train"])
    if all(re.fullmatch(r"-?[0-9]{1,18}", label) for label in labels):
        labels.sort(key=int)
    if len(labels) < 2:
        raise ValueError(
            f"{path} has the label {labels[0][:80]!r} only in its train split; give at least 2."
        )
    if len(labels) > MOST_LABELS:
        raise ValueError(
            f"{path} has {len(labels)} labels, such as {_some(labels)}; at most {MOST_LABELS} are "
            "allowed. Numbers to predict (regression) are not classes: group them into a few."
        )
    for split in ("validation", "test"):
        for unknown in sorted(labels_of[split] - labels_of["train"]):
            raise ValueError(
                f"{path} has the label {unknown[:80]!r} in its {split} split but not in train, "
                f"which has {_some(labels)}; add rows of it there, or remove it."
            )
    return tuple(labels)


def _some(values: list[str]) -> str:
    return ", ".join(repr(value[:40]) for value in values[:5]) + (", ..." if values[5:] else "")


def _read(path: Path) -> tuple[Labelled, int]:
    """Return a file's texts with their labels, and how many rows were dropped for lack of text."""
    kind, size = path.suffix.lower(), path.stat().st_size
    if kind not in READERS:
        raise ValueError(f"{path} has the ending {kind!r}; allowed: {ENDINGS}. Convert it.")
    if size > MOST_BYTES:
        raise _too_large(path, f"{size / 1e6:,.0f} MB")
    rows, n_empty = [], 0
    for number, text, label in READERS[kind](path):
        place = f"{path} {'row' if kind == '.parquet' else 'line'} {number}"
        if text is None or text != text or not str(text).strip():
            n_empty += 1
            continue
        if not isinstance(text, str):
            raise ValueError(f"{place}: text is {_value(text)}; it must be a string.")
        if isinstance(label, float) and label.is_integer():  # pandas' integers, where one was empty
            label = int(label)
        if label is None or label != label or not str(label).strip():
            raise ValueError(f"{place} has no label; give each row one, or delete the row.")
        if not isinstance(label, str | int):
            raise ValueError(
                f"{place}: label is {_value(label)}; allowed: a string or an integer. Numbers to "
                "predict (regression) are not classes."
            )
        rows.append((_whole(text[:MOST_CHARACTERS]), _whole(str(label).strip())))
        if len(rows) > MOST_ROWS:
            raise _too_large(path, f"more than {MOST_ROWS:,} rows")
    return rows, n_empty


def _value(value: Any) -> str:
    return f"{str(value)[:80]} ({type(value).__name__})"


def _whole(text: str) -> str:
    """Replace the halves of surrogate pairs that JSON can hold: no file and no tokenizer can."""
    return text.encode(errors="replace").decode()


def _too_large(path: Path, size: str) -> ValueError:
    return ValueError(
        f"{path} has {size}; allowed: {MOST_BYTES // 10**6} MB and {MOST_ROWS:,} rows. Take a "
        "sample of its rows."
    )


def _check_columns(path: Path, columns: list[str]) -> None:
    if not {"text", "label"} <= set(columns):
        names = _some(columns) or "none"
        raise ValueError(f"{path} has the columns {names}; it needs text and label. Rename them.")


def _lines(path: Path) -> Iterator[str]:
    """Read UTF-8 text line by line, with or without a byte order mark."""
    with path.open("rb") as file:
        if file.read(3) != BOM_UTF8:
            file.seek(0)
        for line in file:
            try:
                yield line.decode()
            except UnicodeDecodeError as e:
                place = f"byte {file.tell() - len(line) + e.start} (0x{line[e.start]:02x})"
                raise ValueError(f"{path} is not UTF-8 at {place}; save it as UTF-8.") from e


def _csv_rows(path: Path) -> Iterator[Row]:
    reader = csv.reader(_lines(path), strict=True)
    try:
        columns = [column.strip() for column in next(reader, [])]
        _check_columns(path, columns)
        text, label = columns.index("text"), columns.index("label")
        for row in filter(None, reader):
            if len(row) != len(columns):
                raise csv.Error(f"{len(row)} cells where the first line has {len(columns)}")
            yield reader.line_num, row[text], row[label]
    except csv.Error as e:
        raise ValueError(
            f"{path} line {reader.line_num} is damaged ({e}); put texts with commas or line breaks "
            "in quotes, and close each quote."
        ) from e


def _jsonl_rows(path: Path) -> Iterator[Row]:
    columns: list[str] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"a {type(row).__name__}, not an object")
        except (ValueError, RecursionError) as e:
            # A JSON error's own text counts lines within this one.
            why = f"{e.msg} at character {e.pos + 1}" if isinstance(e, json.JSONDecodeError) else e
            raise ValueError(
                f"{path} line {number} is damaged ({why}); write one JSON object a line, such as "
                '{"text": "...", "label": "..."}.'
            ) from e
        if not columns:
            columns = list(row)
            _check_columns(path, columns)
        yield number, row.get("text"), row.get("label")
    _check_columns(path, columns)


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names)
            groups = map(file.metadata.row_group, range(file.num_row_groups))
            n_bytes = sum(group.total_byte_size for group in groups)
            if n_bytes > MOST_BYTES:
                raise _too_large(path, f"{n_bytes / 1e6:,.0f} MB when unpacked")
            batches = file.iter_batches(columns=["text", "label"])
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows, start=1):
                yield number, row["text"], row["label"]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise ValueError(f"{path} is damaged ({e}); write it again.") from e


READERS = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
ENDINGS = ", ".join(READERS)
