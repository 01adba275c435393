"""The verb `table`: students beside their teachers on many tasks, and what one would try instead.

On each task the source is fine-tuned; by seed, an elastic student gives a front, and two of its
points are cut and polished: the recommended one, which loses at most a point on dev, and the best
with a quarter of the encoder. Beside them stand the most frequent class, linear models, a ready
smaller model fine-tuned alike, and the students' own shapes fine-tuned on labels alone. What is
made is kept in a folder by task, so that a table that was stopped goes on. Test splits are opened
once, when all models are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from bort_engine.algorithms.fptas import check_epsilon
from bort_engine.data.tasks import find_task, load_test
from bort_engine.encoder.latency import LatencySettings
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.turns import median_ms
from bort_engine.lab.table_models import Job, Models, rounded
from bort_engine.lab.table_record import BY_STUDENT, SMALLER, OnTest, Table
from bort_engine.runs import records
from bort_engine.runs.events import Event, Progress, Stop, bar, check, never, silent
from bort_engine.runs.provenance import Provenance, n_threads
from bort_engine.runs.workers import side_by_side
from bort_engine.search.evaluate import BriefTraining
from bort_engine.training import metrics
from bort_engine.training.precision import precision

TASKS = ("rotten-tomatoes", "rated-tweets", "reuters-r8", "same-article", "newsgroups")
N_RESAMPLES = 2000
N_TIMED = 200  # texts, one at a time, of a model on words


def table(
    source: str | Source,
    *,
    tasks: tuple[str, ...] = TASKS,
    smaller: str = SMALLER,
    seeds: int = 2,
    epsilon: float = 0.2,
    polish: int = 300,
    test: bool = True,
    training: BriefTraining | None = None,
    processes: int = 0,
    out: str | Path,
    on_progress: Progress = bar,
    stop: Stop = never,
) -> Table:
    """Put students beside their teachers, and beside what one would try instead, on many tasks.

    Args:
        source: a reference name, a local folder, or a hub id.
        tasks: names of tasks, or files or folders of your own.
        smaller: a ready smaller source, fine-tuned as the source is.
        seeds: elastic students a task.
        epsilon: of the fronts that points are chosen from.
        polish: steps in which a student is distilled on its own.
        test: open the locked test splits, once, when all models are there.
        processes: tasks at a time, with one thread each; 0 for as many as there are processors.
        out: the folder that everything is kept in; given again, what is there is not made again.

    Raises:
        ValueError: a mistake in the arguments, in one line.
        Cancelled: `stop()` became true; what was made is in `out`.
    """
    source = Source.load(source) if isinstance(source, str) else source
    training = training or BriefTraining()
    check_epsilon(epsilon)
    limits = (
        ("seeds", seeds, 1, 100),
        ("polish", polish, 0, 100_000),
        ("processes", processes, 0, 256),
    )
    for name, value, least, most in limits:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{name} is {value!r}; allowed: {least} to {most}.")
    names = [find_task(task).name for task in dict.fromkeys(tasks)]
    if not names:
        raise ValueError("tasks is empty; give one at least.")
    fixed = (seeds, epsilon, polish, training)
    jobs = [
        Job(source, Source.load(smaller), task, *fixed, Path(out) / _folder(task)) for task in names
    ]
    for job in jobs:
        job.read()  # a mistake is told before anything slow begins
    n = min(processes or n_threads(), len(jobs))
    made = Provenance.here("torch", "transformers", "scikit-learn", precision=precision())
    on_progress({"stage": "making the models", "done": 0, "total": len(jobs)})
    for _ in side_by_side(_make, jobs, n, _Told(jobs, "making the models", on_progress), stop):
        pass
    for job in jobs:  # alone, one after another: nothing may run beside what is timed
        on_progress({"stage": "timing", "done": 0, "total": 1, "detail": job.task})
        check(stop)
        _time(job)
    if test:
        told = _Told(jobs, "opening the test splits", on_progress)
        for _ in side_by_side(_open_test, jobs, n, told, stop):
            pass
    result = Table(
        source=source.name,
        smaller=smaller,
        seeds=seeds,
        epsilon=epsilon,
        polish=polish,
        tasks=tuple(job.read() for job in jobs),
        made=made,
        workers=n,
    )
    records.write(Path(out) / "table.json", result)
    return result


def _folder(task: str) -> str:
    """Return a folder's name for a task, which may be a path with columns."""
    return re.sub(r"[^\w.-]+", "-", task).strip("-")[-80:]


class _Told:
    """Turns what workers tell of their tasks into one stage that counts rows."""

    def __init__(self, jobs: Sequence[Job], stage: str, on_progress: Progress) -> None:
        self.jobs, self.stage, self.on_progress = jobs, stage, on_progress
        self.total = sum(len(job.cells) for job in jobs)
        self.done = [0] * len(jobs)

    def __call__(self, event: Event) -> None:
        item = event["item"]
        self.done[item] = event.get("rows", self.done[item])
        detail = f"{self.jobs[item].task}: {event['stage']} {event['done']}/{event['total']}"
        event = {"stage": self.stage, "done": sum(self.done), "total": self.total}
        self.on_progress(event | {"detail": detail})


