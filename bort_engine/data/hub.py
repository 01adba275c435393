"""Tasks from the Hugging Face hub, by name: hub:nyu-mll/glue/mrpc, hub:OWNER/NAME?text=review.

Labels of GLUE's and SuperGLUE's test sets are kept back, so their dev set is the locked test here,
and dev is a tenth of train. RACE (multiple choice) becomes pairs: an article, and a question with
one of its options, right or wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bort_engine.data.columns import Columns
from bort_engine.data.resources import check_hub
from bort_engine.data.splits import Row, Tables, hold_out
from bort_engine.runs.text import one_line

PREFIX = "hub:"
MOST_ROWS = 200_000
# The columns of what GLUE and SuperGLUE call their tasks; those of one text have no second.
_PAIR = Columns("sentence1", "sentence2")
KNOWN: dict[str, dict[str, Columns]] = {
    "nyu-mll/glue": {
        "cola": Columns("sentence"),
        "sst2": Columns("sentence"),
        "mrpc": _PAIR,
        "rte": _PAIR,
        "wnli": _PAIR,
        "stsb": replace(_PAIR, label_kind="number"),
        "qqp": Columns("question1", "question2"),
        "mnli": Columns("premise", "hypothesis"),
        "qnli": Columns("question", "sentence"),
    },
    "aps/super_glue": {
        "boolq": Columns("question", "passage"),
        "cb": Columns("premise", "hypothesis"),
        "rte": Columns("premise", "hypothesis"),
    },
}
RACE = "ehovy/race"
KNOWN[RACE] = dict.fromkeys(("all", "middle", "high"), Columns("article", "question", "answer"))
DEV = ("validation", "dev", "validation_matched")


def parse(name: str) -> tuple[str, str]:
    """Return the data set and its configuration ("" for the only one) in hub:OWNER/NAME/CONFIG.

    Raises:
        ValueError: the name is not of that form.
    """
    match = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)(?:/([\w.-]+))?", name)
    if not match:
        raise ValueError(
            f"task {name[:300]!r} is not of the form hub:OWNER/NAME or hub:OWNER/NAME/CONFIG; such "
            "as hub:nyu-mll/glue/mrpc."
        )
    return match[1], match[2] or ""


def columns_of(name: str, asked: Columns) -> Columns:
    """Return the columns to read: those asked for, or the known ones of a task."""
    repository, config = parse(name)
    known = KNOWN.get(repository, {}).get(config, Columns())
    if replace(asked, max_length=0) != Columns():
        return asked
    return replace(known, max_length=asked.max_length)


def load(name: str, columns: Columns) -> tuple[Tables, str]:
    """Return a task's rows by split, and a note on where its splits come from.

    Raises:
        ValueError: the hub or the data set cannot be reached, or a column is missing.
    """
    repository, config = parse(name)
    data = _loaded(repository, config)
    rows = {split: list(_rows(repository, data[split], columns, name)) for split in data}
    # Without labels (-1), as tests of a competition are, a split is of no use here.
    rows = {split: labelled for split, labelled in rows.items() if labelled}
    train = rows.get("train")
    if not train:
        raise ValueError(f"{name} has no labelled train split; its splits are {', '.join(data)}.")
    dev = next((split for split in DEV if split in rows), "")
    longest = [f"{len(data[split]):,} of {split}" for split in data if len(data[split]) > MOST_ROWS]
    first = f"; the first {MOST_ROWS:,} rows of {' and '.join(longest)}" if longest else ""
    if "test" in rows and dev:
        tables = {"train": train, "validation": rows[dev], "test": rows["test"]}
        return tables, f"split as published{first}"
    last = rows.get("test") or rows.get(dev)
    if last is None:
        raise ValueError(f"{name} has labels in train only; download it and split it by file.")
    rest, tenth = hold_out(train)
    tables = {"train": rest, "validation": tenth, "test": last}
    kept = "test" if "test" in rows else dev
    return tables, f"dev is a tenth of train at random, the published {kept} split is test{first}"


def _loaded(repository: str, config: str) -> Any:
    from datasets import load_dataset

    if not Path(repository).is_dir():  # as the library does, which looks for a folder first
        check_hub()
    try:
        return load_dataset(repository, config or None)
    except Exception as e:  # of many kinds: a network's, a missing name's, a damaged file's
        raise ValueError(
            f"{repository} {config} could not be loaded from the hub ({one_line(e)[:200]}); check "
            "its name and configuration."
        ) from e


def _rows(repository: str, split: Any, columns: Columns, name: str) -> Iterator[Row]:
    """Give the labelled rows of a split."""
    if len(split) > MOST_ROWS:
        split = split.select(range(MOST_ROWS))
    if repository == RACE:
        yield from _race(split)
        return
    missing = [column for column in columns.names if column not in split.column_names]
    if missing:
        raise ValueError(
            f"{name} has no column {missing[0]!r}; it has {', '.join(split.column_names)}. Name "
            "them: hub:OWNER/NAME?text=...&label=..."
        )
    names = getattr(split.features[columns.label_column], "names", None)
    is_number = columns.label_kind == "number"
    seconds = split[columns.second_column] if columns.second_column else [""] * len(split)
    triples = zip(split[columns.text_column], seconds, split[columns.label_column], strict=True)
    for text, second, label in triples:
        if label is None or (label == -1 and not is_number):
            continue
        shown = names[label] if names else str(label)
        yield str(text), str(second), float(label) if is_number else shown


def _race(split: Any) -> Iterator[Row]:
    """Give each question of RACE with each of its options, four pairs of one article."""
    for article, question, options, answer in zip(
        *(split[name] for name in ("article", "question", "options", "answer")), strict=True
    ):
        for at, option in enumerate(options):
            # Where the question has a gap, the option fills it.
            filled = question.replace("_", option) if "_" in question else f"{question} {option}"
            yield article, filled, "right" if at == ord(answer) - ord("A") else "wrong"
