"""The user's own files: one with texts and their labels, or a folder with one for each split.

They are read as data, whole, and nothing is written beside them.

datasets' own readers are not used: they copy files into the hub's cache, pandas beneath them ends
a text at a NUL and takes a first column without a heading for an index, and a damaged line is not
told by its number. Nor are class_encode_column, which puts label 10 before 9, and train_test_split,
which would give all files a new split.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bort_engine.data.columns import Columns, Kind
from bort_engine.data.splits import (
    SPLIT_SEED,
    SPLITS,
    Content,
    Row,
    Tables,
    drop_repeats,
    shuffle_split,
)

STEMS = {"train": ("train",), "validation": ("validation", "dev"), "test": ("test",)}
MOST_BYTES, MOST_ROWS = 500_000_000, 1_000_000
LEAST_TEXTS, MOST_LABELS = 50, 100  # to train on; more labels than that are a number to predict
# A tokenizer reads a whole text before it cuts; no MAX_LENGTH tokens need more than this.
MOST_CHARACTERS = 20_000
MOST_NUMBER = 1e18  # the square of an error of that size still fits into fp32

# Called with a file's columns; returns those whose values are to be read.
Choose = Callable[[list[str]], Sequence[str]]
Values = tuple[int, list[Any]]  # the number of a line, and the values of the chosen columns


def find_files(path: Path) -> dict[str, Path]:
    """Return a folder's files by split; a single file's split is "".

    Raises:
        ValueError: a split has no file, or several.
    """
    if not path.is_dir():
        return {"": path}
    files = [file for file in sorted(path.iterdir()) if _ending(file) in READERS and file.is_file()]
    by_split = {}
    for split, stems in STEMS.items():
        matches = [file for file in files if file.name[: -len(_ending(file))] in stems]
        if len(matches) != 1:
            names = " and ".join(file.name for file in matches) or "none"
            raise ValueError(
                f"{path} needs one file for the {split} split, and has {names}; give "
                f"one, named {' or '.join(stems)}, with one of the endings {ENDINGS}."
            )
        by_split[split] = matches[0]
    return by_split


def load(path: Path, files: dict[str, Path], columns: Columns) -> tuple[Content, str]:
    """Read the files of a task, and return its content and what there is to say of it.

    Raises:
        ValueError: a file is not what is needed; the line says where.
        OSError: a file cannot be read.
    """
    tables, n_empty = {}, 0
    for split, file in files.items():
        tables[split], empty = _read(file, columns)
        n_empty += empty
    tables, dropped = drop_repeats(tables)
    dropped = replace(dropped, n_empty=n_empty)
    n_texts = sum(map(len, tables.values()))
    how = "by file"
    if "" in tables:
        how = f"80/10/10 by a shuffle with seed {SPLIT_SEED}"
        tables = shuffle_split(tables[""])
    left_out = f"{n_empty:,} empty and {dropped.n_repeated:,} repeated ones dropped"
    sizes = ", ".join(f"{len(tables[split]):,} {split}" for split in SPLITS)
    if not all(tables.values()) or len(tables["train"]) < LEAST_TEXTS:
        raise ValueError(
            f"{path} has {sizes} texts ({left_out}); at least {LEAST_TEXTS} are needed to train on "
            "and 1 in each other split. Add rows."
        )
    texts = "pairs of texts" if columns.second_column else "texts"
    note = f"{n_texts:,} {texts} from {path.name} ({sizes}), split {how}; {left_out}"
    labels = _labels(path, tables, columns.label_kind)
    return Content.of(tables, labels, bool(columns.second_column), dropped), note


def columns(path: str | Path) -> tuple[str, ...]:
    """Return the names of the columns of a file, or of a folder's train split.

    Raises:
        ValueError: its ending is not known, or its beginning is damaged.
        OSError: it cannot be read.
    """
    file = next(iter(find_files(Path(path).expanduser()).values()))
    names: list[str] = []

    def choose(columns: list[str]) -> tuple[str, ...]:
        names.extend(columns)
        return ()

    next(_values(file, choose), None)
    return tuple(names)


def _labels(path: Path, tables: Tables, kind: Kind) -> tuple[str, ...]:
    """Return the classes of the train split, in order: numbers by their value, words by letters."""
    labels_of = {split: {str(label) for *_, label in tables[split]} for split in SPLITS}
    labels = sorted(labels_of["train"])
    if len(labels) < 2:
        raise ValueError(
            f"{path} has the label {labels[0][:80]!r} only in its train split; give at least 2."
        )
    if kind == "number":
        return ()
    if all(re.fullmatch(r"-?[0-9]{1,18}", label) for label in labels):
        labels.sort(key=int)
    if len(labels) > MOST_LABELS:
        raise ValueError(
            f"{path} has {len(labels)} labels, such as {_some(labels)}; at most {MOST_LABELS} are "
            "allowed. Numbers to predict (regression) are asked for by ?kind=number after the path."
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


def _read(path: Path, columns: Columns) -> tuple[list[Row], int]:
    """Return a file's rows, and how many were dropped for lack of text."""
    rows: list[Row] = []
    n_empty = 0
    for number, (*texts, label) in _values(path, partial(_choose, path, columns.names)):
        place = f"{path} {'row' if _ending(path) == '.parquet' else 'line'} {number}"
        if any(text is None or text != text or not str(text).strip() for text in texts):
            n_empty += 1
            continue
        for column, text in zip(columns.names, texts, strict=False):  # the label comes last
            if not isinstance(text, str):
                raise ValueError(f"{place}: {column} is {_value(text)}; it must be a string.")
        if label is None or label != label or not str(label).strip():
            raise ValueError(
                f"{place} has no {columns.label_column}; give each row one, or delete the row."
            )
        label = _number(place, label) if columns.label_kind == "number" else _class(place, label)
        text, second = (_whole(text[:MOST_CHARACTERS]) for text in (*texts, "")[:2])
        rows.append((text, second, label))
        if len(rows) > MOST_ROWS:
            raise _too_large(path, f"more than {MOST_ROWS:,} rows")
    return rows, n_empty


