"""Do the oracles rank architectures as finished models rank?

Run: python benchmarks/proxy.py [seeds] [--read]. 24 shapes of MiniLM-L6, spread over depth, heads,
hidden size and neurons, are finished: each is cut from the elastic student and distilled on its own
in rounds of 100 steps until two rounds running have not lowered its error on dev. Then each oracle
measures the same 24: slices of elastic students of 100, 300, 500 and 1,000 steps, and brief
trainings of 30, 120 and 480; the number of parameters, the shipped students, by wrong answers and
by cross-entropy, and a surface fitted to 60 other slices of the same seed's rank them too.
Prints Kendall's tau between each and the finished models, overall and over the pairs that differ in
one axis alone, and what one finds at home who picks by it the fastest that loses at most a point.
Writes assets/recorded/proxy-minilm-l6.json as it goes, and goes on where it was stopped; --read
prints what is on record.
"""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from scipy.stats import kendalltau

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.latency import Calibration
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.runs import records
from bort_engine.runs.provenance import Provenance
from bort_engine.search import errors as oracles
from bort_engine.search.candidates import calibration_for
from bort_engine.search.evaluate import BriefTraining, Evaluator, Setup
from bort_engine.search.predictor import ErrorPredictor, shape_features
from bort_engine.training.precision import precision

SOURCE, TASK = sources["minilm-l6"], "rotten-tomatoes"
RECORD = ASSETS / "recorded" / "proxy-minilm-l6.json"
SHAPES = tuple(
    Architecture(depth, heads, hidden, neurons)
    for depth in (2, 4, 6)
    for heads, hidden in ((6, 144), (12, 144), (12, 264), (12, 384))
    for neurons in (384, 1152)
)
AXES = ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")
ROUND, PATIENCE, MOST_ROUNDS = 100, 2, 12
LEARNING_RATE = 1e-4  # of the finish, as of `cut --polish`
ORACLES = {f"elastic {n}": ("elastic", n) for n in (300, 100, 500, 1000)} | {
    f"brief {n}": ("brief", n) for n in (30, 120, 480)
}
LONGEST = "brief 480"  # an hour a seed on one core
N_FITTED = 60  # slices that the surface is fitted to
AFFORDABLE = 0.01  # share of wrong answers beyond the source's


@dataclass(slots=True)
class Measured:
    """The errors on dev of one oracle by shape, or of a shape after each round of its finish."""

    oracle: str
    seed: int
    errors: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(slots=True)
class Trial:
    """Everything that was measured, by oracle and seed; "finished" is what they are held to."""

    source_error: float
    n_dev: int
    made: Provenance
    measured: list[Measured] = field(default_factory=list)
    schema: int = 1

    AGAIN = "delete it and run this again"

    def of(self, oracle: str, seed: int) -> Measured:
        for found in self.measured:
            if (found.oracle, found.seed) == (oracle, seed):
                return found
        self.measured.append(Measured(oracle, seed))
        return self.measured[-1]


def finished(evaluator: Evaluator, shape: Architecture, seed: int) -> list[float]:
    """Return a slice's errors on dev: as cut, and after each round of its own distillation."""
    from bort_engine.training.trainer import Recipe, train, without_dropout

    T, model = evaluator.teacher, without_dropout(evaluator.student.cut(shape))
    recipe = Recipe(steps=ROUND, batch_size=64, learning_rate=LEARNING_RATE)
    errors = [dev_error(evaluator, shape, model)]
    while len(errors) <= MOST_ROUNDS and len(errors) - 1 - int(np.argmin(errors)) < PATIENCE:
        train(model, T.train_data, T.tokenizer, recipe, seed=1000 * seed + len(errors))
        errors.append(dev_error(evaluator, shape, model))
    return errors


def dev_error(evaluator: Evaluator, shape: Architecture, model: Any) -> float:
    return evaluator.measure(shape, model).dev_error or 0.0


def jobs(seeds: int) -> Iterator[tuple[str, int, Callable[[Architecture], list[float]]]]:
    """Give what is to be measured of each shape, the cheap and the decisive first."""

    def oracle(name: str, seed: int) -> Evaluator:
        kind, steps = ORACLES[name]
        setup = Setup(SOURCE.name, TASK, kind, BriefTraining(steps=steps), seed)
        return Evaluator(SOURCE, setup)

    def evaluations(name: str, seed: int) -> tuple[str, int, Callable[..., list[float]]]:
        evaluator = oracle(name, seed)
        return name, seed, lambda shape: [evaluator.evaluate(shape).dev_error or 0.0]

    for seed in range(seeds):
        elastic = oracle("elastic 300", seed)
        yield "finished", seed, lambda shape, e=elastic, s=seed: finished(e, shape, s)
        yield from (evaluations(name, seed) for name in ORACLES if name != LONGEST)
    yield from (evaluations(LONGEST, seed) for seed in range(seeds))


def measure(trial: Trial, seeds: int) -> None:
    for name, seed, ask in jobs(seeds):
        row = trial.of(name, seed)
        for shape in SHAPES:
            if str(shape) in row.errors:
                continue
            start = perf_counter()
            row.errors[str(shape)] = ask(shape)
            row.seconds += round(perf_counter() - start, 1)
            records.write(RECORD, trial)
            shown = " ".join(f"{100 * error:.2f}" for error in row.errors[str(shape)])
            print(f"seed {seed} {name} {shape}: {shown} % wrong on dev", flush=True)


