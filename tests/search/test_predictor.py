"""The error predictor: exact on exact data, honest about its error, near published scores."""

import itertools
import math

import pytest

from bort_engine.algorithms.fptas import Candidate
from bort_engine.search.predictor import (
    ENOUGH,
    OPTIMISM,
    PUBLISHED_GLUE,
    ErrorPredictor,
    guesser,
    published_predictor,
)


def test_a_power_law_is_recovered_exactly():
    points = [(1.0, 2.0), (2.0, 3.0), (4.0, 1.0), (5.0, 7.0), (3.0, 3.0)]
    errors = [0.5 * a**-0.25 * b**0.5 for a, b in points]
    predictor = ErrorPredictor.fit(points, errors, names="ab")
    assert (predictor.features, predictor.n_points) == (("a", "b"), 5)
    assert predictor.slopes == pytest.approx((-0.25, 0.5))
    assert math.exp(predictor.intercept) == pytest.approx(0.5)
    assert predictor.leave_one_out == pytest.approx(0, abs=1e-9)
    assert predictor.predict((16.0, 4.0)) == pytest.approx(0.5 * 0.5 * 2)


def test_leave_one_out_equals_fitting_again_without_each_point():
    points, errors = [(1.0,), (2.0,), (4.0,), (9.0,)], [1.0, 0.8, 0.7, 0.2]
    misses = []
    for k, (point, error) in enumerate(zip(points, errors, strict=True)):
        rest = ErrorPredictor.fit(points[:k] + points[k + 1 :], errors[:k] + errors[k + 1 :], "a")
        misses.append(abs(rest.predict(point) / error - 1))
    misses.sort()
    expected = (misses[1] + misses[2]) / 2
    assert ErrorPredictor.fit(points, errors, "a").leave_one_out == pytest.approx(expected)


def test_too_few_points_are_refused_with_the_count():
    with pytest.raises(ValueError, match=r"^2 points are too few .* 2 unknowns"):
        ErrorPredictor.fit([(1.0,), (2.0,)], [1.0, 2.0], "a")


def test_the_published_scores_make_errors_fall_with_size_and_stay_near_their_sources():
    predictor = published_predictor()
    assert predictor.n_points == len(PUBLISHED_GLUE) == 6
    assert predictor.slopes[0] < 0
    assert 0 < predictor.leave_one_out < 0.15
    assert 100 * (1 - predictor.predict([302_309_376])) == pytest.approx(80.5, abs=1.5)


SIZES = [Candidate(n, n, n, order=(n, 5)) for n in range(1, 13)]  # the second place never moves


def test_a_guess_follows_what_is_measured():
    flat = dict.fromkeys(SIZES[::2], 0.4)
    assert guesser(SIZES)(flat) == pytest.approx([0.4 - OPTIMISM] * 12)
    guess = guesser(SIZES)({xi: 0.7 * xi.p**-0.3 for xi in SIZES[::2]})
    assert all(a > b for a, b in itertools.pairwise(guess))
    truth = [0.7 * xi.p**-0.3 - OPTIMISM for xi in SIZES[1::2]]
    assert guess[1::2] == pytest.approx(truth, rel=0.1)


def test_from_too_few_nothing_is_guessed():
    assert guesser(SIZES)(dict.fromkeys(SIZES[: ENOUGH - 1], 0.4)).tolist() == [-math.inf] * 12
