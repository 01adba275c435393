"""The FPTAS against its rivals and its own parts, on the recorded tables of a whole space.

Run: [ORACLE=brief] python benchmarks/race.py [seeds] [RECORD ...]. The tables are of 2,640 slices
of the elastic student, or of 384 shapes trained briefly. Prints what the tables say of the
assumptions (noise from seed to seed, exceptions to the order, the fitted surface, what covers
achieve); then the race: hypervolume and achieved epsilon after 16, 32 and 64 evaluations, and, seed
by seed, the evaluations until the achieved epsilon is below 0.2 and 0.1, in the whole space and
with 12 heads only, with the quartiles of 1,000 random orders; then the quartiles over random
sub-spaces.
SIZE=effective counts the encoder's parameters only: other cells, on which nothing was tuned.
With SAVE=1 the default race becomes the recorded one that the app opens on.
"""

import os
import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from bort_engine import race, sources
from bort_engine.algorithms import fptas
from bort_engine.data.resources import ASSETS
from bort_engine.lab import ground_truth
from bort_engine.runs.events import Event
from bort_engine.search import ablations
from bort_engine.search import errors as oracles
from bort_engine.search.candidates import calibration_for, candidate, costs_of
from bort_engine.search.predictor import guesser
from bort_engine.search.race import ALL
from bort_engine.search.scores import GOALS, NAMES, OURS, Race, Truth

SOURCE, TASK = "minilm-l6", "rotten-tomatoes"
SEEDS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
RECORDS = sys.argv[2:]
SIZE, ORACLE = os.environ.get("SIZE", "total"), os.environ.get("ORACLE", "elastic")
BUDGETS = (16, 32, 64)
LONG = 96  # evaluations: the goals' price is beyond the default budget for some
SUBSPACES, RANDOM_ORDERS = 40, 1000
SPACE = oracles.searched("default", ORACLE, sources[SOURCE])
WIDTHS, NEURONS = (
    ",".join(map(str, values)) for values in (SPACE.hidden_size, SPACE.intermediate_size)
)
SPACES = ("default", f"D=1-6 A=12 H={WIDTHS} I={NEURONS}")


def tell(event: Event) -> None:
    text = f"{event['done']} of {event['total']} {event.get('detail', '')}"
    print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def show_table(result: Race) -> None:
    candidates = [candidate(point, result.size) for point in result.points]
    errors = [np.array(table, dtype=float) for table in result.errors]
    seeds = result.provenance.training_seeds
    for seed, table, seconds in zip(seeds, errors, result.seconds, strict=True):
        r = result.scale.r(table)
        order = ground_truth.order(candidates, r)
        surface = ground_truth.surface(candidates, table)
        spent = f"{len(table)} evaluations, {sum(s or 0 for s in seconds):.0f} s"
        print(
            f"training seed {seed}: {spent}; {order.violations} of {order.pairs} ordered pairs "
            f"break the order by more than {fptas.TOLERANCE:g} in r, at worst {order.worst:.3f}; "
            f"the surface is off by {surface.leave_one_out:.1%} (median, each left out in turn)"
        )
        for cover in ground_truth.covers(candidates, r):
            print(
                f"  epsilon {cover.epsilon:<4g} {'lazy' if cover.lazy else 'all ':>5}: "
                f"{cover.evaluations:>3} evaluations for {cover.cells:>3} cells, achieved "
                f"{cover.achieved:.3f}"
            )
    if len(errors) > 1:
        noise = ground_truth.noise(*(result.scale.r(table) for table in errors[:2]))
        print(
            f"noise between the two seeds, in r: median {noise.median:.3f}, 95th percentile "
            f"{noise.p95:.3f}; Kendall tau of the rankings {noise.kendall_tau:.3f}"
        )


def show_race(result: Race) -> None:
    for name, curves in result.curves.items():
        volumes = [f"{np.median(curves.hypervolume[:, n - 1]):.4f}" for n in BUDGETS]
        epsilons = [f"{np.median(curves.epsilon[:, n - 1]):.3f}" for n in BUDGETS]
        print(
            f"{NAMES[name]:>17}: hypervolume after {BUDGETS} {' '.join(volumes)}; achieved epsilon "
            f"{' '.join(epsilons)}"
        )


def show_goals(result: Race) -> None:
    """Print what the goals took each search, by training seed; a dash: not within the budget."""
    tables = range(len(result.errors))
    for goal in sorted(GOALS, reverse=True):
        print(f"evaluations of {result.budget} to {goal:g} in {len(result.points)} shapes")
        for name, curves in result.curves.items():
            took = [first_below(epsilons, goal) for epsilons in curves.epsilon]
            texts = [" ".join(map(shown, took[table :: len(tables)])) for table in tables]
            print(f"{NAMES[name]:>17}: {' | '.join(texts)}")


