"""Files as a user would give them, and what the engine reads from them."""

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq

from bort_engine.data.tasks import find_task, load_task, load_test

GOOD = [(f"text {n}", ("no", "yes")[n % 2]) for n in range(100)]


def write(path, rows, columns=("text", "label")):
    """Write rows as the path's ending says."""
    if path.suffix == ".parquet":
        values = zip(*rows, strict=True) if rows else [[] for _ in columns]
        pq.write_table(pa.table(dict(zip(columns, map(list, values), strict=True))), path)
        return str(path)
    packed = path.suffix == ".gz"
    with (gzip.open if packed else open)(path, "wt", newline="", encoding="utf-8") as file:
        if ".jsonl" in path.suffixes:
            dicts = (dict(zip(columns, row, strict=True)) for row in rows)
            file.writelines(json.dumps(row) + "\n" for row in dicts)
        else:
            separator = "\t" if ".tsv" in path.suffixes else ","
            csv.writer(file, delimiter=separator).writerows([columns, *rows])
    return str(path)


def write_folder(
    folder, train=GOOD, dev=(("a", "no"),), test=(("b", "yes"),), ending="csv", **settings
):
    for name, rows in (("train", train), ("dev", dev), ("test", test)):
        write(folder / f"{name}.{ending}", rows, **settings)
    return str(folder)


def load_all(name):
    """All three splits as lists of (text, label in words)."""
    labels = find_task(name).labels
    splits = {**load_task(name), "test": load_test(name)}
    return {
        split: [(text, labels[n]) for text, n in zip(rows["text"], rows["label"], strict=True)]
        for split, rows in splits.items()
    }
