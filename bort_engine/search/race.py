"""The verb `race`: the FPTAS against its rivals at equal budgets, over seeds, against the truth.

Where the errors of the whole space are on record, every search is replayed on that record at its
recorded cost, and the truth is known. Else the searches train for real, share what has been
trained, and are scored against all of it together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from bort_engine.algorithms import fptas
from bort_engine.data.tasks import find_task
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.runs.events import Cancelled, never, silent
from bort_engine.search import errors as problem
from bort_engine.search import rivals as baselines
from bort_engine.search.errors import Errors, Progress, Stop
from bort_engine.search.evaluate import OracleSettings
from bort_engine.search.front import SIZES
from bort_engine.search.predictor import guesser
from bort_engine.search.result import Point
from bort_engine.search.scores import NAMES, OURS, Race

ORACLES = ("recorded", "measured")
SAMPLERS = ("random", "tpe", "nsga2", "local")
STAGE = "searching"


def race(
    source: str | Source,
    task: str = "rotten-tomatoes",
    samplers: Sequence[str] = SAMPLERS,
    budget: int = 64,
    seeds: int = 20,
    *,
    oracle: str = "recorded",
    records: Sequence[str | Path] = (),
    space: str = "default",
    size: str = "total",
    steps: int = 30,
    teacher_steps: int = 0,
    seed: int = 0,
    out: str | Path | None = None,
    on_progress: Progress = silent,
    stop: Stop = never,
) -> Race:
    """Let the FPTAS and the samplers search a space with `budget` trainings each, and score them.

    Args:
        source: a reference name, a local folder, or a hub id.
        samplers: of `baselines.SAMPLERS`; the FPTAS always takes part.
        seeds: how many times each sampler searches. Where several training seeds are on record,
            search k sees the errors of training seed k modulo their number.
        oracle: "recorded" replays measured tables, "measured" trains candidates now.
        records: the tables to replay, `evaluations.jsonl` of `front --exhaustive`; by default the
            shipped ones.
        steps, teacher_steps, seed: of the trainings, where the oracle is "measured".
        out: a folder for the record of trainings, Optuna's journals and the result; given again,
            what was trained is not trained twice.

    Raises:
        ValueError: a mistake in the arguments, in one line.
        Cancelled: `stop()` became true; what was measured is in `out`.
    """
    start = perf_counter()
    source = Source.load(source) if isinstance(source, str) else source
    grid = SearchSpace.parse(space, source)
    samplers = tuple(dict.fromkeys(samplers))
    _check(samplers, seeds, budget, len(grid), oracle=oracle, size=size)
    folder, task = Path(out) if out else None, find_task(task).name
    if oracle == "recorded":
        tables = problem.replayable(source, task, grid, records)
    else:
        grid.within(source)
        settings = OracleSettings(
            source.name, task, steps=steps, seed=seed, teacher_steps=teacher_steps
        )
        tables = [problem.measured(source, settings, folder, on_progress, stop)]
    latency = "recorded" if oracle == "recorded" else "auto"
    calibration = problem.calibration_for(source, grid, None, latency, on_progress)
    points = {a: problem.costs_of(a, source, calibration) for a in grid}
    count = _Count(budget * (len(tables) + len(samplers) * seeds), oracle, on_progress)
    lanes = [_Lane(points, errors, size, count, stop) for errors in tables]
    T = fptas.maximum_point(lanes[0].candidates, source.architecture).key
    journals = folder / "journals" if folder and oracle == "measured" else None
    ours = []
    for lane in lanes:
        count.tell(NAMES[OURS])
        guess = guesser(lane.candidates)
        ours.append(fptas.refine(lane.candidates, lane.ask_many, budget, own=T, guess=guess))
    traces = {OURS: [[xi.key for xi in found.errors] for found in ours]}
    for name in samplers:
        traces[name] = []
        for number in range(seeds):
            count.tell(f"{NAMES[name]}, seed {number}")
            lane = lanes[number % len(lanes)]
            journal = journals / f"{name}-{number}.log" if journals else None
            told = baselines.search(name, list(grid), lane.ask, budget, number, journal, T)
            traces[name].append(list(told))
    row = {a: number for number, a in enumerate(points)}
    result = Race(
        source=source.name,
        task=task,
        origin=oracle,
        size=size,
        budget=budget,
        points=tuple(points.values()),
        errors=tuple(tuple(lane.errors.get(a) for a in points) for lane in lanes),
        seconds=tuple(tuple(lane.seconds.get(a) for a in points) for lane in lanes),
        traces={
            name: tuple(tuple(row[a] for a in trace) for trace in found)
            for name, found in traces.items()
        },
        finished=tuple(found.finished for found in ours),
        latency=calibration.report(),
        provenance={"space": space, "training_seeds": [_seed(errors) for errors in tables]}
        | tables[0].provenance
        | {"race_seconds": round(perf_counter() - start, 1)},
    )
    if folder:
        result.save(folder / "race.json")
    return result


class _Count:
    """How many trainings the searches were charged so far, of all that they will be."""

    def __init__(self, total: int, oracle: str, on_progress: Progress) -> None:
        self.done, self.total, self._on_progress = 0, total, on_progress
        # Trainings report themselves in the same words, so that a live race has one stage.
        self._stage = STAGE if oracle == "recorded" else problem.STAGE

    def tell(self, detail: str) -> None:
        where = {"stage": self._stage, "done": self.done, "total": self.total}
        self._on_progress(where | {"detail": detail})


class _Lane:
    """One training seed's errors, as the searches ask for them; it remembers what was asked."""

    def __init__(
        self,
        points: dict[Architecture, Point],
        errors: Errors,
        size: str,
        count: _Count,
        stop: Stop,
    ) -> None:
        self.points, self._errors, self.size, self.stop = points, errors, size, stop
        self._count = count
        self.candidates = [problem.candidate(point, size) for point in points.values()]
        self.errors: dict[Architecture, float] = {}
        self.seconds: dict[Architecture, float] = {}
        if isinstance(errors.only, dict):  # on record: the whole truth is known
            self.errors = {a: errors.only[a].error for a in points}
            self.seconds = {a: errors.only[a].seconds for a in points}

    def ask(self, architecture: Architecture) -> baselines.Costs:
        if self.stop():
            raise Cancelled("stopped on request")
        self._errors.on_settled(self._count.done, self._count.total)
        self._count.done += 1
        if architecture not in self.errors:
            (self.errors[architecture],) = self._errors.ask([architecture])
            self.seconds[architecture] = self._errors.seconds(architecture)
        point = self.points[architecture]
        return point.size(self.size), point.latency_ms, self.errors[architecture]

    def ask_many(self, architectures: Sequence[Architecture]) -> list[float]:
        return [self.ask(architecture)[2] for architecture in architectures]


def _check(samplers: Sequence[str], seeds: int, budget: int, most: int, **chosen: str) -> None:
    for name in samplers:
        if name not in baselines.SAMPLERS:
            raise ValueError(
                f"sampler is {name!r}; allowed: {', '.join(baselines.SAMPLERS)} (the FPTAS always "
                "takes part)."
            )
    for name, allowed in (("oracle", ORACLES), ("size", SIZES)):
        if chosen[name] not in allowed:
            raise ValueError(f"{name} is {chosen[name]!r}; allowed: {', '.join(allowed)}.")
    for name, value, limit in (("seeds", seeds, 1000), ("budget", budget, most)):
        if type(value) is not int or not 1 <= value <= limit:
            of = f", the size of the space; try {min(64, most)}" if name == "budget" else ""
            raise ValueError(f"{name} is {value!r}; allowed: 1 to {limit}{of}.")


def _seed(errors: Errors) -> int:
    return errors.provenance["oracle"]["seed"]
