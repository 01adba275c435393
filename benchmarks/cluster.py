"""Work by one process, by two, and by the two nodes of a Ray cluster on this machine.

Run: python benchmarks/cluster.py [shapes | table], with requirements-scale.txt installed. The
elastic student of MiniLM-L6 (from the cache, else it is trained) is cut to shapes of the fine
space, and each is measured on dev as `front` does. A worker has one thread, a node one processor.
Each kind evaluates two shapes before the clock starts, so that starting up does not count. In the
last row a node is killed after half of the shapes. Prints seconds, how many times as fast as the
first row, and whether the records are the same, line for line.

With `table`, each kind makes a small one from an empty cache, starting up included: two seeds on
400 rated tweets, with trainings of a few steps. Latencies are left out of what is compared.
"""

import os
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from ray.cluster_utils import Cluster

from bort_engine.data.tasks import load_task
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.encoder.timing import LatencySettings
from bort_engine.lab.table import table
from bort_engine.lab.table_record import Row
from bort_engine.runs.cluster import Nodes
from bort_engine.runs.events import never, silent
from bort_engine.runs.records import cache_dir
from bort_engine.search.candidates import calibration_for
from bort_engine.search.errors import RECORD, measured, searched
from bort_engine.search.evaluate import BriefTraining, EvaluationTable, Setup

WORDS = sys.argv[1:]
N_SHAPES = int(WORDS[0]) if WORDS and WORDS != ["table"] else 64
CACHE = cache_dir()
LENGTH = 32  # tokens of the table's texts
SOURCE = sources["minilm-l6"]
SETUP = Setup(SOURCE.name, "rotten-tomatoes", "elastic")
N_FIRST = 2  # evaluated before the clock starts
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
Errors = list[tuple[str, float, float | None]]


def evaluate(
    shapes: list[Architecture], workers: int, cluster: Cluster | None = None, kill: bool = False
) -> tuple[float, Errors]:
    """Return how many seconds the shapes took, and the errors on record, sorted."""
    nodes = Nodes(cluster.address) if cluster else Nodes()
    with tempfile.TemporaryDirectory() as folder:
        oracle = measured(SOURCE, SETUP, Path(folder), silent, never, workers, nodes)
        with closing(oracle):
            list(oracle.errors(shapes[:N_FIRST]))
            start = perf_counter()
            for n, _ in enumerate(oracle.errors(shapes[N_FIRST:])):
                if kill and cluster and n == len(shapes) // 2:
                    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
            seconds = perf_counter() - start
        path = Path(folder, RECORD)
        n_lines = len(path.read_text().splitlines()) - 1  # a header
        evaluations = EvaluationTable(path).evaluations.values()
    assert n_lines == len(evaluations) == len(shapes), "something was lost, or done twice"
    return seconds, sorted((str(e.architecture), e.error, e.dev_error) for e in evaluations)


def make_table(
    texts: Path, workers: int, cluster: Cluster | None = None
) -> tuple[float, list[Row]]:
    """Return how many seconds a table took from an empty cache, and its rows."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("resources", "calibrations"):
            Path(folder, name).symlink_to(CACHE / name)
        os.environ["BORT_CACHE"] = folder
        start = perf_counter()
        result = table(
            SOURCE,
            tasks=(f"{texts}?kind=number&length={LENGTH}",),
            epsilon=0.5,
            polish=3,
            test=False,
            training=BriefTraining(steps=5, teacher_steps=10),
            workers=workers,
            nodes=Nodes(cluster.address) if cluster else None,
            out=Path(folder, "table"),
            on_progress=silent,
        )
        seconds = perf_counter() - start
    (rows,) = result.tasks
    assert not rows.problem, rows.problem
    return seconds, [replace(row, seconds=0.0, latency_ms=None) for row in rows.rows]


def main() -> None:
    cluster = Cluster(True, head_node_args=NODE)
    cluster.add_node(**NODE)
    kinds = [("1 process", 1, None), ("2 processes", 2, None), ("2 nodes", 2, cluster)]
    with tempfile.TemporaryDirectory() as folder:
        if WORDS == ["table"]:
            texts = Path(folder, "tweets.csv")
            load_task("rated-tweets")["train"].select(range(400)).to_csv(texts)
            settings = LatencySettings(sequence_length=LENGTH)  # calibrated before the clock starts
            calibration_for(SOURCE, searched("default", "elastic", SOURCE), settings)
            work = partial(make_table, texts)
        else:
            space = [shape for shape in SearchSpace.fine(SOURCE) if shape != SOURCE.architecture]
            drawn = np.random.default_rng(0).permutation(len(space))[: N_SHAPES + N_FIRST]
            work = partial(evaluate, [space[number] for number in drawn])
            kinds.append(("2 nodes, 1 killed", 2, cluster))
        first = None
        for name, n, beside in kinds:
            kill = {"kill": True} if "killed" in name else {}
            seconds, made = work(n, beside, **kill)
            first = first or (seconds, made)
            same = "the same records" if made == first[1] else "OTHER RECORDS"
            print(f"{name:18} {seconds:6.1f} s, {first[0] / seconds:.2f} times as fast, {same}")
    cluster.shutdown()


if __name__ == "__main__":
    main()
