"""The verb `race`: the FPTAS against its rivals at equal budgets, over seeds, against the truth.

Where the errors of the whole space are on record, every search is replayed on that record at its
recorded cost, and the truth is known. Else the searches train for real, share what has been
trained, and are scored against all of it together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from bort_engine.algorithms import fptas
from bort_engine.data.columns import Columns
from bort_engine.data.tasks import find_task, with_columns
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.timing import LatencySettings
from bort_engine.runs.events import Progress, Stop, bar, check, never
from bort_engine.search import ablations, rivals
from bort_engine.search import errors as oracles
from bort_engine.search.candidates import calibration_for, candidate, costs_of
from bort_engine.search.errors import Oracle
from bort_engine.search.evaluate import BriefTraining, Evaluation, OracleName, Setup
from bort_engine.search.front import ERRORS
from bort_engine.search.predictor import guesser
from bort_engine.search.result import SIZES, Costs, Size, check_choice
from bort_engine.search.scores import NAMES, OURS, OWN_NAME, Race, RaceProvenance

RACED: tuple[OracleName, ...] = ("elastic", "brief", "scratch")
SAMPLERS = ("random", "tpe", "nsga2", "local", "surface", "gp")
ALL = (*rivals.SAMPLERS, *ablations.SAMPLERS)
STAGE = "searching"


def race(
    source: str | Source,
    task: str = "rotten-tomatoes",
    samplers: Sequence[str] = SAMPLERS,
    budget: int = 64,
    seeds: int = 20,
    *,
    own: Mapping[str, rivals.OwnSampler] | None = None,
    errors: str = "recorded",
    records: Sequence[str] = (),
    oracle: OracleName = "elastic",
    space: str = "default",
    size: Size = "total",
    columns: Columns | None = None,
    training: BriefTraining | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    on_progress: Progress = bar,
    stop: Stop = never,
) -> Race:
    """Let the FPTAS and the samplers search a space with `budget` evaluations each, and score them.

    Args:
        source: a reference name, a local folder, or a hub id.
        task: what the error is measured on.
        samplers: of random, tpe, nsga2, local, brute, surface, gp, fptas-no-surface, grid, stride;
            the FPTAS always takes part.
        budget: evaluations of each search.
        seeds: how many times each sampler searches that draws at random. Where several training
            seeds are on record, search k sees the errors of training seed k modulo their number.
        own: other Optuna samplers by a name: what makes one when called with `seed=`, such as
            `{"qmc": partial(QMCSampler, scramble=True)}`; each searches `seeds` times.
        errors: recorded (replay tables), or measured (train now).
        records: the tables to replay, evaluations.jsonl of an exhaustive front; by default the
            shipped ones.
        oracle: how errors are made: elastic, brief or scratch (see `front`).
        space: default, fine, bort, or a grid such as D=1-6 A=2,12 H=96,384 I=192,1536.
        size: total parameters, or effective (encoder only).
        columns: which columns of your own file make the task, where they are not text and label.
        seed: of the trainings, where errors are measured.
        out: a folder for the record of evaluations, Optuna's journals and the result; given again,
            what was trained is not trained twice.

    Raises:
        ValueError: a mistake in the arguments, in one line.
        Cancelled: `stop()` became true; what was measured is in `out`.
    """
    start = perf_counter()
    source = Source.load(source) if isinstance(source, str) else source
    task = with_columns(task, columns or Columns())
    check_choice("oracle", oracle, RACED)
    grid = oracles.searched(space, oracle, source)
    samplers, own = tuple(dict.fromkeys(samplers)), own or {}
    _check(samplers, own, seeds, budget, len(grid))
    others: dict[str, str | rivals.OwnSampler] = {name: name for name in samplers}
    others |= own
    check_choice("errors", errors, ERRORS)
    check_choice("size", size, SIZES)
    folder, task = Path(out) if out else None, find_task(task).name
    if errors == "recorded":
        answers = oracles.replayable(source, task, grid, oracle, records)
    else:
        grid.within(source)
        setup = Setup(source.name, task, oracle, training or BriefTraining(), seed)
        answers = [oracles.measured(source, setup, folder, on_progress, stop)]
    settings = None
    if errors == "measured":
        settings = LatencySettings(sequence_length=answers[0].length)
    calibration = calibration_for(source, grid, settings, errors, on_progress=on_progress)
    costs = [costs_of(architecture, source, calibration) for architecture in grid]
    times = {name: len(answers) if name in ablations.FIXED else seeds for name in others}
    searches = len(answers) + sum(times.values())
    count = _Count(budget * searches, errors, on_progress)
    tables = [_Table(costs, oracle, size, count, stop) for oracle in answers]
    T = fptas.maximum_point(tables[0].candidates, source.architecture).key
    refinements = [table.refined(budget, T) for table in tables]
    traces = {OURS: [[xi.key for xi in refinement.errors] for refinement in refinements]}
    journals = folder / "journals" if folder and errors == "measured" else None
    for name, sampler in others.items():
        traces[name] = [
            tables[k % len(tables)].sampled(name, sampler, budget, k, journals, T)
            for k in range(times[name])
        ]
    row = {point.architecture: number for number, point in enumerate(costs)}
    first = answers[0]
    assert first.training and first.teacher, "a race is about trained candidates"
    result = Race(
        source=source.name,
        task=task,
        origin=first.origin,
        size=size,
        budget=budget,
        points=tuple(costs),
        errors=tuple(table.column(lambda row: row.wrong) for table in tables),
        seconds=tuple(table.column(lambda row: row.seconds) for table in tables),
        traces={
            name: tuple(tuple(row[a] for a in trace) for trace in by_seed)
            for name, by_seed in traces.items()
        },
        scale=first.scale,
        finished=tuple(refinement.finished for refinement in refinements),
        latency=calibration.report(),
        oracle=first.name,
        provenance=RaceProvenance(
            first.made,
            space,
            training_seeds=tuple(oracle.seed for oracle in answers),
            training=first.training,
            teacher=first.teacher,
            note=first.note,
            seconds=round(perf_counter() - start, 1),
        ),
    )
    if folder:
        result.save(folder / "race.json")
    return result


class _Count:
    """How many evaluations the searches were charged so far, of all that they will be."""

    def __init__(self, total: int, errors: str, on_progress: Progress) -> None:
        self.done, self.total, self._on_progress = 0, total, on_progress
        # Evaluations report themselves in the same words, so that a live race has one stage.
        self._stage = STAGE if errors == "recorded" else oracles.STAGE

    def report(self, detail: str) -> None:
        event = {"stage": self._stage, "done": self.done, "total": self.total}
        self._on_progress(event | {"detail": detail})


@dataclass(slots=True)
class _Table:
    """One training seed's errors, as every search asks for them: each is charged for its own."""

    costs: list[Costs]
    oracle: Oracle
    size: Size
    count: _Count
    stop: Stop

    @property
    def candidates(self) -> list[fptas.Candidate]:
        return [candidate(point, self.size) for point in self.costs]

    def error(self, architecture: Architecture) -> float:
        check(self.stop)
        self.oracle.settled(self.count.done, self.count.total)
        self.count.done += 1
        return self.oracle.r(architecture)

    def errors(self, architectures: Iterable[Architecture]) -> Iterator[float]:
        return map(self.error, architectures)

    def refined(self, budget: int, own: Architecture) -> fptas.Refinement:
        """Let the FPTAS spend the budget."""
        self.count.report(NAMES[OURS])
        candidates = self.candidates
        guess = guesser(candidates)
        return fptas.refine(candidates, self.errors, budget, own=own, guess=guess)

    def sampled(
        self,
        name: str,
        sampler: str | rivals.OwnSampler,
        budget: int,
        seed: int,
        journals: Path | None,
        first: Architecture,
    ) -> list[Architecture]:
        """Let a sampler spend the budget; return what it asked for, in that order."""
        self.count.report(f"{NAMES[name]}, seed {seed}")
        if name in ablations.SAMPLERS:
            candidates = self.candidates
            T = fptas.maximum_point(candidates, first)
            return ablations.sample(name, candidates, self.error, budget, seed, T)
        by_shape = {point.architecture: point for point in self.costs}

        def ask(architecture: Architecture) -> rivals.CostTriple:
            r, point = self.error(architecture), by_shape[architecture]
            return point.size(self.size), point.latency_ms, r

        journal = journals / f"{name}-{seed}.log" if journals else None
        return list(rivals.sample(sampler, list(by_shape), ask, budget, seed, journal, first))

    def column(self, value: Callable[[Evaluation], float]) -> tuple[float | None, ...]:
        """Return a value of each architecture's evaluation, None where there is none."""
        known = self.oracle.evaluations
        rows = (known.get(point.architecture) for point in self.costs)
        return tuple(value(row) if row else None for row in rows)


