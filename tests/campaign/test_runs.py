"""Runs that are killed at random moments, or whose disk is full, go on and end as others do."""

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.campaign.conftest import times
from tests.campaign.tiny_runs import (
    IMPORTS_S,
    Ended,
    begin,
    end,
    on_record,
    orphans,
    run,
    sizes,
    stage,
    told,
    whole,
    world,
)

__all__ = ["whole", "world"]
KILLS = {"front": 6, "front, 2 workers": 4, "elastic training": 10, "race": 10, "agora": 10}
KILLS |= {"table": 10, "layers": 4}
STARVED = ["front", "layers", "race", "agora", "table"]
pytestmark = [pytest.mark.campaign, pytest.mark.timeout(7200)]


@pytest.mark.parametrize("case", KILLS)
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(world, whole, tally, case):
    rng, left, trying = random.Random(case), times(KILLS[case]), f"SIGKILL, {case}"
    for chain in count():
        if not left:
            break
        cache, out = (world.folder / "killed" / case / f"{n}-{chain}" for n in ("cache", "out"))
        begin(whole, case, cache, out)
        before, most_s = [], whole(case)[2]
        for n in range(min(left, 3)):  # the later ones sooner, as there is less left to do
            kill_s = rng.uniform(IMPORTS_S, max(IMPORTS_S + 1, most_s / (1 + n / 2)))
            killed = run(world, case, cache, out, kill_s=kill_s)
            if killed.code == 0:  # it was quicker
                break
            left -= 1
            failure = "" if killed.code == -9 else f"exit code {killed.code}: {killed.log[-600:]}"
            if stayed := orphans(cache):
                failure += f"{case}: {len(stayed)} processes stayed: {stayed}"
            lost, before = set(before) - set(on_record(out)), on_record(out)
            shapes = {what.rpartition(" ")[2] for what, _ in before}
            if unrecorded := told(out) - shapes:
                failure += f"{unrecorded} are not on record"
            tally.add(trying, failure or "lines were lost" * bool(lost))
            tally.tell(f"{case}: killed at {stage(out)}, with {len(before)} lines on record")
        if failure := end(world, whole, case, cache, out, before):
            tally.add(trying, failure, n=0)


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[int | None], None]]:
    """Mount a disk, and yield what leaves so many KiB of it free; skip where one may not."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(folder), "-o"]
    if subprocess.run([*mount, "size=200m"], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk; files limited in size are tried elsewhere")

    def leave(free_kib: int | None) -> None:
        used = shutil.disk_usage(folder).used // 1024
        size = "200m" if free_kib is None else f"{max(4, used + free_kib)}k"  # 0 is no limit
        subprocess.run([*mount, f"remount,size={size}"], check=True, capture_output=True)

    try:
        yield leave
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def refused(ended: Ended, words: str) -> str:
    """Return how a run without room broke its promise: one line of what is wrong, exit code 2."""
    last = ended.log.strip().splitlines()[-1:]
    fine = ended.code == 2 and last and last[0].startswith("bort_engine: ") and words in last[0]
    return "" if fine and "Traceback" not in ended.log else f"{ended.code}: {ended.log[-900:]}"


@pytest.mark.parametrize("where", ["out", "cache"])
@pytest.mark.parametrize("case", STARVED)
def test_a_full_disk_is_one_line_and_the_run_goes_on(world, whole, tally, case, where):
    rng = random.Random(case + where)
    for n in range(times(2)):
        home = world.folder / "full" / case / f"{where}-{n}"
        folders = {"out": home / "out" / "run", "cache": home / "cache" / "own"}
        with small_disk(home / where) as leave:
            begin(whole, case, folders["cache"], folders["out"])
            needed = pages(whole(case)[where == "cache"]) - pages(folders[where])
            leave(4 * rng.randrange(needed))
            ended = run(world, case, folders["cache"], folders["out"])
            leave(None)
            failure = ended.code and refused(ended, "the disk is full")
            before = on_record(folders["out"])
            failure = failure or end(world, whole, case, folders["cache"], folders["out"], before)
        name = "the cache" if where == "cache" else "--out"
        tally.add(f"full disk of {name}", failure and f"{case}: {failure}", n=ended.code != 0)


def pages(folder: Path) -> int:
    """Return how many pages of 4 KiB a folder's files take."""
    return sum(-(-size // 4096) for size in sizes(folder))


@pytest.mark.parametrize("case", STARVED)
def test_files_that_may_not_grow_are_one_line_and_the_run_goes_on(world, whole, tally, case):
    rng = random.Random(case)
    for n in range(times(2)):
        cache, out = (world.folder / "limited" / case / f"{k}-{n}" for k in ("cache", "out"))
        warm = n > 0  # else the first trained model does not fit
        begin(whole, case, cache, out, warm)
        largest = max(sizes(whole(case)[0]) if warm else sizes(whole(case)[1]))
        limit = rng.randrange(100, largest)
        ended = run(world, case, cache, out, limit=limit)
        failure = ended.code and refused(ended, "too large")
        before = on_record(out)
        failure = failure or end(world, whole, case, cache, out, before)
        failure = failure and f"{case}, {limit} bytes: {failure}"
        tally.add("files limited in size (RLIMIT_FSIZE)", failure, n=ended.code != 0)
