"""Which units should a student inherit? Three measures, by the error at equal steps.

Run: python benchmarks/importance.py [shapes] [seeds]. Draws shapes narrower than MiniLM-L6 from its
default space and gives each the default brief distillation, with its units chosen by mean absolute
activation (ours), by the magnitude of the weights (Li et al. 2017, "Pruning Filters for Efficient
ConvNets", section 3.1), or at random. Prints each error in nats and how often activation wins.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from bort_engine.encoder.build import Importance
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import SearchSpace
from bort_engine.search.evaluate import Evaluator, Setup

N_SHAPES = int(sys.argv[1]) if len(sys.argv) > 1 else 12
SEEDS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
SOURCE, TASK = sources["minilm-l6"], "rotten-tomatoes"


def shuffled(scores: Importance, rng: np.random.Generator) -> Importance:
    return Importance(*(rng.permuted(getattr(scores, name)) for name in scores.__slots__))


def magnitudes(model: Any) -> Importance:
    """Return the sums of absolute weights that leave each unit of T, a BERT with a head.

    For a unit of the logits: those that enter its query times those that enter its key.
    """
    layers, embeddings = model.bert.encoder.layer, model.bert.embeddings

    def sums(modules: Iterable[Any], axis: int) -> np.ndarray:
        return np.stack([m.weight.detach().abs().sum(axis).numpy() for m in modules])

    tables = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    return Importance(
        hidden=sums((getattr(embeddings, name) for name in tables), 0).sum(0),
        attention=sums((layer.attention.output.dense for layer in layers), 0),
        logits=sums((layer.attention.self.query for layer in layers), 1)
        * sums((layer.attention.self.key for layer in layers), 1),
        neurons=sums((layer.output.dense for layer in layers), 0),
    )


def main() -> None:
    own = SOURCE.architecture
    narrower = [
        a
        for a in SearchSpace.of(SOURCE)
        if a.hidden_size < own.hidden_size or a.intermediate_size < own.intermediate_size
    ]
    rng = np.random.default_rng(0)
    shapes = [narrower[i] for i in rng.permutation(len(narrower))[:N_SHAPES]]
    errors: dict[str, list[float]] = {"activation": [], "magnitude": [], "random": []}
    for seed in range(SEEDS):
        evaluator = Evaluator(SOURCE, Setup(SOURCE.name, TASK, seed=seed))
        activation = evaluator.teacher.importance
        measures = {
            "activation": activation,
            "magnitude": magnitudes(evaluator.teacher.model),
            "random": shuffled(activation, rng),
        }
        for shape in shapes:
            for name, importance in measures.items():
                evaluator.teacher.importance = importance
                errors[name].append(evaluator.evaluate(shape).error)
            told = ", ".join(f"{name} {found[-1]:.4f}" for name, found in errors.items())
            print(f"seed {seed} {shape}: {told} nats", flush=True)
    ours = np.array(errors.pop("activation"))
    print(f"activation: mean {mean(ours):.4f} nats over {len(ours)} trainings")
    for name, found in errors.items():
        gap = np.array(found) - ours
        print(
            f"{name}: mean {mean(found):.4f} nats; activation is lower on {(gap > 0).sum()} of "
            f"{len(gap)}, by {gap.mean():.4f} on average (standard error "
            f"{gap.std(ddof=1) / len(gap) ** 0.5:.4f})"
        )


main()
