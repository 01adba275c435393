"""Labelled text: a task is a name, its labels, and train / validation / test splits.

A task is built in, or made of the user's own files: one with the columns text and label, or a
folder with one for each split. They are read as data, whole, and nothing is written beside them.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
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
MAX_LENGTH = 64
SPLIT_SEED = 0
SPLITS = ("train", "validation", "test")
STEMS = {"train": ("train",), "validation": ("validation", "dev"), "test": ("test",)}
MOST_BYTES, MOST_ROWS = 500_000_000, 1_000_000
LEAST_TEXTS, MOST_LABELS = 50, 100  # to train on; more labels than that are a number to predict
# A tokenizer reads a whole text before it cuts; no MAX_LENGTH tokens need more than this.
MOST_CHARACTERS = 20_000

Labelled = list[tuple[str, Any]]  # texts with their labels, or with the labels' numbers


def find_task(name: str) -> Task:
    """Return a task by its name, or by the path of a file or folder with its texts.

    Raises:
        ValueError: the name is unknown, or a file is not what is needed.
        OSError: a file cannot be read.
    """
    return TASKS[name] if name in TASKS else _own(name)[0]


def load_task(name: str, on_progress: Progress = silent) -> DatasetDict:
    """Return the splits `train` and `validation` of a task: columns `text` and `label`.

    The test split is left out on purpose: what chooses an architecture must not see it.
    """
    splits = _load(name, on_progress)
    del splits["test"]
    return splits


def load_test(name: str, on_progress: Progress = silent) -> Dataset:
    """Return the locked test split: columns `text` and `label`.

    To be loaded once, at the end, by the one function that scores the finished model on it.
    Whatever else reads it makes that score a choice, and no longer a test.
    """
    return _load(name, on_progress)["test"]


def _load(name: str, on_progress: Progress) -> DatasetDict:
    from datasets import Dataset, DatasetDict

    if name in TASKS:
        return _rotten_tomatoes(TASKS[name], on_progress)
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {"text": [text for text, _ in rows], "label": [number for _, number in rows]}
            )
            for split, rows in _own(name)[1].items()
        }
    )


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
    seen = table["movie_name"].value_counts()[films].cumsum() / len(table)
    split = {film: SPLITS[(share > 0.8) + (share > 0.9)] for film, share in seen.items()}
    table = table.assign(
        split=table["movie_name"].map(split), label=table["category"].map(task.labels.index)
    )
    return DatasetDict(
        {
            str(name): Dataset.from_pandas(rows[["text", "label"]], preserve_index=False)
            for name, rows in table.groupby("split")
        }
    )


def _own(name: str) -> tuple[Task, dict[str, Labelled]]:
    """Return the task that the user's files make, and its splits with the labels' numbers."""
    found = os.path.expanduser(name)
    if not os.path.isfile(found) and not os.path.isdir(found):  # pathlib's raise on some names
        if Path(found).suffix.lower() in READERS or os.path.dirname(found):
            raise ValueError(
                f"{name[:300]!r} is neither a file nor a folder; check the path, or use a task "
                f"that is built in: {', '.join(TASKS)}."
            )
        raise ValueError(
            f"task {name[:80]!r} is not known; allowed: {', '.join(TASKS)}, or the path of a file "
            f"({ENDINGS}) with the columns text and label."
        )
    path = Path(found).resolve()
    files = _split_files(path) if path.is_dir() else {"": path}
    stats = {split: (file, file.stat()) for split, file in files.items()}
    stamps = [(split, file, s.st_size, s.st_mtime_ns) for split, (file, s) in stats.items()]
    return _parse(path, tuple(stamps))


def _split_files(folder: Path) -> dict[str, Path]:
    files = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in READERS and f.is_file()]
    found = {split: [f for f in files if f.stem in STEMS[split]] for split in SPLITS}
    for split, matches in found.items():
        if len(matches) != 1:
            names = " and ".join(file.name for file in matches) or "none"
            raise ValueError(
                f"{folder} needs one file for the {split} split, and has {names}; give "
                f"one, named {' or '.join(STEMS[split])}, with one of the endings {ENDINGS}."
            )
    return {split: matches[0] for split, matches in found.items()}


@lru_cache(maxsize=2)  # by the files' times and sizes, too; few, since the texts stay in memory
def _parse(path: Path, stamps: tuple[Any, ...]) -> tuple[Task, dict[str, Labelled]]:
    tables, seen, n_empty, n_repeated = {}, set(), 0, 0
    # Backwards: a text in several splits stays in the one that must not be learnt from.
    for split, file, *_ in reversed(stamps):
        rows, empty = _read(file)
        first: dict[str, str] = {}
        for text, label in rows:
            if text not in seen:
                first.setdefault(text, label)
        tables[split] = list(first.items())
        seen |= first.keys()
        n_empty += empty
        n_repeated += len(rows) - len(first)
    how = "by file"
    if "" in tables:
        how = f"80/10/10 by a shuffle with seed {SPLIT_SEED}"
        tables = _shuffled(tables[""])
    dropped = f"{n_empty:,} empty and {n_repeated:,} repeated ones dropped"
    sizes = {split: len(tables[split]) for split in SPLITS}
    if min(sizes.values()) == 0 or sizes["train"] < LEAST_TEXTS:
        raise ValueError(
            f"{path} has {_in_words(sizes)} texts ({dropped}); at least {LEAST_TEXTS} are needed "
            "to train on and 1 in each other split. Add rows."
        )
    labels = _classes(path, tables)
    number = {label: n for n, label in enumerate(labels)}
    splits = {split: [(text, number[label]) for text, label in tables[split]] for split in SPLITS}
    note = (
        f"{sum(sizes.values()):,} texts from {path.name} ({_in_words(sizes)}), split {how}; "
        f"{dropped}; at most {MAX_LENGTH} tokens are read"
    )
    return Task(str(path), path.name, labels, note, _digest(labels, splits)), splits


def _shuffled(rows: Labelled) -> dict[str, Labelled]:
    n = len(rows)
    order = np.random.default_rng(SPLIT_SEED).permutation(n)
    parts = np.split(order, [n * 8 // 10, n * 9 // 10])
    return {split: [rows[i] for i in part] for split, part in zip(SPLITS, parts, strict=True)}


def _in_words(sizes: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {split}" for split, n in sizes.items())


def _classes(path: Path, tables: dict[str, Labelled]) -> tuple[str, ...]:
    """Return the labels of the train split, in order: numbers by their value, words by letters."""
    found = {split: {label for _, label in tables[split]} for split in SPLITS}
    labels = sorted(found["train"])
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
        unknown = sorted(found[split] - found["train"])
        if unknown:
            raise ValueError(
                f"{path} has the label {unknown[0][:80]!r} in its {split} split but not in train, "
                f"which has {_some(labels)}; add rows of it there, or remove it."
            )
    return tuple(labels)


def _some(values: list[str]) -> str:
    return ", ".join(repr(value[:40]) for value in values[:5]) + (", ..." if values[5:] else "")


def _digest(labels: tuple[str, ...], splits: dict[str, Labelled]) -> str:
    digest = hashlib.sha256(repr(labels).encode())
    for split in ("train", "validation"):
        for text, number in splits[split]:
            digest.update(f"{split} {number} {text}\0".encode())
    return digest.hexdigest()


def _read(path: Path) -> tuple[Labelled, int]:
    """Return a file's texts with their labels, and how many rows were dropped for lack of text."""
    kind, size = path.suffix.lower(), path.stat().st_size
    if kind not in READERS:
        raise ValueError(f"{path} has the ending {kind!r}; allowed: {ENDINGS}. Convert it.")
    if size > MOST_BYTES:
        raise _too_large(path, f"{size / 1e6:,.0f} MB")
    unit = "row" if kind == ".parquet" else "line"
    rows, n_empty = [], 0
    for number, text, label in READERS[kind](path):
        if text is None or text != text or (isinstance(text, str) and not text.strip()):
            n_empty += 1
            continue
        if not isinstance(text, str):
            raise ValueError(
                f"{path} {unit} {number}: text is {str(text)[:80]} ({type(text).__name__}); it "
                "must be a string."
            )
        rows.append((_whole(text[:MOST_CHARACTERS]), _label(label, f"{path} {unit} {number}")))
        if len(rows) > MOST_ROWS:
            raise _too_large(path, f"more than {MOST_ROWS:,} rows")
    return rows, n_empty


