"""The models of a task's part of a `table`: made, or found where they were kept.

A unit of work makes one row. It needs what the units before it left in the cache and in the task's
folder, and is the same whoever makes it, however often.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bort_engine.data.tasks import find_task
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.timing import LatencySettings
from bort_engine.lab.table_record import BY_STUDENT, ONCE, Name, Row, TaskRows
from bort_engine.runs import records
from bort_engine.runs.events import Progress, Stop, step_events
from bort_engine.search.cut import Cut, cut
from bort_engine.search.evaluate import BriefTraining, Evaluator, Setup
from bort_engine.search.front import front
from bort_engine.search.result import Front, Point, Search
from bort_engine.training import metrics
from bort_engine.training.teacher import Teacher, usual_recipe

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

FIRST = ONCE[0]
QUARTER = 0.25  # of the source's encoder parameters


@dataclass(frozen=True, slots=True)
class Job:
    """One task's part of a table, in a folder of `out`.

    Points are chosen by latencies on so many `threads`; `digest` is of a user's texts and models.
    """

    source: Source
    smaller: Source
    task: str
    seeds: int
    epsilon: float
    polish: int
    training: BriefTraining
    threads: int
    out: Path
    digest: str = ""

    def digest_here(self) -> str:
        """Return the digest of what this process reads."""
        return find_task(self.task).digest + self.source.digest() + self.smaller.digest()

    def __str__(self) -> str:
        return self.task

    @property
    def folder(self) -> Path:
        """Where all is kept: the task may be a path with columns."""
        return self.out / re.sub(r"[^\w.-]+", "-", self.task).strip("-")[-80:]

    @property
    def cells(self) -> list[tuple[Name, int]]:
        """The rows to fill: those made once, then those of each elastic student."""
        once: list[tuple[Name, int]] = [(name, 0) for name in ONCE]
        return once + [(name, seed) for seed in range(self.seeds) for name in BY_STUDENT]

    def ready(self, names: Collection[Name] = (*ONCE, *BY_STUDENT)) -> list[Unit]:
        """Return the rows of these names that are missing and can be made now.

        A task's first row comes with T, which all others need, and a seed's first one with its
        front. After a problem there are none.
        """
        known = self.read()
        done = {(row.name, row.seed) for row in known.rows}
        can_begin = {FIRST}
        can_begin |= {*ONCE, BY_STUDENT[0]} if (FIRST, 0) in done else set()
        return [
            Unit(self, name, seed)
            for name, seed in self.cells
            if name in names and (name, seed) not in done and not known.problem
            if name in can_begin or (BY_STUDENT[0], seed) in done
        ]

    def add(self, part: TaskRows) -> None:
        """Put a new row, or why there is none, on record."""
        known = self.read()
        rows = sorted((*known.rows, *part.rows), key=lambda r: self.cells.index((r.name, r.seed)))
        problem = known.problem or part.problem
        records.write(self.record, replace(part, rows=tuple(rows), problem=problem))

    @property
    def record(self) -> Path:
        return self.folder / "rows.json"

    @property
    def settings(self) -> str:
        """What rows depend on, but for the seed; rows of several settings are not mixed."""
        training = "" if self.training == BriefTraining() else f", {self.training}"
        names = f"{self.source.name} and {self.smaller.name}"
        return f"{names}, epsilon {self.epsilon:g}, polish {self.polish}{training}"

    def read(self) -> TaskRows:
        """Return what is on record.

        Raises:
            ValueError: it is of other settings, or damaged.
        """
        if not self.record.is_file():
            return TaskRows(self.task, self.settings)
        known = records.read(self.record, TaskRows)
        if known.settings != self.settings:
            raise ValueError(
                f"{self.record} holds rows of {known.settings}, not {self.settings}; choose "
                "another --out."
            )
        return known


class Unit(NamedTuple):
    """A piece of work: one row of a task."""

    job: Job
    name: Name
    seed: int

    def __str__(self) -> str:
        return f"{self.job}: {self.name}, seed {self.seed}"


def make_row(unit: Unit, on_progress: Progress, stop: Stop) -> TaskRows:
    """Make one row, or say why that cannot be, in a worker.

    Raises:
        OSError: the worker sees other files than whoever asks.
    """
    job = unit.job
    part = TaskRows(job.task, job.settings)
    try:
        models = Models(job, on_progress, stop)
        report = models.teacher.report
        part = replace(
            part,
            kind=report.kind,
            n_labelled=report.n_labelled,
            n_dev=report.n_dev,
            max_length=report.max_length,
            cut=report.cut,
        )
        return replace(part, rows=(models.row(unit.name, unit.seed),))
    except ValueError as e:  # of this task alone: others go on
        return replace(part, problem=str(e))


@dataclass(frozen=True, slots=True)
class Model:
    """A finished model: what it says of a split, (n, classes) or (n, 1), and what it cost."""

    outputs: Callable[[Dataset], np.ndarray]
    n_parameters: int
    seconds: float
    architecture: Architecture | None = None
    shown: float | None = None


class Models:
    """Makes a task's models, or finds them where they were kept."""

    def __init__(self, job: Job, on_progress: Progress, stop: Stop) -> None:
        if not job.folder.is_dir() or job.digest != job.digest_here():
            raise OSError(
                f"a worker on {platform.node()} sees no {job.folder}, or other texts or models of "
                f"{job.task}; let all machines share these folders."
            )
        self.job, self.on_progress, self.stop = job, on_progress, stop
        self.n_outputs = len(find_task(job.task).labels) or 1

    @cached_property
    def teacher(self) -> Teacher:
        return self._fine_tuned(self.job.source)

    def _fine_tuned(self, source: Source) -> Teacher:
        return Teacher.prepare(
            source,
            self.job.task,
            steps=self.job.training.teacher_steps,
            on_progress=self.on_progress,
            stop=self.stop,
        )

    def row(self, name: Name, seed: int) -> Row:
        """Make a model and score it on dev."""
        model = self.model(name, seed)
        dev = self.teacher.splits["validation"]
        labels, outputs = np.array(dev["label"]), model.outputs(dev)
        return Row(
            name,
            seed,
            model.architecture,
            dev_error=round(metrics.error(labels, outputs), 6),
            shown=model.shown,
            scores=rounded(metrics.scores(labels, outputs)),
            n_parameters=model.n_parameters,
            seconds=round(model.seconds, 1),
        )

    def model(self, name: Name, seed: int) -> Model:
        """Return a model, made now unless it is kept."""
        if name == "majority":
            return self._majority()
        if name in ("words", "frozen vectors"):
            return self._linear(name)
        if name in ("source", "smaller source"):
            source = self.job.source if name == "source" else self.job.smaller
            T = self.teacher if name == "source" else self._fine_tuned(source)
            return self._encoder(T.model, T.report.seconds, source.architecture)
        size, labels_only = name.partition(", ")[::2]
        point = self._point(size, seed)
        folder = self.job.folder / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
        make = self._on_labels if labels_only else self._distilled
        return make(point, seed, folder)

    def _majority(self) -> Model:
        labels = np.array(self.teacher.splits["train"]["label"])
        guess = np.zeros(self.n_outputs)
        if self.n_outputs > 1:
            guess[np.bincount(labels).argmax()] = 1.0
        return Model(lambda split: np.tile(guess, (len(split), 1)), n_parameters=0, seconds=0.0)

    def _linear(self, name: str) -> Model:
        from bort_engine.encoder.build import load_source
        from bort_engine.training.baselines import FrozenVectors, Linear, Words
        from bort_engine.training.vectors import Vectors

        T, source = self.teacher, self.job.source
        features, frozen = Words(), 0
        if name == "frozen vectors":
            encoder = load_source(source)
            features = FrozenVectors(Vectors(encoder, T.tokenizer), source)
            frozen = encoder.num_parameters()
        linear = Linear.fit(features, T.splits["train"], T.splits["validation"], self.n_outputs)
        shape = source.architecture if frozen else None
        return Model(linear.outputs, frozen + linear.n_parameters, linear.seconds, shape)

    def _encoder(
        self,
        model: PreTrainedModel,
        seconds: float,
        architecture: Architecture,
        shown: float | None = None,
    ) -> Model:
        from bort_engine.training.trainer import predict

        T = self.teacher

        def outputs(split: Dataset) -> np.ndarray:
            return predict(model, T.encode(split, split["label"]), T.tokenizer)

        return Model(outputs, model.num_parameters(), seconds, architecture, shown)

    def _point(self, size: str, seed: int) -> Point:
        """Return the recommended point of a seed's front, or the best with a quarter of it."""
        job, folder = self.job, self.job.folder / f"front-{seed}"
        path = folder / "front.json"
        found = Front.load(path) if path.is_file() else None
        if found is None or found.partial:
            found = front(
                job.source,
                job.task,
                job.epsilon,
                search=Search(spot_checks=0),
                training=job.training,
                settings=LatencySettings(threads=job.threads),
                seed=seed,
                workers=1,  # rows are what is made side by side
                out=folder,
                on_progress=self.on_progress,
                stop=self.stop,
            )
        if size == "student":
            return found.recommended
        most = QUARTER * n_parameters(job.source.architecture, job.source).encoder
        small = [p for p in found.points if p.n_encoder_parameters <= most]
        if not small:
            raise ValueError(f"no point of the front has a quarter of {job.source.name}'s encoder.")
        return min(small, key=lambda p: (p.shown_error, p.latency_ms))

    def _distilled(self, point: Point, seed: int, folder: Path) -> Model:
        """Cut a point out of the elastic student and polish it, as `cut` does."""
        job, shape = self.job, point.architecture
        is_source = shape == job.source.architecture
        start = perf_counter()
        if (folder / "cut.json").is_file():
            made = records.read(folder / "cut.json", Cut)
        else:
            made = cut(
                job.source,
                job.task,
                architecture=shape,
                polish=0 if is_source else job.polish,
                training=job.training,
                seed=seed,
                out=folder,
                on_progress=self.on_progress,
                stop=self.stop,
            )
        setup = Setup(job.source.name, job.task, "elastic", job.training, seed)
        elastic = Evaluator(job.source, setup)
        seconds = perf_counter() - start + self.teacher.report.seconds
        seconds += elastic.student.report.seconds
        return self._encoder(_load(folder / "model"), seconds, shape, made.front_error)

    def _on_labels(self, point: Point, seed: int, folder: Path) -> Model:
        """Fine-tune a slice of the source on the labels, as the source itself was."""
        from bort_engine.encoder.build import inherit, load_source
        from bort_engine.encoder.checkpoint import os_errors
        from bort_engine.training.trainer import train, without_dropout

        T, shape, start = self.teacher, point.architecture, perf_counter()
        if shape == self.job.source.architecture:
            return self.model("source", 0)
        if not folder.is_dir():
            train_split = T.splits["train"]
            labels = np.array(train_split["label"])
            if T.report.kind == "number":
                labels = (labels - T.report.mean) / T.report.spread
            parent = load_source(self.job.source, num_labels=self.n_outputs, seed=seed)
            model = without_dropout(inherit(parent, shape, self.job.source, T.importance))
            train(
                model,
                T.encode(train_split, labels),
                T.tokenizer,
                usual_recipe(len(labels), self.job.training.teacher_steps),
                seed=seed,
                on_step=step_events("fine-tuning a slice on labels", self.on_progress),
                stop=self.stop,
            )
            with records.whole_folder(folder) as part, os_errors():
                model.save_pretrained(part)
        return self._encoder(_load(folder), perf_counter() - start, shape)


def _load(folder: Path) -> PreTrainedModel:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True).eval()


def rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in scores.items()}
