"""The verb `layers`: a front of shapes whose layers differ, out of more than can be enumerated.

Random shapes are cut from the elastic student and measured; what each width loses is learned from
them (layer_losses.py) and held against others (the audit); a dynamic program finds the shapes that
no other one beats in size, latency and summed loss, for all there are (algorithms/layers.py). The
promise is of sums. So a share of what was found is measured, and improved by local search: only
measured errors are shown as errors.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from bort_engine.algorithms import fptas
from bort_engine.algorithms.pareto import nondominated
from bort_engine.data.columns import Columns
from bort_engine.data.tasks import find_task, with_columns
from bort_engine.encoder.layer_latency import LayerLatency, calibrate_layers
from bort_engine.encoder.sources import Source
from bort_engine.encoder.timing import LatencySettings
from bort_engine.encoder.uneven import NEURONS, Layer, Uneven, draw
from bort_engine.runs import records
from bort_engine.runs.cluster import Nodes
from bort_engine.runs.events import Progress, Stop, bar, check, never
from bort_engine.search import errors as oracles
from bort_engine.search.candidates import not_too_far_off
from bort_engine.search.errors import Oracle
from bort_engine.search.evaluate import BriefTraining, Evaluation, Setup
from bort_engine.search.forecast import EVALUATING, layer_stages
from bort_engine.search.layer_losses import Found, LayerLosses, costs_of, log_loss, search
from bort_engine.search.layer_result import Audited, Effort, FoundBy, LayersFront, UnevenPoint

SHARES = (0.5, 0.625, 0.75, 0.875, 1.0)  # of the source's hidden size: those that are searched
N_MUTANTS, N_BEST = 200, 10  # local search: so many are drawn, one of the best sums is measured


def layers(
    source: str | Source,
    task: str = "rotten-tomatoes",
    epsilon: float = 0.1,
    *,
    columns: Columns | None = None,
    effort: Effort | None = None,
    training: BriefTraining | None = None,
    settings: LatencySettings | None = None,
    seed: int = 0,
    workers: int = 0,
    nodes: Nodes | None = None,
    out: str | Path | None = None,
    on_progress: Progress = bar,
    stop: Stop = never,
) -> LayersFront:
    """Compute the front of shapes whose layers differ in heads and neurons, or are left out.

    Args:
        source: a reference name, a local folder, or a hub id.
        task: what the error is measured on: a name, or a file or folder of your own.
        epsilon: what is promised, in (0, 1]: for every shape, one is found at most 1 + epsilon
            times as large and as slow, with no larger sum of its layers' losses.
        columns: which columns of your own file make the task, where they are not text and label.
        seed: of the elastic student, and of what is drawn.
        workers: processes of one thread that evaluate side by side; 1 for this one alone, with all
            threads; 0 for as many as there are processors, at most 8.
        out: a folder for the record; given again, what was measured is not measured twice.

    Raises:
        ValueError: a mistake in the arguments, in one line.
        Cancelled: `stop()` became true; what was measured is in `out`.
    """
    start, effort = perf_counter(), effort or Effort()
    source = Source.load(source) if isinstance(source, str) else source
    task = with_columns(task, columns or Columns())
    fptas.check_epsilon(epsilon)
    settings = settings or LatencySettings()
    if settings.runtime != "pytorch":
        raise ValueError(f"runtime is {settings.runtime!r}; layers are timed in pytorch only.")
    folder = Path(out) if out else None
    setup = Setup(source.name, find_task(task).name, "elastic", training or BriefTraining(), seed)
    nodes = nodes or Nodes()
    n = nodes.n_workers(workers)
    oracles.check(source, setup, folder)
    plan = layer_stages(source, setup.task, effort.n_shapes, setup.training, settings)
    on_progress({"stage": "getting ready", "done": 0, "total": 0, "plan": plan})
    oracle = oracles.measured(source, setup, folder, on_progress, stop, n, nodes)
    with closing(oracle):
        assert oracle.teacher
        latency = _latency(source, settings.of_length(oracle.length), folder, on_progress)
        rng, n_later = random.Random(seed), effort.n_shapes

        def settled(n_done: int, n_all: int, stage: str) -> None:
            share = oracle.n_new / max(1, oracle.n_new + n_all - n_done + n_later)
            oracle.settled(n_done, n_all, stage, part=EVALUATING, share=share)

        def measured(shapes: Iterable[Uneven], stage: str) -> dict[Uneven, Evaluation]:
            nonlocal n_later
            shapes = list(dict.fromkeys(shapes))
            n_later -= len(shapes)
            settled(0, len(shapes), stage)
            for n, _ in enumerate(oracle.errors(shapes), 1):
                check(stop)
                settled(n, len(shapes), stage)
            return {shape: oracle.evaluations[shape] for shape in shapes}

        def drawn(count: int) -> list[Uneven]:
            return [draw(source, rng.choice([*latency.outside_ms]), rng) for _ in range(count)]

        def loss_of(evaluation: Evaluation) -> float:
            return log_loss(evaluation.error, oracle.floor)

        learned = measured(drawn(effort.fit), "measuring random shapes")
        tested = measured(drawn(effort.audit), "measuring more of them, for the audit")
        by_search: dict[Uneven, None] = {}  # in the order in which they were found
        n_rounds = 0
        while True:
            log_losses = {a: loss_of(e) for a, e in learned.items()}
            losses = LayerLosses.fit(log_losses, source.architecture)
            began = perf_counter()
            found, n_states = search(losses, latency, source, epsilon)
            search_seconds = round(perf_counter() - began, 2)
            chosen = _spread(found, effort.measure)
            learned |= measured(chosen, "measuring what was found")
            by_search |= dict.fromkeys(chosen)
            if n_rounds == effort.rounds:
                break
            n_rounds += 1
        audit = tuple(
            Audited(a, round(float(total), 6), round(loss_of(e), 6))
            for (a, e), total in zip(tested.items(), losses.sums([*tested]), strict=True)
        )
        points = [_source_point(source, oracle, losses, latency)]
        points += [
            _point(x, oracle, "search") for x in costs_of([*by_search], losses, latency, source)
        ]
        n_later = 0
        for n in range(effort.improve):
            check(stop)
            settled(n, effort.improve, "improving it by local search")
            mutant = _mutant(_marked(points), losses, latency, source, rng)
            if mutant:
                oracle.evaluate(mutant.shape)
                points.append(_point(mutant, oracle, "local search"))
    result = LayersFront(
        source=source.name,
        task=oracle.task,
        epsilon=epsilon,
        effort=effort,
        n_found=len(found),
        n_states=max(n_states),
        search_seconds=search_seconds,
        points=_marked(points),
        audit=audit,
        losses=losses,
        latency=latency,
        scale=oracle.scale,
        teacher=oracle.teacher,
        made=oracle.made,
        seed=seed,
        seconds=round(perf_counter() - start, 1),
        training=oracle.training,
    )
    if folder:
        result.save(folder / "layers.json")
    return result


def _spread(found: Sequence[Found], count: int) -> list[Uneven]:
    """Return so many of what was found, evenly from fast to slow."""
    by_ms = sorted(found, key=lambda x: x.latency_ms)
    chosen = np.linspace(0, len(by_ms) - 1, min(count, len(by_ms))).round().astype(int)
    return [by_ms[n].shape for n in chosen]


def _latency(
    source: Source, settings: LatencySettings, folder: Path | None, on_progress: Progress
) -> LayerLatency:
    """Return the timings of the source's layers, those in the folder if there are any."""
    path = folder / "latency.json" if folder else None
    if path and path.is_file():
        return records.read(path, LayerLatency)
    heads, whole = source.architecture.num_attention_heads, source.architecture.hidden_size
    sizes = sorted({max(1, round(share * whole / heads)) * heads for share in SHARES})
    latency = not_too_far_off(
        lambda: calibrate_layers(source, sizes, settings, on_progress=on_progress)
    )
    if path:
        records.write(path, latency)
    return latency


