"""Text from elsewhere (names, logs, files, exceptions), made to read as itself when shown."""

from __future__ import annotations

import errno
import re
from pathlib import Path

DISK_FULL = "the disk is full: free some space and resume; what was measured so far is kept"


def near(text: str) -> str:
    """Return a text with its paths as seen from the current folder, else from the user's own."""
    for folder, name in ((Path.cwd(), ""), (Path.home(), "~/")):
        text = text.replace(f"{folder}/", name)
    return text


def literal(text: object) -> str:
    """Return Markdown that reads as the text itself, in one line: names and logs are not markup.

    Paths in it are those of `near`.
    """
    text = re.sub(r"([\\`*_\[\]<>#!|~$:&])", r"\\\1", near(" ".join(str(text).splitlines())))
    return re.sub(r"^(\s*\d*)([-+=.)])(?=[\s=-]|$)", r"\1\\\2", text)  # a list's begin, a heading's


def printable(text: str, most: int = 2000) -> str:
    """Cut a text, and replace what cannot be encoded or shown: lone surrogates, controls."""
    text = text[:most].encode("utf-8", "replace").decode()
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", text)


def one_line(error: BaseException) -> str:
    """Return an exception as one line for a person; a full disk is named, and what to do."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{DISK_FULL} ({error.filename or 'no file named'})"
    return " ".join(str(error).split()) or type(error).__name__
