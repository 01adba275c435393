"""Rivals that know no cost before they have asked: Optuna's samplers, and local search.

Whoever searches asks for one architecture after another and is told its size, latency and error.
Asked for again, an architecture is answered from memory and not charged. A sampler that keeps
repeating itself is handed one at random that it has not had: better for it than standing still.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bort_engine.algorithms.pareto import nondominated
from bort_engine.encoder.space import Architecture

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("random", "tpe", "nsga2", "local", "brute")
# Optuna's default of 50 would make NSGA-II a random search at the budgets that are of interest.
POPULATION = 16
MOST_REPEATS = 10
FIELDS = Architecture.__slots__

CostTriple = tuple[float, float, float]  # size, latency and error
Ask = Callable[[Architecture], CostTriple]


class OwnSampler(Protocol):
    """What makes an Optuna sampler from a seed: its class, a partial of it, or a function."""

    def __call__(self, *, seed: int) -> optuna.samplers.BaseSampler: ...


def sample(
    sampler: str | OwnSampler,
    space: Sequence[Architecture],
    ask: Ask,
    budget: int,
    seed: int = 0,
    journal: Path | None = None,
    first: Architecture | None = None,
) -> dict[Architecture, CostTriple]:
    """Ask for `budget` different architectures, chosen by a sampler; all costs are minimised.

    Args:
        sampler: one of `SAMPLERS`, or what makes another of Optuna's.
        ask: gives an architecture's size, latency and error; whatever it raises is passed on.
        journal: where Optuna's study is written as it goes, for its own dashboard; an older file
            there is replaced.
        first: asked for before any other. Whoever holds a trained source knows T and its error, so
            a fair race hands T to everyone, not to the FPTAS alone.

    Returns:
        What was asked for, in that order.

    Raises:
        ValueError: what makes a sampler made something else.
        OSError: the journal cannot be written; the disk is full, say.
    """
    assert 1 <= budget <= len(space), "no search would end"
    if sampler == "local":
        return _local(space, ask, budget, seed, first)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    grid = _grid(space)
    heads: dict[int, set[int]] = {}  # by hidden size, those that occur with it
    for architecture in space:
        heads.setdefault(architecture.hidden_size, set()).add(architecture.num_attention_heads)
    rng = np.random.default_rng(seed)
    costs: dict[Architecture, CostTriple] = {}
    repeats = 0

    def objective(trial: optuna.Trial) -> CostTriple:
        nonlocal repeats
        architecture = _suggested(trial, grid, heads)
        repeats = repeats + 1 if architecture in costs else 0
        if architecture not in costs:
            costs[architecture] = ask(architecture)
        return costs[architecture]

    def after(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        nonlocal repeats
        if len(costs) == budget:
            study.stop()
        elif repeats == MOST_REPEATS:
            repeats = 0
            rest = [a for a in space if a not in costs]
            study.enqueue_trial(_places(rest[rng.integers(len(rest))], grid))

    study = optuna.create_study(
        storage=_storage(journal),
        sampler=_sampler(sampler, seed),
        directions=["minimize", "minimize", "minimize"],
    )
    if first is not None:
        study.enqueue_trial(_places(first, grid))
    try:
        study.optimize(objective, callbacks=[after])
    except AssertionError as e:  # of Optuna, where its journal cannot be written: it hides why
        if isinstance(e.__context__, OSError):
            raise e.__context__ from e
        raise
    return costs


def _sampler(sampler: str | OwnSampler, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    makers: dict[str, OwnSampler] = {
        "random": optuna.samplers.RandomSampler,
        "tpe": optuna.samplers.TPESampler,
        "nsga2": partial(optuna.samplers.NSGAIISampler, population_size=POPULATION),
        "brute": optuna.samplers.BruteForceSampler,
    }
    make = makers[sampler] if isinstance(sampler, str) else sampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made = make(seed=seed)
    if not isinstance(made, optuna.samplers.BaseSampler):
        raise ValueError(
            f"a sampler of your own is {type(made).__name__}; it must be one of Optuna's, an "
            "optuna.samplers.BaseSampler."
        )
    return made


def _storage(journal: Path | None) -> optuna.storages.BaseStorage | None:
    if journal is None:
        return None
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.unlink(missing_ok=True)
    return JournalStorage(JournalFileBackend(str(journal)))


def _grid(space: Sequence[Architecture]) -> dict[str, list[int]]:
    columns = zip(*(astuple(a) for a in space), strict=True)
    return {name: sorted(set(column)) for name, column in zip(FIELDS, columns, strict=True)}


def _suggested(
    trial: optuna.Trial, grid: dict[str, list[int]], heads: dict[int, set[int]]
) -> Architecture:
    """Let a sampler choose a place on each axis, so that it knows what lies between what.

    A head count that does not occur with the hidden size gives way to the next smaller one that
    does, or else to the smallest.
    """
    at = {name: trial.suggest_int(name, 0, len(grid[name]) - 1) for name in FIELDS}
    value = {name: grid[name][place] for name, place in at.items()}
    known, suggestion = heads[value["hidden_size"]], value["num_attention_heads"]
    count = max((a for a in known if a <= suggestion), default=min(known))
    return Architecture(**value | {"num_attention_heads": count})


def _places(architecture: Architecture, grid: dict[str, list[int]]) -> dict[str, int]:
    return {name: grid[name].index(getattr(architecture, name)) for name in FIELDS}


def _local(
    space: Sequence[Architecture], ask: Ask, budget: int, seed: int, first: Architecture | None
) -> dict[Architecture, CostTriple]:
    """Pareto local search (Paquete et al. 2004) from the largest and the smallest architecture.

    The neighbours of a non-dominated point, one grid step along one axis, are asked for in random
    order; then those of another non-dominated one, until none is left; then of any other.
    """
    rng = np.random.default_rng(seed)
    grid, allowed = _grid(space), set(space)
    costs: dict[Architecture, CostTriple] = {}
    visited: set[Architecture] = set()  # those whose neighbours were asked for

    def ask_once(architecture: Architecture) -> None:
        if len(costs) < budget and architecture not in costs:
            costs[architecture] = ask(architecture)

    by_volume = sorted(space, key=lambda a: (np.prod(astuple(a)), astuple(a)))
    for corner in (first or by_volume[-1], by_volume[-1], by_volume[0]):
        ask_once(corner)
    while len(costs) < budget:
        on_front = nondominated(np.array(list(costs.values())))
        centres = [a for a, on in zip(costs, on_front, strict=True) if on and a not in visited]
        centres = centres or [a for a in costs if a not in visited]
        if not centres:  # an island of the grid that no step reaches
            ask_once(next(a for a in space if a not in costs))
            continue
        centre = centres[rng.integers(len(centres))]
        visited.add(centre)
        neighbours = [a for a in _neighbours(centre, grid) if a in allowed]
        for n in rng.permutation(len(neighbours)):
            ask_once(neighbours[n])
    return costs


def _neighbours(architecture: Architecture, grid: dict[str, list[int]]) -> list[Architecture]:
    """Return what is one step along one axis away, as far as its heads divide its width."""
    neighbours = []
    at = _places(architecture, grid)
    for name in FIELDS:
        for step in (-1, 1):
            place = at[name] + step
            if 0 <= place < len(grid[name]):
                value = asdict(architecture) | {name: grid[name][place]}
                if value["hidden_size"] % value["num_attention_heads"] == 0:
                    neighbours.append(Architecture(**value))
    return neighbours