def _too_large(path: Path, size: str) -> ValueError:
    return ValueError(
        f"{path} has {size}; allowed: {MOST_BYTES // 10**6} MB and {MOST_ROWS:,} rows. Take a "
        "sample of its rows."
    )


def _whole(text: str) -> str:
    """Replace the halves of surrogate pairs that JSON can hold: no file and no tokenizer can."""
    return text.encode(errors="replace").decode()


def _label(value: Any, place: str) -> str:
    if isinstance(value, float) and value.is_integer():  # what pandas makes of integers with gaps
        value = int(value)
    if value is None or value != value or not str(value).strip():
        raise ValueError(f"{place} has no label; give each row one, or delete the row.")
    if not isinstance(value, str | int):
        raise ValueError(
            f"{place}: label is {str(value)[:80]} ({type(value).__name__}); allowed: a string or "
            "an integer. Numbers to predict (regression) are not classes."
        )
    return _whole(str(value).strip())


def _lines(path: Path) -> Iterator[str]:
    """Read UTF-8 text line by line, with or without a byte order mark."""
    position = 0
    with path.open("rb") as file:
        for line in file:
            try:
                yield line.decode().removeprefix("" if position else "\ufeff")
            except UnicodeDecodeError as e:
                raise ValueError(
                    f"{path} is not UTF-8 at byte {position + e.start} (0x{line[e.start]:02x}); "
                    "save it as UTF-8."
                ) from e
            position += len(line)


