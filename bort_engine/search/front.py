"""The verb `front`: a source, a task and an epsilon become a Pareto front with its guarantee.

Where everything needed is on record (a shipped table of errors and a shipped calibration), or the
error is predicted, this runs at once and without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from bort_engine.algorithms import fptas
from bort_engine.data.tasks import find_task
from bort_engine.encoder.latency import Calibration, LatencySettings
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.runs.events import never, silent
from bort_engine.search import errors as problem
from bort_engine.search.errors import Errors, Progress, Stop
from bort_engine.search.evaluate import OracleSettings, Record
from bort_engine.search.predictor import LogSurface, guesser, shape_features
from bort_engine.search.result import Front, Point, mark_pareto

SIZES = ("total", "effective")
W_ERRORS = ("excess", "cross-entropy")
ERRORS = ("measured", "published")
LATENCIES = ("auto", "measure", "recorded")
BORT = sources["bort"].architecture


@dataclass(frozen=True, slots=True)
class Search:
    """How a front is searched for; the defaults are the command line's.

    Raises:
        ValueError: an option is not one of the allowed values.
    """

    space: str = "default"
    selection: str = "cover"
    interval: int = 8
    lazy: bool = True
    tolerance: float = fptas.TOLERANCE
    spot_checks: int = 4
    size: str = "total"
    w_size: str = "effective"
    w_error: str = "excess"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("selection", fptas.SELECTIONS),
            ("size", SIZES),
            ("w_size", SIZES),
            ("w_error", W_ERRORS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; allowed: {', '.join(allowed)}."
                )
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance is {self.tolerance!r}; allowed: 0 up to, not with, 1.")


def front(
    source: str | Source,
    task: str = "rotten-tomatoes",
    epsilon: float = 0.2,
    *,
    search: Search | None = None,
    settings: LatencySettings | None = None,
    error: str = "measured",
    latency: str = "auto",
    initial: str = "inherit",
    steps: int = 30,
    teacher_steps: int = 0,
    seed: int = 0,
    out: str | Path | None = None,
    on_progress: Progress = silent,
    stop: Stop = never,
) -> Front:
    """Compute the size / latency / error front of a source's subarchitectures on a task.

    Args:
        source: a reference name, a local folder, or a hub id (see `Source.load`).
        epsilon: the promised factor minus one, in (0, 1]: smaller costs more trainings.
        error: "measured" (brief distillation against T) or "published" (predicted, from GLUE).
        latency: "measure" calibrates this machine, "recorded" takes the shipped calibration,
            "auto" takes this machine's own, made now if there is none yet.
        out: a folder for the record; given again, what was measured is not measured twice.

    Raises:
        ValueError: a mistake in the arguments, in one line.
        Cancelled: `stop()` became true; what was measured is in `out`.
    """
    start = perf_counter()
    search = search or Search()
    settings = settings or LatencySettings()
    source = Source.load(source) if isinstance(source, str) else source
    space = SearchSpace.parse(search.space, source)
    if not 0 < epsilon <= 1:
        raise ValueError(f"epsilon is {epsilon!r}; allowed: above 0, at most 1. Try 0.2.")
    for name, value, allowed in (("error", error, ERRORS), ("latency", latency, LATENCIES)):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}.")
    if error == "published":
        errors = problem.published(source)
    else:
        if initial == "inherit":
            space.within(source)
        oracle = OracleSettings(
            source.name,
            find_task(task).name,
            initial,
            steps=steps,
            seed=seed,
            teacher_steps=teacher_steps,
        )
        errors = problem.measured(source, oracle, Path(out) if out else None, on_progress, stop)
    calibration = problem.calibration_for(source, space, settings, latency, on_progress)
    known = {}
    if error == "published":  # errors cost nothing here: Bort itself is always among the points
        known = {a: e for a, e in zip([BORT], errors.ask([BORT]), strict=True) if a in space}
    elif out:
        known = _earlier(Path(out), epsilon)
    found = _search(source, space, epsilon, search, calibration, errors, seed, known)
    found.provenance["seconds"] = round(perf_counter() - start, 1)
    if out:
        found.save(Path(out) / "front.json")
    return found


def recorded() -> list[tuple[str, str]]:
    """Return the (source, task) pairs whose measured table ships with the project."""
    oracles = [Record(path).header["oracle"] for path in problem.tables()]
    return list(dict.fromkeys((oracle["source"], oracle["task"]) for oracle in oracles))


def recorded_front(
    source: str, task: str = "rotten-tomatoes", epsilon: float = 0.2, search: Search | None = None
) -> Front:
    """Run the FPTAS over a shipped table of measured errors: no training, no torch.

    Raises:
        ValueError: there is no table of this source and task.
    """
    search = search or Search()
    for path in problem.tables():
        record = Record(path)
        oracle = record.header["oracle"]
        if (oracle["source"], oracle["task"]) == (source, task):
            found = Source.load(source)
            space = SearchSpace.parse(search.space, found)
            calibration = problem.calibration_for(found, space, None, "recorded")
            return _search(found, space, epsilon, search, calibration, problem.recorded(record), 0)
    raise ValueError(
        f"no measurements of {source!r} on {task!r} are shipped; on record: "
        f"{', '.join(' on '.join(pair) for pair in recorded()) or 'none'}. Run `front` for others."
    )


def _earlier(out: Path, epsilon: float) -> dict[Architecture, float]:
    """What an earlier search in this folder, at another epsilon, put into its cover."""
    if not (out / "front.json").is_file():
        return {}
    before = Front.load(out / "front.json")
    roles = {"known"} if before.epsilon == epsilon else {"known", "representative"}
    return {p.architecture: p.error for p in before.points if p.role in roles}


def _search(
    source: Source,
    space: SearchSpace,
    epsilon: float,
    search: Search,
    calibration: Calibration,
    errors: Errors,
    seed: int,
    known: dict[Architecture, float] | None = None,
) -> Front:
    """Run the FPTAS and gather what it found, and how far it can be trusted, in a `Front`."""
    able = [a for a in space if errors.only is None or a in errors.only]
    points = {a: problem.costs_of(a, source, calibration) for a in able}
    candidates = [problem.candidate(point, search.size) for point in points.values()]
    extraction = fptas.extract(
        candidates,
        errors.ask,
        epsilon=epsilon,
        selection=search.selection,
        interval=search.interval,
        lazy=search.lazy,
        tolerance=search.tolerance,
        spot_checks=search.spot_checks if errors.origin != "predicted" else 0,
        known=known,
        own=source.architecture,
        seed=seed,
        guess=guesser(candidates),
        on_settled=errors.on_settled,
    )
    promise = fptas.guarantee(extraction, search.tolerance)
    roles = {xi.key: "spot-check" for xi in extraction.checks}
    roles |= {xi.key: "known" for xi in extraction.known}
    maximum = extraction.maximum.key
    found = []
    for xi, error in extraction.measured.items():
        dev_error = errors.dev_error(xi.key)
        at_chance = dev_error is not None and dev_error > errors.chance_error
        found.append(
            replace(
                points[xi.key],
                error=error,
                dev_error=dev_error,
                at_chance=at_chance,
                role=roles.get(xi.key, "representative"),
                w=_w(replace(points[xi.key], error=error), points[maximum], errors, search),
            )
        )
    marked = mark_pareto(found, search.size)
    worthy = [p for p in marked if p.pareto and not p.at_chance] or marked
    best = max(worthy, key=lambda p: (p.w, -p.error, -p.latency_ms))
    return Front(
        source=source.name,
        task=errors.task,
        epsilon=epsilon,
        selection=search.selection,
        lazy=search.lazy and search.selection == "cover",
        space_size=len(points),
        n_cells=extraction.n_cells,
        n_evaluated=len(extraction.evaluated),
        achieved_epsilon=promise.achieved,
        points=marked,
        maximum=maximum,
        best=best.architecture,
        error_kind=errors.kind,
        origin=errors.origin,
        latency=calibration.report(),
        guarantee=asdict(promise)
        | {
            "n_cells": extraction.n_cells,
            "cell_bound": extraction.bound,
            "n_skipped_cells": len(extraction.skipped),
            "spot_checks": len(extraction.checks),
        },
        provenance={
            "surface": _surface(marked),
            "seed": seed,
            "space": search.space,
            "whole_space_size": len(space),
        }
        | {"search": asdict(search)}
        | errors.provenance,
    )


def _w(point: Point, maximum: Point, errors: Errors, search: Search) -> float:
    """The W-coefficient with its two options: which size counts, and from where the error does."""
    T = fptas.Candidate(maximum.architecture, maximum.size(search.w_size), maximum.latency_ms)
    floor = errors.floor if search.w_error == "excess" else 0.0
    size = point.size(search.w_size)
    return fptas.w_coefficient(size, point.latency_ms, point.error - floor, T)


def _surface(points: Sequence[Point]) -> dict[str, Any] | None:
    """The fitted surface over the measured points, for those that were not measured."""
    try:
        fitted = LogSurface.fit(
            [shape_features(p.architecture) for p in points], [p.error for p in points]
        )
    except ValueError:
        return None
    return fitted.to_json() | {"features": "D,A,H,I"}
