"""Is a slice of the elastic student a better candidate than one trained briefly on its own?

Run: python benchmarks/elastic.py [shapes] [seeds]. Draws slices of MiniLM-L6 from the fine space,
and measures each with both oracles, as `front` does: a forward pass through a slice of the elastic
student, and 30 steps of its own. Prints both errors on dev and what they took, the elastic
student's training included; and Kendall's tau between seeds, where there are several.
"""

import os
import sys
from itertools import combinations
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from scipy.stats import kendalltau

from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import SearchSpace
from bort_engine.search.evaluate import Evaluator, OracleName, Setup

N_SHAPES = int(sys.argv[1]) if len(sys.argv) > 1 else 16
SEEDS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
SOURCE, TASK = sources["minilm-l6"], "rotten-tomatoes"
ORACLES: tuple[OracleName, ...] = ("elastic", "brief")


def main() -> None:
    slices = list(SearchSpace.fine(SOURCE))
    drawn = np.random.default_rng(0).permutation(len(slices))[:N_SHAPES]
    wrong: dict[str, list[list[float]]] = {name: [] for name in ORACLES}
    for seed in range(SEEDS):
        for name in ORACLES:
            evaluator = Evaluator(SOURCE, Setup(SOURCE.name, TASK, name, seed=seed))
            T = evaluator.teacher
            start = perf_counter()
            if name == "elastic":
                print(
                    f"seed {seed}: elastic student trained in {evaluator.student.report.seconds} s"
                )
            row = []
            for number in drawn:
                evaluation = evaluator.evaluate(slices[number])
                row.append(100 * (evaluation.dev_error or 0.0))
                print(
                    f"seed {seed} {name} {slices[number]}: {row[-1]:.2f} % wrong on dev (T "
                    f"{100 * T.dev_error:.2f} %), {evaluation.seconds:.2f} s",
                    flush=True,
                )
            wrong[name].append(row)
            print(f"seed {seed} {name}: {perf_counter() - start:.0f} s in all", flush=True)
    errors = {name: np.array(rows) for name, rows in wrong.items()}
    for name, table in errors.items():
        pairs: list[Any] = [kendalltau(a, b).statistic for a, b in combinations(table, 2)]
        tau = f"; tau between seeds {', '.join(f'{t:.2f}' for t in pairs)}" if pairs else ""
        print(f"{name}: mean {table.mean():.2f} % wrong on dev, by seed {table.mean(1)}{tau}")
    gap = errors["brief"] - errors["elastic"]
    print(
        f"brief errs more by {gap.mean():.2f} points on average ({gap.min():.2f} to "
        f"{gap.max():.2f}), on {(gap > 0).sum()} of {gap.size}"
    )


main()
