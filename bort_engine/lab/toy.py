"""A small AB^nC family, not BERT: what pruning weights keeps, what choosing a shape saves.

After the toy of the Bort article: two linear layers of 4x3 and 4x4, repeated twice, 72 parameters;
its optimal subarchitecture has 40. Letters as there, a shape being (n, a, b, c, d):

    n   blocks              b   inputs that a block reads
    d   its outputs         a   hidden units, and c the same: what the second layer reads of them

A block is Linear(b -> a), ReLU, Linear(a -> d). The article's figure counts but does not compose,
for d is not b; ours runs, so wires are free of parameters: a block reads the first b outputs of the
block before it, and those that are missing are 0. A hands over the inputs; C, a linear read-out, is
fitted to T's answers and counts nothing, as embeddings and classifier count nothing in "B^n".
The candidates go through `algorithms.fptas` as BERT's do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from bort_engine.algorithms import fptas
from bort_engine.algorithms.fptas import Candidate
from bort_engine.algorithms.guarantee import Guarantee, guarantee
from bort_engine.runs.checks import check_whole

EPSILON = 0.05  # costs are small whole numbers: with a larger one, 40 and 42 are the same
SAMPLES = 200  # inputs to fit a read-out on, and as many fresh ones to measure the error on
FADED = 1e-7  # of a weight's usual size: what training with weight decay leaves of an unused one
FALL = 0.8  # each unit moves by so much of the one before it: the most active come first
STILL = 1e-5  # a unit that moves what reads it by less is idle
LIMITS = {
    "units": (1, 4),
    "dead_units": (0, 2),
    "outputs": (1, 4),
    "dead_outputs": (0, 2),
    "blocks": (1, 3),
    "inputs": (1, 3),
    "draw": (0, 9),
}


class ToyShape(NamedTuple):
    """A candidate; componentwise not above another means contained in it."""

    blocks: int
    hidden: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"({self.blocks},{self.hidden},{self.inputs},{self.hidden},{self.outputs})"

    @property
    def n_parameters(self) -> int:
        """Weights and biases of all blocks: n(ab + a + cd + d)."""
        a, b, d = self.hidden, self.inputs, self.outputs
        return self.blocks * (a * b + a + a * d + d)

    @property
    def n_operations(self) -> int:
        """Multiplications for one input, dense: n(ab + cd)."""
        return self.blocks * self.hidden * (self.inputs + self.outputs)


@dataclass(frozen=True, slots=True)
class Toy:
    """What T is made of: units that work and dead ones, of each block.

    Raises:
        ValueError: a number is out of range.
    """

    units: int = 3
    dead_units: int = 1
    outputs: int = 2
    dead_outputs: int = 2
    blocks: int = 2
    inputs: int = 3
    draw: int = 6  # one of the draws in which the promise is kept; not all are

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            check_whole(name, getattr(self, name), low, high)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Blocks of one shape, stacked: weights (n, a, b), (n, d, a) and biases (n, a), (n, d)."""

    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.first, self.first_bias, self.second, self.second_bias

    @property
    def shape(self) -> ToyShape:
        n, a, b = self.first.shape
        return ToyShape(n, a, b, self.second.shape[1])

    @property
    def n_stored(self) -> int:
        return sum(array.size for array in self.arrays)

    @property
    def n_zero(self) -> int:
        return self.n_stored - sum(map(np.count_nonzero, self.arrays))

    def inherit(self, shape: ToyShape) -> Network:
        """Return the smaller network of the first blocks and of their most active units."""
        n, a, b, d = shape
        first, first_bias = self.first[:n, :a, :b], self.first_bias[:n, :a]
        return Network(first, first_bias, self.second[:n, :d, :a], self.second_bias[:n, :d])

    def values(self, x: np.ndarray) -> list[np.ndarray]:
        """Return the inputs, then each block's hidden units and outputs, each (m, its width)."""
        rows = [x[:, : self.shape.inputs]]
        for first, first_bias, second, second_bias in zip(*self.arrays, strict=True):
            # Of b wires to read, the block before gives d: a missing one is 0 and adds nothing.
            wires = min(first.shape[1], rows[-1].shape[1])
            hidden = np.maximum(rows[-1][:, :wires] @ first[:, :wires].T + first_bias, 0)
            rows += [hidden, hidden @ second.T + second_bias]
        return rows


def largest(toy: Toy) -> Network:
    """Draw T: working units move over the inputs, each less than the one before; dead ones fade.

    Weights into a dead unit, out of it, and from a wire that is always 0 have faded to almost 0.
    """
    rng = np.random.default_rng(toy.draw)
    # Sample inputs go through each layer as it is drawn, so that its units can be scaled by them.
    wires = rng.standard_normal((SAMPLES, toy.inputs))
    layers: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(toy.blocks):
        first, sums = _layer(rng, wires, toy.inputs, toy.units, toy.dead_units)
        width = toy.units + toy.dead_units
        second, outputs = _layer(rng, np.maximum(sums, 0), width, toy.outputs, toy.dead_outputs)
        wires = outputs[:, : toy.inputs]
        layers += [first, second]
    # Layers alternate: the even ones are the blocks' first, the odd ones their second.
    weights, biases = zip(*layers, strict=True)
    return Network(*(np.stack(each[at::2]) for at in (0, 1) for each in (weights, biases)))