def _places(path: Path, columns: list[str]) -> tuple[int, int]:
    if not {"text", "label"} <= set(columns):
        raise ValueError(
            f"{path} has the columns {_some(columns) or 'none'}; it needs text and label. Rename "
            "them."
        )
    return columns.index("text"), columns.index("label")


def _csv_rows(path: Path) -> Iterator[tuple[int, Any, Any]]:
    # Not pandas: it ends texts at a NUL, and takes a first column without a heading for an index.
    reader = csv.reader(_lines(path), strict=True)
    try:
        columns = [column.strip() for column in next(reader, [])]
        text, label = _places(path, columns)
        for row in filter(None, reader):
            if len(row) != len(columns):
                raise csv.Error(f"{len(row)} cells where the first line has {len(columns)}")
            yield reader.line_num, row[text], row[label]
    except csv.Error as e:
        raise ValueError(
            f"{path} line {reader.line_num} is damaged ({e}); put texts with commas or line breaks "
            "in quotes, and close each quote."
        ) from e


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Any, Any]]:
    n_rows = 0
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"a {type(row).__name__}, not an object")
        except (ValueError, RecursionError) as e:
            # Its own text counts lines within this one.
            why = f"{e.msg} at character {e.pos + 1}" if isinstance(e, json.JSONDecodeError) else e
            raise ValueError(
                f"{path} line {number} is damaged ({why}); write one JSON object a line, such as "
                '{"text": "...", "label": "..."}.'
            ) from e
        if not n_rows:
            _places(path, list(row))
        n_rows += 1
        yield number, row.get("text"), row.get("label")
    if not n_rows:
        _places(path, [])


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _places(path, file.schema_arrow.names)
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            n_bytes = sum(group.total_byte_size for group in groups)
            if n_bytes > MOST_BYTES:
                raise _too_large(path, f"{n_bytes / 1e6:,.0f} MB when unpacked")
            number = 0
            for batch in file.iter_batches(columns=["text", "label"]):
                text, label = _places(path, batch.schema.names)
                columns = batch.column(text).to_pylist(), batch.column(label).to_pylist()
                for pair in zip(*columns, strict=True):
                    number += 1
                    yield number, *pair
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise ValueError(f"{path} is damaged ({e}); write it again.") from e


READERS = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
ENDINGS = ", ".join(READERS)