def _class(place: str, label: Any) -> str:
    if isinstance(label, float) and label.is_integer():  # pandas' integers, where one was empty
        label = int(label)
    if not isinstance(label, str | int):
        raise ValueError(
            f"{place}: label is {_value(label)}; allowed: a string or an integer. Numbers to "
            "predict (regression) are asked for by ?kind=number after the path."
        )
    return _whole(str(label).strip())


def _number(place: str, label: Any) -> float:
    try:
        number = float(label)
        if not abs(number) < MOST_NUMBER:
            raise ValueError("infinite")
    except (ValueError, TypeError, OverflowError) as e:
        raise ValueError(
            f"{place}: label is {_value(label)}; allowed: a number such as -1.5, nearer to 0 than "
            f"{MOST_NUMBER:g}. Names of classes are read without kind=number."
        ) from e
    return number


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


def _values(path: Path, choose: Choose) -> Iterator[Values]:
    """Read the chosen columns of a file, as its ending says."""
    ending, size = _ending(path), path.stat().st_size
    if ending not in READERS:
        raise ValueError(f"{path} has the ending {ending!r}; allowed: {ENDINGS}. Convert it.")
    if size > MOST_BYTES:
        raise _too_large(path, f"{size / 1e6:,.0f} MB")
    return READERS[ending](path, choose)


def _choose(path: Path, names: tuple[str, ...], columns: list[str]) -> tuple[str, ...]:
    """Return the names of the columns to read; each must be there once."""
    for name in names:
        if columns.count(name) > 1:
            raise ValueError(
                f"{path} has {columns.count(name)} columns named {name[:80]!r}; rename all but one."
            )
        if name not in columns:
            raise ValueError(
                f"{path} has the columns {_some(columns) or 'none'}; it needs {' and '.join(names)}"
                ". Rename them, or name yours after the path: ?text=...&label=..."
            )
    return names


