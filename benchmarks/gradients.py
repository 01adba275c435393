"""Are the gradients of the brief trainings bounded? Their norms at every step, on record.

Run: taskset -c 0 python benchmarks/gradients.py [shapes]. Gives shapes from across MiniLM-L6's
default space the oracle's own brief distillation, and notes the norm of the gradient of all
weights at each step, before transformers.Trainer clips it (as it does by default). Prints the
median and the largest norm by shape and writes assets/recorded/gradients-minilm-l6.json.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent.parent))

from accelerate import Accelerator

from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.runs import records
from bort_engine.runs.provenance import Provenance
from bort_engine.search.evaluate import Evaluator, Setup
from bort_engine.show.lessons.abnc import GRADIENTS, Gradient, Gradients

SOURCE, TASK = sources["minilm-l6"], "rotten-tomatoes"
# The space's corners and its middle; the source itself is never trained.
SHAPES = (
    "6,12,384,768",
    "6,2,384,1536",
    "6,12,96,192",
    "4,6,288,768",
    "3,12,192,384",
    "2,4,192,1536",
    "1,12,384,1536",
    "1,2,96,192",
)


@contextmanager
def noted(norms: list[float], limits: set[float]) -> Iterator[None]:
    """Note each gradient's norm, and what it is clipped at, as the trainer asks for both."""
    clip = Accelerator.clip_grad_norm_

    def note(self: Accelerator, parameters: Any, max_norm: Any, norm_type: int = 2) -> Any:
        norm: Any = clip(self, parameters, max_norm, norm_type)
        norms.append(float(f"{float(norm):.4g}"))
        limits.add(float(max_norm))
        return norm

    Accelerator.clip_grad_norm_ = note
    try:
        yield
    finally:
        Accelerator.clip_grad_norm_ = clip


def main() -> None:
    setup = Setup(SOURCE.name, TASK)
    evaluator = Evaluator(SOURCE, setup)
    trainings, limits = [], set()
    for shape in SHAPES[: int(sys.argv[1]) if len(sys.argv) > 1 else None]:
        evaluator.teacher  # noqa: B018  prepared before, so that only the student's steps are noted
        norms: list[float] = []
        with noted(norms, limits):
            evaluation = evaluator.evaluate(Architecture.parse(shape))
        training = Gradient(evaluation.architecture, evaluation.error, tuple(norms))
        trainings.append(training)
        print(
            f"{shape}: median {training.median:.3g}, largest {max(norms):.3g} at step "
            f"{norms.index(max(norms)) + 1} of {len(norms)}; e {evaluation.error:.4f} nats",
            flush=True,
        )
    (limit,) = limits
    gradients = Gradients(setup, limit, tuple(trainings), Provenance.here())
    records.write(GRADIENTS, gradients)


main()