def _make(job: Job, on_progress: Progress, stop: Stop) -> str:
    """Make what is missing of a task's rows, each on record before the next."""
    known = job.read()
    done = {(row.name, row.seed) for row in known.rows}
    models = Models(job, on_progress, stop)
    try:
        report = models.teacher.report
        known = replace(
            known,
            kind=report.kind,
            n_labelled=report.n_labelled,
            n_dev=report.n_dev,
            max_length=report.max_length,
            cut=report.cut,
            problem="",
        )
        for name, seed in job.cells:
            check(stop)
            label = f"{name}, seed {seed}" if name in BY_STUDENT else name
            on_progress({"stage": label, "done": 0, "total": 1, "rows": len(known.rows)})
            if (name, seed) not in done:
                known = replace(known, rows=(*known.rows, models.row(name, seed)))
                records.write(job.record, known)
    except ValueError as e:  # of this task alone: others go on
        records.write(job.record, replace(known, problem=str(e)))
    return job.task


def _time(job: Job) -> None:
    """Time a task's models in turns, unless they are all timed."""
    known = job.read()
    if all(row.latency_ms is not None for row in known.rows):
        return
    shapes = {row.architecture for row in known.rows if row.architecture}
    settings = LatencySettings(sequence_length=known.max_length)
    ms: dict[Architecture | None, float] = {**median_ms(sorted(shapes), job.source, settings)}
    ms[None] = 0.0
    rows = [replace(row, latency_ms=ms[row.architecture]) for row in known.rows]
    rows = [replace(row, latency_ms=_words_ms(job)) if row.name == "words" else row for row in rows]
    records.write(job.record, replace(known, rows=tuple(rows)))


def _words_ms(job: Job) -> float:
    """Return the median milliseconds of the model on words, of one text of dev at a time."""
    models = Models(job, silent, never)
    dev, times = models.teacher.splits["validation"], []
    model = models.model("words", 0)
    for at in range(min(N_TIMED, len(dev))):
        text, start = dev.select([at]), perf_counter()
        model.outputs(text)
        times.append(1e3 * (perf_counter() - start))
    return round(float(np.median(times)), 3)


def _open_test(job: Job, on_progress: Progress, stop: Stop) -> str:
    """Score all models of a task on its test split; the only place that loads it, and it does once.

    Intervals: the texts are drawn with replacement, the same ones for every model.
    """
    known = job.read()
    if known.problem or all(row.test for row in known.rows):
        return job.task
    models, outputs = Models(job, on_progress, stop), []
    test = load_test(job.task)
    labels, source = np.array(test["label"]), [row.name for row in known.rows].index("source")
    for done, row in enumerate(known.rows):
        check(stop)
        on_progress({"stage": row.name, "done": 0, "total": 1, "rows": done})
        outputs.append(models.model(row.name, row.seed).outputs(test))
    rows = (
        replace(row, test=result)
        for row, result in zip(known.rows, on_test(labels, outputs, source), strict=True)
    )
    records.write(job.record, replace(known, n_test=len(labels), rows=tuple(rows)))
    return job.task


def on_test(labels: np.ndarray, outputs: Sequence[np.ndarray], source: int) -> Iterator[OnTest]:
    """Give each model's errors on test with 95 % intervals, and against the source's.

    Args:
        labels: class numbers or numbers, shape (n,).
        outputs: of each model, (n, classes) or (n, 1); `source` is the source's place in them.
    """
    # An answer is all that counts of classes, and is quicker drawn again than all outputs.
    compact = [o if metrics.is_number(o) else np.eye(o.shape[1])[o.argmax(1)] for o in outputs]
    rng = np.random.default_rng(0)
    draws = (rng.integers(len(labels), size=len(labels)) for _ in range(N_RESAMPLES))
    drawn = np.array([[metrics.error(labels[d], o[d]) for o in compact] for d in draws])
    errors = np.array([metrics.error(labels, o) for o in outputs])
    for n, values in enumerate(outputs):
        low, high = np.percentile(drawn[:, n], [2.5, 97.5])
        loss_low, loss_high = np.percentile(drawn[:, n] - drawn[:, source], [2.5, 97.5])
        loss = errors[n] - errors[source]
        figures = (errors[n], low, high, loss, loss_low, loss_high)
        error, low, high, loss, loss_low, loss_high = (round(float(f), 6) for f in figures)
        scores = rounded(metrics.scores(labels, values))
        yield OnTest(error, low, high, loss, loss_low, loss_high, scores)
