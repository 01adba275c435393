"""Which columns of the user's files make a task; its name carries them as a URL's query.

`reviews.csv?text=review&label=stars`: the path, then those columns that are not the default ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import quote, unquote

Kind = Literal["class", "number"]
FIELDS = {
    "text": "text_column",
    "second": "second_column",
    "label": "label_column",
    "kind": "label_kind",
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of the user's files that make a task.

    Args:
        text_column: column of your file with the text.
        second_column: column with a second text, where a task is about pairs of texts.
        label_column: column with the label.
        label_kind: what a label is: the name or number of a class, or a number to predict.

    Raises:
        ValueError: a name is empty or used twice, or the kind is unknown.
    """

    text_column: str = "text"
    second_column: str = ""
    label_column: str = "label"
    label_kind: Kind = "class"

    def __post_init__(self) -> None:
        if not all(self.names) or len(set(self.names)) < len(self.names):
            names = ", ".join(map(repr, self.names))
            raise ValueError(f"the columns are {names}; give texts and label one each.")
        if self.label_kind not in get_args(Kind):
            allowed = ", ".join(get_args(Kind))
            raise ValueError(f"the kind of label is {self.label_kind!r}; allowed: {allowed}.")

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
    values = {}
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if key not in FIELDS or not equals or FIELDS[key] in values:
            raise ValueError(
                f"{part[:80]!r} in the task {name[:300]!r} is not known or given twice; allowed: "
                f"{'=..., '.join(FIELDS)}=... with & between, and %26 for an & in a column's name."
            )
        values[FIELDS[key]] = unquote(value)
    return path, Columns(**values)


def compose_name(path: str, columns: Columns) -> str:
    """Return a task's name that `parse_name` reads; default columns are left out."""
    values = {key: getattr(columns, field) for key, field in FIELDS.items()}
    query = "&".join(
        f"{key}={quote(value, safe='')}"
        for key, value in values.items()
        if value != getattr(Columns(), FIELDS[key])
    )
    return f"{path}?{query}" if query else path
