"""An FPTAS for networks whose layers differ: one choice a stage, costs and loss that add up.

A network of n stages (here: a transformer's layers) is one option of each: so many heads, so many
neurons, or the layer left out. With k options a stage there are k^n networks, far more than can be
looked at one by one. But size and latency add up over the stages; where the loss is taken to add up
as well, networks are built stage by stage and most of what is built can be thrown away:

    1. Start with one state: what lies outside of all stages, (p, i, loss).
    2. Stage by stage, extend every state by every option.
    3. Put the states into cells: p and i each rounded down to a power of
       delta = (1 + epsilon)^(1/n). Of every cell keep the state of least loss.

`extract` returns a set S of networks such that every network xi has an s in S with

    p(s) <= (1 + epsilon) p(xi),   i(s) <= (1 + epsilon) i(xi),   loss(s) <= loss(xi).

Proof, by induction. Let xi_k be the first k choices of xi. After stage k a state s_k was kept with
p and i at most delta^k times those of xi_k and no larger loss. Extend s_k by xi's choice at stage
k + 1: costs are sums of positive terms, so both factors still hold, and the loss is no larger. That
state may be thrown away, but then for another of its cell: its costs are less than delta times as
large, and its loss is no larger. After n stages, delta^n = 1 + epsilon.

The states after a stage are at most the cells, (log_delta of the ratio of the largest to the least
cost)^2: with log delta about epsilon / n, they grow as (n / epsilon)^2, and the work as that times
n k. This is the trimming of exact dynamic programs by Erlebach, Kellerer and Pferschy (2002,
"Approximating Multiobjective Knapsack Problems"), with the error as the exact third objective.

What is guaranteed is guaranteed of summed losses. That a network's loss is that sum is an
assumption, and `search/layers.py` measures how well it holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bort_engine.algorithms.fptas import check_epsilon
from bort_engine.algorithms.pareto import nondominated


@dataclass(frozen=True)  # holds arrays: compared by identity
class Stage:
    """The options of one stage: names, and what each adds; costs (k, 3) of p, i and loss.

    Raises:
        ValueError: a cost is missing, infinite or negative, or there is no option.
    """

    options: Sequence[Any]
    costs: np.ndarray

    def __post_init__(self) -> None:
        costs = np.asarray(self.costs, dtype=float)
        if not len(self.options) or costs.shape != (len(self.options), 3):
            raise ValueError(
                f"{len(self.options)} options with costs of shape {costs.shape}; give (k, 3): "
                "size, latency and loss of each, of one option at least."
            )
        if wrong := [
            n for n, row in enumerate(costs) if not (row >= 0).all() or np.isinf(row).any()
        ]:
            raise ValueError(
                f"option {self.options[wrong[0]]} costs {costs[wrong[0]].tolist()}; size, latency "
                "and loss must be there, and at least 0. Measure it again."
            )
        object.__setattr__(self, "costs", costs)  # the way in when frozen


@dataclass(frozen=True)
class LayerFront:
    """Networks that no other one here beats, by size; `n_states` were kept after each stage.

    Attributes:
        choices: of each network, the number of its option in every stage, shape (m, n).
        costs: their size, latency and summed loss, shape (m, 3).
        n_networks: how many networks there are to choose from, and stand behind the promise.
    """

    stages: tuple[Stage, ...]
    choices: np.ndarray
    costs: np.ndarray
    n_states: tuple[int, ...]
    n_networks: int

    def options(self, row: int) -> tuple[Any, ...]:
        """Return the options that a network is made of."""
        return tuple(
            stage.options[k] for stage, k in zip(self.stages, self.choices[row], strict=True)
        )


def extract(
    stages: Sequence[Stage], epsilon: float, outside: tuple[float, float, float]
) -> LayerFront:
    """Return networks that cover all there are: see the module's head for what is promised.

    Args:
        epsilon: what is tolerated in size and latency, in (0, 1].
        outside: size, latency and loss of what belongs to no stage; the first two above 0.

    Raises:
        ValueError: epsilon is out of range, there is no stage, or `outside` costs nothing.
    """
    check_epsilon(epsilon)
    if not stages:
        raise ValueError("there are no stages; give one at least.")
    if not (np.isfinite(outside).all() and outside[0] > 0 and outside[1] > 0):
        raise ValueError(
            f"outside of the stages costs {outside}; give a size and a latency above 0."
        )
    log_delta = math.log1p(epsilon) / len(stages)
    states = np.array([outside], dtype=float)
    links: list[tuple[np.ndarray, np.ndarray]] = []  # of each state: the one it extends, the option
    for stage in stages:
        useful = np.flatnonzero(nondominated(stage.costs))
        extended = (states[:, None] + stage.costs[useful]).reshape(-1, 3)
        kept = _least_by_cell(extended, log_delta)
        earlier, option = np.divmod(kept, len(useful))
        links.append((earlier, useful[option]))
        states = extended[kept]
    rows = np.flatnonzero(nondominated(states))
    rows = rows[np.lexsort(states[rows].T[::-1])]
    return LayerFront(
        tuple(stages),
        np.array(list(_traced(links, rows))).T[:, ::-1],
        states[rows],
        tuple(len(earlier) for earlier, _ in links),
        math.prod(len(stage.options) for stage in stages),
    )


def _least_by_cell(costs: np.ndarray, log_delta: float) -> np.ndarray:
    """Return the rows of least loss (ties: least latency, then size), one for each cell."""
    cells = np.floor(np.log(costs[:, :2]) / log_delta).astype(np.int64)
    cells -= cells.min(axis=0)
    key = cells[:, 0] * (cells[:, 1].max() + 1) + cells[:, 1]
    best_first = np.lexsort((costs[:, 0], costs[:, 1], costs[:, 2]))
    _, first = np.unique(key[best_first], return_index=True)
    return best_first[first]


def _traced(
    links: Sequence[tuple[np.ndarray, np.ndarray]], rows: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the options that the last states `rows` were made of, from the last stage back."""
    for earlier, option in reversed(links):
        yield option[rows]
        rows = earlier[rows]
