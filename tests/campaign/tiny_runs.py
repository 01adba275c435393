"""Tiny runs of the real engine, which can be killed or starved of room, and what they found."""

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.finetune.test_agora import sentences

ROOT = Path(__file__).parents[2]
# Timings of models this small are noise, and they learn at rates of their own.
PROGRAM = """
import runpy
from bort_engine.finetune.plan import CONFIGS, Config
from bort_engine.search import candidates
from bort_engine.training import teacher
candidates.MOST_OFF, teacher.LEARNING_RATE_OF_FEW = 99, 1e-2
rates = ((2e-2, 0), (2e-2, 1), (1e-3, 0))
CONFIGS["quick"] = tuple(Config(rate, 0.0, 0.1, 16, seed) for rate, seed in rates)
runpy.run_module("bort_engine", run_name="__main__", alter_sys=True)
"""
COMMON = "TINY --task TASK --teacher-steps 60 --steps 40 --train-batch-size 16"
GRID = "--space 'D=1-2 A=1,2 H=8,16 I=6,12,24'"
CASES = {
    "front": f"front {COMMON} {GRID} --spot-checks 3",
    "front, 2 workers": f"front {COMMON} {GRID} --lazy off --check-all on --workers 2",
    "elastic training": f"front {COMMON} {GRID} --steps 400",
    "layers": f"layers {COMMON} --fit 24 --audit 3 --measure 3 --rounds 2 --improve 2 --workers 2",
    "race": f"race {COMMON} {GRID} --errors measured --budget 4 --seeds 2 --samplers random,tpe,gp",
    "agora": "agora TINY --task TASK --architecture 1,2,16,24 --labelled 60 --teacher-steps 60 "
    "--points 2 --candidates 2 --epochs 2",
    "table": "table TINY --smaller TINY --tasks TASK --seeds 1 --polish 5 --epsilon 0.5 "
    "--workers 1 --teacher-steps 60 --steps 40 --train-batch-size 16",
}
RESULTS = ("front.json", "layers.json", "race.json", "report.json", "table.json")
DISPENSABLE = ("metrics.jsonl", "status.json")  # of progress: a full disk keeps them from nobody
# What two runs of the same may differ in, beside seconds.
CLOCKS = {"latency_ms", "made", "latency", "w", "made_on", "timing", "n_states"}
IMPORTS_S = 3.0  # of processor time, which a process takes until it begins
PATIENCE_S = 600  # for workers to end: all processes of this machine may stand still for minutes


class World(NamedTuple):
    folder: Path
    words: dict[str, str]  # what the commands' words in capitals stand for


class Ended(NamedTuple):
    code: int
    log: str
    cpu_s: float


@pytest.fixture(scope="module")
def world(quick_cache, tmp_path_factory) -> World:
    """A tiny model that learns a made-up task, and an empty folder."""
    from transformers import AutoConfig, AutoModel, set_seed

    folder = tmp_path_factory.mktemp("campaign")
    set_seed(0)
    shape = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    config = AutoConfig.for_model("bert", num_hidden_layers=2, vocab_size=30522, **shape)
    AutoModel.from_config(config).save_pretrained(folder / "tiny")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(quick_cache / "resources" / "minilm-l6-0.1.0" / name, folder / "tiny")
    lines = [f"{text},{label}" for text, label in sentences(400, 0)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *lines]))
    return World(folder, {"TINY": str(folder / "tiny"), "TASK": str(folder / "reviews.csv")})


def run(world: World, case: str, cache: Path, out: Path, kill_s=None, limit=None) -> Ended:
    """Run a command, until it took `kill_s` of processor time; files may have `limit` bytes."""
    cache.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (cache / "resources").symlink_to(Path(os.environ["BORT_CACHE"]) / "resources")
    words = [world.words.get(word, word) for word in shlex.split(CASES[case])]
    env = os.environ | {"BORT_CACHE": str(cache), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    env |= {"BORT_PRECISION": "fp32", "PYTHONDONTWRITEBYTECODE": "1"}
    limited = limit and partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    log = world.folder / "log.txt"
    command = [sys.executable, "-c", PROGRAM, *words, "--out", str(out)]
    with log.open("wb") as file:
        # A limit on files holds for the log, too, so that such a run writes to a pipe.
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE if limit else file}
        process = psutil.Popen(command, cwd=world.folder, env=env, preexec_fn=limited, **pipes)
    cpu_s = 0.0
    while process.poll() is None:
        with suppress(psutil.Error):
            family = [process, *process.children(recursive=True)]
            cpu_s = max(cpu_s, sum(sum(p.cpu_times()[:2]) for p in family))
        if kill_s is not None and cpu_s > kill_s:
            process.kill()
        time.sleep(0.2)
    if limit:
        with process.stderr as pipe:
            log.write_bytes(pipe.read())
    return Ended(process.wait(), log.read_text(errors="replace"), cpu_s)


