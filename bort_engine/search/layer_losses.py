"""What each layer's width loses, learned from random uneven shapes; and the search over the sums.

The summed loss of a shape is an intercept and, for each layer, a smooth function of its heads, its
neurons and the hidden size, in log KL from T. It is fitted by ridge regression to shapes that were
drawn at random and measured, which ranks others a little better than one width changed at a time
from the whole network (Kendall's tau 0.73 and 0.71; benchmarks/layers.py has the rivals).
The search itself is algorithms/layers.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval

from bort_engine.algorithms.layers import Stage, extract
from bort_engine.algorithms.pareto import nondominated
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.layer_latency import LayerLatency
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.uneven import NEURONS, Layer, Uneven, layer_parameters, uneven_parameters

Finite = Annotated[float, Interval(ge=-1e9, le=1e9)]
SOFTENED = 0.01  # nats added to a KL before its logarithm: below that, it is mostly noise
STRENGTHS = np.logspace(-1, 3, 13)  # of the ridge penalty, chosen by leave-one-out


def log_loss(error: float, floor: float) -> float:
    """Return log KL of a cross-entropy against T, of which `floor` is T's own entropy."""
    return math.log(max(error - floor, 0.0) + SOFTENED)


def _of_layers(layers: np.ndarray, whole: Architecture) -> np.ndarray:
    """Return what a layer's loss is linear in, from (..., 2) heads and neurons to (..., 7)."""
    heads, neurons = np.moveaxis(
        layers / (whole.num_attention_heads, whole.intermediate_size), -1, 0
    )
    out = (heads == 0) & (neurons == 0)
    a, b = 1 - heads, 1 - neurons
    within = np.stack([heads == 0, neurons == 0, a, a**3, b, b**3], axis=-1) * ~out[..., None]
    return np.concatenate([out[..., None], within], axis=-1)


def _features(shapes: Sequence[Uneven], whole: Architecture) -> np.ndarray:
    """Return the regression's rows: every layer's terms, alone and times how narrow H is."""
    narrow = np.array([[1 - shape.hidden_size / whole.hidden_size] for shape in shapes])
    terms = _of_layers(np.array([shape.layers for shape in shapes]), whole)
    terms = terms.reshape(len(shapes), -1)
    return np.hstack([terms, terms * narrow, narrow, narrow**2])


@dataclass(frozen=True, slots=True)
class LayerLosses:
    """The fitted sum: `coefficients` as `_features` has its columns, and an intercept."""

    whole: Architecture
    intercept: Finite
    coefficients: tuple[Finite, ...]

    @classmethod
    def fit(cls, losses: dict[Uneven, float], whole: Architecture) -> LayerLosses:
        """Fit to measured log losses. Raises ValueError where there are too few."""
        from sklearn.linear_model import RidgeCV

        if len(losses) < 20:
            raise ValueError(f"{len(losses)} measured shapes are too few; give 20 at least.")
        rows = _features(list(losses), whole)
        mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
        ridge = RidgeCV(STRENGTHS).fit((rows - mean) / spread, np.array([*losses.values()]))
        slopes = ridge.coef_ / spread
        return cls(whole, float(ridge.intercept_ - slopes @ mean), tuple(slopes.tolist()))

    def sums(self, shapes: Sequence[Uneven]) -> np.ndarray:
        """Return the summed losses (n,)."""
        return self.intercept + _features(shapes, self.whole) @ np.array(self.coefficients)

    def of_layers(self, options: np.ndarray, hidden_size: int) -> tuple[float, np.ndarray]:
        """Return the loss outside of all layers, and what (k, 2) options lose in each, (D, k)."""
        narrow = 1 - hidden_size / self.whole.hidden_size
        *_, linear, square = self.coefficients
        alone, narrowed = np.array(self.coefficients[:-2]).reshape(2, -1)
        by_layer = (alone + narrow * narrowed).reshape(self.whole.num_hidden_layers, -1)
        outside = self.intercept + narrow * linear + narrow**2 * square
        return outside, by_layer @ _of_layers(options, self.whole).T


@dataclass(frozen=True, slots=True)
class Found:
    """A shape that the search returns, and its costs: parameters, ms, and the summed log loss."""

    shape: Uneven
    n_parameters: int
    latency_ms: float
    loss: float


def costs_of(
    shapes: Sequence[Uneven], losses: LayerLosses, latency: LayerLatency, source: Source
) -> list[Found]:
    """Return what shapes cost: parameters, predicted ms, and the summed loss."""
    found = []
    for shape, loss in zip(shapes, losses.sums(shapes), strict=True):
        size = uneven_parameters(shape, source).total
        found.append(Found(shape, size, latency.predict_ms(shape), float(loss)))
    return found


def options_of(whole: Architecture) -> list[Layer]:
    """Return what a layer may be: any number of heads, any multiple of 8 neurons."""
    neurons = range(0, whole.intermediate_size + 1, NEURONS)
    return [(h, n) for h in range(whole.num_attention_heads + 1) for n in neurons]


def count(whole: Architecture, latency: LayerLatency) -> int:
    """Return how many shapes are searched."""
    return len(latency.outside_ms) * len(options_of(whole)) ** whole.num_hidden_layers


def search(
    losses: LayerLosses, latency: LayerLatency, source: Source, epsilon: float
) -> tuple[list[Found], list[int]]:
    """Run the dynamic program for each hidden size that was timed.

    Returns:
        The shapes that no other one beats, by size; and the states kept, of every stage and hidden
        size. See `algorithms.layers` for what is promised.
    """
    options = options_of(source.architecture)
    found: list[Found] = []
    n_states: list[int] = []
    for hidden in latency.outside_ms:
        whole = Architecture(1, source.architecture.num_attention_heads, hidden, 1)
        size = n_parameters(whole, source)
        costs = np.array(
            [(layer_parameters(o, hidden, source), latency.of_layer(o, hidden)) for o in options]
        )
        outside, by_layer = losses.of_layers(np.array(options), hidden)
        # Stages have losses of at least 0: the least of each layer belongs to the outside.
        stages = [Stage(options, np.column_stack([costs, row - row.min()])) for row in by_layer]
        outside += by_layer.min(axis=1).sum()
        start = (size.embeddings + size.head, latency.outside_ms[hidden], outside)
        front = extract(stages, epsilon, start)
        n_states += front.n_states
        for row, (p, i, loss) in enumerate(front.costs):
            shape = Uneven(hidden, front.options(row))
            if shape.kept:
                found.append(Found(shape, round(p), float(i), float(loss)))
    kept = nondominated(np.array([(x.n_parameters, x.latency_ms, x.loss) for x in found]))
    best = (x for x, keep in zip(found, kept, strict=True) if keep)
    return sorted(best, key=lambda x: (x.n_parameters, x.latency_ms)), n_states
