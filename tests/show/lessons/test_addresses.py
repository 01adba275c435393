"""Lessons are links: an address restores a lesson's state, and nonsense in one is left out."""

import pytest

from bort_engine.lab.toy import LIMITS
from pages.parts.lessons import pruning
from tests import made_up_record
from tests.show.lessons.conftest import words

pytestmark = pytest.mark.usefixtures("on_record", "run_root")
# By lesson: an address, and what the page says of the state.
ADDRESSES = {
    "cost": (
        {"cost_source": "bort", "cost_D": "9", "cost_H": "512", "cost_I": "768", "cost_A": "4"}
        | {"cost_L": "64"},
        "Moved: 9,4,512,768",
    ),
    "dial": (
        {"dial_eps": "0.1", "dial_lazy": "false", "dial_cost": "Operations", "dial_seed": "1"},
        "The promise of 0.1",
    ),
    "choosing": (
        {"choose_size": "All", "choose_error": "Cross-entropy", "choose_length": "16"}
        | {"choose_batch": "8", "choose_lost": "12.5"},
        "the operations at 16 tokens",
    ),
    "layers": (
        {"layers_eps": "0.3", "layers_view": "Summed losses", "layers_lost": "8.0"}
        | {"layers_hidden": "240"},
        "at most 30 % larger",
    ),
    "pruning": (
        {f"pruning_{name}": str(LIMITS[name][1]) for name in pruning.SLIDERS},
        "zeros among 198 parameters",
    ),
    "torus": (
        {"torus_round": "2", "torus_learner": "guesser", "torus_points": "300", "torus_seed": "7"}
        | {"torus_labeller": "0.8"},
        "Round 2\\: ",
    ),
    "ledger": ({"ledger_length": "512"}, "at 512 tokens Bort needs"),
}


@pytest.mark.parametrize("lesson", ADDRESSES)
def test_an_address_restores_its_state(open_lesson, lesson):
    query, says = ADDRESSES[lesson]
    at = open_lesson(lesson, **query)
    assert {key: str(at.session_state[key]).lower() for key in query} == {
        key: value.lower() for key, value in query.items()
    }
    assert says in words(at)


@pytest.mark.parametrize("nonsense", ["", "-1", "1e9", "1e999", "<b>" + "9" * 3000])
@pytest.mark.parametrize("lesson", ADDRESSES)
def test_nonsense_in_the_address_is_left_out(open_lesson, lesson, nonsense):
    at = open_lesson(lesson, **dict.fromkeys(ADDRESSES[lesson][0], nonsense))
    assert not at.warning and not at.error
    assert len(at.get("plotly_chart")) == {"torus": 2, "layers": 4}.get(lesson, 1)


@pytest.mark.parametrize("lesson", ["dial", "choosing", "layers"])
def test_without_a_whole_table_a_lesson_says_what_is_missing(
    open_lesson, monkeypatch, tmp_path, lesson
):
    part = made_up_record.write(tmp_path / "part.jsonl", missing=1)
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: [part])
    at = open_lesson(lesson)
    assert not at.get("plotly_chart") and len(at.warning) == 1
    assert "no table of all 2,640 architectures" in at.warning[0].value
