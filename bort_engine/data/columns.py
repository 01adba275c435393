"""What is read of a task's data; its name carries it as a URL's query.

`reviews.csv?text=review&label=stars&length=128`: the path, then what is not the default: columns of
the user's file, and how many tokens of a text are read.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import quote, unquote

Kind = Literal["class", "number"]
FIELDS = {
    "text": "text_column",
    "second": "second_column",
    "label": "label_column",
    "kind": "label_kind",
    "length": "max_length",
}
MOST_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of the user's files that make a task, and how much of a text is read.

    Args:
        text_column: column of your file with the text.
        second_column: column with a second text, where a task is about pairs of texts.
        label_column: column with the label.
        label_kind: what a label is: the name or number of a class, or a number to predict.
        max_length: tokens that are read of a text at most; 0 for as many as 95 % of the texts have,
            up to 256.

    Raises:
        ValueError: a name is empty or used twice, the kind is unknown, or the length out of range.
    """

    text_column: str = "text"
    second_column: str = ""
    label_column: str = "label"
    label_kind: Kind = "class"
    max_length: int = 0

    def __post_init__(self) -> None:
        if not all(self.names) or len(set(self.names)) < len(self.names):
            names = ", ".join(map(repr, self.names))
            raise ValueError(f"the columns are {names}; give texts and label one each.")
        if self.label_kind not in get_args(Kind):
            allowed = ", ".join(get_args(Kind))
            raise ValueError(f"the kind of label is {self.label_kind!r}; allowed: {allowed}.")
        if self.max_length and not 8 <= self.max_length <= MOST_TOKENS:
            raise ValueError(
                f"max_length is {self.max_length}; allowed: 8 to {MOST_TOKENS} tokens, or 0 for as "
                "many as the texts ask for."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns to read: the text, the second text if any, the label."""
        second = (self.second_column,) if self.second_column else ()
        return (self.text_column, *second, self.label_column)


def parse_name(name: str) -> tuple[str, Columns]:
    """Return the path and the columns in a task's name; what exists under all of it is a path.

    Raises:
        ValueError: a key is unknown or given twice, or the columns are no valid ones.
    """
    path = os.path.expanduser(name)
    if "?" not in path or os.path.exists(path):
        return path, Columns()
    path, _, query = path.rpartition("?")
    values: dict[str, Any] = {}
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        fits = key != "length" or re.fullmatch(r"\d{1,6}", value)
        if key not in FIELDS or not equals or FIELDS[key] in values or not fits:
            raise ValueError(
                f"{part[:80]!r} in the task {name[:300]!r} is not known, no number, or given "
                f"twice; allowed: {'=..., '.join(FIELDS)}=... with & between, and %26 for an & "
                "in a column's name."
            )
        values[FIELDS[key]] = int(value) if key == "length" else unquote(value)
    return path, Columns(**values)


def compose_name(path: str, columns: Columns) -> str:
    """Return a task's name that `parse_name` reads; default columns are left out."""
    values = {key: getattr(columns, field) for key, field in FIELDS.items()}
    query = "&".join(
        f"{key}={quote(str(value), safe='')}"
        for key, value in values.items()
        if value != getattr(Columns(), FIELDS[key])
    )
    return f"{path}?{query}" if query else path
