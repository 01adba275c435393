"""Dominance by hand and against pymoo; the epsilon-indicator and the knee by hand."""

import numpy as np
import pytest
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from bort_engine.algorithms.pareto import (
    achieved_epsilon,
    achieved_epsilons,
    gaps,
    hypervolume,
    knee,
    nondominated,
)


def test_dominance_is_the_one_drawn():
    #   error
    #   5 | a           a  (1, 5)  the cheapest
    #   4 |    x        x  (2, 4)  beaten by b, at equal cost
    #   3 |    b  y     b  (2, 3)  stays; y (3, 3) is beaten by b, at equal error
    #   2 |       c     c  (3, 2)  stays, and so does its equal
    #   1 |          d  d  (4, 1)  the most accurate
    #     +------------
    #       1  2  3  4  cost
    costs = np.array([(1, 5), (2, 4), (2, 3), (3, 3), (3, 2), (3, 2), (4, 1)])
    assert nondominated(costs).tolist() == [True, False, True, False, True, True, True]


@pytest.mark.parametrize("lattice", [True, False], ids=["lattice", "continuous"])
def test_dominance_and_hypervolume_agree_with_pymoo(lattice):
    reference = np.array([3.2, 3.4, 3.6])  # cuts through the sets: some points lie beyond it
    for seed in range(60):
        rng = np.random.default_rng(seed)
        shape = (int(rng.integers(1, 40)), 3)
        # On a coarse lattice equal coordinates and equal rows are common.
        costs = rng.integers(1, 7, shape) / 2 if lattice else rng.uniform(1, 9, shape)
        front = NonDominatedSorting().do(costs, only_non_dominated_front=True)
        assert np.flatnonzero(nondominated(costs)).tolist() == sorted(front)
        # So small a tie takes the other way round, to the same end.
        assert nondominated(costs, tie=1e-12).tolist() == nondominated(costs).tolist()
        assert hypervolume(costs, reference) == pytest.approx(HV(ref_point=reference)(costs))


@pytest.mark.parametrize(
    ("costs", "front"),
    [
        # Slower by less than 10 %, so equally slow: the larger or the more wrong is beaten.
        ([(1, 10.9, 0.1), (2, 10.0, 0.1)], [0]),
        ([(1, 10.9, 0.1), (1, 10.0, 0.2)], [0]),
        # By more than 10 %: the faster stays.
        ([(1, 11.1, 0.1), (2, 10.0, 0.1)], [0, 1]),
        # Equal in all else: within the tie both stay, beyond it the slower goes.
        ([(1, 10.9, 0.1), (1, 10.0, 0.1)], [0, 1]),
        ([(1, 11.1, 0.1), (1, 10.0, 0.1)], [1]),
        # A beats B and B beats C, within the tie; A is slower than C by more than it.
        ([(1, 12.0, 0.1), (2, 11.0, 0.1), (3, 10.0, 0.1)], [0]),
    ],
)
def test_latencies_within_the_tie_are_equal(costs, front):
    assert np.flatnonzero(nondominated(np.array(costs), tie=0.1)).tolist() == front


def test_whatever_the_tie_something_stays():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        costs = rng.uniform(1, 2, (12, 3))
        assert nondominated(costs, tie=rng.uniform(0, 1)).any()


def test_hypervolume_by_hand_is_in_the_units_of_the_rows():
    # (1, 3) and (2, 1) below (4, 5): 3 * 2 and 2 * 4, which share 2 * 2
    assert hypervolume(np.array([(1, 3), (2, 1)]), np.array([4, 5])) == 3 * 2 + 2 * 4 - 2 * 2
    assert hypervolume(np.array([(4, 5)]), np.array([4, 5])) == 0


def test_gaps_are_shares_of_the_costs_and_differences_of_the_error():
    # Against (2, 2, 0.1): (4, 2, 0.2) costs 1 + 1.0 and 1 + 0 times as much and errs 0.1 more.
    costs = np.array([(4, 2, 0.2), (1, 1, 0.0)])
    reference = np.array([(2, 2, 0.1), (4, 2, -0.5), (4, 4, 0.3)])
    expected = [[1.0, 0.7, 0.0], [-0.1, 0.5, -0.3]]
    assert gaps(costs, reference) == pytest.approx(np.array(expected))


def test_the_achieved_epsilon_by_hand_after_each_row():
    truth = np.array([(2, 6, 0.1), (1, 9, 0.4)])
    # (2, 6, 0.1) is reached from (3, 6, 0.1) at 3 / 2 - 1, then from (2, 6, 0.4) at 0.4 - 0.1;
    # (1, 9, 0.4) from the first at 3 / 1 - 1, from the second at 2 / 1 - 1, from itself at 0.
    trace = np.array([(3, 6, 0.1), (2, 6, 0.4), (1, 9, 0.4)])
    assert achieved_epsilons(trace, truth) == pytest.approx([2.0, 1.0, 0.3])
    assert achieved_epsilon(trace, truth) == pytest.approx(0.3)
    assert achieved_epsilon(truth, truth) == 0
    assert achieved_epsilon([[1, 1, 0.0]], truth) == 0  # better than asked: never negative


def test_the_knee_is_in_logs_of_the_costs_and_the_error_as_it_is():
    # Scaled to 0..1 the ends come to 1 + 0 and 0 + 1; what lies between, in logs to 0.6 + 0.15 and
    # 0.2 + 0.5, without them to 0.15 + 0.15 and 0.02 + 0.5.
    ends = [(100, 100, 0.0), (1, 1, 1.0)]
    assert knee(np.array([*ends, (10**1.2, 10**1.2, 0.15), (10**0.4, 10**0.4, 0.5)])) == 3
    # 0.35 + 0.09 and 0.48 + 0; in the log of the error the first is more.
    ends = [(100, 100, 0.01), (1, 1, 1.0)]
    assert knee(np.array([*ends, (5, 5, 0.1), (9, 9, 0.011)])) == 2
    # Two costs count as one: 0.5 + 0.45 is below 1, 0.5 + 0.5 + 0.45 would not be.
    assert knee(np.array([(100, 100, 0.0), (1, 1, 1.0), (10, 10, 0.45)])) == 2
    # 0.5 + 0.55 is above 1: the farthest below is an end, which is no bend.
    assert knee(np.array([(100, 100, 0.0), (1, 1, 1.0), (10, 10, 0.55)])) is None
    assert knee(np.array([(7, 7, 0.5)])) is None
