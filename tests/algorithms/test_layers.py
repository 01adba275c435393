"""The dynamic program over stages: what it promises, held against every network there is."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bort_engine.algorithms.layers import Stage, extract

OUTSIDE = (10.0, 1.0, 0.5)
COST = st.floats(0, 100, allow_subnormal=False)
STAGE = st.lists(st.tuples(COST, COST, COST), min_size=1, max_size=4)


def stage(*costs: tuple[float, float, float]) -> Stage:
    return Stage(range(len(costs)), np.array(costs))


def test_two_stages_by_hand():
    # Whole, half or nothing, twice: the better of two halves is that of the first stage.
    stages = [
        stage((8, 4, 0.0), (4, 2, 0.1), (0, 0, 1.0)),
        stage((8, 4, 0.0), (4, 2, 0.3), (0, 0, 1.0)),
    ]
    front = extract(stages, 0.01, OUTSIDE)
    assert front.n_networks == 9
    assert [front.options(n) for n in range(len(front.costs))] == [
        (2, 2), (1, 2), (1, 1), (1, 0), (0, 0)
    ]  # fmt: skip
    expected = [[10, 1, 2.5], [14, 3, 1.6], [18, 5, 0.9], [22, 7, 0.6], [26, 9, 0.5]]
    assert front.costs == pytest.approx(np.array(expected))


@given(st.lists(STAGE, min_size=1, max_size=4), st.sampled_from([0.05, 0.2, 1.0]))
def test_every_network_is_matched_within_epsilon_at_no_larger_loss(costs, epsilon):
    front = extract([stage(*rows) for rows in costs], epsilon, OUTSIDE)
    for choice in product(*costs):
        p, i, loss = np.sum([OUTSIDE, *choice], axis=0)
        matches = front.costs <= (
            (1 + epsilon) * p * (1 + 1e-9),
            (1 + epsilon) * i + 1e-9,
            loss + 1e-9,
        )
        assert matches.all(axis=1).any()


@given(st.lists(STAGE, min_size=1, max_size=4), st.sampled_from([0.05, 1.0]))
def test_what_is_returned_is_the_sum_of_what_it_is_made_of(costs, epsilon):
    front = extract([stage(*rows) for rows in costs], epsilon, OUTSIDE)
    for choice, total in zip(front.choices, front.costs, strict=True):
        parts = [rows[k] for rows, k in zip(costs, choice, strict=True)]
        assert np.sum([OUTSIDE, *parts], axis=0) == pytest.approx(total)


def test_states_grow_as_the_square_of_stages_over_epsilon_at_most():
    rng = np.random.default_rng(0)
    stages = [stage(*rng.uniform(0.1, 1, (13, 3))) for _ in range(24)]
    for epsilon in (0.4, 0.2):
        front = extract(stages, epsilon, (1.0, 1.0, 0.0))
        assert front.n_networks == 13**24
        # The largest network costs at most 25 times as much as the least.
        assert max(front.n_states) <= (np.log(25) / np.log1p(epsilon) * 24 + 1) ** 2


@pytest.mark.parametrize(
    ("costs", "what"),
    [
        ([(1, 1, float("nan"))], "option 0 costs"),
        ([(1, 1, 0), (1, -1, 0)], "option 1 costs"),
        ([(1, float("inf"), 0)], "option 0 costs"),
        ([], "0 options"),
    ],
)
def test_a_table_with_missing_or_negative_entries_is_refused(costs, what):
    with pytest.raises(ValueError, match=what):
        Stage(range(len(costs)), np.array(costs).reshape(-1, 3))


def test_what_cannot_be_searched_is_said():
    with pytest.raises(ValueError, match="no stages"):
        extract([], 0.1, OUTSIDE)
    with pytest.raises(ValueError, match="above 0"):
        extract([stage((1, 1, 1))], 0.1, (0.0, 1.0, 0.0))
    with pytest.raises(ValueError, match="epsilon"):
        extract([stage((1, 1, 1))], 0.0, OUTSIDE)
