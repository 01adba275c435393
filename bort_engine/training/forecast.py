"""About how long a run's stages take, told before any begins; a run corrects it (time_left.py).

By what they took of MiniLM-L6 on film reviews (two cores of an AMD EPYC, bf16, 2026-11-26), times
the work, times how much slower this machine is by its own calibration.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import median

from bort_engine.data import hub
from bort_engine.data.columns import parse_name
from bort_engine.data.embedded import LOADERS
from bort_engine.data.resources import ASSETS, RESOURCES, cache_dir
from bort_engine.data.tasks import MAX_LENGTH, load_task
from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.latency import Calibration, LatencySettings
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture
from bort_engine.runs import records
from bort_engine.runs.time_left import Stage
from bort_engine.training.recipe import Recipe
from bort_engine.training.teacher import (
    EPOCHS,
    EPOCHS_OF_FEW,
    MANY,
    MOST_TOKENS,
    TEACHER_STAGES,
    TeacherReport,
)

# Seconds of MiniLM-L6's forward pass on a token: its fine-tuning on 10,100 rows of 26.8 tokens for
# two epochs, at three passes a step, and its labels of 11,367 rows took 109 s.
FORWARD_S = 109 / ((2 * 3 * 10_100 + 11_367) * 26.8)
TRAINING = 3  # passes a step takes: forward, and twice as much backward
ELASTIC_RECIPE = Recipe(steps=500, batch_size=64, learning_rate=4e-4)
# Passes of the source on its batch that a step of the elastic student takes: 300 steps of 64 rows
# of 26.8 tokens took 137 s.
ELASTIC_PASSES = 137 / (300 * 64 * 26.8 * FORWARD_S)
ELASTIC = "training the elastic student"
BEGINNING_S = 2.0  # of any stage: packages and weights are loaded
# The embedded tasks: rows of train and of dev, and the mean tokens of a row that are read.
MEASURED = {
    "rotten-tomatoes": (10_100, 1267, 26.8),
    "newsgroups": (10_138, 1128, 178.2),
    "reuters-r8": (4874, 545, 106.1),
    "rated-tweets": (3360, 420, 22.6),
    "same-article": (7408, 924, 59.8),
}
TOKENS_A_WORD = 1.4  # film reviews have 26.8 tokens and 18.3 words
MB_A_SECOND = (2.0, 20.0)
OFF = 1.25  # how many times longer or shorter a stage may well take


@dataclass(frozen=True, slots=True)
class TaskSize:
    """Rows of train and of dev, and the mean tokens of a row that are read."""

    n_train: int
    n_dev: int
    n_tokens: float


def task_size(task: str) -> TaskSize:
    """Return a task's size; of one on the hub, which is not asked here, that of film reviews."""
    path, columns = parse_name(task)
    longest = columns.max_length or MOST_TOKENS
    if path in MEASURED:
        n_train, n_dev, n_tokens = MEASURED[path]
        return TaskSize(n_train, n_dev, min(n_tokens, longest))
    if path.startswith(hub.PREFIX):
        return TaskSize(*MEASURED["rotten-tomatoes"])
    splits = load_task(task)
    train = splits["train"]
    some = train.select(range(0, len(train), max(1, len(train) // 500)))
    texts = [*some["text"], *(some["second"] if "second" in some.column_names else ())]
    n_words = sum(len(text.split()) for text in texts) / len(some)
    return TaskSize(
        len(train), len(splits["validation"]), min(longest, 2 + TOKENS_A_WORD * n_words)
    )


def token_s(source: Source, n_tokens: float, architecture: Architecture | None = None) -> float:
    """Return the seconds of a forward pass on one token in texts of so many, on this machine."""
    minilm, length = sources["minilm-l6"], max(1, round(n_tokens))
    ours = n_operations(architecture or source.architecture, source, length).encoder
    theirs = n_operations(minilm.architecture, minilm, MAX_LENGTH).encoder
    return FORWARD_S * slowness() * (ours / length) / (theirs / MAX_LENGTH)


def slowness() -> float:
    """Return how many times slower this machine is than the one the shipped calibration is of.

    By its own calibrations of models in PyTorch, at about that one's length; 1 without any.
    """
    paths = (cache_dir() / "calibrations").glob("*.json")
    return _slowness(tuple(sorted((path, path.stat().st_mtime_ns) for path in paths)))


@lru_cache(maxsize=1)
def _slowness(files: tuple[tuple[Path, int], ...]) -> float:
    """Read them again only once one changes."""
    times = []
    for path, _ in files:
        with suppress(ValueError, OSError):
            calibration = records.read(path, Calibration)
            at = calibration.settings
            usual = replace(at, sequence_length=MAX_LENGTH) == LatencySettings(1, MAX_LENGTH)
            if usual and MAX_LENGTH <= at.sequence_length <= 2 * MAX_LENGTH:
                times.append(_ms_an_operation(calibration))
    return median(times) / _ms_an_operation(recorded()) if times else 1.0


def recorded() -> Calibration:
    """Return the shipped calibration of MiniLM-L6's fine space."""
    return records.read(ASSETS / "calibrations" / "minilm-l6-fine.json", Calibration)


def _ms_an_operation(calibration: Calibration) -> float:
    """Return the median over the larger half of the blocks: of small ones most is overhead."""
    length = calibration.settings.sequence_length
    rows = []
    for block, ms in calibration.layer_ms.items():
        _, width, neurons = map(int, block.split(","))
        rows.append((4 * width * width + 2 * width * neurons + 2 * length * width, ms))
    rows.sort()
    return median(ms / (length * operations) for operations, ms in rows[len(rows) // 2 :])


def stage(name: str, seconds: float, highest: float = 0.0) -> Stage:
    """Return a stage of about so many seconds, or of a range; what it begins with is added."""
    low, high = seconds / OFF, max(seconds, highest) * OFF
    return Stage(name, round(BEGINNING_S + low, 1), round(BEGINNING_S + high, 1))


def fetching(source: Source, task: str) -> list[Stage]:
    """Return the stage of what is not in the cache yet, if anything."""
    if not (size_mb := to_fetch_mb(source, task)):
        return []
    slow, fast = MB_A_SECOND
    return [Stage("fetching", round(size_mb / fast, 1), round(size_mb / slow, 1), False)]


def to_fetch_mb(source: Source, task: str) -> float:
    """Return the megabytes that a first run fetches: weights, and an embedded task's data."""
    names, size_mb = [], 0.0
    path = parse_name(task)[0]
    names += [LOADERS[path][0]] if path in LOADERS else []
    if source.weights == "embedded":
        names.append(source.name)
    elif source.weights and not os.path.isdir(source.weights):
        from huggingface_hub.constants import HF_HUB_CACHE

        if not Path(HF_HUB_CACHE, "models--" + source.weights.replace("/", "--")).is_dir():
            size_mb += 4 * n_parameters(source.architecture, source).total / 1e6
    root = cache_dir() / "resources"
    return size_mb + sum(RESOURCES[n].size_mb for n in names if not any(root.glob(f"{n}-*")))


def is_kept(source: Source, task: str, n_labelled: int, student: str = "") -> bool:
    """Is there a teacher of so many labelled rows in the cache, with this elastic student, if any?

    Of how many steps is not asked, since only the whole texts tell: it is a guess.
    """
    stem = Path(parse_name(task)[0]).stem
    for folder in (cache_dir() / "teachers").glob(f"{Path(source.name).name}-{stem}-*"):
        with suppress(ValueError, OSError):
            report = records.read(folder / "report.json", TeacherReport)
            if report.n_labelled == n_labelled and (not student or (folder / student).is_dir()):
                return True
    return False


def teacher_stages(
    source: Source, size: TaskSize, n_labelled: int = 0, steps: int = 0
) -> list[Stage]:
    """Return the stages of the source's fine-tuning: the training, and its labels of all texts."""
    n_rows = n_labelled or size.n_train
    rows = steps * 32 or n_rows * (EPOCHS if n_rows >= MANY else EPOCHS_OF_FEW)
    per_row = token_s(source, size.n_tokens) * size.n_tokens
    training, labelling = TEACHER_STAGES
    return [
        stage(training, TRAINING * rows * per_row),
        stage(labelling, (size.n_train + size.n_dev) * per_row),
    ]


def elastic_stage(
    source: Source, size: TaskSize, rows: int = ELASTIC_RECIPE.steps * ELASTIC_RECIPE.batch_size
) -> Stage:
    """Return the stage of training the elastic student on so many rows."""
    return stage(ELASTIC, ELASTIC_PASSES * rows * size.n_tokens * token_s(source, size.n_tokens))