def orphans(cache: Path) -> list[psutil.Process]:
    """Return the processes that work with a cache, once they had time to end."""
    end = time.monotonic() + PATIENCE_S
    while True:
        left = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("BORT_CACHE") == str(cache):
                    left.append(process)
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.5)


def plain(value):
    """Leave out of a result what a clock decides."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in CLOCKS and "seconds" not in k}
    return list(map(plain, value)) if isinstance(value, list) else value


def on_record(out: Path) -> list[tuple[str, str]]:
    """Return what may not be lost: the lines of tables of errors and the rows of a table, each with
    what it is of."""
    lines = []
    for path in out.rglob("evaluations.jsonl"):
        folder = path.parent.relative_to(out)
        for line in path.read_text().rpartition("\n")[0].splitlines()[1:]:
            lines.append((f"{folder} {json.loads(line)['architecture']}", line))
    for path in out.rglob("rows.json"):
        for row in json.loads(path.read_text())["rows"]:
            line = json.dumps(plain({k: v for k, v in row.items() if k != "test"}))
            lines.append((f"{row['name']} {row['seed']}", line))
    return lines


def told(out: Path) -> set[str]:
    """Return the shapes of which a run told that they are evaluated."""
    if not (out / "metrics.jsonl").exists():
        return set()
    lines = (out / "metrics.jsonl").read_text().rpartition("\n")[0].splitlines()
    return {event["architecture"] for event in map(json.loads, lines) if "architecture" in event}


def result(out: Path):
    """Return what a run found, and all that is on record."""
    found = [plain(json.loads((out / n).read_text())) for n in RESULTS if (out / n).exists()]
    assert found, f"a run left no result in {out}"
    return found, {what: plain(json.loads(line)) for what, line in on_record(out)}


@pytest.fixture(scope="module")
def whole(world):
    """By case: the folder of a run that nothing happened to, its cache, and how long it took."""
    kept = {}

    def of(case: str) -> tuple[Path, Path, float]:
        if case not in kept:
            cache, out = (world.folder / "whole" / case / name for name in ("cache", "out"))
            ended = run(world, case, cache, out)
            assert ended.code == 0, ended.log
            kept[case] = out, cache, ended.cpu_s
        return kept[case]

    return of


def begin(whole, case: str, cache: Path, out: Path, warm: bool = False) -> None:
    """Hand over how long shapes take: two measurements differ, and then so do the fronts.

    A warm cache has the trained models as well; that of "elastic training" has T alone, so that
    this training is most of what there is to do.
    """
    old_out, old_cache, _ = whole(case)
    elastic = case == "elastic training"
    for name in ("calibrations", "teachers")[: 1 + (warm or elastic)]:
        if (old_cache / name).exists():
            left_out = shutil.ignore_patterns(*["elastic-*", ".elastic-*"] * elastic)
            shutil.copytree(old_cache / name, cache / name, dirs_exist_ok=True, ignore=left_out)
    if (old_out / "latency.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(old_out / "latency.json", out)


def stage(out: Path) -> str:
    """Say where a run stood when its status was last written."""
    if not (out / "status.json").exists():
        return "its beginning"
    status = json.loads((out / "status.json").read_text())
    return f"{status['stage']} {status['done']}/{status['total']}"


def sizes(folder: Path) -> list[int]:
    """Return the sizes in bytes of a folder's files, but for those a run can do without."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path.stat().st_size for path in files if path.name not in DISPENSABLE]


def end(world, whole, case: str, cache: Path, out: Path, before: list) -> str:
    """Let a run end, and compare it with one that nothing happened to."""
    ended = run(world, case, cache, out)
    if ended.code:
        return f"{case}: exit code {ended.code}: {ended.log[-600:]}"
    lines = on_record(out)
    if missing := set(before) - set(lines):
        return f"{case}: {len(missing)} of {len(before)} lines were lost: {sorted(missing)[:2]}"
    if len({what for what, _ in lines}) < len(lines):
        return f"{case}: something was evaluated twice"
    if result(out) != result(whole(case)[0]):
        return f"{case}: another result than that of a run that was not killed, in {out}"
    return ""