def _layer(
    rng: np.random.Generator, values: np.ndarray, width: int, working: int, dead: int
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return weights (working + dead, width) and biases, and what the working units sum up.

    `values` are those of the inputs that are not always 0; there are `width` inputs.
    """
    alive = values.shape[1]
    weights = rng.standard_normal((working + dead, width))
    bias = rng.uniform(-0.5, 0.5, working + dead)
    sums = values @ weights[:working, :alive].T
    # Unit k is scaled to a standard deviation of FALL ** k over the inputs, and centred, so that
    # its ReLU is neither always on nor always off.
    moves = FALL ** np.arange(working)
    scale = np.append(moves / sums.std(axis=0), np.full(dead, FADED))
    weights *= scale[:, None]
    weights[:, alive:] *= FADED
    sums *= scale[:working]
    bias[working:] *= FADED
    bias[:working] = bias[:working] * moves - sums.mean(axis=0)
    return (weights, bias), sums + bias[:working]


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """Inputs (2m, b) and T's answers (2m, d): half to fit a read-out on, half to be asked."""

    x: np.ndarray
    answers: np.ndarray

    @classmethod
    def of(cls, T: Network, draw: int) -> Exam:
        x = np.random.default_rng([draw, 1]).standard_normal((2 * SAMPLES, T.shape.inputs))
        return cls(x, T.values(x)[-1])

    def error(self, network: Network) -> float:
        """Return the squared difference to T's answers on fresh inputs, relative to their variance.

        0 is T itself; 1 is no better than always giving T's average answer.
        """
        outputs = network.values(self.x)[-1]
        features = np.hstack([outputs, np.ones((len(outputs), 1))])
        # rcond: what has faded must not be blown up again.
        C = np.linalg.lstsq(features[:SAMPLES], self.answers[:SAMPLES], rcond=STILL)[0]
        fresh = self.answers[SAMPLES:]
        squares = ((features[SAMPLES:] @ C - fresh) ** 2).sum()
        return float(squares / fresh.var(axis=0).sum() / SAMPLES)


def candidates(T: ToyShape) -> list[Candidate]:
    """Return all that is contained in T."""
    grid = (ToyShape(*sizes) for sizes in product(*(range(1, most + 1) for most in T)))
    return [Candidate(s, s.n_parameters, s.n_operations, order=s) for s in grid]


def prune(T: Network, exam: Exam, tolerance: float) -> Network:
    """Set T's smallest parameters to zero, one by one, while the error is within the tolerance."""
    pruned = T
    for threshold in np.sort(np.concatenate([np.abs(array).ravel() for array in T.arrays])):
        fewer = Network(*(np.where(np.abs(array) > threshold, array, 0.0) for array in T.arrays))
        if exam.error(fewer) > tolerance:
            break
        pruned = fewer
    return pruned


def idle(network: Network, x: np.ndarray) -> list[np.ndarray]:
    """Return which units do nothing, by row as in `values`: they move nothing that reads them."""
    rows, (n, _, b, d) = network.values(x), network.shape
    layers = (layer for block in zip(network.first, network.second, strict=True) for layer in block)
    # How strongly each unit is read: the largest weight on it in the next layer, 1 by C at the end.
    reads = [np.abs(layer).max(axis=0) for layer in layers] + [np.ones(d)]
    for row in range(2, 2 * n, 2):  # a block reads b of the d outputs before it
        reads[row] = np.append(reads[row], np.zeros(max(0, d - b)))[:d]
    return [values.std(axis=0) * read < STILL for values, read in zip(rows, reads, strict=True)]


def extract(T: Network, exam: Exam) -> fptas.Extraction:
    """Run the FPTAS over all that T contains, then measure what it did not train, as a check."""
    family = candidates(T.shape)
    return fptas.extract(
        family,
        lambda shapes: (exam.error(T.inherit(shape)) for shape in shapes),
        epsilon=EPSILON,
        spot_checks=len(family),
    )


def every_draw(toy: Toy) -> list[Guarantee]:
    """Return what becomes of the promise in each draw of T's weights."""
    low, high = LIMITS["draw"]
    draws = [(largest(replace(toy, draw=draw)), draw) for draw in range(low, high + 1)]
    return [guarantee(extract(T, Exam.of(T, draw)), EPSILON) for T, draw in draws]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """T, T pruned and the FPTAS's choice, with their errors, and what the FPTAS did.

    `best` is the candidate with the best W of all; `tolerance` what pruning was allowed to err.
    """

    networks: tuple[Network, Network, Network]
    errors: tuple[float, float, float]
    exam: Exam
    tolerance: float
    extraction: fptas.Extraction
    promise: Guarantee
    chosen: Candidate
    best: Candidate


def compare(toy: Toy) -> Comparison:
    """Run the FPTAS, then prune T to an error no larger than that of its choice."""
    T = largest(toy)
    exam = Exam.of(T, toy.draw)
    extraction = extract(T, exam)
    chosen = fptas.w_optimum(extraction.cover, extraction.maximum)
    tolerance = max(extraction.cover[chosen], fptas.ERROR_FLOOR)
    pruned, small = prune(T, exam, tolerance), T.inherit(chosen.key)
    return Comparison(
        networks=(T, pruned, small),
        errors=(exam.error(T), exam.error(pruned), exam.error(small)),
        exam=exam,
        tolerance=tolerance,
        extraction=extraction,
        promise=guarantee(extraction, EPSILON),
        chosen=chosen,
        best=fptas.w_optimum(extraction.measured, extraction.maximum),
    )
