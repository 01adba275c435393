"""Dominance by hand and against pymoo; the front a person reads; records that cannot be trusted."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from bort_engine.algorithms.pareto import achieved_epsilon, hypervolume, nondominated
from bort_engine.encoder.latency import LatencyReport
from bort_engine.encoder.space import Architecture
from bort_engine.runs.records import write_json
from bort_engine.search.result import Front, Point, mark_pareto

# Dominance, hypervolume, epsilon


def test_dominance_is_the_one_drawn():
    #   error
    #   5 | a           a  (1, 5)  the cheapest
    #   4 |    x        x  (2, 4)  beaten by b, at equal cost
    #   3 |    b  y     b  (2, 3)  stays; y (3, 3) is beaten by b, at equal error
    #   2 |       c     c  (3, 2)  stays, and so does its equal
    #   1 |          d  d  (4, 1)  the most accurate
    #     +------------
    #       1  2  3  4  cost
    costs = np.array([(1, 5), (2, 4), (2, 3), (3, 3), (3, 2), (3, 2), (4, 1)])
    assert nondominated(costs).tolist() == [True, False, True, False, True, True, True]


def random_set(seed: int, repeats: bool = True) -> np.ndarray:
    """Draw a small set, on a coarse lattice so that equal coordinates and equal rows are common."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 40)), 3)
    return rng.integers(1, 7, shape) / 2 if repeats else rng.uniform(1, 9, shape)


@pytest.mark.parametrize("repeats", [True, False], ids=["lattice", "continuous"])
def test_dominance_agrees_with_pymoo(repeats):
    for seed in range(200):
        costs = random_set(seed, repeats)
        theirs = NonDominatedSorting().do(costs, only_non_dominated_front=True)
        assert np.flatnonzero(nondominated(costs)).tolist() == sorted(theirs)


@pytest.mark.parametrize("repeats", [True, False], ids=["lattice", "continuous"])
def test_hypervolume_agrees_with_pymoo(repeats):
    reference = np.array([3.2, 3.4, 3.6])  # cuts through the sets: some points lie beyond it
    for seed in range(200):
        costs = random_set(seed, repeats)
        assert hypervolume(costs, reference) == pytest.approx(HV(ref_point=reference)(costs))


def test_hypervolume_by_hand_is_in_the_units_of_the_rows():
    # (1, 3) and (2, 1) below (4, 5): 3 * 2 and 2 * 4, which share 2 * 2
    assert hypervolume(np.array([(1, 3), (2, 1)]), np.array([4, 5])) == 3 * 2 + 2 * 4 - 2 * 2
    assert hypervolume(np.array([(4, 5)]), np.array([4, 5])) == 0


