"""The lesson on epsilon: covers by hand, promises against a made-up table, any state shown."""

import random
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from bort_engine.encoder.space import Architecture
from bort_engine.search.result import Point
from bort_engine.search.scores import Truth
from bort_engine.show.lessons import dial
from bort_engine.show.lessons.table import Table, tables
from pages.parts.lessons import dial as page
from tests import made_up_record

ROOT = Path(__file__).parents[3]
STATES = {
    "dial_eps": dial.EPSILONS,
    "dial_lazy": (True, False),
    "dial_seed": (0, 1),
    "dial_cost": tuple(page.COSTS),
    "dial_errors": tuple(page.ERRORS),
}


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("records")
    return [made_up_record.write(folder / f"{seed}.jsonl", seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def table(records) -> Table:
    return tables(records)[0]


def three(table: Table) -> Table:
    """T, and two shapes that share a cell of epsilon 1; by hand, their costs and errors."""
    rows = (
        ("6,12,384,1536", 22_713_216, 20.0, 0.2),
        ("1,2,96,192", 3_063_744, 2.0, 0.6),
        ("1,2,96,384", 3_100_800, 2.2, 0.5),
    )
    points = [Point(Architecture.parse(a), p, p, int(1e6 * ms), ms, e) for a, p, ms, e in rows]
    return Table(0, tuple(points), 0.1, 0.5, table.calibration, "by hand")


# By hand.


def test_the_largest_of_a_cell_stands_in_for_the_other(table):
    found = dial.turn(three(table), 1.0, lazy=False)
    assert sorted(found.trained) == [0, 2] and len(found.cells) == 2
    # 2.2 ms for 2.0 ms; it is also 1.2 % larger, and errs less.
    assert found.achieved == pytest.approx(0.1)
    assert (found.worst, found.stand_in) == (1, 2) and found.kept
    said = dial.verdict(found)
    assert "The promise of 1 is kept: 0.10 is achieved" in said
    assert (
        "the trained 1,2,96,384 stands in for it, 1.01 times as large, 1.10 times as slow." in said
    )
    # (2 + log2 of 22,713,216 / 3,063,744) * (2 + log2 of 20 / 2)
    assert found.bound == pytest.approx((2 + 2.8902) * (2 + 3.3219), abs=0.01)


def test_where_the_largest_errs_more_the_promise_breaks(table):
    found = dial.turn(three(table), 1.0, lazy=False, made_up=True)
    assert found.costs[:, 2] == pytest.approx([0.2, 0.6, 1.5])  # T keeps its own
    assert found.achieved == pytest.approx(1.5) and not found.kept  # 1.5 / 0.6
    assert "is broken: 1.50 is achieved" in dial.verdict(found)
    order = dial.order(found)
    assert (order.pairs, order.violations, order.worst) == (3, 1, pytest.approx(1.5))


def test_a_cell_is_drawn_between_two_powers(table):
    found = dial.turn(three(table), 1.0)
    xs, ys = dial.outlines([(21, 1), (24, 4)], found)
    assert xs[:5] == pytest.approx([2.097152, 4.194304, 4.194304, 2.097152, 2.097152])
    assert ys[:5] == pytest.approx([2, 2, 4, 4, 2])
    assert xs[5] is None and len(xs) == len(ys) == 11


# Properties.


@pytest.mark.parametrize("cost", dial.COSTS)
@pytest.mark.parametrize("epsilon", dial.EPSILONS)
def test_one_a_cell_covers_size_and_cost_whatever_the_errors(table, epsilon, cost):
    plain = dial.turn(table, epsilon, False, cost, made_up=True)
    assert len(plain.trained) == len(plain.cells) <= plain.bound
    ratios = plain.costs[list(plain.trained), None, :2] / plain.costs[None, :, :2]
    assert ratios.max(axis=2).min(axis=0).max() <= 1 + epsilon
    assert not plain.kept and dial.order(plain).violations > 0
    lazy = dial.turn(table, epsilon, True, cost)
    assert len(lazy.trained) + len(lazy.skipped) == len(lazy.cells)
    assert not {*lazy.trained} & {*lazy.skipped} and {*lazy.front} <= {*lazy.trained}
    for found in (plain, lazy):
        scored = Truth(found.costs).epsilons(found.trained)[-1]
        assert found.achieved == pytest.approx(scored)
        factors = found.costs[found.stand_in] / found.costs[found.worst]
        assert max(0.0, np.max(factors) - 1) == pytest.approx(found.achieved)


def test_the_numbers_behind_the_picture_add_up(table):
    found = dial.turn(table, 0.3)
    frame = dial.to_frame(found)
    assert len(frame) == 384 and (frame["Role"] == "trained").sum() == len(found.trained)
    assert dial.compare(found, found)["Trainings"].iloc[-1] == 384
    drawn = [t for t in dial.figure(found).data if t.mode == "markers"]
    counts = {t.name: len(t.x) for t in drawn}
    assert counts["Trained"] + counts["Skipped"] + counts["Not trained"] == 384


def test_an_unknown_cost_is_one_line(table):
    with pytest.raises(ValueError, match="cost is 'joules'; allowed: latency, operations"):
        dial.turn(table, 0.5, cost="joules")


def test_an_incomplete_record_is_one_line(tmp_path):
    path = made_up_record.write(tmp_path / "part.jsonl", missing=300)
    with pytest.raises(ValueError, match=r"^Nothing to show yet.*lacks 300 of 384[^\n]*\.$"):
        tables([path])


# The page.


def opened(**query: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.run()
    at.switch_page("pages/learn.py")
    for name, value in ({"lesson": page.TITLE} | query).items():
        at.query_params[name] = value
    return at.run()


def words(at: AppTest) -> str:
    return "\n".join(e.value for kind in (at.markdown, at.caption, at.warning) for e in kind)


@pytest.fixture
def shown(monkeypatch, records) -> None:
    """A quick app: made-up records only, and nothing on Explore."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("bort_engine.search.errors.recorded_tasks", list)
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: records)


def test_the_page_opens_on_the_good_preset_and_leads_to_the_bad_one(shown):
    at = opened()
    assert not at.exception and not at.warning
    assert "The promise of 0.5 is kept" in words(at)
    next(b for b in at.button if b.label == "Large ones that err more").click().run()
    assert not at.exception
    assert at.query_params["dial_errors"] == "Made up"
    assert "The promise of 0.5 is broken" in words(at) and ":gray-badge[Made up]" in words(at)
    next(b for b in at.button if b.label == "Epsilon 0.5, lazily").click().run()
    assert "The promise of 0.5 is kept" in words(at)


def test_any_state_of_the_widgets_is_shown(shown):
    at, dice = opened(), random.Random(0)
    for _ in range(20):
        for key, options in STATES.items():
            at.session_state[key] = dice.choice(options)
        at.run()
        assert not at.exception and len(at.get("plotly_chart")) == 1
        assert f"The promise of {at.session_state['dial_eps']:g} is" in words(at)


def test_a_link_restores_its_state(shown):
    at = opened(dial_eps="0.1", dial_lazy="false", dial_cost="Operations", dial_seed="1")
    assert [at.session_state[key] for key in list(STATES)[:4]] == [0.1, False, 1, "Operations"]
    assert "The promise of 0.1" in words(at)


@pytest.mark.parametrize("nonsense", ["", "-1", "1e999", "<b>", "../..", "x" * 3000])
def test_nonsense_in_the_address_is_left_out(shown, nonsense):
    at = opened(**dict.fromkeys(STATES, nonsense))
    assert not at.exception and len(at.get("plotly_chart")) == 1


def test_without_a_whole_table_the_page_says_what_is_missing(shown, monkeypatch, tmp_path):
    part = made_up_record.write(tmp_path / "part.jsonl", missing=1)
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: [part])
    at = opened()
    assert not at.exception and not at.get("plotly_chart")
    assert [w.value for w in at.warning] == [
        "Nothing to show yet\\: this lesson looks errors up in a table of the whole space, and no "
        "table of all 384 architectures of minilm-l6 on rotten-tomatoes ships with this version."
    ]


def test_with_one_seed_on_record_only_that_one_is_offered(shown, monkeypatch, records):
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: records[1:])
    at = opened(dial_seed="0")
    assert not at.exception and at.session_state["dial_seed"] == 1
    next(b for b in at.button if b.label == "Epsilon 0.5, lazily").click().run()
    assert not at.exception and at.session_state["dial_seed"] == 1
