"""The user's own texts, kept in the cache: each file once, under the digest of its content.

A browser hands over a name and bytes; neither is trusted. What a file's columns mean is kept beside
it once that is said, and from then on it is a task like any other.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from bort_engine.data.columns import Columns
from bort_engine.data.files import ENDINGS, MOST_BYTES, READERS
from bort_engine.data.resources import cache_dir
from bort_engine.data.tasks import find_task, with_columns
from bort_engine.runs import records

COLUMNS = "columns.json"


@dataclass(frozen=True, slots=True)
class Upload:
    """A kept file, and what its columns mean, None as long as that is not said."""

    path: Path
    columns: Columns | None = None

    @property
    def task(self) -> str:
        """The name of the task that it makes."""
        return with_columns(str(self.path), self.columns or Columns())


def keep(name: str, content: bytes) -> Upload:
    """Keep a file under the digest of its content; one that is kept already stays as it is.

    Raises:
        ValueError: the name has an ending that cannot be read, or the file is empty or too large.
    """
    name = re.sub(r"[^\w.-]", "_", Path(name).name)[-80:]
    if not any(name.lower().endswith(ending) for ending in READERS):
        raise ValueError(f"{name} has none of the endings {ENDINGS}; convert it to one of them.")
    if not 0 < len(content) <= MOST_BYTES:
        raise ValueError(
            f"{name} has {len(content) / 1e6:,.1f} MB; allowed: more than none, and at most "
            f"{MOST_BYTES // 10**6}. Take a sample of its rows."
        )
    folder = _root() / hashlib.sha256(content).hexdigest()[:16]
    known = _in(folder)
    if known:
        return known
    with records.whole_folder(folder) as part:
        (part / name).write_bytes(content)
    return Upload(folder / name)


def choose(upload: Upload, columns: Columns) -> Upload:
    """Note what the columns mean, once the file can be read by it.

    Raises:
        ValueError: it cannot; the line says why.
    """
    chosen = Upload(upload.path, columns)
    find_task(chosen.task)
    records.write(upload.path.parent / COLUMNS, columns)
    return chosen


def uploads() -> list[Upload]:
    """Return the kept files, by name."""
    root = _root()
    folders = root.iterdir() if root.is_dir() else ()
    kept = [upload for folder in folders if (upload := _in(folder))]
    return sorted(kept, key=lambda upload: (upload.path.name, upload.path))


def forget(upload: Upload) -> None:
    """Delete a kept file, and nothing else."""
    folder = upload.path.parent.resolve()
    if folder.parent == _root().resolve():
        shutil.rmtree(folder, ignore_errors=True)


def _root() -> Path:
    return cache_dir() / "texts"


def _in(folder: Path) -> Upload | None:
    """Return what lies in a folder, None where it holds no file, or another thing."""
    files = [f for f in folder.iterdir() if f.name != COLUMNS] if folder.is_dir() else []
    if len(files) != 1 or folder.name.startswith("."):
        return None
    path = folder / COLUMNS
    try:
        return Upload(files[0], records.read(path, Columns) if path.is_file() else None)
    except ValueError:  # damaged: say again what they mean
        return Upload(files[0])
