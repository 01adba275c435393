"""The lesson on epsilon: covers by hand, promises against a made-up table, its page."""

import numpy as np
import pytest

from bort_engine.encoder.space import Architecture
from bort_engine.search.result import Point
from bort_engine.search.scores import Truth
from bort_engine.show.lessons import dial
from bort_engine.show.lessons.table import Table, tables
from pages.parts.lessons.dial import TITLE
from tests import made_up_record
from tests.show.lessons.conftest import press, words


def three(table: Table) -> Table:
    """T, and two shapes that share a cell of epsilon 1; by hand, their costs and errors."""
    rows = (
        ("6,12,384,1536", 22_713_216, 20.0, 0.2),
        ("1,2,96,192", 3_063_744, 2.0, 0.6),
        ("1,2,96,384", 3_100_800, 2.2, 0.5),
    )
    points = [Point(Architecture.parse(a), p, p, int(1e6 * ms), ms, e) for a, p, ms, e in rows]
    return Table(0, tuple(points), 0.1, 0.5, table.calibration, "by hand")


def test_the_largest_of_a_cell_stands_in_for_the_other(table):
    cover = dial.cover(three(table), 1.0, lazy=False)
    assert sorted(cover.trained) == [0, 2] and len(cover.cells) == 2
    # 2.2 ms for 2.0 ms; it is also 1.2 % larger, and errs less.
    assert cover.achieved == pytest.approx(0.1)
    assert (cover.worst, cover.stand_in) == (1, 2) and cover.kept
    said = dial.verdict(cover)
    assert "promise of 1 is kept: 0.10" in said
    assert "1,2,96,384 stands in for it, 1.01 times as large, 1.10 times as slow" in said
    # (2 + log2 of 22,713,216 / 3,063,744) * (2 + log2 of 20 / 2)
    assert cover.bound == pytest.approx((2 + 2.8902) * (2 + 3.3219), abs=0.01)


def test_where_the_largest_errs_more_the_promise_breaks(table):
    cover = dial.cover(three(table), 1.0, lazy=False, made_up=True)
    assert cover.costs[:, 2] == pytest.approx([0.2, 0.6, 1.5])  # T keeps its own
    assert cover.achieved == pytest.approx(1.5) and not cover.kept  # 1.5 / 0.6
    assert "is broken: 1.50" in dial.verdict(cover)
    order = cover.order
    assert (order.pairs, order.violations, order.worst) == (3, 1, pytest.approx(1.5))


def test_a_cell_is_drawn_between_two_powers(table):
    cover = dial.cover(three(table), 1.0)
    xs, ys = dial.outlines([(21, 1), (24, 4)], cover)
    assert xs[:5] == pytest.approx([2.097152, 4.194304, 4.194304, 2.097152, 2.097152])
    assert ys[:5] == pytest.approx([2, 2, 4, 4, 2])
    assert xs[5] is None and len(xs) == len(ys) == 11


@pytest.mark.parametrize("cost", dial.COSTS)
@pytest.mark.parametrize("epsilon", [1.0, 0.3, 0.05])
def test_one_a_cell_covers_size_and_cost_whatever_the_errors(table, epsilon, cost):
    whole = dial.cover(table, epsilon, False, cost, made_up=True)
    assert len(whole.trained) == len(whole.cells) <= whole.bound
    ratios = whole.costs[list(whole.trained), None, :2] / whole.costs[None, :, :2]
    assert ratios.max(axis=2).min(axis=0).max() <= 1 + epsilon
    assert not whole.kept and whole.order.violations > 0
    lazy = dial.cover(table, epsilon, True, cost)
    assert len(lazy.trained) + len(lazy.skipped) == len(lazy.cells)
    assert not {*lazy.trained} & {*lazy.skipped} and {*lazy.front} <= {*lazy.trained}
    for cover in (whole, lazy):
        assert cover.achieved == pytest.approx(Truth(cover.costs).epsilons(cover.trained)[-1])
        factors = cover.costs[cover.stand_in] / cover.costs[cover.worst]
        assert max(0.0, np.max(factors) - 1) == pytest.approx(cover.achieved)


def test_the_numbers_behind_the_picture_add_up(table):
    cover = dial.cover(table, 0.3)
    frame = dial.to_frame(cover)
    assert len(frame) == 384 and (frame["Role"] == "trained").sum() == len(cover.trained)
    assert dial.compare(cover, cover)["Trainings"].iloc[-1] == 384
    counts = {t.name: len(t.x) for t in dial.figure(cover).data if t.mode == "markers"}
    assert counts["Trained"] + counts["Skipped"] + counts["Not trained"] == 384


def test_mistakes_are_one_line(table, tmp_path):
    with pytest.raises(ValueError, match="cost is 'joules'; allowed: latency, operations"):
        dial.cover(table, 0.5, cost="joules")
    path = made_up_record.write(tmp_path / "part.jsonl", missing=300)
    with pytest.raises(ValueError, match=r"^Nothing to show yet.*lacks 300 of 384[^\n]*\.$"):
        tables([path])


def test_the_page_opens_on_the_good_preset_and_leads_to_the_bad_one(open_lesson, on_record):
    at = open_lesson(TITLE)
    assert not at.warning and "The promise of 0.5 is kept" in words(at)
    press(at, "Large ones err more")
    assert at.query_params["dial_errors"] == "Made up"
    assert "The promise of 0.5 is broken" in words(at) and ":gray-badge[Made up]" in words(at)
    press(at, "Epsilon 0.5, lazily")
    assert "The promise of 0.5 is kept" in words(at)


def test_with_one_seed_on_record_only_that_one_is_offered(open_lesson, monkeypatch, records):
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: records[1:])
    at = open_lesson(TITLE, dial_seed="0")
    press(at, "Epsilon 0.5, lazily")
    assert at.session_state["dial_seed"] == 1