def _point(found: Found, oracle: Oracle, found_by: FoundBy) -> UnevenPoint:
    evaluation = oracle.evaluations[found.shape]
    assert evaluation.dev_error is not None
    return UnevenPoint(
        found.shape,
        found.n_parameters,
        round(found.latency_ms, 4),
        round(found.loss, 6),
        evaluation.error,
        evaluation.dev_error,
        oracle.scale.r(evaluation.dev_error),
        found_by,
    )


def _source_point(
    source: Source, oracle: Oracle, losses: LayerLosses, latency: LayerLatency
) -> UnevenPoint:
    """Return T itself, which is not its slice of the elastic student."""
    (found,) = costs_of([Uneven.of(source.architecture, source)], losses, latency, source)
    T = oracle.evaluate(source.architecture)
    oracle.evaluations[found.shape] = replace(T, architecture=found.shape)
    return _point(found, oracle, "source")


def _marked(points: Sequence[UnevenPoint]) -> tuple[UnevenPoint, ...]:
    """Return the points with `pareto` set where no other one is better in size, latency and r."""
    on_front = nondominated(np.array([(p.n_parameters, p.latency_ms, p.r) for p in points]))
    return tuple(replace(p, pareto=bool(on)) for p, on in zip(points, on_front, strict=True))


def _mutant(
    points: Sequence[UnevenPoint],
    losses: LayerLosses,
    latency: LayerLatency,
    source: Source,
    rng: random.Random,
) -> Found | None:
    """Return a neighbour of a front point that is no larger and no slower, if one is drawn.

    A neighbour has one or two layers changed. Of those drawn one with a low sum is taken.
    """
    parent = rng.choice([p for p in points if p.pareto])
    shapes = [_neighbour(parent.shape, source, rng) for _ in range(N_MUTANTS)]
    known = {p.shape for p in points}
    fits = [
        x
        for x in costs_of([s for s in shapes if s.kept and s not in known], losses, latency, source)
        if x.n_parameters <= parent.n_parameters and x.latency_ms <= parent.latency_ms
    ]
    return rng.choice(sorted(fits, key=lambda x: x.loss)[:N_BEST]) if fits else None


def _neighbour(shape: Uneven, source: Source, rng: random.Random) -> Uneven:
    most = source.architecture.num_attention_heads, source.architecture.intermediate_size
    layers = list(shape.layers)
    for k in rng.sample(range(len(layers)), min(2, len(layers))):
        heads, neurons = layers[k]
        layer: Layer = (
            min(max(heads + rng.randint(-2, 2), 0), most[0]),
            min(max(neurons + NEURONS * rng.randint(-24, 24), 0), most[1]),
        )
        layers[k] = layer
    return Uneven(shape.hidden_size, tuple(layers))