def rankings(trial: Trial, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Give each oracle's errors of `SHAPES`, as far as they are measured, and what is free."""
    sizes = np.array([n_parameters(a, SOURCE).encoder for a in SHAPES])
    yield "fewer parameters", 1 / sizes
    for table in oracles.replayable(SOURCE, TASK, SearchSpace.fine(SOURCE)):  # as shipped
        known = [table.evaluate(a) for a in SHAPES]
        yield f"student {table.seed}, wrong answers", np.array([e.wrong for e in known])
        yield f"student {table.seed}, cross-entropy", np.array([e.error for e in known])
        if table.seed == seed:
            others = [a for a in SearchSpace.fine(SOURCE) if a not in SHAPES]
            drawn = np.random.default_rng(0).permutation(len(others))[:N_FITTED]
            fitted = [table.evaluate(others[n]) for n in drawn]
            predictor = ErrorPredictor.fit(
                [shape_features(e.architecture) for e in fitted], [e.wrong for e in fitted]
            )
            yield "surface", np.array([predictor.predict(shape_features(a)) for a in SHAPES])
    for name in ORACLES:
        errors = trial.of(name, seed).errors
        if all(str(a) in errors for a in SHAPES):
            yield name, np.array([errors[str(a)][0] for a in SHAPES])


def tau(errors: np.ndarray, truth: np.ndarray, axis: str | None = None) -> tuple[float, int]:
    """Return Kendall's tau-b, and over how many pairs; with `axis`, of those that differ in it."""
    if axis is None:
        found: Any = kendalltau(errors, truth)
        return float(found.statistic), len(truth) * (len(truth) - 1) // 2
    signs = [
        float(np.sign(errors[n] - errors[m]) * np.sign(truth[n] - truth[m]))
        for n, m in combinations(range(len(SHAPES)), 2)
        if [a for a in AXES if getattr(SHAPES[n], a) != getattr(SHAPES[m], a)] == [axis]
    ]
    return float(np.mean(signs)), len(signs)


def report(trial: Trial, calibration: Calibration) -> None:
    ms = np.array([calibration.predict_ms(a) for a in SHAPES])
    report_mean(trial)
    for seed in sorted({row.seed for row in trial.measured}):
        rounds = trial.of("finished", seed).errors
        if any(str(a) not in rounds for a in SHAPES):
            print(f"seed {seed}: {len(rounds)} of {len(SHAPES)} shapes are finished")
            continue
        truth = np.array([min(rounds[str(a)]) for a in SHAPES])
        n_steps = [ROUND * (len(rounds[str(a)]) - 1) for a in SHAPES]
        print(
            f"seed {seed}: finished after {np.median(n_steps):.0f} steps in the median (at most "
            f"{max(n_steps)}); {100 * truth.min():.1f} to {100 * truth.max():.1f} % wrong on dev, "
            f"the source {100 * trial.source_error:.1f} %"
        )
        for name, errors in rankings(trial, seed):
            parts = [f"tau {tau(errors, truth)[0]:.2f}"]
            parts += [
                f"{letter} alone {tau(errors, truth, axis)[0]:.2f}"
                for letter, axis in zip("DAHI", AXES, strict=True)
            ]
            if name in ORACLES:
                parts += [f"mean {100 * errors.mean():.1f} %", picked(trial, errors, truth, ms)]
            print(f"  {name}: {'; '.join(parts)}")


def report_mean(trial: Trial) -> None:
    """Hold everything to the mean of what two seeds finished, and these to each other."""
    finishes = [row.errors for row in trial.measured if row.oracle == "finished"]
    whole = [rounds for rounds in finishes if all(str(a) in rounds for a in SHAPES)]
    if len(whole) < 2:
        return
    truths = np.array([[min(rounds[str(a)]) for a in SHAPES] for rounds in whole])
    print(
        f"finished by seeds 0 and 1: tau {tau(*truths[:2])[0]:.2f} to each other, "
        f"{100 * np.abs(truths[0] - truths[1]).mean():.1f} points apart in the mean; against the "
        "mean of both"
    )
    for row in trial.measured:
        if row.oracle in ORACLES and all(str(a) in row.errors for a in SHAPES):
            errors = np.array([row.errors[str(a)][0] for a in SHAPES])
            found, _ = tau(errors, truths.mean(0))
            print(f"  seed {row.seed} {row.oracle}: tau {found:.2f}, {100 * errors.mean():.1f} %")


def picked(trial: Trial, errors: np.ndarray, truth: np.ndarray, ms: np.ndarray) -> str:
    """Say which shape is picked as the fastest that loses at most a point, and what it loses."""
    limit = trial.source_error + AFFORDABLE
    if not (errors <= limit).any():
        return "no shape loses at most a point"
    pick = int(np.argmin(np.where(errors <= limit, ms, np.inf)))
    best = int(np.argmin(np.where(truth <= limit, ms, np.inf)))
    return (
        f"picks {SHAPES[pick]} ({100 * errors[pick]:.1f} %, finished {100 * truth[pick]:.1f} %; "
        f"{ms[pick]:.0f} ms, the fastest finished one that keeps it {ms[best]:.0f} ms)"
    )


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    if RECORD.is_file():
        trial = records.read(RECORD, Trial)
    else:
        report_of_T = Evaluator(SOURCE, Setup(SOURCE.name, TASK, "elastic")).teacher.report
        made = Provenance.here(precision=precision())
        trial = Trial(report_of_T.dev_error, report_of_T.n_dev, made)
    if "--read" not in sys.argv:
        measure(trial, numbers[0] if numbers else 2)
    calibration = calibration_for(SOURCE, SearchSpace.fine(SOURCE), None, "recorded")
    report(trial, calibration)


main()
