"""The oracles: where the errors of a search come from.

An error is measured by brief training, read from a table, or predicted. Whoever searches (the
FPTAS, or one of its rivals) asks an `Oracle` for one architecture after another, and cannot tell
which it is; the result says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import get_args

from bort_engine.data.resources import ASSETS
from bort_engine.data.tasks import find_task
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.encoder.timing import USUAL_LENGTH
from bort_engine.runs.cluster import Nodes
from bort_engine.runs.events import Progress, Stop, silent
from bort_engine.runs.provenance import Origin, Provenance
from bort_engine.search.ahead import Ahead, evaluate_unit
from bort_engine.search.evaluate import (
    BriefTraining,
    Evaluation,
    EvaluationTable,
    Evaluator,
    Header,
    OracleName,
    Setup,
    Shape,
    check_setup,
    read_header,
)
from bort_engine.search.predictor import ErrorPredictor, published_predictor
from bort_engine.search.scale import Scale
from bort_engine.training import together
from bort_engine.training.precision import VARIABLE, precision
from bort_engine.training.teacher import BATCH, ELASTIC_VERSION, RECIPE_VERSION, TeacherReport

ORACLES: tuple[OracleName, ...] = get_args(OracleName)
RECORD = "evaluations.jsonl"
STAGE = "evaluating candidates"


@dataclass(slots=True)
class Oracle:
    """Answers "what is this architecture's error?", and remembers each answer.

    Attributes:
        name: how errors are made, one of `ORACLES`; `origin` is where these come from.
        scale: of r, in which a search compares errors.
        note: what the data are, or how the error is predicted.
        evaluations: what is known so far, in the order in which it became known.
        evaluate_new: evaluates an architecture that is not; None where only the table can be asked.
        training, teacher, predictor: what made the errors, as far as there was one.
    """

    name: OracleName
    origin: Origin
    task: str
    scale: Scale
    note: str
    seed: int
    made: Provenance
    evaluations: dict[Shape, Evaluation] = field(default_factory=dict)
    evaluate_new: Callable[[Shape], Evaluation] | None = None
    training: BriefTraining | None = None
    teacher: TeacherReport | None = None
    predictor: ErrorPredictor | None = None
    on_progress: Progress = silent
    n_new: int = 0  # how many were evaluated since this oracle was made
    ahead: Ahead | None = None  # where several workers evaluate
    _done: int = 0
    _total: int = 0
    _stage: str = STAGE
    _known: dict[str, float | str] = field(default_factory=dict)

    def evaluate(self, architecture: Shape) -> Evaluation:
        """Return what is known of an architecture, after evaluating it if need be."""
        if architecture not in self.evaluations:
            assert self.evaluate_new is not None, f"{architecture} is not on record"
            if self.name != "elastic":  # there the first waits for the student's own stage
                self._tell(detail=f"training {architecture}")
            self.evaluations[architecture] = self.evaluate_new(architecture)
            self.n_new += 1
        evaluation = self.evaluations[architecture]
        self._tell(
            detail=f"measured {architecture}",
            architecture=str(architecture),
            error=evaluation.error,
            dev_error=evaluation.dev_error,
        )
        return evaluation

    def r(self, architecture: Shape) -> float:
        """Return an architecture's error on the scale that searches compare."""
        return self.scale.r(self.evaluate(architecture).wrong)

    def errors(self, architectures: Iterable[Shape]) -> Iterator[float]:
        """Map architectures to their r, in order: what the FPTAS asks for."""
        architectures = [*architectures]
        # Who asks for what is known, as to draw a front again, takes no work away.
        if self.ahead and (new := [a for a in architectures if a not in self.evaluations]):
            self.ahead.batch = new
        return map(self.r, architectures)

    def close(self) -> None:
        """Let workers end, where there are any."""
        if self.ahead:
            self.ahead.close()

    def settled(self, done: int, total: int, stage: str = STAGE, **known: float | str) -> None:
        """Note how much of the search is done, and what is known of its time, for later events."""
        self._done, self._total, self._stage, self._known = done, total, stage, known

    def _tell(self, **event: object) -> None:
        self.on_progress(
            {"stage": self._stage, "done": self._done, "total": self._total} | self._known | event
        )

    def available(self, space: Iterable[Architecture]) -> list[Architecture]:
        """Return the architectures that can be asked for."""
        return [a for a in space if self.evaluate_new or a in self.evaluations]

    def on_record(self) -> Oracle:
        """Return an oracle of what is known so far, which evaluates no more and hears no stop."""
        return replace(self, evaluate_new=None, on_progress=silent)

    @property
    def length(self) -> int:
        """At most so many tokens are read of a text: what a latency is worth knowing at."""
        return self.teacher.max_length if self.teacher else USUAL_LENGTH

    @property
    def floor(self) -> float:
        """T's own entropy (nats), below which no candidate's cross-entropy falls."""
        return self.teacher.error if self.teacher else 0.0

    def at_chance(self, dev_error: float | None) -> bool:
        """Is it no better than guessing, as far as was measured? See `TeacherReport`."""
        return bool(self.teacher) and dev_error is not None and self.teacher.at_chance(dev_error)