def _check(
    samplers: Sequence[str],
    own: Mapping[str, rivals.OwnSampler],
    seeds: int,
    budget: int,
    most: int,
) -> None:
    for name in samplers:
        if name not in ALL:
            allowed = ", ".join(ALL)
            raise ValueError(
                f"sampler is {name!r}; allowed: {allowed} (the FPTAS always takes part)."
            )
    for name, make in own.items():
        if name in NAMES or not OWN_NAME.fullmatch(name):
            raise ValueError(
                f"own sampler is called {name!r}; allowed: 1 to 17 of a-z, 0-9 and -, a letter "
                f"first, and none of {', '.join(NAMES)}."
            )
        if not callable(make):
            kind = type(make).__name__
            raise ValueError(
                f"own sampler {name} is a {kind} with one seed; give what makes one from any: "
                f"{kind}, or lambda seed: {kind}(..., seed=seed)."
            )
    if (n := 1 + len(samplers) + len(own)) > len(NAMES):
        raise ValueError(f"{n} searches are to race; allowed: {len(NAMES)}, the FPTAS among them.")
    for name, value, limit in (("seeds", seeds, 1000), ("budget", budget, most)):
        if type(value) is not int or not 1 <= value <= limit:
            hint = f", the size of the space; try {min(64, most)}" if name == "budget" else ""
            raise ValueError(f"{name} is {value!r}; allowed: 1 to {limit}{hint}.")
