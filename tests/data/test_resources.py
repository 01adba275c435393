"""Fetching: hash-checked twice, whole or not at all, and nothing to do the second time."""

import hashlib
import io
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from bort_engine.data import resources
from bort_engine.data.resources import DEFAULT, LOCK, RESOURCES, Resource, cache_dir, fetch


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A tiny wheel served by pip from a local folder, with its lock file; the cache is empty."""
    monkeypatch.setenv("BORT_CACHE", str(tmp_path / "cache"))
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = shelf / "toy_data-1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: toy-data\nVersion: 1.0\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy/data.txt", "hello")
        archive.writestr("toy/code.py", "raise SystemExit('never run')")
        archive.writestr("toy_data-1.0.dist-info/METADATA", metadata)
        archive.writestr(
            "toy_data-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("toy_data-1.0.dist-info/RECORD", "")
    lock = tmp_path / "toy.lock"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    content = hashlib.sha256(b"hello").hexdigest()
    lock.write_text(f"toy-data==1.0 --hash=sha256:{digest}\n#   {content}  data.txt\n")
    resource = Resource("toy-data", "toy", ("data.txt",), 1, "ours")
    monkeypatch.setitem(RESOURCES, "toy", resource)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return lock


@pytest.fixture
def toy_source(toy, tmp_path, monkeypatch):
    """A source distribution beside it, whose setup.py would leave a trace; the lock has it too."""
    archive = tmp_path / "shelf" / "toy_source-1.0.tar.gz"
    contents = {
        "setup.py": f"open({str(tmp_path / 'trace')!r}, 'w'); raise SystemExit('never run')",
        "PKG-INFO": "Metadata-Version: 2.1\nName: toy-source\nVersion: 1.0\n",
        "more/more.txt": "hello again",
    }
    with tarfile.open(archive, "w:gz") as file:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"toy_source-1.0/{name}")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content.encode()))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    content = hashlib.sha256(b"hello again").hexdigest()
    pin = f"toy-source==1.0 --hash=sha256:{digest}\n#   {content}  more.txt\n"
    toy.write_text(toy.read_text() + pin)
    resource = Resource("toy-source", "more", ("more.txt",), 1, "ours", is_source=True)
    monkeypatch.setitem(RESOURCES, "toy-source", resource)
    return toy


def left_overs() -> list[str]:
    root = cache_dir() / "resources"
    return sorted(path.name for path in root.glob("*") if path.is_dir())


def test_fetch_takes_only_the_named_data_and_does_nothing_the_second_time(toy, monkeypatch):
    events = []
    folder = fetch("toy", events.append, lock=toy)
    assert (folder / "data.txt").read_text() == "hello"
    assert [path.name for path in folder.iterdir()] == ["data.txt"]
    assert events[0]["stage"] == "fetching"
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("pip was called again"))
    assert fetch("toy", events.append, lock=toy) == folder
    assert len(events) == 1


@pytest.mark.parametrize("damage", [lambda f: f.write_text("jello"), Path.unlink])
def test_a_damaged_file_in_the_cache_is_fetched_again_and_kept_until_then(
    toy, monkeypatch, tmp_path, damage
):
    path = fetch("toy", lock=toy) / "data.txt"
    damage(path)
    with monkeypatch.context() as offline, pytest.raises(ValueError, match="could not be fetched"):
        offline.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
        fetch("toy", lock=toy)
    assert left_overs() == ["toy-1.0"]
    events = []
    fetch("toy", events.append, lock=toy)
    assert path.read_text() == "hello" and "in the cache is damaged" in events[0]["detail"]


def test_a_wrong_package_hash_is_refused_with_both_hashes(toy):
    real = toy.read_text().split("sha256:")[1].split()[0]
    toy.write_text(f"toy-data==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ValueError, match=rf"expected {'0' * 64}, got {real}"):
        fetch("toy", lock=toy)
    assert left_overs() == []


def test_a_source_distribution_is_read_and_not_run(toy_source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BORT_CACHE", "cache")
    assert (fetch("toy-source", lock=toy_source) / "more.txt").read_text() == "hello again"
    assert not (tmp_path / "trace").exists()
    toy_source.write_text(f"toy-source==1.0 --hash=sha256:{'0' * 64}\n")
    (cache_dir() / "resources" / "toy-source-1.0").rename(tmp_path / "gone")
    with pytest.raises(ValueError, match=rf"expected {'0' * 64}, got "):
        fetch("toy-source", lock=toy_source)
    assert left_overs() == [] and not (tmp_path / "trace").exists()


def test_an_interrupted_fetch_leaves_nothing_half_done(toy, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(resources.zipfile, "ZipFile", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch("toy", lock=toy)
    assert left_overs() == []
    (cache_dir() / "resources" / ".part-killed").mkdir()  # as SIGKILL would leave it
    assert fetch("toy", lock=toy).name == "toy-1.0"
    assert left_overs() == ["toy-1.0"]


def test_an_unreachable_registry_is_one_clear_line(toy, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
    with pytest.raises(ValueError, match=r"toy-data==1.0 could not be fetched .* try again"):
        fetch("toy", lock=toy)


def test_an_unknown_resource_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'nope' is not known; allowed: minilm-l6, minilm-l3, "):
        fetch("nope")


def test_every_resource_is_pinned_by_version_and_sha256():
    files = re.findall(r"^#   [0-9a-f]{64}  (\S+)$", LOCK.read_text(), re.M)
    assert files == [name for resource in RESOURCES.values() for name in resource.files]
    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    assert [line.split("==")[0] for line in lines] == [r.package for r in RESOURCES.values()]
    assert set(DEFAULT) <= RESOURCES.keys()
    assert all(len(line.split("--hash=sha256:")[1]) == 64 for line in lines)


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("BORT_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("BORT_CACHE")
    assert cache_dir() == Path.home() / ".cache" / "bort-explorer"
