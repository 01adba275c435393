"""Figures of a race whose every score is worked out by hand; see `fake_engine.synthetic_race`."""

from dataclasses import replace

import numpy as np
import pytest

from bort_engine.search.scores import NAMES, Curves, Race
from bort_engine.show import race_figures
from bort_engine.show.race_figures import EPSILON, HYPERVOLUME
from tests.fake_engine import synthetic_race

# Scaled to 0..1, seen from 1.1: A, B and C dominate 0.01 / 3 + (23 / 30)^2 * 2 / 3 + 0.121.
WHOLE = 0.01 / 3 + (23 / 30) ** 2 * 2 / 3 + 0.121


@pytest.fixture(scope="module")
def race() -> Race:
    return synthetic_race()


def traces(figure, name: str) -> list:
    return [trace for trace in figure.data if trace.name == name]


def test_bands_by_hand(race):
    # Random search: D, C, A leaves 3, 3, 0.4 open; A, B, C leaves 0.6, 0.2, 0.
    band = race_figures.band(race.curves["random"], EPSILON)
    assert band.x.tolist() == [1, 2, 3]
    assert band.median == pytest.approx([1.8, 1.6, 0.2])
    assert band.low == pytest.approx([1.2, 0.9, 0.1])
    assert band.high == pytest.approx([2.4, 2.3, 0.3])
    band = race_figures.band(race.curves["fptas"], HYPERVOLUME)
    assert band.median == pytest.approx([100 * 0.011 / WHOLE, 100 * 0.131 / WHOLE, 100])


def test_a_seed_keeps_its_score_until_its_next_training_is_over(race):
    # Random search had spent 3, 7, 8 s in one seed and 1, 3, 7 s in the other.
    scores = race_figures.scores_at(
        race.curves["random"], EPSILON, "seconds", np.array([3, 6.9, 7, 8])
    )
    assert scores == pytest.approx(np.array([[3, 3, 3, 0.4], [0.2, 0.2, 0, 0]]))
    band = race_figures.band(race.curves["random"], EPSILON, "seconds")
    assert (band.x[0], band.x[-1], len(band.x)) == (3, 7, race_figures.STEPS)
    assert (band.median[0], band.median[-2], band.median[-1]) == pytest.approx((1.6, 1.6, 1.5))


def test_seeds_that_never_run_at_the_same_time_have_no_band():
    scores = np.array([[1.0], [1.0]])
    curves = Curves(scores, scores, np.array([[1.0], [5.0]]))
    assert race_figures.band(curves, EPSILON, "seconds").x.size == 0


def test_every_searcher_has_its_own_colour_and_symbol(race):
    assert race_figures.MARKS.keys() == NAMES.keys()
    for looks in zip(*race_figures.MARKS.values(), strict=True):
        assert len(set(looks)) == len(NAMES)
    figure = race_figures.score_figure(race, HYPERVOLUME, "seconds")
    named = [t for t in figure.data if t.name]
    assert [t.name for t in named] == ["TPE", "Random search", "FPTAS"]
    looks = {(t.marker.color, t.marker.symbol) for t in named}
    assert looks == {race_figures.MARKS[name] for name in race.searchers}


def test_an_own_sampler_borrows_looks_and_is_called_by_its_name(race):
    mine = replace(race, traces=race.traces | {"mine": race.traces["tpe"]})
    looks = race_figures.marks(mine)
    assert [*looks] == ["fptas", "random", "tpe", "mine"] and len(set(looks.values())) == 4
    figure = race_figures.score_figure(mine, HYPERVOLUME)
    assert [t.name for t in figure.data if t.name] == ["mine", "TPE", "Random search", "FPTAS"]


def test_epsilons_are_drawn_on_a_logarithmic_axis_with_the_goals_and_quartiles(race):
    figure = race_figures.score_figure(race, EPSILON)
    assert figure.layout.yaxis.type == "log"
    assert [line.y0 for line in figure.layout.shapes] == [0.1, 0.2]
    (ours,) = traces(figure, "FPTAS")
    assert ours.y == pytest.approx((3, 0.4, 0.001)), "0 is drawn at the bottom"
    assert ours.customdata == pytest.approx((3, 0.4, 0)), "and reads as it is"
    low, high = (t for t in figure.data if t.legendgroup == "random" and not t.name)
    assert low.y == pytest.approx((1.2, 0.9, 0.1)) and high.y == pytest.approx((2.4, 2.3, 0.3))
    assert high.fill == "tonexty" and {low.line.shape, high.line.shape} == {"hv"}


