"""Dominance by hand and against pymoo; the epsilon-indicator by hand and by brute force."""

import moocore
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from bort_engine.algorithms.pareto import (
    achieved_epsilon,
    achieved_epsilons,
    factors,
    hypervolume,
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
        assert hypervolume(costs, reference) == pytest.approx(HV(ref_point=reference)(costs))


def test_hypervolume_by_hand_is_in_the_units_of_the_rows():
    # (1, 3) and (2, 1) below (4, 5): 3 * 2 and 2 * 4, which share 2 * 2
    assert hypervolume(np.array([(1, 3), (2, 1)]), np.array([4, 5])) == 3 * 2 + 2 * 4 - 2 * 2
    assert hypervolume(np.array([(4, 5)]), np.array([4, 5])) == 0


positive_rows = st.lists(st.tuples(*[st.floats(0.01, 100)] * 3), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(positive_rows, positive_rows)
def test_the_indicator_is_that_of_brute_force_and_moocores_after_each_row(cover, costs):
    worst = max(min(max(a / b for a, b in zip(s, x, strict=True)) for s in cover) for x in costs)
    running = achieved_epsilons(np.array(cover), np.array(costs))
    assert running[-1] == achieved_epsilon(np.array(cover), np.array(costs))
    assert running[-1] == pytest.approx(max(0.0, worst - 1))
    theirs = [moocore.epsilon_mult(cover[: n + 1], ref=costs) - 1 for n in range(len(cover))]
    assert running == pytest.approx(np.maximum(theirs, 0), abs=1e-9)
    assert (np.diff(running) <= 0).all()
    assert achieved_epsilon(np.array(cover + costs), np.array(costs)) == 0


def test_factors_say_how_much_worse_each_row_is_than_each_other():
    # (2, 4) against (2, 2): 1 and 2 times; (3, 1) against (1, 4): 3 and a quarter; ...
    expected = [[2, 2, 4 / 6], [1.5, 3, 0.5]]
    measured = factors(np.array([(2, 4), (3, 1)]), np.array([(2, 2), (1, 4), (6, 6)]))
    assert measured == pytest.approx(np.array(expected))


def test_the_achieved_epsilon_by_hand():
    # (2, 6) is reached from (3, 5) at 3 / 2 and from (1, 9) at 9 / 6, so at 0.5; (1, 9) is itself
    assert achieved_epsilon([[3, 5], [1, 9]], [[2, 6], [1, 9]]) == pytest.approx(0.5)
    assert achieved_epsilon([[1, 1]], [[2, 6]]) == 0  # better than asked: never negative
