"""The front a person reads, by hand; and records that cannot be trusted."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bort_engine.encoder.space import Architecture
from bort_engine.runs import records
from bort_engine.search.result import Front, Point, mark_pareto
from bort_engine.search.scale import Scale
from tests import conftest
from tests.runs.test_records import places

SCALE = Scale(0.10, 0.4)  # the source errs on 10 %, guessing on 50 %


def point(text: str, size: int, ms: float, error: float, dev: float, **more: Any) -> Point:
    costs = (Architecture.parse(text), size, size // 2, 10 * size, ms)
    return Point(*costs, error, dev, SCALE.r(dev), **more)


def erring(point: Point, dev: float) -> Point:
    return replace(point, dev_error=dev, r=SCALE.r(dev))


T = point("4,2,64,128", 1000, 8.0, 0.20, 0.10)
BENT = point("3,2,64,64", 250, 2.0, 0.22, 0.11, w=1.5)  # the bend: little lost, much saved
SMALL = point("2,2,64,64", 200, 1.6, 0.50, 0.40, w=1.25, role="known")
BEATEN = point("2,1,64,64", 260, 2.5, 0.60, 0.41, role="spot-check")  # by BENT, in all three
CHANCE = point("1,2,32,64", 100, 0.8, 0.69, 0.50, at_chance=True)
# The least encoder, the most parameters, and slower and worse than T.
THIN = replace(BENT, n_parameters=2000, n_encoder_parameters=10, latency_ms=9.0)
SEARCHED = conftest.synthetic_front()  # only its points are replaced


def synthetic_front(*points: Point, **changes: Any) -> Front:
    """Build a front from made-up points, which are marked as the engine marks them."""
    points = mark_pareto(points or (T, BENT, SMALL, BEATEN, CHANCE))
    shapes = [p.architecture for p in points]
    maximum = T.architecture if T.architecture in shapes else shapes[0]
    return replace(SEARCHED, **{"points": points, "maximum": maximum, "scale": SCALE} | changes)


def named(points: Any) -> list[str]:
    return [str(p.architecture) for p in points]


def test_what_another_point_beats_in_all_three_is_not_on_the_front():
    assert named(synthetic_front().pareto) == named([T, BENT, SMALL, CHANCE])


def test_the_front_is_of_the_size_that_is_asked_for():
    assert [p.pareto for p in mark_pareto([T, THIN])] == [True, False]
    assert [p.pareto for p in mark_pareto([T, THIN], size="effective")] == [True, True]


def test_latencies_that_cannot_be_told_apart_count_as_equal():
    faster = replace(BENT, n_parameters=300, latency_ms=1.9)
    assert [p.pareto for p in mark_pareto([BENT, faster])] == [True, True]
    assert [p.pareto for p in mark_pareto([BENT, faster], tie=0.1)] == [True, False]


def test_a_point_is_found_by_its_architecture():
    front = synthetic_front()
    assert front[BEATEN.architecture] == BEATEN
    assert front.source_point == front[T.architecture] != T  # it is marked
    with pytest.raises(ValueError, match="9,1,8,8 is not a point of this front; see its table"):
        front[Architecture(9, 1, 8, 8)]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({}, T),
        ({"max_latency_ms": 2.0}, BENT),  # a budget may be used up
        ({"max_latency_ms": 1.99}, SMALL),
        ({"max_parameters": 250}, BENT),
        ({"max_parameters": 150}, None),  # only the point at chance is that small
        ({"max_error_gain": 0.01, "prefer": "latency"}, BENT),  # 0.10 + 0.01, as people add
        ({"max_error_gain": 0.009, "prefer": "latency"}, T),
        ({"prefer": "latency"}, SMALL),
        ({"prefer": "size"}, SMALL),
        ({"prefer": "size", "max_error_gain": 0.0}, T),
        ({"max_latency_ms": 2.0, "max_parameters": 200, "max_error_gain": 0.1}, None),
    ],
    ids=str,
)
def test_the_best_under_budgets_is_named_and_never_one_at_chance(budget, expected):
    cheapest = synthetic_front().cheapest(**budget)
    assert (cheapest and cheapest.architecture) == (expected and expected.architecture)


def test_a_budget_of_two_points_allows_two_points_whatever_floats_add_up_to():
    assert 0.12 + 0.02 < 0.14
    front = synthetic_front(erring(T, 0.12), erring(BENT, 0.14))
    assert named([front.cheapest("size", max_error_gain=0.02)]) == named([BENT])


def test_of_equally_accurate_points_the_faster_is_named():
    larger = point("3,1,64,64", 300, 1.5, 0.21, 0.11)
    assert named([synthetic_front(T, BENT, larger).cheapest(max_latency_ms=3)]) == named([larger])


def test_a_preference_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"prefer is 'taste'; allowed: error, latency, size\."):
        synthetic_front().cheapest(prefer="taste")


def test_the_error_shown_is_devs_where_it_was_measured_else_the_predicted_one():
    assert T.shown_error == 0.10
    assert replace(T, dev_error=None).shown_error == 0.20
    assert replace(T, dev_error=0.0).shown_error == 0.0


def test_the_knee_is_the_bend_of_those_that_do_not_guess():
    # each axis from 0 to 1: T 1 + 1 + 0, SMALL 0 + 0 + 1, BENT 0.14 + 0.14 + 0.03
    assert named([synthetic_front().knee]) == named([BENT])
    assert synthetic_front(CHANCE, replace(T, at_chance=True)).knee is None
    assert synthetic_front(T).knee is None and synthetic_front(SMALL).knee is None  # ends alone


def test_the_best_has_the_largest_w_of_the_front_guessing_only_where_all_do():
    assert synthetic_front().best == synthetic_front()[BENT.architecture]
    beaten = replace(BEATEN, w=9.0)
    guessing = replace(BENT, at_chance=True)
    assert named([synthetic_front(T, guessing, SMALL, beaten).best]) == named([SMALL])
    assert named([synthetic_front(replace(T, at_chance=True), guessing).best]) == named([BENT])


def test_the_fastest_that_loses_at_most_a_point_is_recommended_else_the_source():
    assert named([synthetic_front().recommended]) == named([BENT])  # 0.10 + 0.01
    faster = erring(replace(SMALL, latency_ms=0.5), 0.105)
    assert named([synthetic_front(T, BENT, faster).recommended]) == named([faster])
    assert named([synthetic_front(T, erring(BENT, 0.111), SMALL).recommended]) == named([T])
    guessing = replace(BENT, at_chance=True)
    assert named([synthetic_front(T, guessing, SMALL).recommended]) == named([T])
    assert named([synthetic_front(replace(T, at_chance=True)).recommended]) == named([T])


def test_a_guess_is_passed_by_while_any_point_is_better_and_the_front_says_where_none_is():
    # The source guesses, too; a slice of it is better, but slower than all the guesses.
    guess = replace(erring(T, 0.49), at_chance=True)
    able = replace(erring(BENT, 0.40), w=0.1, latency_ms=9.0)
    mixed = synthetic_front(guess, able, replace(CHANCE, w=9.0))
    choices = (mixed.recommended, mixed.best, mixed.cheapest("latency"))
    assert named(choices) == named([able] * 3) and mixed.knee is None
    assert str(mixed).endswith("always naming the most frequent class is right on 50.0% of dev")
    hopeless = synthetic_front(guess, CHANCE)
    assert named([hopeless.recommended]) == named([T])
    assert hopeless.knee is None and hopeless.cheapest() is None and not hopeless.above_chance
    assert str(hopeless).endswith(
        "of dev; no point here is better than guessing, so none is recommended"
    )


def test_epsilon_in_points_is_a_share_of_what_there_is_to_lose():
    assert synthetic_front(epsilon=0.25).promised_points == pytest.approx(10)  # of 40 points


def test_rivals_are_the_two_nearest_in_size_with_what_beats_them():
    front = synthetic_front()

    def rivals(p: Point) -> list[tuple[str, list[str]]]:
        return [(str(other.architecture), words) for other, words in front.rivals(p)]

    _, bent, small, _, chance = front.points
    assert rivals(bent) == [("2,2,64,64", ["more accurate"]), ("1,2,32,64", ["more accurate"])]
    words = ["smaller", "faster"]
    assert rivals(chance) == [("2,2,64,64", words), ("3,2,64,64", words)]
    assert rivals(small)[0] == ("3,2,64,64", words)
    assert rivals(replace(bent)) == rivals(bent)  # an equal point is not its own rival


def test_rivals_are_compared_by_the_size_that_was_searched():
    front = synthetic_front(T, THIN, size="effective")
    front = replace(front, points=mark_pareto(front.points, "effective"))
    assert front.rivals(front[THIN.architecture]) == [(front[T.architecture], ["smaller"])]


def test_a_front_prints_its_points_smallest_first():
    lines = str(synthetic_front()).splitlines()
    shapes = [line.split()[0] for line in lines[2:6]]
    assert shapes == ["1,2,32,64", "2,2,64,64", "3,2,64,64", "4,2,64,128"]
    assert lines[4].split()[:6] == ["3,2,64,64", "250", "2.00", "11.0%", "0.025", "1.500"]
    marked = ["at chance" in lines[2], "recommended" in lines[4], "knee" in lines[4]]
    assert all(marked) and not any("knee" in line for line in lines[5:6])


def test_a_front_is_a_table_smallest_first():
    table = synthetic_front().to_frame()
    assert table["n_parameters"].tolist() == [100, 200, 250, 260, 1000]
    assert table["architecture"].tolist()[0] == "1,2,32,64"
    assert table["role"].tolist()[1] == "known"
    assert {"latency_ms", "dev_error", "r", "w"} <= set(table.columns)


def test_a_front_survives_being_saved_and_loaded(tmp_path):
    path = synthetic_front().save(tmp_path / "new" / "front.json")
    assert Front.load(path) == synthetic_front()
    assert [p.name for p in path.parent.iterdir()] == ["front.json"]


def good() -> dict[str, Any]:
    return records.dump(synthetic_front())


def with_point(**changes: Any) -> dict[str, Any]:
    return {"points": [good()["points"][0] | changes]}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema": 2}, "another version.*run `front` again"),
        ({"latency": {}}, r"latency\."),
        ({"surprise": 1}, "surprise"),
        ({"points": []}, "4,2,64,128 is not a point of this front"),
        ({"maximum": "9,1,8,8"}, "9,1,8,8 is not a point of this front"),
        ({"maximum": "4,3,10,1"}, "num_attention_heads 3 does not divide"),
        ({"scale": {"source_error": 0.1, "span": 0}}, r"scale\.span"),
        ({"oracle": "guess"}, "oracle"),
        ({"epsilon": "0.5"}, "epsilon"),
        (with_point(architecture="4,3"), "not of the form D,A,H,I"),
        (with_point(error=math.nan), "error"),
        (with_point(r=math.nan), r"points\.0\.r"),
        (with_point(latency_ms=math.inf), "latency_ms"),
        (with_point(n_parameters=10**400), "n_parameters"),
        (with_point(dev_error=1.5), "dev_error"),
        (with_point(colour="red"), "colour"),
    ],
)
def test_a_hostile_record_is_refused_in_one_line_that_names_the_field(change, text):
    with pytest.raises(ValueError, match=text) as refusal:
        records.parse(json.dumps(good() | change), Front)
    assert "\n" not in str(refusal.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["4,3,10,1", "4,2,64,128", 10**400, "\n"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_mutated_record_is_either_refused_or_usable(data):
    plain = good()
    container, key = data.draw(st.sampled_from(places(plain)))
    if data.draw(st.integers(0, 4)):
        container[key] = data.draw(JSON)
    else:
        del container[key]
    try:
        front = records.parse(json.dumps(plain), Front)
    except ValueError as e:
        assert "\n" not in str(e)
        return
    assert str(front) and len(front.to_frame()) == len(front.points)
    assert front.knee is None or front.knee in front.pareto
    assert front.best in front.points and front.recommended in front.points
    assert front.cheapest() is None or front.rivals(front.source_point) is not None


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b"9" * 5000, b"\xff\x00"])
def test_a_damaged_or_missing_file_is_refused_by_its_path(tmp_path, content):
    path = tmp_path / "front.json"
    with pytest.raises(ValueError, match=r"front\.json: No such file"):
        Front.load(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"front\.json: "):
        Front.load(path)
