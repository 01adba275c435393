"""Runs that are killed at random moments, or whose disk is full, go on and end as others do."""

import random
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.campaign.conftest import times
from tests.campaign.tiny_runs import (
    CASES,
    IMPORTS_S,
    Ended,
    begin,
    end,
    on_record,
    orphans,
    run,
    whole,
    world,
)

__all__ = ["whole", "world"]
pytestmark = [pytest.mark.campaign, pytest.mark.timeout(7200)]


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(world, whole, tally, case):
    rng = random.Random(case)
    for chain in range(times(3)):
        cache, out = (world.folder / "killed" / case / f"{n}-{chain}" for n in ("cache", "out"))
        begin(whole, case, cache, out)
        before, trying = [], f"SIGKILL, {case}"
        most_s = whole(case)[2]
        for n in range(3):  # the later ones sooner, as there is less left to do
            kill_s = rng.uniform(IMPORTS_S, max(IMPORTS_S + 1, most_s / (1 + n / 2)))
            killed = run(world, case, cache, out, kill_s=kill_s)
            if killed.code == 0:
                break
            failure = "" if killed.code == -9 else f"exit code {killed.code}: {killed.log[-600:]}"
            if left := orphans(cache):
                failure += f"{case}: {len(left)} processes stayed: {left}"
            lost = set(before) - set(on_record(out))
            tally.add(trying, failure or "lines were lost" * bool(lost))
            before = on_record(out)
        if failure := end(world, whole, case, cache, out, before):
            tally.add(trying, failure, n=0)


@contextmanager
def small_disk(folder: Path, kib: int):
    """Mount a disk of this size, and yield what gives it more room; skip where one may not."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield lambda: subprocess.run(
            ["mount", "-o", "remount,size=200m", str(folder)], check=True, capture_output=True
        )
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def refused(ended: Ended, words: str) -> str:
    """Return how a run without room broke its promise: one line of what is wrong, exit code 2."""
    last = ended.log.strip().splitlines()[-1:]
    fine = ended.code == 2 and last and last[0].startswith("bort_engine: ") and words in last[0]
    return "" if fine and "Traceback" not in ended.log else f"{ended.code}: {ended.log[-900:]}"


@pytest.mark.parametrize("where", ["out", "cache"])
@pytest.mark.parametrize("case", ["front", "layers", "race", "agora", "table"])
def test_a_full_disk_is_one_line_and_the_run_goes_on(world, whole, tally, case, where):
    rng = random.Random(case + where)
    for n in range(times(3)):
        home = world.folder / "full" / case / f"{where}-{n}"
        folders = {"out": home / "out" / "run", "cache": home / "cache" / "own"}
        with small_disk(home / where, rng.choice((4, 8, 16, 64, 512, 2500))) as more_room:
            with suppress(OSError):
                begin(whole, case, folders["cache"], folders["out"])
            failure = ""
            with suppress(OSError):  # there may be no room for a link even
                ended = run(world, case, folders["cache"], folders["out"])
                failure = ended.code and refused(ended, "the disk is full")
            more_room()
            begin(whole, case, folders["cache"], folders["out"])
            failure = failure or end(world, whole, case, folders["cache"], folders["out"], [])
        tally.add(
            f"full disk of --{where}".replace("--cache", "the cache"),
            failure and f"{case}: {failure}",
        )


@pytest.mark.parametrize("case", ["front", "layers", "race", "agora", "table"])
def test_files_that_may_not_grow_are_one_line_and_the_run_goes_on(world, whole, tally, case):
    rng = random.Random(case)
    for n in range(times(3)):
        cache, out = (world.folder / "limited" / case / f"{k}-{n}" for k in ("cache", "out"))
        warm = n > 0  # else the first trained model does not fit
        begin(whole, case, cache, out, warm)
        limit = rng.choice((100, 500, 1000, 2000, 5000) if warm else (100_000,))
        ended = run(world, case, cache, out, limit=limit)
        failure = ended.code and refused(ended, "")
        failure = failure or end(world, whole, case, cache, out, [])
        tally.add("files limited in size", failure and f"{case}, {limit} bytes: {failure}")
