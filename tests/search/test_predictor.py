"""The fitted surface: exact on exact data, honest about its error, anchored in published scores."""

import itertools
import math

import pytest

from bort_engine.algorithms.fptas import Candidate
from bort_engine.encoder.space import Architecture
from bort_engine.search.predictor import (
    ENOUGH,
    OPTIMISM,
    PUBLISHED_GLUE,
    ErrorPredictor,
    guesser,
    published_predictor,
    shape_features,
)


def test_a_power_law_is_recovered_exactly():
    points = [(1.0, 2.0), (2.0, 3.0), (4.0, 1.0), (5.0, 7.0), (3.0, 3.0)]
    errors = [0.5 * a**-0.25 * b**0.5 for a, b in points]
    fitted = ErrorPredictor.fit(points, errors)
    assert fitted.slopes == pytest.approx((-0.25, 0.5))
    assert math.exp(fitted.intercept) == pytest.approx(0.5)
    assert fitted.leave_one_out == pytest.approx(0, abs=1e-9)
    assert fitted.predict((16.0, 4.0)) == pytest.approx(0.5 * 0.5 * 2)


def test_leave_one_out_equals_fitting_again_without_each_point():
    points, errors = [(1.0,), (2.0,), (4.0,), (9.0,)], [1.0, 0.8, 0.7, 0.2]
    misses = []
    for k, (point, error) in enumerate(zip(points, errors, strict=True)):
        rest = ErrorPredictor.fit(points[:k] + points[k + 1 :], errors[:k] + errors[k + 1 :])
        misses.append(abs(rest.predict(point) / error - 1))
    misses.sort()
    assert ErrorPredictor.fit(points, errors).leave_one_out == pytest.approx(
        (misses[1] + misses[2]) / 2
    )


def test_too_few_points_are_refused_with_the_count():
    with pytest.raises(ValueError, match=r"2 points are too few for a surface with 2 unknowns"):
        ErrorPredictor.fit([(1.0,), (2.0,)], [1.0, 2.0])


def test_the_published_predictor_falls_with_size_and_stays_near_its_sources():
    surface = published_predictor()
    assert surface.n_points == len(PUBLISHED_GLUE) == 6
    assert surface.slopes[0] < 0
    assert 0 < surface.leave_one_out < 0.15
    assert 100 * (1 - surface.predict([302_309_376])) == pytest.approx(80.5, abs=1.5)


def test_shape_features_are_depth_heads_width_and_neurons():
    assert shape_features(Architecture(4, 8, 1024, 768)) == (4, 8, 1024, 768)


SIZES = [Candidate(n, n, n, order=(n, 5)) for n in range(1, 13)]  # the second place never moves


def test_a_guess_follows_what_is_measured():
    flat = dict.fromkeys(SIZES[::2], 0.4)
    assert guesser(SIZES)(flat) == pytest.approx([0.4 * OPTIMISM] * 12)
    falling = {xi: 0.7 * xi.p**-0.3 for xi in SIZES[::2]}
    guess = guesser(SIZES)(falling)
    assert all(a > b for a, b in itertools.pairwise(guess))
    assert guess[1::2] == pytest.approx(
        [OPTIMISM * 0.7 * xi.p**-0.3 for xi in SIZES[1::2]], rel=0.1
    )


def test_from_too_few_nothing_is_guessed():
    assert guesser(SIZES)(dict.fromkeys(SIZES[: ENOUGH - 1], 0.4)).tolist() == [0.0] * 12
