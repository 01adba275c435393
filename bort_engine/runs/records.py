"""Records on disk: one dataclass is the schema that is written and that is read back.

A record is any dataclass of plain values, tuples, dictionaries and further dataclasses; bounds
stand in its annotations (`Annotated[float, Ge(0)]`, from annotated_types). pydantic checks what is
read, strictly, so a file from anywhere becomes a valid value or one ValueError; no number in it is
NaN, infinite or 1e18 or beyond. It is imported when the first record is read or written.

A record with a version has a field `schema: Literal[2] = 2`, and may say in `AGAIN` what to do
about a file of another version.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

Value = TypeVar("Value")
# Numbers of this world: the upper bounds refuse infinities, which JSON can spell as 1e999.
Share = Annotated[float, Ge(0), Le(1)]
Positive = Annotated[float, Gt(0), Lt(1e18)]
NonNegative = Annotated[float, Ge(0), Lt(1e18)]
Count = Annotated[int, Ge(0), Lt(10**18)]
PositiveCount = Annotated[int, Gt(0), Lt(10**18)]
MOST_NUMBER = 1e18
MOST_BYTES = 64 * 2**20  # of a file that is read: larger ones are none of ours


def cache_dir() -> Path:
    """Return where downloads, teachers, locks and more are kept: $BORT_CACHE, or ~/.cache."""
    default = Path.home() / ".cache" / "bort-explorer"
    return Path(os.environ.get("BORT_CACHE") or default).expanduser()


def lock_of(folder: Path) -> Path:
    """Return the lock file of a folder, in the cache: nothing is left beside the user's files."""
    locks = cache_dir() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    return locks / hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]


class OtherVersion(ValueError):
    """The record is whole, but was written by a version that had another schema."""


def dump(record: Any) -> Any:
    """Return a record as plain values, ready for `json.dumps`; `parse` reads them back."""
    return _adapter(type(record)).dump_python(record, mode="json")


def dump_line(record: Any) -> bytes:
    """Return a record as one line of JSON, without its line break."""
    return _adapter(type(record)).dump_json(record)


def parse(plain: str | bytes | Any, kind: type[Value]) -> Value:
    """Return the record in a JSON text, or in plain values as `dump` returns them.

    Raises:
        ValueError: a field is missing, unknown, of another type or out of range; the line names it.
    """
    from pydantic import ValidationError
    from pydantic_core import from_json, to_json

    text = plain if isinstance(plain, str | bytes) else to_json(plain)
    try:
        record = _adapter(kind).validate_json(text, strict=True, extra="forbid")
    except ValidationError as e:
        raise _refusal(e, kind) from e
    if where := _unbounded(from_json(text)):
        again = getattr(kind, "AGAIN", "make it anew")
        raise ValueError(f"damaged {kind.__name__.lower()}: {where} is no finite number; {again}.")
    return record


def write(path: str | Path, record: Any) -> Path:
    """Write a record as JSON, whole or not at all."""
    return write_bytes(path, _adapter(type(record)).dump_json(record, indent=1) + b"\n")


def read(path: str | Path, kind: type[Value], most_bytes: int = MOST_BYTES) -> Value:
    """Read a record written by `write`.

    Raises:
        ValueError: there is no such file, it is too large, or it is damaged; the line says where.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(most_bytes + 1)
        if len(text) > most_bytes:
            raise ValueError(f"it is larger than {most_bytes / 2**20:g} MB")
        return parse(text, kind)
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise ValueError(f"{path}: {reason}") from e


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file to a temporary neighbour, flush it to the disk, then rename it.

    A reader sees the old content or the new, never a part of it, even after a power cut.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends, whole or not at all.

    If there is a folder of that name by then, another process was quicker, and its folder stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as part:
        folder = Path(part) / path.name  # mkdtemp leaves `part` itself to the owner alone
        folder.mkdir()
        yield folder
        try:
            folder.rename(path)
        except OSError:
            if not path.is_dir():
                raise


def _unbounded(plain: Any) -> str:
    """Return the path of a number beyond `MOST_NUMBER`, or that is none; "" without one."""
    if isinstance(plain, int | float):
        return "" if abs(plain) < MOST_NUMBER else "it"
    if not isinstance(plain, dict | list):
        return ""
    for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
        if where := _unbounded(value):
            return f"{key}.{where}".removesuffix(".it")
    return ""


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _refusal(error: ValidationError, kind: type) -> ValueError:
    """Say in one line which field is wrong, and what to do."""
    errors = error.errors(include_url=False)
    # A file of another version differs in many fields: what matters is that its schema does.
    first = next((e for e in errors if e["loc"] == ("schema",)), errors[0])
    name, again = kind.__name__.lower(), getattr(kind, "AGAIN", "make it anew")
    value = first["input"]
    value = f" ({str(value)[:60]!r})" if isinstance(value, str | int | float | None) else ""
    if first["loc"] == ("schema",):
        return OtherVersion(f"this {name} was written by another version{value}; {again}.")
    where = ".".join(map(str, first["loc"])) or name
    return ValueError(f"damaged {name}: {where}{value}: {first['msg']}; {again}.")
