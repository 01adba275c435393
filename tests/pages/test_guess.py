"""What every lesson asks and checks, through Streamlit's AppTest, on the records that ship."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.app import button, calm, labels, opened, words

LESSONS = ["path", "pruning", "cost", "dial", "choosing", "layers", "torus", "ledger"]
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("run_root")
every_lesson = pytest.mark.parametrize("name", LESSONS)


def lesson(name: str, **query: str) -> AppTest:
    return opened("pages/learn.py", lesson=name, **query)


def test_these_are_all_lessons():
    assert {path.stem for path in (ROOT / "pages/parts/lessons").glob("[a-z]*.py")} == {*LESSONS}


@every_lesson
def test_a_lesson_asks_first_and_the_answer_then_stands_beside_the_guess(name):
    at = lesson(name)
    assert calm(at) and "What do you expect?" in words(at)
    assert "You said" not in words(at) and not at.get("plotly_chart")
    if at.radio:
        assert button(at, "Show the answer").disabled
        at.radio[0].set_value("near").run()
        guess, said = "near", "at most 2 points behind the source"
    else:
        at.slider[0].set_value(at.slider[0].max).run()
        guess = f"{at.slider[0].value:g}"
        said = f"{at.slider[0].value:,g}"
    assert "You said" not in words(at)  # a guess that is set is not yet given
    button(at, "Show the answer").click().run()
    assert calm(at) and at.query_params[f"{name}_guess"] == guess
    assert f"You said **{said}" in words(at) and at.get("plotly_chart")
    button(at, "Guess again").click().run()
    assert "You said" not in words(at) and f"{name}_guess" not in at.query_params


@every_lesson
def test_a_question_can_be_skipped_with_one_click_and_taken_up_again(name):
    at = lesson(name)
    button(at, "Skip the question").click().run()
    assert calm(at) and at.get("plotly_chart") and "What do you expect?" not in words(at)
    assert at.query_params[f"{name}_guess"] == "skip"
    button(at, "Guess first").click().run()
    assert "What do you expect?" in words(at) and not at.get("plotly_chart")


@pytest.mark.parametrize("guess", ["", "nan", "-1", "1e999", "<b>" + "9" * 3000])
@every_lesson
def test_what_is_no_guess_in_the_address_is_none(name, guess):
    at = lesson(name, **{f"{name}_guess": guess})
    assert calm(at) and "What do you expect?" in words(at) and "You said" not in words(at)


# By lesson: what is right, worked out by hand from what the lesson shows; and what is not.
ANSWERS = {
    "path": (3.8, 5),  # 76.0 - 72.2
    "pruning": (60, 40),
    "cost": (3, 4),
    "dial": (8.5, 5.6),
    "choosing": (3.92, 6.4),  # (1 - 0.0871 / 10.6) (1 - 0.534 / 10.4) / 0.24
    "layers": (1.6, 1.67),
    "torus": (667, 666),
    "ledger": (7.6, 22.4),
}


@every_lesson
def test_an_exercise_is_checked_and_who_is_wrong_gets_a_hint(name):
    right, wrong = ANSWERS[name]
    at = lesson(name, **{f"{name}_guess": "skip"})
    field = at.number_input(key=f"{name}_exercise")
    assert field.value is None and not at.success and not at.warning
    field.set_value(wrong).run()
    assert "Not yet." in at.warning[0].value and not at.success
    at.number_input(key=f"{name}_exercise").set_value(right).run()
    assert calm(at) and at.success[0].value.startswith("Right: ")
    assert next(e for e in at.expander if e.label == "Solution").markdown


def test_a_guess_is_kept_for_who_comes_back_from_another_lesson():
    at = lesson("cost")
    button(at, "Show the answer").click().run()
    at.segmented_control(key="lesson").set_value("ledger").run()
    assert calm(at) and "cost_guess" not in at.query_params
    at.segmented_control(key="lesson").set_value("cost").run()
    assert "You said **50 %**" in words(at) and at.query_params["cost_guess"] == "50"


def test_a_guess_is_kept_for_who_comes_back_from_another_page():
    at = lesson("path", path_guess="40")
    button(at, "Guess again").click().run()
    at.slider[0].set_value(30).run()
    button(at, "Show the answer").click().run()
    at.switch_page("pages/compare.py")
    del at.query_params["path_guess"]
    at.run()
    at.switch_page("pages/learn.py").run()
    assert "You said **30 %**" in words(at)


@pytest.mark.parametrize("name", ["The epsilon dial", "*x*", "DIAL"])
def test_a_lesson_that_is_not_there_is_one_line_and_the_first_is_shown(name):
    at = lesson(name)
    assert not at.exception and len(at.warning) == 1
    assert f"There is no lesson '{name}'; there are path, pruning" in words(at)
    assert at.header[0].value == "Five minutes"
    at.segmented_control(key="lesson").set_value("dial").run()
    assert calm(at) and at.header[0].value == "The epsilon dial"
    assert at.query_params["lesson"] == "dial"


def test_without_records_a_lesson_says_so_and_does_not_ask(monkeypatch):
    monkeypatch.setattr("bort_engine.search.errors.tables", list)
    at = lesson("dial")
    assert len(at.warning) == 1 and "Show the answer" not in labels(at)
