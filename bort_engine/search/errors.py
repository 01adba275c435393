"""What a search is about: candidates with their costs, and where their errors come from.

Errors are measured by brief training, read from a record, or predicted; whoever searches (the
FPTAS, or one of its rivals) asks for them one by one and cannot tell the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bort_engine.algorithms import fptas
from bort_engine.data.resources import ASSETS, cache_dir
from bort_engine.data.tasks import find_task
from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.latency import (
    Calibration,
    LatencySettings,
    calibrate,
    calibration_path,
    recorded_calibration,
)
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.runs.events import Progress, Stop, silent
from bort_engine.runs.provenance import Provenance
from bort_engine.search.evaluate import Oracle, OracleSettings, Record
from bort_engine.search.predictor import published_surface
from bort_engine.search.result import Point
from bort_engine.training.teacher import RECIPE_VERSION

STAGE = "evaluating candidates"


@dataclass(frozen=True, slots=True)
class Errors:
    """Where a search's errors come from. `ask` maps architectures to errors, in order.

    `only` names the architectures that can be asked for, where not all of the space can. `floor` is
    T's own entropy, below which no candidate's cross-entropy falls. `seconds` is what an error took
    to measure, 0 where nothing was.
    """

    kind: str
    origin: str
    task: str
    ask: Callable[[Sequence[Architecture]], Iterable[float]]
    dev_error: Callable[[Architecture], float | None]
    provenance: dict[str, Any]
    only: Container[Architecture] | None = None
    floor: float = 0.0
    chance_error: float = 2.0
    on_settled: Callable[[int, int], None] = lambda done, total: None
    seconds: Callable[[Architecture], float] = lambda architecture: 0.0


def measured(
    source: Source, settings: OracleSettings, out: Path | None, on_progress: Progress, stop: Stop
) -> Errors:
    """Errors by brief distillation, each on record in `out` before the next one starts."""
    oracle = Oracle(source, settings, on_progress, stop)
    header = _header(settings, asdict(oracle.teacher.report))
    record = Record(out / "evaluations.jsonl" if out else None, header)
    cells = {"stage": STAGE, "done": 0, "total": 0}

    def ask(architectures: Sequence[Architecture]) -> Iterator[float]:
        for architecture in architectures:
            if architecture not in record.evaluations:
                on_progress(cells | {"detail": f"training {architecture}"})
                record.add(oracle.evaluate(architecture))
            found = record.evaluations[architecture]
            on_progress(cells | found.to_json() | {"detail": f"measured {architecture}"})
            yield found.error

    return replace(
        recorded(record),
        origin="measured",
        ask=ask,
        only=None,
        on_settled=lambda done, total: cells.update(done=done, total=total),
    )


def recorded(record: Record) -> Errors:
    """Errors that were measured before; what is not among them cannot be asked for."""
    header, found = record.header, record.evaluations
    teacher, oracle = header["teacher"], header["oracle"]
    chance = teacher["chance_error"]
    noise = 2 * (chance * (1 - chance) / teacher["n_dev"]) ** 0.5
    return Errors(
        kind="cross-entropy",
        origin="recorded",
        task=oracle["task"],
        ask=lambda architectures: [found[a].error for a in architectures],
        dev_error=lambda a: found[a].dev_error,
        provenance={
            key: header[key] for key in ("machine", "made_on", "versions", "teacher", "oracle")
        }
        | {"chance_error": chance, "task_note": find_task(oracle["task"]).note},
        only=found,
        floor=teacher["error"],
        chance_error=chance - noise,
        seconds=lambda a: found[a].seconds,
    )


def published(source: Source) -> Errors:
    """Errors predicted from published GLUE scores, by encoder parameters."""
    surface = published_surface()

    def predict(architecture: Architecture) -> float:
        return surface.predict([n_parameters(architecture, source).encoder])

    note = (
        f"predicted from the published GLUE test scores of {surface.n_points} pretrained BERTs by "
        f"their encoder parameters; leave-one-out error {surface.leave_one_out:.1%}"
    )
    return Errors(
        kind="published",
        origin="predicted",
        task="GLUE",
        ask=lambda architectures: [predict(a) for a in architectures],
        dev_error=lambda a: None,
        provenance={
            "task_note": note,
            "surface": surface.to_json() | {"features": "encoder parameters"},
        },
    )


def tables() -> list[Path]:
    """Return the shipped records of measured errors."""
    return sorted((ASSETS / "recorded").glob("*.jsonl"))


def replayable(
    source: Source, task: str, space: SearchSpace, records: Sequence[str | Path] = ()
) -> list[Errors]:
    """Return the recorded tables that hold a whole space, one a training seed, in their order.

    `records` are the tables to look at; by default the shipped ones, of which others are passed by.

    Raises:
        ValueError: a record is of something else, or incomplete, or there is none.
    """
    found: dict[int, Errors] = {}
    for path in map(Path, records or tables()):
        if not path.is_file():
            raise ValueError(f"there is no record {path}; give an evaluations.jsonl of `front`.")
        record = Record(path)
        unfit = _unfit(record, source, task, space)
        if unfit and records:
            raise ValueError(f"{path} {unfit}")
        if not unfit:
            found[record.header["oracle"]["seed"]] = recorded(record)
    if not found:
        raise ValueError(
            f"no table of all {len(space)} architectures of {source.name} on {task} ships with "
            "this version; record one with `front --exhaustive --out RUN` and give it with "
            "--records, or use --oracle measured."
        )
    return [found[seed] for seed in sorted(found)]


def _unfit(record: Record, source: Source, task: str, space: SearchSpace) -> str:
    """Say why a record does not hold a whole space, measured as this version would, or nothing."""
    oracle = record.header["oracle"]
    wanted = {"source": source.name, "task": task, "recipe": RECIPE_VERSION}
    for name, value in wanted.items():
        if oracle.get(name) != value:
            return f"was measured with {name} {oracle.get(name)!r}, not {value!r}; record it anew."
    missing = sum(a not in record.evaluations for a in space)
    if missing:
        of = f"{missing} of {len(space)} architectures"
        return f"lacks {of}; finish it with `front --exhaustive`."
    return ""


def _header(settings: OracleSettings, teacher: dict[str, Any]) -> dict[str, Any]:
    return {
        "oracle": asdict(settings)
        | {"recipe": RECIPE_VERSION, "task_digest": find_task(settings.task).digest},
        "teacher": teacher,
    } | asdict(Provenance.here())


def calibration_for(
    source: Source,
    space: SearchSpace,
    settings: LatencySettings | None,
    latency: str,
    on_progress: Progress = silent,
) -> Calibration:
    """Return this machine's calibration (made now if need be), or the shipped one."""
    if latency == "recorded":
        shipped = recorded_calibration(source, space, settings)
        if shipped is None:
            with_what = ""
            if settings:
                with_what = (
                    f", batch {settings.batch_size}, {settings.sequence_length} tokens and "
                    f"{settings.threads} threads"
                )
            raise ValueError(
                f"no calibration of {source.name} with this space{with_what} is shipped; measure "
                "one (--latency measure), or take a shipped space (README names them)."
            )
        return shipped
    settings = settings or LatencySettings()
    path = calibration_path(cache_dir() / "calibrations", source, space, settings)
    if path.is_file() and latency == "auto":
        return Calibration.load(path)
    calibration = calibrate(source, space, settings, on_progress=on_progress)
    calibration.save(path)
    return calibration


def costs_of(architecture: Architecture, source: Source, calibration: Calibration) -> Point:
    """Return an architecture with its costs; its error is yet to be asked for."""
    parameters = n_parameters(architecture, source)
    length = calibration.settings.sequence_length
    return Point(
        architecture,
        n_parameters=parameters.total,
        n_encoder_parameters=parameters.encoder,
        operations=n_operations(architecture, source, length).total,
        latency_ms=calibration.predict_ms(architecture),
        error=1.0,
    )


def candidate(point: Point, size: str) -> fptas.Candidate:
    """Return a point for the search, with its place in the AB^nC order of this family.

    One encoder contains another in depth, heads, width and neurons. Heads cost nothing, and still
    count: on the recorded table twice as large a share of the pairs breaks the order without them.
    """
    a = point.architecture
    return fptas.Candidate(
        key=a,
        p=point.size(size),
        i=point.latency_ms,
        order=(a.num_hidden_layers, a.num_attention_heads, a.hidden_size, a.intermediate_size),
        tie=(point.operations, a.num_attention_heads),
    )
