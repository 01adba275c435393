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
from bort_engine.show.race import needed

SOURCE, TASK = "minilm-l6", "rotten-tomatoes"
SEEDS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
RECORDS = sys.argv[2:]
SIZE = os.environ.get("SIZE", "total")
BUDGETS = (16, 32, 64)
LONG = 192  # trainings: the goals' price is beyond the default budget for some


def show_table(result: Race) -> None:
    candidates = [candidate(point, result.size) for point in result.points]
    errors = [np.array(table, dtype=float) for table in result.errors]
    seeds = result.provenance.training_seeds
    for seed, table, seconds in zip(seeds, errors, result.seconds, strict=True):
        order = ground_truth.order(candidates, table)
        surface = ground_truth.surface(candidates, table)
        spent = f"{len(table)} trainings, {sum(s or 0 for s in seconds):.0f} s"
        print(
            f"training seed {seed}: {spent}; {order.violations} of {order.pairs} ordered pairs "
            f"break the order by more than {fptas.TOLERANCE:.0%}, at worst by {order.worst:.1%}; "
            f"the surface is off by {surface.leave_one_out:.1%} (median, each left out in turn)"
        )
        for cover in ground_truth.covers(candidates, table):
            print(
                f"  epsilon {cover.epsilon:<4g} {'lazy' if cover.lazy else 'all ':>5}: "
                f"{cover.trainings:>3} trainings for {cover.cells:>3} cells, achieved "
                f"{cover.achieved:.3f}"
            )
    if len(errors) > 1:
        noise = ground_truth.noise(errors[0], errors[1])
        print(
            f"noise between the two seeds: median {noise.median:.1%}, 95th percentile "
            f"{noise.p95:.1%}; Kendall tau of the rankings {noise.kendall_tau:.3f}"
        )


def show_race(result: Race) -> None:
    for name, curves in result.curves.items():
        volumes = [f"{np.median(curves.hypervolume[:, n - 1]):.4f}" for n in BUDGETS]
        epsilons = [f"{np.median(curves.epsilon[:, n - 1]):.3f}" for n in BUDGETS]
        print(
            f"{NAMES[name]:>14}: hypervolume after {BUDGETS} {' '.join(volumes)}; achieved epsilon "
            f"{' '.join(epsilons)}"
        )


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
            trainings, seconds = (needed(curves, goal, by) for by in ("trainings", "seconds"))
            spent = f"over {LONG} trainings"
            if trainings is not None and seconds is not None:
                spent = f"{trainings:g} trainings, {seconds:.0f} recorded seconds"
            print(
                f"{NAMES[name]:>14}: {spent} until the achieved epsilon is below {goal} (medians)"
            )


main()
