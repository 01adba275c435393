"""The lesson on epsilon: covers by hand, promises against a made-up table, its page."""

import pytest

from bort_engine.encoder.space import Architecture
from bort_engine.search.result import Point
from bort_engine.search.scale import Scale
from bort_engine.search.scores import Truth
from bort_engine.show.lessons import dial
from bort_engine.show.lessons.table import SPACE, Table, tables
from tests import made_up_record
from tests.show.lessons.conftest import press, words

SCALE = Scale(0.2, 0.4)  # the source errs on 0.2, guessing on 0.6


def three(table: Table, small: float = 0.5) -> Table:
    """T, and two shapes that share a cell of epsilon 1; by hand, their costs and dev errors."""
    rows = (
        ("6,12,384,1536", 22_713_216, 20.0, 0.2),
        ("1,2,96,192", 3_063_744, 2.0, small),
        ("1,2,96,384", 3_100_800, 2.2, 0.4),
    )
    points = [
        Point(Architecture.parse(a), p, p, int(1e6 * ms), ms, 0.3, e, r=SCALE.r(e))
        for a, p, ms, e in rows
    ]
    return Table(0, tuple(points), 0.1, SCALE, table.calibration, "by hand")


def test_what_contains_the_others_of_its_cell_stands_in_for_them(table):
    cover = dial.cover(three(table), 1.0, lazy=False)
    assert sorted(cover.evaluated) == [0, 2] and len(cover.cells) == 2
    # 2.2 ms for 2.0 ms; it is also 1.2 % larger, and errs less.
    assert cover.achieved == pytest.approx(0.1)
    assert (cover.worst, cover.stand_in) == (1, 2) and cover.kept
    said = dial.verdict(cover)
    assert "40.0 points less accurate" in said and "promise of 1 is kept: 0.100" in said
    assert "1,2,96,384 stands in for it, 1 % larger, 10 % slower." in said
    # (2 + log2 of 22,713,216 / 3,063,744) * (2 + log2 of 20 / 2)
    assert cover.bound == pytest.approx((2 + 2.8902) * (2 + 3.3219), abs=0.01)


def test_where_a_shape_errs_more_than_one_that_it_contains_the_promise_breaks(table):
    cover = dial.cover(three(table, small=0.25), 0.35, lazy=False)  # still one cell for the two
    assert cover.costs[:, 2] == pytest.approx([0, 0.125, 0.5])
    assert cover.achieved == pytest.approx(0.375) and not cover.kept  # 0.5 - 0.125
    said = dial.verdict(cover)
    assert "14.0 points less accurate" in said and "is broken: 0.375" in said
    assert "1 % larger, 10 % slower, 15.0 points less accurate." in said
    order = cover.order
    assert (order.pairs, order.violations, order.worst) == (3, 1, pytest.approx(0.375))


def test_a_cell_is_drawn_between_two_powers(table):
    cover = dial.cover(three(table), 1.0)
    xs, ys = dial.outlines([(21, 1), (24, 4)], cover)
    assert xs[:5] == pytest.approx([2.097152, 4.194304, 4.194304, 2.097152, 2.097152])
    assert ys[:5] == pytest.approx([2, 2, 4, 4, 2])
    assert xs[5] is None and len(xs) == len(ys) == 11


@pytest.mark.parametrize("cost", dial.COSTS)
@pytest.mark.parametrize("epsilon", [0.5, 0.2, 0.05])
def test_size_and_cost_are_covered_whatever_the_errors(table, epsilon, cost):
    whole = dial.cover(table, epsilon, False, cost)
    assert len(whole.evaluated) >= len(whole.cells) <= whole.bound and not whole.n_skipped
    ratios = whole.costs[list(whole.evaluated), None, :2] / whole.costs[None, :, :2]
    assert ratios.max(axis=2).min(axis=0).max() <= 1 + epsilon
    lazy = dial.cover(table, epsilon, True, cost)
    assert len(lazy.evaluated) < len(whole.evaluated) and {*lazy.front} <= {*lazy.evaluated}
    assert len(lazy.evaluated) >= len(lazy.cells) - lazy.n_skipped > 0
    for cover in (whole, lazy):
        assert cover.achieved == pytest.approx(Truth(cover.costs).epsilons(cover.evaluated)[-1])
        stand_in, worst = cover.costs[cover.stand_in], cover.costs[cover.worst]
        gap = max(*(stand_in / worst)[:2] - 1, stand_in[2] - worst[2])
        assert max(0.0, gap) == pytest.approx(cover.achieved)


def test_the_numbers_behind_the_picture_add_up(table):
    cover = dial.cover(table, 0.3)
    frame = dial.to_frame(cover)
    assert len(frame) == len(SPACE) and frame["Evaluated"].sum() == len(cover.evaluated)
    assert dial.compare(cover, cover)["Evaluations"].iloc[-1] == len(SPACE)
    counts = {t.name: len(t.x) for t in dial.figure(cover).data if t.mode == "markers"}
    assert counts["Evaluated"] + counts["Not evaluated"] == len(SPACE)


def test_mistakes_are_one_line(table, tmp_path):
    with pytest.raises(ValueError, match="cost is 'joules'; allowed: latency, operations"):
        dial.cover(table, 0.5, cost="joules")
    path = made_up_record.write(tmp_path / "part.jsonl", missing=300)
    with pytest.raises(ValueError, match=r"^Nothing to show yet.*lacks 300 of 2,640[^\n]*\.$"):
        tables([path])


def test_on_what_ships_the_page_opens_on_the_good_preset_and_leads_to_the_bad_one(open_lesson):
    at = open_lesson("dial")
    assert not at.warning and "The promise of 0.2 is kept" in words(at)
    press(at, "Finer than the errors")
    assert "The promise of 0.05 is broken" in words(at)
    press(at, "Epsilon 0.2, lazily")
    assert "The promise of 0.2 is kept" in words(at)


def test_with_one_seed_on_record_only_that_one_is_offered(open_lesson, monkeypatch, records):
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: records[1:])
    at = open_lesson("dial", dial_seed="0")
    press(at, "Epsilon 0.2, lazily")
    assert at.session_state["dial_seed"] == 1