def test_hypervolumes_are_drawn_by_what_is_missing_downwards(race):
    figure = race_figures.score_figure(race, HYPERVOLUME)
    (rival,) = traces(figure, "TPE")
    first = 100 * (23 / 30) ** 3 / WHOLE  # B alone
    assert rival.customdata[0] == pytest.approx(first)
    assert rival.y[0] == pytest.approx(100 - first)
    low, high = figure.layout.yaxis.range
    assert low > high
    words = dict(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext, strict=True))
    assert words[1] == "99" and words[50] == "50"


def test_a_front_holds_what_nothing_else_beats(race):
    a, b, c, d = range(4)
    assert race_figures.true_front(race, 0) == [a, b, c]
    assert race_figures.front_rows(race, "random", 0, 1) == [d]
    assert race_figures.front_rows(race, "random", 0, 3) == [c, a]
    assert race_figures.front_rows(race, "fptas", 5, 2) == [c, a], "our traces come round"


def test_fronts_are_drawn_over_the_truth_which_is_grey_and_open(race):
    figure = race_figures.front_figure(race, "Size / latency", 0, 1)
    (truth,), (ours,) = traces(figure, "The truth's front"), traces(figure, "FPTAS")
    assert (truth.x, truth.y) == ((1, 2, 4), (1, 2, 4))
    assert truth.marker.symbol == "circle-open" and truth.marker.color == race_figures.GREY
    assert (ours.x, ours.y) == ((4,), (4,))
    assert "<b>4,2,96,192</b><br>4.0 M parameters · 4.00 ms · 20.0 % wrong" in ours.text[0]
    errors = race_figures.front_figure(race, "Latency / error", 0, 3)
    assert traces(errors, "FPTAS")[0].y == (20, 80, 40)


def test_the_axes_stay_where_they_are_from_training_to_training(race):
    first, last = (race_figures.front_figure(race, "Size / error", 0, n).layout for n in (1, 3))
    for axis in ("xaxis", "yaxis"):
        assert first[axis].range == last[axis].range
    assert first.uirevision == last.uirevision


def test_attainment_by_hand(race):
    # One seed of random search ends with A and C, the other with A, B and C.
    corners = race_figures.attained(race, "random")
    assert corners[25].tolist() == corners[50].tolist() == [[1, 80], [2, 40], [4, 20]]
    assert corners[75].tolist() == [[1, 80], [4, 20]]
    figure = race_figures.attainment_figure(race, "random")
    (half,) = traces(figure, "FPTAS, half of the seeds")
    assert (half.x[1:-1], half.y[1:-1]) == ((1, 2, 4), (80, 40, 20))
    # A staircase, from the upper edge at the quickest corner to the right edge at the last one.
    assert (half.x[0], half.y[-1]) == (1, 20) and half.y[0] > 80 and half.x[-1] > 4
    assert len(race_figures.attainment_figure(race, "fptas").data) == 3


def test_a_chart_s_message_has_its_numbers(race):
    text = race_figures.score_summary(race, EPSILON)
    assert "FPTAS 0.000 after 3 evaluations; Random search 0.200" in text
    text = race_figures.score_summary(race, HYPERVOLUME, "seconds")
    assert "FPTAS 100.00\N{NO-BREAK SPACE}% after 7 s" in text
    text = race_figures.front_summary(race, 0, 2)
    assert "3 true front points: FPTAS 2, Random search 1, TPE 2" in text
    # Random search ends with 20 % in one seed and 40 in the other: half of them attain 20.
    short = replace(race, budget=2, traces={"fptas": ((0, 1),), "random": ((0, 2), (0, 1))})
    text = race_figures.attainment_summary(short, "random")
    assert text.endswith("FPTAS 40.0 %; Random search 20.0 %")
    assert race_figures.attained(short, "random")[50][:, 1].min() == 20