def searched(name: str, oracle: OracleName, source: Source) -> SearchSpace:
    """Return the space of a name, or of a grid; of the elastic student, the slices in it.

    Raises:
        ValueError: it is neither, or empty, or of the elastic student and beyond the source.
    """
    if oracle != "elastic":
        return SearchSpace.parse(name, source)
    space = SearchSpace.parse("fine" if name == "default" else name, source)
    space.within(source)
    # Wider heads than the source's are no slices of it.
    return replace(space, widest_head=source.architecture.head_width)


def check(source: Source, setup: Setup, out: Path | None) -> None:
    """Raise a ValueError where `measured` would, before anything slow begins."""
    source.check_weights()
    if together.n_processes() > 1:
        training = setup.training.train_batch_size if setup.oracle == "elastic" else BATCH
        together.check(BATCH, training)
    path = out / RECORD if out else None
    if path and path.is_file() and path.stat().st_size:
        check_setup(path, EvaluationTable(path).header.setup, Evaluator(source, setup).setup)


def measured(
    source: Source,
    setup: Setup,
    out: Path | None,
    on_progress: Progress,
    stop: Stop,
    workers: int = 1,
    nodes: Nodes | None = None,
) -> Oracle:
    """Return an oracle that trains, and puts each evaluation on record in `out` before the next.

    Where several processes were launched, all of them train T and the elastic student here, and
    then end but for the first one.

    Args:
        workers: how many processes evaluate; they start when the first one is needed, and stay
            until the oracle is closed. 1 for this process alone, unless there is a cluster.
        nodes: the cluster that evaluates, if one does.
    """
    check(source, setup, out)
    evaluator = Evaluator(source, setup, on_progress, stop)
    if together.n_processes() > 1:
        evaluator.load()
        together.part()
    path = out / RECORD if out else None
    report = evaluator.teacher.report
    table = EvaluationTable(
        path, Header(evaluator.setup, report, Provenance.here(precision=precision()))
    )
    nodes, ahead = nodes or Nodes(), None
    if workers > 1 or nodes.cluster:
        variables = {VARIABLE: precision()}  # another machine might choose another
        team = nodes.team(evaluate_unit, workers, silent, stop, evaluator.weights, variables)
        ahead = Ahead(team, evaluator, table)

    def evaluate_new(architecture: Shape) -> Evaluation:
        if ahead and not evaluator.is_exact(architecture):
            return ahead.evaluate(architecture)
        evaluation = evaluator.evaluate(architecture)
        table.add(evaluation)
        return evaluation

    oracle = recorded(table)
    oracle.origin, oracle.evaluate_new, oracle.on_progress = "measured", evaluate_new, on_progress
    oracle.ahead = ahead
    return oracle


def recorded(table: EvaluationTable) -> Oracle:
    """Return an oracle that answers from a table; what is not in it cannot be asked for."""
    setup = table.header.setup
    return Oracle(
        name=setup.oracle,
        origin="recorded",
        task=setup.task,
        scale=Scale.of(table.header.teacher),
        note=find_task(setup.task).note,
        seed=setup.seed,
        made=table.header.made,
        evaluations=table.evaluations,
        training=setup.training,
        teacher=table.header.teacher,
    )


