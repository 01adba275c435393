"""Text from elsewhere (names, logs, files, exceptions), made to read as itself when shown."""

from __future__ import annotations

import errno
import re

DISK_FULL = "the disk is full: free some space and resume; what was measured so far is kept"


def literal(text: object) -> str:
    """Return Markdown that reads as the text itself: names and logs are not markup."""
    return re.sub(r"([\\`*_\[\]<>#!|~$:])", r"\\\1", str(text))


def printable(text: str, most: int = 2000) -> str:
    """Cut a text, and replace what cannot be encoded or shown: lone surrogates, controls."""
    text = text[:most].encode("utf-8", "replace").decode()
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", text)


def one_line(error: BaseException) -> str:
    """Return an exception as one line for a person; a full disk is named, and what to do."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{DISK_FULL} ({error.filename or 'no file named'})"
    return " ".join(str(error).split()) or type(error).__name__
