"""The FPTAS against Optuna's samplers and local search, on the recorded table of all 384 shapes.

Run: python benchmarks/race.py [seeds] [RECORD ...]. Prints what the table says of the assumptions
(noise from seed to seed, exceptions to the order, the fitted surface, what covers achieve), then
the race: hypervolume after 16, 32 and 64 trainings, trainings and seconds until the achieved
epsilon is below 0.2 and 0.1, and how long the default race of four samplers takes.
SIZE=effective counts the encoder's parameters only: other cells, on which nothing was tuned.
With SAVE=1 the default race becomes the recorded one that the app opens on.
"""

import os
import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from bort_engine import race
from bort_engine.algorithms import fptas
from bort_engine.data.resources import ASSETS
from bort_engine.lab import ground_truth
from bort_engine.search.candidates import candidate
from bort_engine.search.scores import GOALS, NAMES, Race

SOURCE, TASK = "minilm-l6", "rotten-tomatoes"
SEEDS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
RECORDS = sys.argv[2:]
SIZE = os.environ.get("SIZE", "total")
BUDGETS = (16, 32, 64)
LONG = 192  # trainings: the goals' price is beyond the default budget for some


def show_table(found: Race) -> None:
    candidates = [candidate(point, found.size) for point in found.points]
    errors = [np.array(table, dtype=float) for table in found.errors]
    for number, table in zip(found.provenance.training_seeds, errors, strict=True):
        took = sum(x or 0 for x in found.seconds[found.provenance.training_seeds.index(number)])
        told = ground_truth.order(candidates, table)
        fitted = ground_truth.surface(candidates, table)
        print(
            f"training seed {number}: {len(table)} trainings, {took:.0f} s; {told.violations} of "
            f"{told.pairs} ordered pairs break the order by more than {fptas.TOLERANCE:.0%}, at "
            f"worst by {told.worst:.1%}; the surface is off by {fitted.leave_one_out:.1%} (median, "
            "each left out in turn)"
        )
        for cover in ground_truth.covers(candidates, table):
            print(
                f"  epsilon {cover.epsilon:<4g} {'lazy' if cover.lazy else 'all ':>5}: "
                f"{cover.trainings:>3} trainings for {cover.cells:>3} cells, achieved "
                f"{cover.achieved:.3f}"
            )
    if len(errors) > 1:
        told = ground_truth.noise(errors[0], errors[1])
        print(
            f"noise between the two seeds: median {told.median:.1%}, 95th percentile "
            f"{told.p95:.1%}; Kendall tau of the rankings {told.kendall_tau:.3f}"
        )


def show_race(found: Race) -> None:
    for name, curves in found.curves.items():
        volumes = [f"{np.median(curves.hypervolume[:, n - 1]):.4f}" for n in BUDGETS]
        epsilons = [f"{np.median(curves.epsilon[:, n - 1]):.3f}" for n in BUDGETS]
        print(
            f"{NAMES[name]:>14}: hypervolume after {BUDGETS} {' '.join(volumes)}; achieved epsilon "
            f"{' '.join(epsilons)}"
        )


def seconds_to(found: Race, name: str, goal: float) -> float:
    curves = found.curves[name]
    below = curves.epsilon < goal
    spent = [
        row[hit.argmax()] if hit.any() else np.inf
        for row, hit in zip(curves.seconds, below, strict=True)
    ]
    return float(np.median(spent))


def main() -> None:
    start = perf_counter()
    default = race(SOURCE, TASK, seeds=SEEDS, records=RECORDS, size=SIZE)
    default.summary()
    took = perf_counter() - start
    show_table(default)
    print(
        f"race of {len(default.searchers) - 1} samplers x {SEEDS} seeds, 64 trainings: {took:.1f} s"
    )
    show_race(default)
    if os.environ.get("SAVE"):
        print(default.save(ASSETS / "recorded" / f"race-{SOURCE}-{TASK}.json"))
    long = race(SOURCE, TASK, budget=LONG, seeds=SEEDS, records=RECORDS, size=SIZE)
    for name, curves in long.curves.items():
        for goal in sorted(GOALS, reverse=True):
            needed = curves.trainings_to(goal)
            said = f"over {LONG}" if needed is None else f"{needed:g}"
            print(
                f"{NAMES[name]:>14}: {said} trainings, {seconds_to(long, name, goal):.0f} recorded "
                f"seconds until the achieved epsilon is below {goal} (medians)"
            )


main()
