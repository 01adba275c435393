"""The verb `table`: students beside their teachers on many tasks, and what one would try instead.

On each task the source is fine-tuned; by seed, an elastic student gives a front, and two of its
points are cut and polished: the recommended one, which loses at most a point on dev, and the best
with a quarter of the encoder. Beside them stand the most frequent class, linear models, a ready
smaller model fine-tuned alike, and the students' own shapes fine-tuned on labels alone. What is
made is kept in a folder by task, so that a table that was stopped goes on. Workers make the rows,
which are put on record here as they come. Test splits are opened once, when all models are there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bort_engine.algorithms.fptas import check_epsilon
from bort_engine.data.tasks import find_task, load_test
from bort_engine.encoder.latency import LatencySettings
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.turns import median_ms
from bort_engine.lab.table_models import FIRST, Job, Models, make_row, rounded
from bort_engine.lab.table_record import (
    BY_STUDENT,
    ONCE,
    SMALLER,
    Name,
    OnTest,
    Table,
    TaskRows,
)
from bort_engine.runs import records
from bort_engine.runs.checks import check_whole
from bort_engine.runs.cluster import Nodes
from bort_engine.runs.events import Event, Progress, Stop, bar, check, never, silent
from bort_engine.runs.provenance import Provenance, n_threads
from bort_engine.runs.workers import Item, Work, Workers, n_workers
from bort_engine.search.candidates import calibration_for
from bort_engine.search.errors import searched
from bort_engine.search.evaluate import BriefTraining
from bort_engine.search.result import Search
from bort_engine.training import metrics
from bort_engine.training.precision import VARIABLE, precision

TASKS = ("rotten-tomatoes", "rated-tweets", "reuters-r8", "same-article", "newsgroups")
MAKING, OPENING = "making the models", "opening the test splits"
N_RESAMPLES = 2000
N_TIMED = 200  # texts, one at a time, of a model on words
Team = Workers[Any, TaskRows]


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
    workers: int = 0,
    nodes: Nodes | None = None,
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
        workers: processes of one thread that make rows side by side; 1 for this one alone, with all
            threads; 0 for as many as there are tasks and processors, at most 8.
        out: the folder that everything is kept in; given again, what is there is not made again.

    Raises:
        ValueError: a mistake in the arguments, in one line.
        Cancelled: `stop()` became true; what was made is in `out`.
    """
    source = Source.load(source) if isinstance(source, str) else source
    training = training or BriefTraining()
    check_epsilon(epsilon)
    check_whole("seeds", seeds, 1, 100)
    check_whole("polish", polish, 0, 100_000)
    names = [find_task(task).name for task in dict.fromkeys(tasks)]
    if not names:
        raise ValueError("tasks is empty; give one at least.")
    fixed = (seeds, epsilon, polish, training, n_threads(), Path(out).absolute())
    jobs = [Job(source, Source.load(smaller), task, *fixed) for task in names]
    jobs = [replace(job, digest=job.digest_here()) for job in jobs]
    for job in jobs:
        job.read()  # a mistake is told before anything slow begins
    nodes = nodes or Nodes()
    n = nodes.n_workers(workers, usual=min(len(jobs), n_workers(0)))
    made = Provenance.here("torch", "transformers", "scikit-learn", precision=precision())
    variables = {VARIABLE: precision()}  # another machine might choose another
    on_progress({"stage": MAKING, "done": 0, "total": 0})
    for job in jobs:  # what could not be made is tried again
        records.write(job.record, replace(job.read(), problem=""))
    with closing(nodes.team(make_row, n, stop=stop, variables=variables)) as team:
        _make(jobs, (FIRST,), team, on_progress)
        for job in jobs:  # alone, one after another: nothing may run beside what is timed
            if any(unit.name == BY_STUDENT[0] for unit in job.ready()):
                settings = LatencySettings(sequence_length=job.read().max_length)
                space = searched(Search().space, "elastic", source)
                calibration_for(source, space, settings, on_progress=on_progress)
        _make(jobs, ONCE + BY_STUDENT, team, on_progress)
        for job in jobs:
            on_progress({"stage": "timing", "done": 0, "total": 1, "detail": job.task})
            check(stop)
            _time(job)
        if test:
            for job, known in _each(_open_test, jobs, team, OPENING, 0, len(jobs), on_progress):
                records.write(job.record, known)
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


def _make(jobs: Sequence[Job], names: Collection[Name], team: Team, on_progress: Progress) -> None:
    """Let a team make what is missing of these names; each row is on record as soon as it comes."""
    units = [unit for job in jobs for unit in job.ready(names)]
    done = sum(len(job.read().rows) for job in jobs)
    total = sum(len(job.cells) for job in jobs)
    for unit, part in _each(make_row, units, team, MAKING, done, total, on_progress):
        unit.job.add(part)
        units += [other for other in unit.job.ready(names) if other not in units]


def _each(
    work: Work[Item, TaskRows],
    items: Sequence[Item],
    team: Team,
    stage: str,
    done: int,
    total: int,
    on_progress: Progress,
) -> Iterator[tuple[Item, TaskRows]]:
    """Let a team do the work on items, and yield each with its result; it is all one stage."""

    def tell(detail: str) -> None:
        on_progress({"stage": stage, "done": done, "total": total, "detail": detail})

    def hear(event: Event) -> None:
        tell(f"{event['item']}: {event['stage']} {event['done']}/{event['total']}")

    team.work, team.on_progress = work, hear
    for item, result in team.each(items):
        yield item, result
        done += 1
        tell(f"{item}: done")


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


def _open_test(job: Job, on_progress: Progress, stop: Stop) -> TaskRows:
    """Score all models of a task on its test split; the only place that loads it, and it does once.

    Intervals: the texts are drawn with replacement, the same ones for every model.
    """
    known = job.read()
    if known.problem or all(row.test for row in known.rows):
        return known
    models, outputs = Models(job, on_progress, stop), []
    test = load_test(job.task)
    labels, source = np.array(test["label"]), [row.name for row in known.rows].index("source")
    for row in known.rows:
        check(stop)
        on_progress({"stage": row.name, "done": 0, "total": 1})
        outputs.append(models.model(row.name, row.seed).outputs(test))
    rows = (
        replace(row, test=result)
        for row, result in zip(known.rows, on_test(labels, outputs, source), strict=True)
    )
    return replace(known, n_test=len(labels), rows=tuple(rows))


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
