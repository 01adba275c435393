"""The lesson on choosing: W by hand, its maximiser on the front, guessers flagged, its page."""

from dataclasses import replace

import pytest

from bort_engine.encoder.latency import LatencySettings
from bort_engine.encoder.space import Architecture
from bort_engine.search.result import Point
from bort_engine.search.scale import Scale
from bort_engine.show.lessons import choosing, choosing_figures
from bort_engine.show.lessons.choosing import Rule
from bort_engine.show.lessons.table import SOURCE, SPACE, Table
from pages.parts.lessons.choosing import ERRORS, SIZES
from tests.show.lessons.conftest import made_up_calibration, press, words

SMALL = Architecture(1, 2, 96, 192)
PUBLISHED = Rule("total", "cross-entropy")


def two(dev_error: float = 0.3) -> Table:
    """T: 100 parameters, 80 in the encoder, 10 ms; the other: 40, 20 and 4 ms; errors by hand."""
    layers = {"12,384,1536": 1.0, "2,96,192": 2.0, "2,96,384": 2.0}
    calibration = made_up_calibration({"384": 4.0, "96": 2.0}, layers)
    T = Point(SOURCE.architecture, 100, 80, 1000, 10.0, error=0.2, dev_error=0.1)
    guesses = dev_error > 0.4
    small = Point(SMALL, 40, 20, 100, 4.0, error=0.5, dev_error=dev_error, at_chance=guesses)
    return Table(0, (T, small), 0.2, Scale(0.1, 0.35), calibration, "by hand")


@pytest.mark.parametrize(
    ("rule", "w", "saved"),
    [
        (Rule("total", "cross-entropy"), 0.6 * 0.6 / 0.5, 0.36),  # 0.72
        (Rule("total", "excess"), 0.36 / 0.3, 0.36),  # 1.2
        (Rule("effective", "cross-entropy"), 0.75 * 0.6 / 0.5, 0.45),  # 0.9
        (Rule("effective", "excess"), 0.45 / 0.3, 0.45),  # 1.5
    ],
)
def test_w_is_what_is_saved_over_the_error_that_counts(rule, w, saved):
    choice = choosing.choose(two(), rule)
    T, small = choice.shapes
    assert (T.w, small.w) == (0, pytest.approx(w)) and choice.best is small
    assert (T.saved, small.saved) == pytest.approx((0, saved))
    said = choosing.verdict(choice)
    assert "30.0 % of dev, 20.0 points behind the source" in said
    assert said.startswith("**As published, W") is (rule == PUBLISHED)


def test_operations_stand_in_where_no_latency_is_recorded():
    choice = choosing.choose(two(), Rule(length=16))
    # D (4 L H^2 + 2 L H I + 2 L^2 H) + H^2, by hand, for 1,2,96,192 at 16 tokens.
    assert choice.shapes[1].i == 589_824 + 589_824 + 49_152 + 9_216
    assert choice.unit == "operations" and "**not recorded**" in choosing.cost_words(choice)
    assert choice.shapes[1].point.latency_ms == 4.0


def test_a_recorded_calibration_of_another_batch_is_taken(monkeypatch):
    def recorded(source, space, settings):
        assert settings == LatencySettings(8, 64, 2)
        return replace(two().calibration, settings=settings, outside_ms={"384": 4.0, "96": 5.0})

    monkeypatch.setattr(choosing, "recorded_calibration", recorded)
    choice = choosing.choose(two(), Rule(batch=8))
    assert (choice.unit, choice.shapes[1].i) == ("ms", 7.0)


def test_a_pick_that_guesses_is_flagged_and_only_w_makes_it():
    choice = choosing.choose(two(dev_error=0.45))
    picks = choosing.picks(choice, 30)
    assert picks["Best W"].at_chance and picks["Best W"] is picks["Best guesser"]
    assert picks["In budget"] is picks["Source"] is choice.source and "Knee" not in picks
    assert "which guesses" in choosing.verdict(choice)
    notes = choosing.to_frame(choice, picks)["Note"].tolist()
    assert notes == ["no better than guessing", "", "", "no better than guessing"]
    assert "no better than guessing" in choosing_figures.summary(choice, picks)