def glue(source: Source) -> Oracle:
    """Return an oracle that predicts from published GLUE scores, by encoder parameters."""
    predictor = published_predictor()

    def evaluate_new(architecture: Shape) -> Evaluation:
        assert isinstance(architecture, Architecture)
        size = n_parameters(architecture, source).encoder
        return Evaluation(architecture, predictor.predict([size]), dev_error=None)

    return Oracle(
        name="glue",
        origin="predicted",
        task="GLUE",
        scale=Scale(predictor.predict([n_parameters(source.architecture, source).encoder])),
        note=f"predicted from the published GLUE test scores of {predictor.n_points} pretrained "
        f"BERTs by their encoder parameters; leave-one-out error {predictor.leave_one_out:.1%}",
        seed=0,
        made=Provenance.here("numpy"),
        evaluate_new=evaluate_new,
        predictor=predictor,
    )


def tables() -> list[Path]:
    """Return the shipped tables of evaluations."""
    return sorted((ASSETS / "recorded").glob("*.jsonl"))


def recorded_tasks() -> list[tuple[str, str]]:
    """Return the (source, task) pairs of which a table ships with the project."""
    setups = [read_header(path).setup for path in tables()]
    return list(dict.fromkeys((setup.source, setup.task) for setup in setups))


@lru_cache(maxsize=4)
def _table(path: Path, changed: int) -> EvaluationTable:
    return EvaluationTable(path)


def shipped(source: str, task: str, seed: int = 0, oracle: OracleName = "elastic") -> Oracle:
    """Return what the shipped table of this source, task, training seed and oracle says.

    Raises:
        ValueError: there is none.
    """
    on_record = {}
    for path in tables():
        setup = read_header(path).setup
        on_record[setup.source, setup.task, setup.oracle, setup.seed] = path
    if path := on_record.get((source, task, oracle, seed)):
        return recorded(_table(path, path.stat().st_mtime_ns))
    known = "; ".join("{} on {} by {}, seed {}".format(*key) for key in on_record) or "nothing"
    raise ValueError(
        f"no evaluations of {source!r} on {task!r} with seed {seed} by the oracle {oracle} are "
        f"shipped; on record: {known}. Take --errors measured for others."
    )


def replayable(
    source: Source,
    task: str,
    space: SearchSpace,
    oracle: OracleName = "elastic",
    paths: Sequence[str | Path] = (),
) -> list[Oracle]:
    """Return the tables that hold a whole space, one a training seed, in the seeds' order.

    `paths` are the tables to look at; by default the shipped ones, of which others are passed by.

    Raises:
        ValueError: a table is of something else, or incomplete, or there is none.
    """
    by_seed: dict[int, Oracle] = {}
    for path in map(Path, paths or tables()):
        if not path.is_file():
            raise ValueError(f"there is no table {path}; give an evaluations.jsonl of `front`.")
        table = EvaluationTable(path)
        unfit = _unfit(table, source, task, space, oracle)
        if unfit and paths:
            raise ValueError(f"{path} {unfit}")
        if not unfit:
            by_seed[table.header.setup.seed] = recorded(table)
    if not by_seed:
        raise ValueError(
            f"no table of all {len(space):,} architectures of {source.name} on {task} by the "
            f"oracle {oracle} ships with this version; record one with `front --selection "
            "exhaustive --out RUN` and give it with --records, or take --errors measured."
        )
    return [by_seed[seed] for seed in sorted(by_seed)]


def _unfit(
    table: EvaluationTable, source: Source, task: str, space: SearchSpace, oracle: OracleName
) -> str:
    """Say why a table does not hold a whole space, measured as this version would, or nothing."""
    setup = table.header.setup
    expected = {"source": source.name, "task": task, "oracle": oracle, "recipe": RECIPE_VERSION}
    expected["student"] = ELASTIC_VERSION if oracle == "elastic" else 0
    for name, value in expected.items():
        if (other := getattr(setup, name)) != value:
            return f"was measured with {name} {other!r}, not {value!r}; record it anew."
    if missing := sum(a not in table.evaluations for a in space):
        return (
            f"lacks {missing:,} of {len(space):,} architectures; finish it with "
            "`front --selection exhaustive`."
        )
    return ""
