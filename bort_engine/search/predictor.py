"""Error predictors: the log of an error is about linear in the logs of an architecture's sizes.

Predicted errors are for orientation. They are always labelled and drawn as predicted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations_with_replacement

import numpy as np

from bort_engine.algorithms.fptas import Candidate, Guess
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.runs.records import Count, NonNegative

# GLUE test scores (leaderboard average, WNLI included) of plain pretrained BERTs, no distillation.
# Tiny to Medium: github.com/google-research/bert, README, March 2020 (Turc et al. 2019).
# Base: 77.7 + 0.6 as stated in the abstract of MobileBERT (Sun et al. 2020).
# Large: Devlin et al. 2019, abstract.
PUBLISHED_GLUE = {
    "bert-tiny": 64.2,
    "bert-mini": 65.8,
    "bert-small": 71.2,
    "bert-medium": 73.5,
    "bert-base-uncased": 78.3,
    "bert-large-uncased": 80.5,
}


SHAPE = ("D", "A", "H", "I")  # the features of a predictor over measured errors
OPTIMISM = 0.01  # a guess is lowered by it: what may be better than it seems is looked at sooner
RIDGE = 0.3  # pulls slopes that few measurements support towards zero
ENOUGH = 6  # measured ones for a guess: below, nothing is guessed


@dataclass(frozen=True, slots=True)
class ErrorPredictor:
    """log(error) = intercept + sum of slopes times log(feature), by least squares.

    `leave_one_out` is the median relative error when each point is predicted from the others.
    """

    features: tuple[str, ...]
    intercept: float
    slopes: tuple[float, ...]
    leave_one_out: NonNegative
    n_points: Count

    def __post_init__(self) -> None:
        if len(self.slopes) != len(self.features):
            raise ValueError(f"{len(self.features)} features have {len(self.slopes)} slopes.")

    @classmethod
    def fit(
        cls,
        features: Sequence[Sequence[float]],
        errors: Sequence[float],
        names: Sequence[str] = SHAPE,
    ) -> ErrorPredictor:
        """Fit positive `features` (n, k), called by the k names, to positive `errors` (n,).

        Raises:
            ValueError: there are fewer points than unknowns plus one.
        """
        y = np.log(errors)
        design = np.column_stack([np.ones(len(y)), np.log(features)])
        n_points, unknowns = design.shape
        if n_points <= unknowns:
            raise ValueError(
                f"{n_points} points are too few for a predictor with {unknowns} unknowns; "
                "evaluate more architectures."
            )
        # numpy's least squares: importing scikit-learn's takes a second and a half of every front.
        inverse = np.linalg.pinv(design)
        intercept, *slopes = (inverse @ y).tolist()
        # design @ inverse, the hat matrix, maps y to what is fitted; its diagonal, the leverage, is
        # how much a point draws the fit to itself. Left out, it is missed by its residual over
        # one minus that.
        leverage = np.diag(design @ inverse).clip(0, 1 - 1e-9)
        left_out = (y - design @ (inverse @ y)) / (1 - leverage)
        off = float(np.median(np.abs(np.expm1(-left_out))))
        return cls(tuple(names), intercept, tuple(slopes), off, n_points)

    def predict(self, features: Sequence[float]) -> float:
        """Return the predicted error at one point of positive features."""
        pairs = zip(self.slopes, features, strict=True)
        log_error = self.intercept + sum(slope * math.log(x) for slope, x in pairs)
        return math.exp(min(log_error, 40))  # of a record from anywhere, beyond all errors


def shape_features(architecture: Architecture) -> tuple[int, ...]:
    """Return (D, A, H, I), see `SHAPE`."""
    return astuple(architecture)


def published_predictor() -> ErrorPredictor:
    """Fit 1 - GLUE/100 to the encoder parameters of the published models (one feature)."""
    sizes = [[n_parameters(sources[n].architecture, sources[n]).encoder] for n in PUBLISHED_GLUE]
    errors = [1 - score / 100 for score in PUBLISHED_GLUE.values()]
    return ErrorPredictor.fit(sizes, errors, ["encoder parameters"])


def guesser(candidates: Sequence[Candidate]) -> Guess:
    """Return what guesses the errors of all candidates, shape (n,), from those measured.

    The error as a second-degree polynomial of the logs of the order, by ridge regression: good
    enough to say where to look next, and used for nothing else. The places in the order must be
    positive.
    """
    x = np.log([xi.order for xi in candidates])
    x = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    pairs = combinations_with_replacement(x.T, 2)
    x = np.column_stack([x, *(a * b for a, b in pairs)])
    row = {xi: n for n, xi in enumerate(candidates)}

    def guess(errors: Mapping[Candidate, float]) -> np.ndarray:
        if len(errors) < ENOUGH:
            return np.full(len(x), -np.inf)
        measured = x[[row[xi] for xi in errors]]
        y = np.array(list(errors.values()))
        # Not scikit-learn's Ridge, as this is called after every evaluation: 0.09 ms, Ridge 1.05 ms
        # (384 candidates, 60 measured); with it a replayed search of 64 took twice as long.
        shrunk = measured.T @ measured + RIDGE * np.eye(x.shape[1])
        slopes = np.linalg.solve(shrunk, measured.T @ (y - y.mean()))
        return y.mean() + x @ slopes - OPTIMISM

    return guess