def test_how_near_a_guesser_comes_is_said():
    T, small = two().points
    guesser = replace(two(0.45).points[1], architecture=Architecture(1, 2, 96, 384), error=0.6)
    table = replace(two(), points=(T, small, guesser))
    published = choosing.verdict(choosing.choose(table, PUBLISHED))
    assert published.endswith("1,2,96,384, comes to 83 % of that W.")  # 0.5 / 0.6
    usual = choosing.verdict(choosing.choose(table))
    assert usual.endswith("comes to 75 % of that W.")  # (0.5 - 0.2) / (0.6 - 0.2)


def test_by_another_seed_it_is_said_where_this_ones_pick_stands():
    T, small = two().points
    other = replace(small, architecture=Architecture(1, 2, 96, 384), error=0.4)
    here = choosing.choose(replace(two(), points=(T, small, replace(other, error=0.6))))
    there = choosing.choose(replace(two(), seed=1, points=(T, small, other)))
    said = choosing.other_seed(here, there)
    assert "seed 1 instead of 0, W picks 1,2,96,384, and 1,2,96,192 is number 2 of 3" in said
    assert choosing.other_seed(here, here).endswith("picks the same.")


def test_a_rule_that_does_not_exist_is_one_line():
    with pytest.raises(ValueError, match="size is 'tiny'; allowed: total, effective"):
        Rule(size="tiny")


@pytest.mark.parametrize("length", [16, 64])  # operations and milliseconds
@pytest.mark.parametrize("error", ERRORS.values())
@pytest.mark.parametrize("size", SIZES.values())
def test_the_maximiser_of_w_is_on_the_front_and_no_line_is_flatter(table, size, error, length):
    choice = choosing.choose(table, Rule(size, error, length))
    assert choice.best.pareto and choice.best.w == max(s.w for s in choice.shapes)
    for shape in choice.shapes:
        assert shape.w == pytest.approx(shape.saved / max(shape.e, 1e-3))
    picks = choosing.picks(choice, 10)
    assert not picks["Knee"].at_chance and picks["In budget"].pareto


def test_a_larger_budget_never_costs_more(table):
    choice = choosing.choose(table)
    costs = [choosing.picks(choice, lost)["In budget"].i for lost in (0, 2, 5, 10, 30)]
    assert costs == sorted(costs, reverse=True)
    assert choosing.picks(choice, 0)["In budget"] is choice.source


def test_as_published_a_guesser_wins_a_table_in_which_errors_differ_little(table):
    published, usual = choosing.choose(table, PUBLISHED), choosing.choose(table)
    assert published.best.at_chance and not usual.best.at_chance
    picks, by_ours = choosing.picks(published, 5), choosing.picks(usual, 5)
    moved = f"Best W {usual.best.architecture} → {published.best.architecture}"
    assert moved in choosing.changes(picks, by_ours)
    assert "→" not in choosing.changes(by_ours, by_ours)


def test_the_picture_shows_every_shape_once_and_the_picks(table):
    choice = choosing.choose(table)
    picks = choosing.picks(choice, 5)
    drawn = {t.name: t for t in choosing_figures.figure(choice, picks).data}
    kinds = ("Beaten", "Guesses", "On the front")
    assert sum(len(drawn[name].x) for name in kinds) == len(choosing.numbers(choice)) == len(SPACE)
    symbols = {t.marker.symbol for name, t in drawn.items() if name in picks}
    assert symbols == {symbol for symbol, _ in choosing_figures.MARKS.values()}


def test_the_presets_lead_to_a_guesser_and_back(open_lesson, on_record):
    at = open_lesson("choosing")
    assert not at.warning and "With training seed 1 instead of 0, W picks" in words(at)
    press(at, "W as published")
    assert at.query_params["choose_size"] == "All"
    assert at.dataframe[0].value["Note"].iloc[0] == "no better than guessing"
    assert "Against this project's own rule" in words(at)
    press(at, "W as counted here")
    notes = at.dataframe[0].value.set_index("Rule")["Note"]
    assert notes["Best W"] == "" and notes["Best guesser"] == "no better than guessing"
