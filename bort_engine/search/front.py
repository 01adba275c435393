"""The verb `front`: a source, a task and an epsilon become a Pareto front with its guarantee.

Where everything needed is on record (a shipped table of errors and a shipped calibration), or the
error is predicted, this runs at once and without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np

from bort_engine.algorithms import fptas
from bort_engine.algorithms.guarantee import guarantee
from bort_engine.data.columns import Columns
from bort_engine.data.tasks import find_task, with_columns
from bort_engine.encoder.latency import Calibration, LatencySettings, check_packages
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.runs.cluster import Nodes
from bort_engine.runs.events import Cancelled, Event, Progress, Stop, bar, never, silent
from bort_engine.runs.workers import n_workers
from bort_engine.search import errors as oracles
from bort_engine.search.candidates import LATENCIES, calibration_for, candidate, costs_of
from bort_engine.search.closer import closer_look
from bort_engine.search.errors import Oracle
from bort_engine.search.evaluate import BriefTraining, OracleName, Setup
from bort_engine.search.forecast import OFF, REST, Evaluations, kept, stages
from bort_engine.search.predictor import ErrorPredictor, guesser, shape_features
from bort_engine.search.result import (
    AFFORDABLE,
    Costs,
    Front,
    FrontGuarantee,
    FrontProvenance,
    Point,
    Role,
    Search,
    check_choice,
    mark_pareto,
)

ERRORS = ("measured", "recorded")
SMALL = 100  # architectures: workers take as long to start as some twenty evaluations
REDRAW_EVERY_S = 60.0  # the front, while the rest of the space is checked


def front(
    source: str | Source,
    task: str = "rotten-tomatoes",
    epsilon: float = 0.1,
    *,
    oracle: OracleName = "elastic",
    errors: Literal["measured", "recorded"] = "measured",
    latency: Literal["measured", "recorded"] | None = None,
    columns: Columns | None = None,
    search: Search | None = None,
    training: BriefTraining | None = None,
    settings: LatencySettings | None = None,
    recalibrate: bool = False,
    seed: int = 0,
    workers: int = 0,
    nodes: Nodes | None = None,
    out: str | Path | None = None,
    on_progress: Progress = bar,
    stop: Stop = never,
) -> Front:
    """Compute the size / latency / error front of a source's subarchitectures on a task.

    Args:
        source: a reference name, a local folder, or a hub id (see `Source.load`).
        task: what the error is measured on: a name, or a file or folder of your own.
        epsilon: what is promised, in (0, 1]: for every architecture of the space, a returned one at
            most 1 + epsilon times as large and as slow, which loses at most epsilon more of what
            lies between the source's error and guessing's.
        oracle: how errors are made: elastic (slices of one student in which all are trained
            together; its default space is "fine"), brief (short distillation from slices of the
            source), scratch (the same from random weights) or glue (predicted from published GLUE
            scores).
        errors: measured (now, here), or recorded (read from the shipped table).
        latency: measured (this machine's calibration, made now if there is none yet), or recorded
            (the shipped one); by default where the errors are from.
        columns: which columns of your own file make the task, where they are not text and label.
        recalibrate: make this machine's calibration anew.
        seed: of the trainings and spot-checks.
        workers: processes of one thread that evaluate side by side; 1 for this one alone, with all
            threads; 0 for as many as there are processors, but no more than are chosen at once,
            and one for a small space.
        out: a folder for the record; given again, what was measured is not measured twice.

    Raises:
        ValueError: a mistake in the arguments, in one line.
        Cancelled: `stop()` became true; what was measured is in `out`, as is a partial front.
    """
    start = perf_counter()
    search, training = search or Search(), training or BriefTraining()
    source = Source.load(source) if isinstance(source, str) else source
    task = with_columns(task, columns or Columns())
    space = oracles.searched(search.space, oracle, source)
    latency = latency or ("recorded" if errors == "recorded" else "measured")
    fptas.check_epsilon(epsilon)
    check_choice("oracle", oracle, oracles.ORACLES)
    check_choice("errors", errors, ERRORS)
    check_choice("latency", latency, LATENCIES)
    if latency == "measured" and settings:
        check_packages(settings.runtime)  # before anything slow
    nodes = nodes or Nodes()
    usual = 1 if len(space) <= SMALL else min(n_workers(0), search.at_once)
    n = nodes.n_workers(workers, usual)
    calibration = None
    if latency == "recorded":  # before anything slow
        calibration = calibration_for(source, space, settings, latency)
    folder = Path(out) if out else None
    if oracle == "glue":
        answers = oracles.glue(source)
    elif errors == "recorded":
        answers = oracles.shipped(source.name, task, seed, oracle)
    else:
        if oracle != "scratch":
            space.within(source)
        name = find_task(task).name
        asked = LatencySettings() if settings is None else settings
        setup = Setup(source.name, name, oracle, training, seed)
        oracles.check(source, setup, folder)
        done = kept(source, setup)
        plan = stages(source, name, epsilon, oracle, space, search, training, asked, kept=done)
        on_progress({"stage": "getting ready", "done": 0, "total": 0, "plan": plan})
        answers = oracles.measured(source, setup, folder, on_progress, stop, n, nodes)
    if calibration is None:
        settings = (settings or LatencySettings()).of_length(answers.length)
        calibration = calibration_for(source, space, settings, latency, recalibrate, on_progress)
    answers.on_progress = _with_latency(answers.on_progress, calibration)
    known = _known(answers, space, folder, epsilon)

    def searched(answers: Oracle, search: Search, **change: Any) -> Front:
        result = search_front(source, space, epsilon, search, calibration, answers, seed, known)
        seconds = round(perf_counter() - start, 1)
        made = replace(result.provenance, seconds=seconds)
        result = replace(result, provenance=made, **change)
        if folder:
            result.save(folder / "front.json")
        return result

    with closing(answers):
        try:
            result = searched(answers, search)
        except Cancelled:
            if answers.evaluations:
                known = {}
                gathered = replace(search, selection="exhaustive", spot_checks=0)
                searched(answers.on_record(), gathered, partial=True)
            raise
        if search.check_all:
            # Nothing new is asked for when the front is drawn again, and a stop is not heard.
            quiet = replace(answers, on_progress=silent)
            result = _check_rest(answers, space, seed, redraw=partial(searched, quiet, search))
    return result


def _with_latency(on_progress: Progress, calibration: Calibration) -> Progress:
    """Return what also tells the latency of an evaluated architecture."""

    def told(event: Event) -> None:
        if text := event.get("architecture"):
            ms = calibration.predict_ms(Architecture.parse(text))
            event = event | {"latency_ms": round(ms, 3)}
        on_progress(event)

    return told


def _check_rest(
    oracle: Oracle, space: SearchSpace, seed: int, redraw: Callable[[], Front]
) -> Front:
    """Evaluate what is left of a space; draw the front again now and then, and at the end."""
    rest = [a for a in space if a not in oracle.evaluations]
    # In random order, so that wherever it is stopped, it was a check of all kinds.
    order, drawn = np.random.default_rng(seed).permutation(len(rest)), perf_counter()
    oracle.settled(0, len(rest), REST)
    try:
        for n_done, _ in enumerate(oracle.errors(rest[row] for row in order), 1):
            oracle.settled(n_done, len(rest), REST)
            if perf_counter() - drawn > REDRAW_EVERY_S:
                redraw()
                drawn = perf_counter()
    finally:  # after a stop, too: the front says what was checked until then
        result = redraw()
    return result


def _known(
    oracle: Oracle, space: SearchSpace, folder: Path | None, epsilon: float
) -> dict[Architecture, float]:
    """Return errors that the search need not ask for, and that stay in its cover.

    Predicted errors cost nothing, so Bort itself is always among the points. Else it is what an
    earlier search in this folder, at another epsilon, put into its cover.
    """
    if oracle.origin == "predicted":
        bort = sources["bort"].architecture
        return {a: oracle.r(a) for a in [bort] if a in space}
    if folder is None or not (folder / "front.json").is_file():
        return {}
    earlier = Front.load(folder / "front.json")
    if earlier.partial:
        return {}
    roles = {"known"} if earlier.epsilon == epsilon else {"known", "representative"}
    return {p.architecture: p.r for p in earlier.points if p.role in roles}


def search_front(
    source: Source,
    space: SearchSpace,
    epsilon: float,
    search: Search,
    calibration: Calibration,
    oracle: Oracle,
    seed: int = 0,
    known: dict[Architecture, float] | None = None,
) -> Front:
    """Run the FPTAS and gather its evaluations, and how far they can be trusted, in a `Front`."""
    costs = {a: costs_of(a, source, calibration) for a in oracle.available(space)}
    candidates = [candidate(point, search.size) for point in costs.values()]
    lazy = search.lazy and oracle.origin != "predicted"  # to predict them all costs nothing
    expected, guess = Evaluations.of(search, epsilon, len(costs)), guesser(candidates)
    n_told = -1  # it is told once before the first evaluation

    def tell(left: int) -> None:
        done = oracle.n_new
        oracle.settled(done, done + left, share=expected.share(done, left), off=OFF)

    def on_settled(done: int, total: int) -> None:
        nonlocal n_told
        n_told += 1
        tell(expected.left(n_told, done, total))

    extraction = fptas.extract(
        candidates,
        oracle.errors,
        epsilon=epsilon,
        selection=search.selection,
        interval=search.interval,
        lazy=lazy,
        tolerance=search.tolerance,
        spot_checks=search.spot_checks if oracle.origin != "predicted" else 0,
        known=known,
        own=source.architecture,
        seed=seed,
        guess=guess,
        at_once=search.at_once,
        on_settled=on_settled,
    )
    measured = extraction.measured
    if search.closer and oracle.origin != "predicted":
        limit = measured[extraction.maximum] + AFFORDABLE / oracle.scale.span
        left = iter(range(search.closer - 1, -1, -1))

        def looked(architectures: Sequence[Any]) -> Iterator[float]:
            for error in oracle.errors(architectures):
                tell(next(left))
                yield error

        measured |= closer_look(
            candidates, looked, measured, guess, search.closer, limit, search.at_once
        )
    # What else is on record, of an earlier search or a shipped table, tests the promise as well.
    others = {
        xi: oracle.scale.r(oracle.evaluations[xi.key].wrong)
        for xi in candidates
        if xi.key in oracle.evaluations and xi not in extraction.measured
    }
    check = guarantee(extraction, epsilon, search.tolerance, others)
    latency = calibration.report()
    measured |= others if search.check_all else {}
    points = _points(extraction, measured, oracle, search, costs, latency.median_relative_error)
    return Front(
        source=source.name,
        task=oracle.task,
        epsilon=epsilon,
        oracle=oracle.name,
        origin=oracle.origin,
        selection=search.selection,
        lazy=lazy and search.selection == "cover",
        size=search.size,
        space_size=len(costs),
        n_evaluated=len(extraction.evaluated),
        points=points,
        maximum=extraction.maximum.key,
        scale=oracle.scale,
        latency=latency,
        guarantee=FrontGuarantee(
            achieved=check.achieved,
            n_evaluated=check.n_measured,
            order_pairs=check.order_pairs,
            order_violations=check.order_violations,
            worst_violation=check.worst_violation,
            n_cells=extraction.n_cells,
            cell_bound=extraction.bound,
            n_skipped_cells=len(extraction.skipped),
            n_spot_checks=len(extraction.checks),
            n_missed=check.n_missed,
            n_uncovered=check.n_uncovered,
            most_uncovered=check.most_uncovered,
        ),
        provenance=FrontProvenance(
            made=oracle.made,
            seed=seed,
            seconds=0.0,
            note=oracle.note,
            search=search,
            whole_space_size=len(space),
            training=oracle.training,
            teacher=oracle.teacher,
            predictor=oracle.predictor or _fitted(points),
            workers=oracle.ahead.n if oracle.ahead else 1,
        ),
    )


def _points(
    extraction: fptas.Extraction,
    measured: dict[fptas.Candidate, float],
    oracle: Oracle,
    search: Search,
    costs: dict[Architecture, Costs],
    tie: float,
) -> tuple[Point, ...]:
    """Return everything measured (r by candidate), with W and the front marked."""
    roles: dict[Architecture, Role] = {xi.key: "representative" for xi in extraction.evaluated}
    roles |= {xi.key: "known" for xi in extraction.known}
    roles |= {xi.key: "spot-check" for xi in extraction.checks}
    # W has two options of its own: which size counts, and from where the error does.
    floor = oracle.floor if search.w_error == "excess" else 0.0
    sizes = {a: point.size(search.w_size) for a, point in costs.items()}
    T = replace(extraction.maximum, p=sizes[extraction.maximum.key])
    points = []
    for xi, r in measured.items():
        found = oracle.evaluations[xi.key]
        point = costs[xi.key].point(
            found.error,
            found.dev_error,
            r=r,
            w=fptas.w_coefficient(sizes[xi.key], xi.i, found.error - floor, T),
            role=roles.get(xi.key, "other"),
            at_chance=oracle.at_chance(found.dev_error),
        )
        points.append(point)
    return mark_pareto(points, search.size, tie)


def _fitted(points: Sequence[Point]) -> ErrorPredictor | None:
    """Return an error predictor fitted to the points, for those that were not evaluated."""
    try:
        return ErrorPredictor.fit(
            [shape_features(p.architecture) for p in points], [p.error for p in points]
        )
    except ValueError:  # too few points
        return None