positive_rows = st.lists(st.tuples(*[st.floats(0.01, 100)] * 3), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(positive_rows, positive_rows)
def test_the_achieved_epsilon_is_that_of_brute_force(cover, costs):
    worst = max(min(max(a / b for a, b in zip(s, x, strict=True)) for s in cover) for x in costs)
    found = achieved_epsilon(np.array(cover), np.array(costs))
    assert found == pytest.approx(max(0.0, worst - 1))
    assert achieved_epsilon(np.array(cover + costs), np.array(costs)) == 0


def test_the_achieved_epsilon_by_hand():
    # (2, 6) is reached from (3, 5) at 3 / 2 and from (1, 9) at 9 / 6, so at 0.5; (1, 9) is itself
    assert achieved_epsilon([[3, 5], [1, 9]], [[2, 6], [1, 9]]) == pytest.approx(0.5)
    assert achieved_epsilon([[1, 1]], [[2, 6]]) == 0  # better than asked: never negative


# A front, by hand


def point(text: str, size: int, ms: float, error: float, dev: float | None, **more: Any) -> Point:
    return Point(Architecture.parse(text), size, size // 2, 10 * size, ms, error, dev, **more)


T = point("4,2,64,128", 1000, 8.0, 0.20, 0.10)
BENT = point("3,2,64,64", 250, 2.0, 0.22, 0.11, w=1.5)  # the bend: little lost, much saved
SMALL = point("2,2,64,64", 200, 1.6, 0.50, 0.40, w=1.25, role="known")
BEATEN = point("2,1,64,64", 260, 2.5, 0.60, 0.41, role="spot-check")  # by BENT, in all three
CHANCE = point("1,2,32,64", 100, 0.8, 0.69, 0.50, at_chance=True)


def synthetic_front(*points: Point, **changes: Any) -> Front:
    """Build a front from made-up points, which are marked as the engine marks them."""
    values: dict[str, Any] = {
        "source": "synthetic",
        "task": "none",
        "epsilon": 0.5,
        "selection": "cover",
        "lazy": True,
        "space_size": 12,
        "n_cells": 6,
        "n_evaluated": 4,
        "achieved_epsilon": 0.125,
        "points": mark_pareto(points or (T, BENT, SMALL, BEATEN, CHANCE)),
        "maximum": T.architecture,
        "best": BENT.architecture,
        "error_kind": "cross-entropy",
        "origin": "measured",
        "latency": LatencyReport(1, 128, 2, "a drawing board", 0.01, 0.02, 0.9, 3),
        "guarantee": {"achieved": 0.125},
        "provenance": {"seed": 0},
    }
    return Front(**(values | changes))


def named(points: Any) -> list[str]:
    return [str(p.architecture) for p in points]


def test_what_another_point_beats_in_all_three_is_not_on_the_front():
    assert named(synthetic_front().pareto) == named([T, BENT, SMALL, CHANCE])
    assert mark_pareto([]) == ()


def test_the_front_is_of_the_size_that_is_asked_for():
    thin = replace(BENT, n_parameters=2000, error=0.4)  # the least encoder, the most parameters
    thin = replace(thin, n_encoder_parameters=10, latency_ms=9.0)
    assert [p.pareto for p in mark_pareto([T, thin])] == [True, False]
    assert [p.pareto for p in mark_pareto([T, thin], size="effective")] == [True, True]


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
        ({"max_parameters": 249}, SMALL),
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
    found = synthetic_front().cheapest(**budget)
    assert (found and found.architecture) == (expected and expected.architecture)


def test_a_budget_of_two_points_allows_two_points_whatever_floats_add_up_to():
    assert 0.12 + 0.02 < 0.14
    front = synthetic_front(replace(T, dev_error=0.12), replace(BENT, dev_error=0.14))
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


def test_the_knee_is_the_bend():
    # in logs, each axis from 0 to 1: T 1 + 1 + 0, SMALL 0 + 0 + 1, BENT 0.14 + 0.14 + 0.07
    assert named([synthetic_front().knee]) == named([BENT])
    assert synthetic_front(CHANCE, replace(T, at_chance=True)).knee is None
    assert named([synthetic_front(T).knee]) == named([T])


def test_the_knee_is_sought_in_logs_where_factors_count_and_not_differences():
    thrifty = point("2,2,64,64", 30, 0.24, 0.20, 0.20)  # 0.24 + 0.24 + 0.50 in logs, 0.37 without
    lavish = point("3,2,64,64", 100, 0.80, 0.11, 0.11)  # 0.50 + 0.50 + 0.07 in logs, 0.21 without
    smallest = point("1,2,64,64", 10, 0.08, 0.40, 0.40)  # 0 + 0 + 1
    largest = replace(T, error=0.10)  # 1 + 1 + 0
    front = synthetic_front(largest, lavish, thrifty, smallest, best=lavish.architecture)
    assert named([front.knee]) == named([thrifty])


def test_rivals_are_the_two_nearest_in_size_with_what_beats_them():
    front = synthetic_front()

    def rivals(p: Point) -> list[tuple[str, list[str]]]:
        return [(str(other.architecture), words) for other, words in front.rivals(p)]

    _, bent, small, _, chance = front.points
    assert rivals(bent) == [("2,2,64,64", ["more accurate"]), ("1,2,32,64", ["more accurate"])]
    assert rivals(chance) == [
        ("2,2,64,64", ["smaller", "faster"]),
        ("3,2,64,64", ["smaller", "faster"]),
    ]
    assert rivals(small)[0] == ("3,2,64,64", ["smaller", "faster"])
    assert rivals(replace(bent)) == rivals(bent)  # an equal point is not its own rival


def test_a_front_prints_as_this_table():
    assert str(synthetic_front()).splitlines() == [
        "synthetic on none: 4 non-dominated of 4 evaluated (12 in the space); "
        "epsilon 0.5, achieved 0.125",
        "       D,A,H,I   parameters       ms   error dev error      W",
        "     1,2,32,64          100     0.80   0.690     0.500  0.000  at chance",
        "     2,2,64,64          200     1.60   0.500     0.400  1.250",
        "     3,2,64,64          250     2.00   0.220     0.110  1.500  best",
        "    4,2,64,128        1,000     8.00   0.200     0.100  0.000",
        "errors measured; ms predicted from parts timed here (a drawing board, 2 threads, batch 1, "
        "128 tokens), median error 1.0% on 3 held-out shapes",
    ]
    predicted = replace(T, dev_error=None)
    assert str(synthetic_front(predicted)).splitlines()[2].split() == (
        ["4,2,64,128", "1,000", "8.00", "0.200", "-", "0.000"]
    )


def test_a_front_is_a_table_smallest_first():
    table = synthetic_front().to_frame()
    assert table["n_parameters"].tolist() == [100, 200, 250, 260, 1000]
    assert table["architecture"].tolist()[0] == "1,2,32,64"
    assert table["role"].tolist()[1] == "known"
    assert list(table.columns) == list(Point.__slots__)


# Records


def test_a_front_survives_being_saved_and_loaded(tmp_path):
    path = synthetic_front().save(tmp_path / "new" / "front.json")
    assert Front.load(path) == synthetic_front()
    assert Front.load(str(path)).points[0].architecture == T.architecture
    assert [p.name for p in path.parent.iterdir()] == ["front.json"]


def test_a_record_that_cannot_be_written_leaves_the_old_one_whole(tmp_path):
    path = synthetic_front().save(tmp_path / "front.json")
    with pytest.raises(ValueError, match="not JSON compliant"):
        synthetic_front(provenance={"seed": math.nan}).save(path)
    assert Front.load(path) == synthetic_front()
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_record_and_no_part_of_the_new(tmp_path, monkeypatch):
    path = write_json(tmp_path / "record.json", {"a": 1})

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def good() -> dict[str, Any]:
    return json.loads(json.dumps(synthetic_front().to_json()))


def with_point(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(plain: dict[str, Any]) -> dict[str, Any]:
        plain["points"][1] |= changes
        return plain

    return change


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda plain: {k: v for k, v in plain.items() if k != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: [plain], r"^not a front of schema 1; run `front` again to make one\.$"),
        (lambda plain: None, "^not a front of schema 1"),
        (lambda plain: plain | {"schema": 2}, "^not a front of schema 1"),
        (without("schema"), "^not a front of schema 1"),
        (without("points"), r"^damaged front record \('points'\); run `front` again"),
        (without("epsilon"), "^damaged front record .*'epsilon'"),
        (without("latency"), "^damaged front record .*'latency'"),
        (lambda plain: plain | {"surprise": 1}, "^damaged front record .*'surprise'"),
        (lambda plain: plain | {"points": []}, "^damaged front record .*points are missing"),
        (lambda plain: plain | {"points": {"a": 1}}, "^damaged front record"),
        (lambda plain: plain | {"points": "text"}, "^damaged front record"),
        (lambda plain: plain | {"points": 5}, "^damaged front record"),
        (lambda plain: plain | {"latency": []}, "^damaged front record"),
        (lambda plain: plain | {"best": "9,1,8,8"}, "9,1,8,8 is not a point of this front"),
        (lambda plain: plain | {"maximum": "9,1,8,8"}, "9,1,8,8 is not a point of this front"),
        (lambda plain: plain | {"best": None}, "^damaged front record"),
        (lambda plain: plain | {"best": "4,3,10,1"}, "num_attention_heads 3 does not divide"),
        (lambda plain: plain | {"error_kind": "guess"}, "^damaged front record .*error kind"),
        (lambda plain: plain | {"epsilon": "0.5"}, "^damaged front record .*epsilon"),
        (lambda plain: plain | {"achieved_epsilon": math.nan}, "^damaged .*achieved_epsilon"),
        (lambda plain: plain | {"lazy": "no"}, "^damaged front record .*lazy"),
        (lambda plain: plain | {"guarantee": []}, "^damaged front record .*guarantee"),
        (lambda plain: plain | {"n_cells": 1.5}, "^damaged front record .*n_cells"),
        (with_point(architecture="4,3,10,1"), "num_attention_heads 3 does not divide"),
        (with_point(architecture="4,3"), "not of the form D,A,H,I"),
        (with_point(architecture=[4, 2, 64, 128]), "^damaged front record"),
        (with_point(error=math.nan), "^damaged front record .error is nan"),
        (with_point(latency_ms=math.inf), "^damaged front record .latency_ms is inf"),
        (with_point(latency_ms=-1.0), "^damaged front record .*not positive"),
        (with_point(n_parameters=0), "^damaged front record .*not positive"),
        (with_point(n_parameters="250"), "^damaged front record .*n_parameters"),
        (with_point(n_parameters=10**400), "^damaged front record"),
        (with_point(error=[0.2, 0.3]), "^damaged front record .*error"),
        (with_point(error=None), "^damaged front record"),
        (with_point(dev_error="low"), "^damaged front record .*dev_error"),
        (with_point(dev_error=math.nan), "^damaged front record .*dev_error"),
        (with_point(w=math.inf), "^damaged front record .*w"),
        (with_point(at_chance=1), "^damaged front record .*at_chance"),
        (with_point(role=None), "^damaged front record .*role"),
        (with_point(colour="red"), "^damaged front record .*'colour'"),
    ],
)
def test_a_hostile_record_is_refused_in_one_line(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        Front.from_json(change(good()))
    assert "\n" not in str(caught.value)


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


def places(plain: Any) -> list[tuple[Any, Any]]:
    """List every (container, key) of a JSON value."""
    if isinstance(plain, dict | list):
        keys = list(plain) if isinstance(plain, dict) else range(len(plain))
        return [pair for key in keys for pair in [(plain, key), *places(plain[key])]]
    return []


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_mutated_record_is_either_refused_or_usable(data):
    plain = good()
    for _ in range(data.draw(st.integers(1, 2))):
        container, key = data.draw(st.sampled_from(places(plain)))
        if data.draw(st.integers(0, 4)):
            container[key] = data.draw(JSON)
        else:
            del container[key]
    try:
        front = Front.from_json(plain)
    except ValueError as e:
        assert "\n" not in str(e)
        return
    assert str(front) and len(front.to_frame()) == len(front.points)
    assert front.knee is None or front.knee in front.pareto
    assert front.cheapest() is None or front.rivals(front.source_point) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}', "[" * 100_000])
def test_a_truncated_record_is_refused_by_its_path(tmp_path, text):
    path = tmp_path / "front.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^.*front\.json: ") as caught:
        Front.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_or_binary_record_is_refused_by_its_path(tmp_path):
    with pytest.raises(ValueError, match=r"none\.json: .*No such file"):
        Front.load(tmp_path / "none.json")
    (tmp_path / "front.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"front\.json: "):
        Front.load(tmp_path / "front.json")