def first_below(epsilons: np.ndarray, goal: float) -> float:
    return float((epsilons < goal).argmax() + 1) if (epsilons < goal).any() else np.inf


def shown(n: float) -> str:
    return f"{n:g}" if np.isfinite(n) else "-"


def show_random(result: Race) -> None:
    """Print the quartiles of what 1,000 random orders take, each beginning with the largest."""
    candidates = [candidate(point, result.size) for point in result.points]
    T, row = fptas.maximum_point(candidates), {xi: n for n, xi in enumerate(candidates)}
    for seed, truth in enumerate(result.truths):
        took: dict[float, list[float]] = {goal: [] for goal in GOALS}
        for draw in range(RANDOM_ORDERS):
            order = np.random.default_rng(draw).permutation(len(candidates))
            trace = list(dict.fromkeys([row[T], *order[:LONG].tolist()]))[:LONG]
            epsilons = truth.epsilons(trace)
            for goal, counts in took.items():
                counts.append(first_below(epsilons, goal))
        texts = [
            f"{' '.join(map(shown, quartiles(counts)))} to {goal:g}"
            for goal, counts in took.items()
        ]
        print(
            f"{RANDOM_ORDERS:,} random orders of training seed {seed}, quartiles: "
            f"{', '.join(texts)}"
        )


def quartiles(counts: list[float]) -> list[float]:
    return np.percentile(counts, [25, 50, 75], method="inverted_cdf").tolist()


def show_strides(result: Race) -> None:
    """Print the fewest evaluations from which on every stride is good enough, k chosen for each."""
    candidates = [candidate(point, result.size) for point in result.points]
    T, row = fptas.maximum_point(candidates), {xi: n for n, xi in enumerate(candidates)}
    strides = [ablations.stride(candidates, n + 1, T) for n in range(len(candidates))]
    for seed, truth in enumerate(result.truths):
        ends = np.array([truth.epsilons([row[xi] for xi in some])[-1] for some in strides])
        worst = np.maximum.accumulate(ends[::-1])[::-1]  # of this and all longer ones
        took = ", ".join(f"{first_below(worst, goal):g} to {goal:g}" for goal in GOALS)
        print(f"strides of training seed {seed}: {took}")


def show_subspaces() -> None:
    """Print the quartiles of the evaluations to 0.1 over random sub-spaces."""
    source = sources[SOURCE]
    calibration = calibration_for(source, SPACE, latency="recorded")
    every = [candidate(costs_of(a, source, calibration), SIZE) for a in SPACE]
    answers = oracles.replayable(source, TASK, SPACE, ORACLE, RECORDS)
    took: dict[str, list[float]] = {}
    for draw in range(SUBSPACES):
        rng, oracle = np.random.default_rng(draw), answers[draw % len(answers)]
        kept = np.sort(rng.permutation(len(every))[: round(0.85 * len(every))])
        some = [every[n] for n in kept]
        row, T = {xi.key: n for n, xi in enumerate(some)}, fptas.maximum_point(some)
        truth = Truth(np.array([(xi.p, xi.i, oracle.r(xi.key)) for xi in some]))
        ours = fptas.refine(some, oracle.errors, LONG, own=T.key, guess=guesser(some))
        traces = {
            OURS: [xi.key for xi in ours.errors],
            "random": [T.key, *(some[n].key for n in rng.permutation(len(some)))],
        }
        for name in ("surface", "gp"):
            traces[name] = ablations.sample(name, some, oracle.r, LONG, draw, T)
        for name, trace in traces.items():
            epsilons = truth.epsilons([row[key] for key in dict.fromkeys(trace)][:LONG])
            took.setdefault(name, []).append(first_below(epsilons, 0.1))
        tell({"done": draw + 1, "total": SUBSPACES, "detail": "sub-spaces"})
    print(f"evaluations of {LONG} to 0.1, quartiles over {SUBSPACES} sub-spaces of 85 %")
    for name, counts in took.items():
        print(f"{NAMES[name]:>17}: {' '.join(map(shown, quartiles(counts)))}")


def main() -> None:
    start = perf_counter()
    options = {"seeds": SEEDS, "records": RECORDS, "oracle": ORACLE, "size": SIZE}
    default = race(SOURCE, TASK, **options, on_progress=tell)
    default.summary()
    took = perf_counter() - start
    show_table(default)
    print(
        f"race of {len(default.searchers) - 1} samplers x {SEEDS} seeds, 64 evaluations each: "
        f"{took:.1f} s"
    )
    show_race(default)
    if os.environ.get("SAVE"):
        print(default.save(ASSETS / "recorded" / f"race-{SOURCE}-{TASK}.json"))
    for space in SPACES:
        long = race(SOURCE, TASK, ALL, LONG, space=space, **options, on_progress=tell)
        show_goals(long)
        show_random(long)
        show_strides(long)
    show_subspaces()


main()
