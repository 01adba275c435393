"""Where a number was made: the machine, the day, and the versions that decide it."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from bort_engine import __version__

# Where a number comes from. How it is made is its oracle's name.
Origin = Literal["measured", "recorded", "predicted", "published"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Machine, versions and day of a measurement; every record carries one.

    `precision` is that of the matrix products of a training, "bf16" or "fp32", where one was done.
    """

    machine: str
    versions: str
    made_on: str
    precision: str = ""

    @classmethod
    def here(cls, *packages: str, precision: str = "") -> Provenance:
        """Return this machine's, today's, with the versions of these packages."""
        return cls(
            precision=precision,
            machine=f"{device_name()}, {n_threads()} thread{'s' * (n_threads() > 1)}",
            versions=f"bort-explorer {__version__}, {versions(*packages)}",
            made_on=date.today().isoformat(),
        )

    def __str__(self) -> str:
        return f"{self.machine}, {self.made_on}, {self.versions}"


def device_name() -> str:
    """Return the processor's name, as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def n_threads() -> int:
    """Return how many processors this process may use, or was told to by OMP_NUM_THREADS."""
    affinity = getattr(os, "sched_getaffinity", None)
    most = len(affinity(0)) if affinity else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(most, int(told)) if told.isdigit() and int(told) else most


def versions(*packages: str) -> str:
    """Return the versions of these packages: by default, of those that decide a training."""
    return ", ".join(f"{name} {version(name)}" for name in packages or ("torch", "transformers"))


@cache
def code_digest() -> str:
    """Return a digest of the engine's own code."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()