def _ending(path: Path) -> str:
    """Return the ending that says how a file is read, else the last that it has."""
    name = path.name.lower()
    return next((ending for ending in READERS if name.endswith(ending)), path.suffix.lower())


def _lines(path: Path) -> Iterator[str]:
    """Read UTF-8 text line by line: packed by gzip or not, with or without a byte order mark."""
    opener, n_bytes = gzip.open if path.suffix.lower() == ".gz" else open, 0
    try:
        with opener(path, "rb") as file:
            # Of a line without an end, no more is read than what is still allowed and one byte.
            while line := file.readline(MOST_BYTES + 1 - n_bytes):
                n_bytes += len(line)
                if n_bytes > MOST_BYTES:
                    raise _too_large(path, f"over {MOST_BYTES / 1e6:,.0f} MB when unpacked")
                if n_bytes == len(line):  # the first
                    line = line.removeprefix(BOM_UTF8)
                try:
                    yield line.decode()
                except UnicodeDecodeError as e:
                    place = f"byte {n_bytes - len(line) + e.start} (0x{line[e.start]:02x})"
                    raise ValueError(f"{path} is not UTF-8 at {place}; save it as UTF-8.") from e
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
        raise ValueError(f"{path} is damaged ({e}); compress it again.") from e


def _csv_rows(path: Path, choose: Choose, separator: str = ",") -> Iterator[Values]:
    reader = csv.reader(_lines(path), delimiter=separator, strict=True)
    try:
        columns = [column.strip() for column in next(reader, [])]
        if separator == "," and len(columns) == 1 and ";" in columns[0]:
            raise ValueError(
                f"{path} has semicolons where commas belong: {columns[0][:80]!r}; save it with "
                "commas between the columns."
            )
        places = [columns.index(name) for name in choose(columns)]
        for row in filter(None, reader):
            if len(row) != len(columns):
                raise csv.Error(f"{len(row)} cells where the first line has {len(columns)}")
            yield reader.line_num, [row[place] for place in places]
    except csv.Error as e:
        marks = "commas" if separator == "," else "tabs"
        raise ValueError(
            f"{path} line {reader.line_num} is damaged ({e}); put texts with {marks}, quotes or "
            "line breaks in quotes, and close each quote."
        ) from e


def _jsonl_rows(path: Path, choose: Choose) -> Iterator[Values]:
    names: Sequence[str] | None = None
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
        if names is None:
            # The object as a list of pairs, since a dictionary keeps one column of each name.
            names = choose([column for column, _ in json.loads(line, object_pairs_hook=list)])
        yield number, [row.get(name) for name in names]
    if names is None:
        choose([])


def _parquet_rows(path: Path, choose: Choose) -> Iterator[Values]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = choose(file.schema_arrow.names)
            groups = map(file.metadata.row_group, range(file.num_row_groups))
            n_bytes = sum(group.total_byte_size for group in groups)
            if n_bytes > MOST_BYTES:
                raise _too_large(path, f"{n_bytes / 1e6:,.0f} MB when unpacked")
            batches = file.iter_batches(columns=list(names))
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows, start=1):
                yield number, [row[name] for name in names]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise ValueError(f"{path} is damaged ({e}); write it again.") from e


TEXT_READERS = {
    ".csv": _csv_rows,
    ".tsv": partial(_csv_rows, separator="\t"),
    ".jsonl": _jsonl_rows,
}
PACKED_READERS = {f"{ending}.gz": reader for ending, reader in TEXT_READERS.items()}
READERS = {**TEXT_READERS, **PACKED_READERS, ".parquet": _parquet_rows}
ENDINGS = ", ".join(READERS)
