"""Searches that know the costs of all shapes, as the FPTAS does, and lack some of its parts.

Costs are formulas, so whoever searches may know them; Optuna's samplers have no use for that. Each
search begins with T.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bort_engine.algorithms import fptas
from bort_engine.algorithms.fptas import Candidate
from bort_engine.algorithms.lazy import Guess
from bort_engine.algorithms.pareto import gaps
from bort_engine.search.predictor import ENOUGH, guesser

SAMPLERS = ("surface", "gp", "fptas-no-surface", "grid", "stride")
FIXED = ("fptas-no-surface", "stride")  # these draw nothing at random
CELLS = (0.3, 0.2, 0.1, 0.05, 0.02)  # epsilons of the cells that random members are drawn from
REFIT = 8  # measurements between two fits of the Gaussian process's hyperparameters


def sample(
    sampler: str,
    candidates: Sequence[Candidate],
    error: Callable[[Any], float],
    budget: int,
    seed: int,
    T: Candidate,
) -> list[Any]:
    """Ask for the errors of `budget` different keys; return them in that order.

    Args:
        sampler: one of `SAMPLERS`: the fitted surface or a Gaussian process alone, without cells
            and proofs; the FPTAS without its surface; random members of its cells; or the paper's
            stride.
    """
    if sampler == "fptas-no-surface":
        found = fptas.refine(candidates, lambda keys: map(error, keys), budget, own=T.key)
        return [xi.key for xi in found.errors]
    if sampler in ("surface", "gp"):
        guess = guesser(candidates) if sampler == "surface" else gaussian_process(candidates)
        chosen = _worst_covered(candidates, error, budget, seed, T, guess)
    else:
        chosen = stride(candidates, budget, T)
        if sampler == "grid":
            chosen = _by_cell(candidates, seed, T)[:budget]
        for xi in chosen:
            error(xi.key)
    return [xi.key for xi in chosen]


def _worst_covered(
    candidates: Sequence[Candidate],
    error: Callable[[Any], float],
    budget: int,
    seed: int,
    T: Candidate,
    guess: Guess,
) -> list[Candidate]:
    """Ask for what a guess takes for the farthest from covered, one after another.

    The first few, without which there is no guess, are drawn at random.
    """
    costs = np.array([(xi.p, xi.i, 0.0) for xi in candidates])
    number = {xi: n for n, xi in enumerate(candidates)}
    measured = {xi: error(xi.key) for xi in _shuffled(candidates, seed, T)[: min(ENOUGH, budget)]}
    while len(measured) < budget:
        rows = [number[xi] for xi in measured]
        costs[:, 2] = guess(measured)
        known = np.column_stack([costs[rows, :2], list(measured.values())])
        gap = gaps(known, costs).min(axis=0)
        gap[rows] = -np.inf
        xi = candidates[int(gap.argmax())]
        measured[xi] = error(xi.key)
    return list(measured)


def _shuffled(candidates: Sequence[Candidate], seed: int, T: Candidate) -> list[Candidate]:
    order = np.random.default_rng(seed).permutation(len(candidates))
    return list(dict.fromkeys([T, *(candidates[n] for n in order)]))


def gaussian_process(candidates: Sequence[Candidate]) -> Guess:
    """Return what guesses the errors of all candidates by a Gaussian process's mean."""
    # Imported here, as that takes a second and a half.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel
    from sklearn.preprocessing import StandardScaler

    x = StandardScaler().fit_transform(np.log([xi.order for xi in candidates]))
    row = {xi: n for n, xi in enumerate(candidates)}
    bounds = {"length_scale_bounds": (0.1, 1e3)}
    scales: Any = np.ones(x.shape[1])  # one an axis; scikit-learn's annotations know of one only
    kernel = Matern(scales, nu=2.5, **bounds) + WhiteKernel(0.1, (1e-4, 1.0))
    due = 0  # measurements at which the hyperparameters are fitted next

    def guess(errors: Mapping[Candidate, float]) -> np.ndarray:
        nonlocal kernel, due
        optimizer: Any = None
        if len(errors) >= due:
            optimizer, due = "fmin_l_bfgs_b", len(errors) + REFIT
        process = GaussianProcessRegressor(kernel, optimizer=optimizer, normalize_y=True)
        with warnings.catch_warnings():  # an axis without an effect has no upper length scale
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(x[[row[xi] for xi in errors]], list(errors.values()))
        kernel = process.kernel_
        return np.asarray(process.predict(x))

    return guess


def _by_cell(candidates: Sequence[Candidate], seed: int, T: Candidate) -> list[Candidate]:
    """Order all: epsilon by epsilon, a random member of each cell that has none yet; the rest."""
    shuffled = _shuffled(candidates, seed, T)
    chosen = {T: None}
    for epsilon in CELLS:
        # The cells of a shuffled list are in random order, as are their members.
        for group in fptas.cells(shuffled, epsilon).values():
            if chosen.keys().isdisjoint(group):
                chosen[group[0]] = None
    return list(chosen | dict.fromkeys(shuffled))


def stride(candidates: Sequence[Candidate], budget: int, T: Candidate) -> list[Candidate]:
    """Return every k-th by size, from T down to the smallest; k may be a fraction."""
    ordered = fptas.by_size(candidates, T)
    return [ordered[n] for n in np.linspace(0, len(ordered) - 1, budget).round().astype(int)]
