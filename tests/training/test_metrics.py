"""What outputs are worth, by hand; numbers against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr

from bort_engine.training import metrics

SKEWED = np.array([0, 0, 0, 1])
ALWAYS_THE_FIRST = np.array([[1.0, 0.0]] * 4)


def test_who_always_names_the_majority_is_right_on_three_of_four_and_worth_a_half():
    assert metrics.error(SKEWED, ALWAYS_THE_FIRST) == 0.25 == metrics.chance_error(SKEWED, 2)
    scores = metrics.scores(SKEWED, ALWAYS_THE_FIRST)
    assert scores["accuracy"] == 0.75 and scores["balanced accuracy"] == 0.5
    assert scores["macro F1"] == pytest.approx(3 / 7)  # of the first 6 / 7, of the second none
    assert metrics.recalls(SKEWED, ALWAYS_THE_FIRST) == [1.0, 0.0]
    assert metrics.recalls(np.array([1, 1]), np.eye(3)[[1, 2]]) == [None, 0.5, None]


def test_the_distance_from_t_by_hand():
    teacher, student = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    expected = -(0.5 * math.log(0.25) + 0.5 * math.log(0.75))
    assert metrics.distance(teacher, student) == pytest.approx(expected)
    assert metrics.distance(teacher, teacher) == pytest.approx(math.log(2))
    assert metrics.divergence(teacher, student) == pytest.approx(expected - math.log(2))
    # of numbers: T's variance is 1, and the student is off by 1 and by 3
    numbers = np.array([[-1.0], [1.0]])
    assert metrics.distance(numbers, numbers) == 1
    assert metrics.distance(numbers, numbers + np.array([[1.0], [3.0]])) == 1 + (1 + 9) / 2


def test_soft_labels_are_probabilities_or_the_numbers_themselves():
    assert metrics.soft_labels(np.log([[0.25, 0.75]])).tolist() == [pytest.approx([0.25, 0.75])]
    assert metrics.soft_labels(np.array([[3.0], [4.0]])).tolist() == [3.0, 4.0]


@given(
    numbers=st.lists(st.integers(-9, 9), min_size=3, max_size=9),
    slope=st.sampled_from([-2.0, 0.5, 3.0]),
)
def test_the_error_of_numbers_is_one_minus_their_correlation(numbers, slope):
    labels, others = np.array(numbers, dtype=float), np.array(numbers[::-1], dtype=float)
    outputs = slope * others[:, None] + 1
    error = metrics.error(labels, outputs)
    if len(set(numbers)) == 1:
        assert error == metrics.chance_error(labels, 1) == 1  # what does not vary says nothing
    else:
        assert error == pytest.approx(1 - max(0, pearsonr(labels, outputs[:, 0]).statistic))
        assert metrics.error(labels, labels[:, None]) == pytest.approx(0, abs=1e-12)
        assert metrics.scores(labels, outputs)["Pearson correlation"] <= 1 + 1e-12
