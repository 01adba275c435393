"""Budgets and what they lead to, held to facts counted by hand."""

from dataclasses import replace

import pytest

from bort_engine.search.result import mark_pareto
from bort_engine.search.scale import Scale
from bort_engine.show import budget as budgets
from bort_engine.show.budget import Budget
from bort_engine.show.front_figures import Axes, scatter
from tests.show.test_front import (
    point,
    small,  # noqa: F401  (a fixture)
    trace,
    whole,
)


def test_a_budget_names_the_best_point_that_fits(small):  # noqa: F811
    assert Budget().best(small) == point(small, "4,2,8,8")  # the fastest that loses a point
    assert Budget(lose=None).best(small) == point(small, "2,2,8,8")  # which guesses is left out
    assert Budget("error", lose=None, ms=7.0).best(small) == point(small, "4,2,8,8")
    assert Budget("size", lose=None, size=5.0).best(small) == point(small, "2,2,8,8")
    assert Budget(lose=0.5, ms=7.0).best(small) is None


def test_the_recommendation_says_what_is_gained_and_lost(small):  # noqa: F811
    text = budgets.recommendation(whole(small), Budget())
    assert text.startswith("Take 4,2,8,8") and "1.3 times as fast, 75% of the encoder" in text
    assert text.endswith("loses 1.0 points of accuracy.")
    source = budgets.recommendation(whole(small), Budget(lose=0.0))
    assert source == "Nothing smaller fits: take the source, 6,12,384,1536, as it is."


def test_a_grids_points_are_held_against_the_source_outside_it(small):  # noqa: F811
    grid = replace(small, scale=Scale(0.08, 0.42))  # its largest loses 2 points itself
    text = budgets.recommendation(grid, Budget(lose=3.0))
    # 3 of 10.646784 million in the encoder; the source was not timed.
    assert text == (
        "Take 4,2,8,8: predicted 6.00 ms, 28% of the encoder, loses 3.0 points of accuracy, "
        "against the source, 6,12,384,1536."
    )
    assert Budget(lose=2.5).best(grid) == grid.source_point and not Budget().best(grid)
    assert budgets.recommendation(grid, Budget(lose=2.5)).startswith("Take 6,2,8,8: ")
    assert budgets.recommendation(grid, Budget()).startswith("Nothing here meets all of that.")
    drawn = trace(scatter(grid, Axes()), "On the front")
    assert list(drawn.y) == pytest.approx([2, 3, 17])
    assert "against the source, 6,12" in budgets.limits(grid)[0].what


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
