"""What the lessons ask: every answer by hand, and every exercise can be done from its own text."""

import re
from dataclasses import replace

import pytest

from bort_engine.lab import ledger as ledgers
from bort_engine.lab import toy
from bort_engine.lab.torus_run import RECORDED, Torus, TorusSettings
from bort_engine.search.scale import Scale
from bort_engine.show.lessons import choosing, dial, exercises, questions, tour
from bort_engine.show.lessons.questions import Choice, Number
from tests.conftest import synthetic_front

PUBLISHED = choosing.Rule("total", "cross-entropy")
NUMBER = r"\d[\d,]*\.?\d*"


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(NUMBER, text)]


def test_the_tour_asks_for_the_smallest_encoder_that_loses_at_most_five_points():
    front = synthetic_front(0.2)
    asked, source = questions.path(front), front.source_point
    able = [
        p.n_encoder_parameters
        for p in front.points
        if p.shown_error <= source.shown_error + 0.05 and not p.at_chance
    ]
    assert asked.answer.answer == pytest.approx(100 * min(able) / source.n_encoder_parameters)


def test_zeros_save_no_multiplication_and_another_shape_saves_26_of_56():
    # The article's T: two blocks of 4x3 and 4x4 weights, 2 x (12 + 16) = 56 multiplications; the
    # choice has 3x3 and 3x2, 2 x (9 + 6) = 30.
    asked = questions.pruning(toy.compare(toy.Toy()))
    assert asked.answer.answer == 0
    assert "46 %" in asked.because  # 26 / 56
    assert exercises.pruning().answer.answer == 60  # 3 x (3 x 3 + 3 + 3 x 2 + 2)


def test_most_of_bort_are_embeddings_and_three_wide_layers_weigh_less_than_bert_larges():
    # 50,265 word pieces, 512 positions, a scale and a shift, each 1,024 wide.
    table = (50_265 + 512 + 2) * 1024
    # A layer: 4 H^2 of attention, 2 H I of the rest, their biases (4 H, I + H), two norms (4 H).
    layer = 4 * 1024**2 + 2 * 1024 * 768 + 4 * 1024 + 768 + 1024 + 4 * 1024
    share = 100 * table / (table + 4 * layer)
    assert questions.cost().answer.answer == pytest.approx(share, abs=1e-9)
    # BERT-large: 30,522 + 512 + 2 + 2 rows of 1,024 are 31.78 M; a layer with I = 3072 has 10.5 M.
    assert exercises.cost().answer.answer == 3


def test_the_dials_answer_is_what_was_evaluated_and_its_exercise_a_part_of_the_scale(table):
    cover = dial.cover(table, 0.2)
    asked = questions.dial(cover)
    assert asked.answer.answer == len(set(cover.evaluated)) < asked.answer.high == 2640
    # From 10 to 50 % wrong are 40 points, and 0.3 of them 12.
    task = exercises.dial(Scale(0.1, 0.4, "class"))
    assert task.answer.answer == pytest.approx(12) and task.answer.right(12.2)
    assert not task.answer.right(12.3)


def test_what_w_picks_is_sorted_by_its_distance_from_the_source(table):
    published, usual = choosing.choose(table, PUBLISHED), choosing.choose(table)
    asked = questions.choosing(published, usual)
    lost = 100 * (published.best.wrong - published.source.wrong)
    by_hand = "near" if lost <= 2 else "middle" if lost <= 6 else "far"
    assert asked.answer.answer == ("guess" if published.best.at_chance else by_hand)


def test_w_can_be_worked_out_from_the_numbers_that_the_exercise_gives(table):
    task = exercises.choosing(choosing.choose(table))
    text = re.sub(r"\d+,\d+,\d+,\d+", "", task.text)
    p_all, i_all, p, i, e = numbers(text)
    assert task.answer.right((1 - p / p_all) * (1 - i / i_all) / e)
    assert not task.answer.right(1.03 * task.answer.answer)


def test_the_torus_ends_at_93_of_100_and_a_labeller_must_be_right_on_667_of_1000():
    run = Torus.load(RECORDED["network"])
    assert questions.torus(run).answer.answer == pytest.approx(93.05)
    assert exercises.torus(TorusSettings(0.75, 2000, "network", 0)).answer.answer == 667


def test_borts_speed_is_the_median_that_was_timed_else_the_operations():
    shipped = ledgers.Ledger.load(ledgers.RECORDED)
    timed = shipped.ratio("bert-large-uncased", ledgers.BORT.name, 128).median
    assert questions.ledger(shipped).answer.answer == timed
    assert "computed" in questions.ledger(None).origin
    # 75,106,304 less 51,997,696 of 335,141,888 less 31,782,912 is 0.07618.
    assert exercises.ledger().answer.answer == pytest.approx(7.618, abs=1e-3)


def test_the_tours_exercise_is_the_difference_of_what_a_stop_shows():
    report = tour.report()
    shown = dict(tour.agora_stop(report).numbers)
    agora, plain = numbers(shown["Right on test, by Agora"] + shown["Plain fine-tuning"])
    assert exercises.path(report).answer.right(agora - plain)


def test_names_on_record_are_no_markup(table):
    damaged = replace(table, errors_from="<b>*x*")
    choice = choosing.choose(damaged)
    for asked in (questions.dial(dial.cover(damaged, 0.2)), questions.choosing(choice, choice)):
        assert r"errors: \<b\>\*x\*" in asked.origin[1].replace(r"\:", ":")


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1e999", "-1", "101", "<b>"])
def test_what_is_no_value_of_an_answer_is_no_guess(text):
    assert Number("Share", 5, 0, 100, 1).parse(text) is None
    assert Choice("Pick", "a", {"a": "This", "b": "That"}).parse(text) is None


def test_values_are_named_with_their_unit_and_without_empty_decimals():
    share = Number("Share", 8.35, 0, 100, 1, "%", 1)
    assert [share.name(value) for value in (40.0, 8.349, 0.0)] == ["40 %", "8.3 %", "0 %"]
    assert Number("Shapes", 61, 0, 2640, 20).name(1320.0) == "1,320"
