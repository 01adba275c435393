"""Budgets and what they lead to, held to facts counted by hand."""

from dataclasses import replace

import pytest

from bort_engine.search.result import mark_pareto
from bort_engine.show import budget as budgets
from bort_engine.show.budget import Budget
from tests.show.test_front import point, small  # noqa: F401  (a fixture)


def test_a_budget_names_the_best_point_that_fits(small):  # noqa: F811
    assert Budget().best(small) == point(small, "4,2,8,8")  # the fastest that loses a point
    assert Budget(lose=None).best(small) == point(small, "2,2,8,8")  # which guesses is left out
    assert Budget("error", lose=None, ms=7.0).best(small) == point(small, "4,2,8,8")
    assert Budget("size", lose=None, size=5.0).best(small) == point(small, "2,2,8,8")
    assert Budget(lose=0.5, ms=7.0).best(small) is None


def test_the_recommendation_says_what_is_gained_and_lost(small):  # noqa: F811
    text = budgets.recommendation(small, Budget())
    assert text.startswith("Take 4,2,8,8") and "1.3 times as fast, 75% of the encoder" in text
    assert "loses 1.0 points of accuracy" in text
    source = budgets.recommendation(small, Budget(lose=0.0))
    assert source.startswith("Nothing smaller fits: take the largest of the space, 6,2,8,8")


def test_where_nothing_fits_the_nearest_is_named_with_what_it_misses_by(small):  # noqa: F811
    budget = Budget(lose=0.5, ms=5.0)
    # 4,2,8,8: 1 point lost, 6 ms. The others miss by 14.5 points, or by 3 ms.
    assert budget.nearest(small) == point(small, "4,2,8,8")
    text = budgets.recommendation(small, budget)
    assert "Nothing here meets all of that" in text and "misses by 0.5 points and 1.0 ms" in text


def test_where_all_guess_nothing_is_recommended(small):  # noqa: F811
    guesses = mark_pareto(replace(p, at_chance=True) for p in small.points)
    text = budgets.recommendation(replace(small, points=guesses), Budget())
    assert text.endswith("none can be recommended.")


@pytest.mark.parametrize("name", budgets.BUDGETS)
def test_named_budgets_lead_to_a_point_of_every_front(name, small, front, predicted_front):  # noqa: F811
    for each in (small, front, predicted_front):
        found = budgets.BUDGETS[name].of(each).best(each)
        assert found is None or not found.at_chance
        assert budgets.recommendation(each, budgets.BUDGETS[name].of(each))
    assert budgets.BUDGETS["Server"].of(small).ms == 4.0  # half of 8 ms
