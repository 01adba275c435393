"""The FPTAS against brute force: what it promises must hold on any space, whatever is drawn."""

import math
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from bort_engine.algorithms.fptas import (
    ERROR_FLOOR,
    Candidate,
    Extraction,
    cell_bound,
    cells,
    extract,
    maximal,
    maximum_point,
    refine,
    w_coefficient,
    w_optimum,
)
from bort_engine.algorithms.pareto import achieved_epsilon, nondominated

Truth = dict[Candidate, float]
SLACK = 1e-9  # of floating point


def spaces(n: int, noise: float = 0.0) -> Any:
    """Yield so many random spaces, each with a generator of its own.

    Costs are drawn; the errors never rise from a candidate to one that contains it, but for noise.
    Some candidates tie in size, and some slower ones are contained in faster ones.
    """
    for seed in range(n):
        rng = np.random.default_rng(seed)
        axes = [np.sort(rng.choice(12, rng.integers(1, 5), replace=False)) + 1 for _ in range(4)]
        places = np.array(list(product(*axes)))
        growth, slowing = rng.uniform(0.2, 3, 4), rng.uniform(0, 3, 4)
        growth[0] *= rng.integers(2)  # heads are free
        p = 100 + (places**growth).prod(axis=1) * rng.uniform(0.01, 1)
        i = 1 + (places**slowing).prod(axis=1) * rng.uniform(0.01, 1, len(places)) ** rng.integers(
            2
        )
        drawn = rng.uniform(0, 1, len(places)) ** rng.uniform(0.3, 4)
        # The least of what is drawn for all that it contains.
        errors = [drawn[(places <= place).all(axis=1)].min() for place in places]
        errors -= rng.uniform(0, noise, len(places))
        space = (
            Candidate(tuple(place), float(a), float(b), tuple(place), (float(b),))
            for place, a, b in zip(places.tolist(), p, i, strict=True)
        )
        yield dict(zip(space, map(float, errors), strict=True)), rng


class Oracle:
    """Answers from the truth, remembers the batches, and objects to repetition."""

    def __init__(self, truth: Truth) -> None:
        self._errors = {xi.key: e for xi, e in truth.items()}
        self.batches = []

    @property
    def keys(self):
        return [key for batch in self.batches for key in batch]

    def __call__(self, keys):
        assert len(set(keys)) == len(keys) and not set(keys) & set(self.keys), "asked twice"
        self.batches.append(keys)
        return [self._errors[key] for key in keys]


def run(truth: Truth, epsilon: float, lazy: bool = False, **options) -> Extraction:
    options = {"tolerance": 0.0} | options
    return extract(list(truth), Oracle(truth), epsilon=epsilon, lazy=lazy, **options)


def rows(errors: Truth) -> np.ndarray:
    return np.array([(xi.p, xi.i, e) for xi, e in errors.items()])


def achieved(cover: Truth, truth: Truth) -> float:
    return achieved_epsilon(rows(cover), rows(truth))


@pytest.mark.parametrize("lazy", [True, False])
def test_the_promise_never_fails_where_errors_fall_along_the_order(lazy):
    trained = total = 0
    for truth, rng in spaces(1000):
        epsilon = rng.choice([0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
        guesses = rng.uniform(-1, 2, len(truth))  # whatever is guessed
        guess = rng.choice([None, lambda measured, guesses=guesses: guesses])
        more = {"guess": guess, "at_once": int(rng.integers(1, 5))}
        found = run(truth, epsilon, lazy, own=list(truth)[-1].key, **more)
        assert achieved(found.cover, truth) <= epsilon + SLACK
        assert found.measured == {xi: truth[xi] for xi in found.measured}
        trained, total = trained + len(found.evaluated), total + len(truth)
    assert trained < total * (0.7 if lazy else 0.95)


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("tolerance", [0.03, 0.3])
def test_nor_does_it_where_they_rise_by_no_more_than_the_tolerance(lazy, tolerance):
    for truth, rng in spaces(300, noise=tolerance):
        # What is measured eagerly is trusted up to the tolerance.
        epsilon = rng.choice([e for e in (0.02, 0.1, 0.3, 0.5) if lazy or e >= tolerance])
        found = run(truth, epsilon, lazy, tolerance=tolerance)
        assert achieved(found.cover, truth) <= epsilon + SLACK


def test_with_any_errors_all_is_covered_in_p_and_i_and_cells_are_settled_one_way():
    for truth, rng in spaces(200):
        truth = {xi: rng.uniform() for xi in truth}
        epsilon, lazy, progress = rng.choice([0.1, 0.5]), bool(rng.integers(2)), []
        selection = rng.choice(["cover", "cover", "stride", "exhaustive"])
        found = run(
            truth,
            epsilon,
            lazy,
            selection=selection,
            known={xi.key: truth[xi] for xi in rng.permutation(list(truth))[:3]},
            own=max(truth, key=lambda xi: (xi.p, rng.uniform())).key,
            on_settled=lambda *counts, told=progress: told.append(counts),
        )
        assert progress[0][0] == 0 and progress[-1] == (found.n_cells, found.n_cells)
        assert all(0 <= now <= then <= found.n_cells for (now, _), (then, _) in pairwise(progress))
        assert found.n_cells <= found.bound
        if selection != "stride":
            costs = rows(dict.fromkeys(truth, 0.0))
            assert achieved_epsilon(rows(dict.fromkeys(found.cover, 0.0)), costs) <= epsilon + SLACK
        if selection == "cover":
            assert found.bound == cell_bound(list(truth), epsilon)
            groups = cells(truth, epsilon)
            for cell, members in found.skipped.items():
                assert groups[cell] == members and not found.measured.keys() & members
        best = w_optimum(found.cover, found.maximum)
        assert dict(zip(found.cover, nondominated(rows(found.cover)), strict=True))[best]
        w = {xi: w_coefficient(xi.p, xi.i, e, found.maximum) for xi, e in found.cover.items()}
        assert w[best] == max(w.values())


def test_a_space_of_a_hundred_thousand_is_searched_with_hundreds_of_trainings():
    # D, A, H, I with the costs of an encoder; the errors fall with the log of what it holds.
    shapes = np.array(list(product(range(1, 13), range(1, 13), range(1, 27), range(1, 28))))
    D, A, H, I = shapes.T  # noqa: E741
    p, i = 1e6 + 100.0 * D * (4 * H**2 + 2 * H * I), 1 + 0.1 * D * (H + I + 0.1 * A)
    errors = 1 - np.log(D * H * I) / np.log(12 * 26 * 27)
    space = [
        Candidate(row, *costs, order=tuple(place))
        for row, (place, *costs) in enumerate(zip(shapes.tolist(), p, i, strict=True))
    ]
    found = extract(space, lambda keys: errors[keys].tolist(), epsilon=0.1)
    assert len(space) > 10**5 and len(found.evaluated) < len(space) / 100
    sample = np.random.default_rng(0).choice(len(space), 2000, replace=False)
    truth = np.column_stack([p, i, errors])[sample]
    assert achieved_epsilon(rows(found.cover), truth) <= 0.1 + SLACK


@pytest.mark.parametrize("lazy", [True, False])
def test_halving_epsilon_with_what_is_known_never_worsens_what_is_achieved(lazy):
    for truth, _ in spaces(50):
        known, before = {}, math.inf
        for epsilon in (0.8, 0.4, 0.2, 0.1):
            oracle = Oracle(truth)
            found = extract(list(truth), oracle, epsilon=epsilon, lazy=lazy, known=known)
            assert not set(oracle.keys) & known.keys()
            assert known.keys() <= {xi.key for xi in found.cover}
            now = achieved(found.cover, truth)
            assert now <= before
            before, known = now, {xi.key: e for xi, e in found.cover.items()}


# At epsilon 1 each has a cell of its own: [8, 16), [4, 8), [2, 4), [1, 2) in p and in i. T and tiny
# are measured first; T contains all, so no error is below -tolerance.
CHAIN = {
    Candidate("T", 8.0, 8.0, (4,)): 0.0,
    Candidate("middling", 4.5, 4.5, (3,)): 0.4,  # T is within twice its costs
    Candidate("small", 2.5, 2.5, (2,)): 0.5,  # T is not; tiny, at 0.6, costs less
    Candidate("tiny", 1.5, 1.5, (1,)): 0.6,
}
# By the guess middling is farther from covered than small: by 0.9, and by 0.6 - 0.55.
GUESS = {"guess": lambda measured: np.array([0.0, -0.9, 0.55, 0.6])}


@pytest.mark.parametrize(
    ("tolerance", "options", "trained"),
    [
        (0.39, {}, ["T", "tiny"]),  # 0.6 + 0.39 <= 1: tiny covers all between
        (0.41, {}, ["T", "tiny", "small"]),  # 0.6 + 0.41 > 1, but T covers middling: 0.41
        (1.1, {}, ["T", "tiny", "small", "middling"]),  # 1.1 > 1: it does not
        (1.1, GUESS, ["T", "tiny", "middling", "small"]),  # the likely farthest comes next
    ],
)
def test_laziness_skips_what_the_measured_prove_covered(tolerance, options, trained):
    found = run(CHAIN, 1.0, lazy=True, tolerance=tolerance, **options)
    assert [xi.key for xi in found.evaluated] == trained
    skipped = {xi.key for group in found.skipped.values() for xi in group}
    assert skipped == {xi.key for xi in CHAIN} - set(trained)


def test_what_is_measured_next_is_what_likely_proves_the_most():
    # T costs over twice as much as all others; c is the likely farthest, but over twice a.
    space = {
        Candidate("T", 8.0, 8.0, (9, 9)): 0.0,
        Candidate("a", 1.9, 1.9, (1, 5)): 0.5,
        Candidate("b", 3.0, 3.0, (2, 4)): 0.4,
        Candidate("c", 3.9, 3.9, (3, 3)): 0.3,
        Candidate("tiny", 1.0, 1.0, (1, 1)): 3.0,
    }
    guess = np.array(list(space.values()))
    asked = [
        [xi.key for xi in run(space, 1.0, lazy=True, guess=some).evaluated]
        for some in (lambda measured: guess, lambda measured: np.full(5, -np.inf), None)
    ]
    assert asked[0] == ["T", "tiny", "a"]
    assert asked[1] == asked[2] == ["T", "tiny", "c", "a"]  # without a guess, the farthest


def test_several_are_chosen_at_once_as_if_the_guess_were_right():
    (space, _), *_ = spaces(1)
    guess = np.array(list(space.values()))
    oracle = Oracle(space)
    found = extract(
        list(space), oracle, epsilon=0.1, tolerance=0.0, guess=lambda _: guess, at_once=4
    )
    alone = run(space, 0.1, lazy=True, guess=lambda _: guess)
    assert {len(batch) for batch in oracle.batches} <= {1, 2, 3, 4} and len(oracle.batches[0]) == 2
    assert len(found.evaluated) <= len(alone.evaluated) + 3  # the guess is right
    assert achieved(found.cover, space) <= 0.1 + SLACK


def test_eagerness_skips_nothing_nor_does_laziness_without_an_order():
    unordered = {Candidate(xi.key, xi.p, xi.i): e for xi, e in CHAIN.items()}
    for found in (run(CHAIN, 1.0), run(unordered, 1.0, lazy=True)):
        assert {xi.key for xi in found.evaluated} == {"T", "middling", "small", "tiny"}
        assert found.skipped == {}


def test_a_cell_is_settled_only_when_each_member_is_covered():
    # One cell at epsilon 1. Wide and deep contain narrow, and say nothing of each other.
    space = {
        Candidate("wide", 1.9, 1.9, (1, 3)): 2.9,
        Candidate("deep", 1.8, 1.8, (3, 1)): 0.2,
        Candidate("narrow", 1.7, 1.7, (1, 1)): 2.95,
    }
    assert [xi.key for xi in run(space, 1.0).evaluated] == ["wide", "deep"]
    # The largest and the smallest are measured first, and deep is not proven covered by them.
    assert [xi.key for xi in run(space, 1.0, lazy=True).evaluated] == ["wide", "narrow", "deep"]


def test_laziness_proves_from_what_is_known_and_counts_it_where_it_is_wanted():
    oracle = Oracle(CHAIN)
    known = {"T": 0.0, "tiny": 0.6}
    found = extract(list(CHAIN), oracle, epsilon=1.0, tolerance=0.39, known=known)
    assert oracle.keys == [] and len(found.skipped) == 2
    assert {xi.key for xi in found.evaluated} == {"T", "tiny"} and found.known == {}


def test_cells_are_powers_of_one_plus_epsilon_in_p_and_in_i():
    costs = [(1, 1), (1.9, 1), (3, 1), (3, 5), (9, 5)]
    space = [Candidate(n, p, i) for n, (p, i) in enumerate(costs)]
    grouped = {cell: [xi.key for xi in group] for cell, group in cells(space, 1.0).items()}
    assert grouped == {(0, 0): [0, 1], (1, 0): [2], (1, 2): [3], (3, 2): [4]}
    assert [len(group) for group in cells(space, 0.5).values()] == [1, 1, 1, 1, 1]


def test_the_bound_on_cells_is_the_stated_formula():
    space = [Candidate(0, 1.0, 3.0), Candidate(1, 8.0, 6.0)]
    assert cell_bound(space, 1.0) == pytest.approx((2 + 3) * (2 + 1))  # log2 of 8 / 1 and of 6 / 3


def test_maximal_are_those_that_no_other_contains_and_all_without_an_order():
    places = {"a": (1, 1), "b": (1, 2), "c": (2, 1), "d": (2, 1), "e": (1, 1)}
    members = [Candidate(key, 1.0, 1.0, order) for key, order in places.items()]
    assert [xi.key for xi in maximal(members)] == ["b", "c", "d"]  # equals stay
    assert maximal(members[:1]) == members[:1]
    unplaced = [*members, Candidate("f", 1.0, 1.0)]
    assert maximal(unplaced) == unplaced


def test_the_maximum_point_is_the_sources_own_among_equals_else_the_largest_tie():
    # Bort's space: three architectures tie in size, since heads are free
    space = [Candidate(heads, 5.0, 1.0 + heads, tie=(heads,)) for heads in (4, 16, 8)]
    space += [Candidate("smaller", 4.0, 99.0, tie=(99,))]
    assert maximum_point(space, own=8).key == 8
    assert maximum_point(space, own="not there").key == maximum_point(space).key == 16
    assert run(dict.fromkeys(space, 1.0), 1.0, own=4).maximum.key == 4


def test_w_is_the_shares_saved_over_the_error():
    T = Candidate("T", 100.0, 10.0)
    assert w_coefficient(50, 5, 0.5, T) == 0.5 * 0.5 / 0.5
    assert w_coefficient(50, 5, ERROR_FLOOR / 2, T) == 0.5 * 0.5 / ERROR_FLOOR
    assert w_coefficient(200, 5, 0.5, T) == 0
    assert w_coefficient(200, 20, 0.5, T) == 0  # beyond T in both: -1 * -1 is no merit


def line(*sizes: float) -> Truth:
    return {Candidate(p, p, 1.0, (p,)): 1 / p for p in sizes}


@pytest.mark.parametrize(("interval", "trained"), [(3, [10, 7, 4, 1]), (99, [10])])
def test_stride_takes_every_kth_by_size_from_t_down(interval, trained):
    found = run(line(*range(1, 11)), 0.5, True, selection="stride", interval=interval)
    assert [xi.key for xi in found.evaluated] == trained
    assert found.n_cells == found.bound == len(trained)


@pytest.mark.parametrize(
    ("heads", "interval", "step"), [(4, 8, 9), (4, 9, 9), (6, 8, 11), (4, 1, 1), (1, 8, 8)]
)
def test_a_strides_interval_is_coprime_to_the_ties_in_size(heads, interval, step):
    # By size, then by latency: (9, 4), (9, 3), ... Every 8th would always have four heads.
    space = {Candidate((p, i), p, i): 0.5 for p in range(1, 10) for i in range(1, heads + 1)}
    found = run(space, 0.5, selection="stride", interval=interval)
    by_size = sorted((xi.key for xi in space), reverse=True)
    assert [xi.key for xi in found.evaluated] == by_size[::step]


def test_stride_puts_the_sources_own_before_its_equals():
    slow, fast = Candidate("slow", 2, 5), Candidate("fast", 2, 1)
    for own in ("slow", "fast"):
        found = run({slow: 0.5, fast: 0.5}, 0.5, own=own, selection="stride", interval=3)
        assert [xi.key for xi in found.evaluated] == [own]


def test_spot_checks_are_other_candidates_drawn_by_the_seed():
    def drawn(n, seed):
        found = run(line(*range(1, 50)), 1.0, spot_checks=n, seed=seed)
        assert not found.checks.keys() & found.cover.keys()
        return [xi.key for xi in found.checks]

    assert len(drawn(5, 0)) == 5 and drawn(0, 0) == []
    assert drawn(5, 0) == drawn(5, 0) != drawn(5, 1)
    assert len(drawn(99, 0)) == 49 - 6  # no more than there are: [1, 2) ... [32, 64) are six cells


def test_what_is_known_is_kept_in_the_cover_but_counts_only_where_it_is_wanted():
    space, oracle = list(line(8, 5, 4.5, 2)), Oracle(line(8, 5, 4.5, 2))
    known = {5: 0.2, 4.5: 0.3, "stranger": 0.1}
    found = extract(space, oracle, epsilon=1.0, lazy=False, known=known)
    assert oracle.keys == [8, 2]  # 5 contains all of its cell and is known; 4.5 does not
    assert {xi.key for xi in found.evaluated} == {8, 5, 2}
    assert [(xi.key, e) for xi, e in found.known.items()] == [(4.5, 0.3)]


def test_eagerness_asks_at_once_and_settles_each_before_the_next_is_measured():
    log = []

    def errors(keys):
        log.append(len(keys))
        for key in keys:
            log.append(key)
            yield 0.5

    options = {"lazy": False, "on_settled": lambda *counts: log.append(counts)}
    extract(list(line(8, 4, 2)), errors, epsilon=1.0, **options)
    assert log == [(0, 3), 3, 8, (1, 3), 4, (2, 3), 2, (3, 3), (3, 3)]
    oracle = Oracle(CHAIN)
    extract(list(CHAIN), oracle, epsilon=0.1)
    assert oracle.batches == [["T"], ["tiny"], ["middling"], ["small"]]  # lazily, one at a time


def test_refining_keeps_to_its_budget_repeats_nothing_and_finishes_covers():
    for truth, rng in spaces(100):
        oracle, budget = Oracle(truth), int(rng.integers(1, 40))
        refinement = refine(list(truth), oracle, budget, tolerance=0.0)
        trained = list(refinement.errors)
        assert oracle.keys == [xi.key for xi in trained] and len(trained) == min(budget, len(truth))
        assert refinement.errors == {xi: truth[xi] for xi in trained}
        for epsilon, count in refinement.finished.items():
            cover = {xi: truth[xi] for xi in trained[:count]}
            assert achieved(cover, truth) <= epsilon + SLACK


def test_refining_by_hand():
    # T, at 1 / 8, then the smallest, at 1 / 2. At epsilon 0.4 that covers what lies between, which
    # errs 1 / 8 or more; at 0.3 it must be trained, and at 0.2 nothing is left.
    truth = line(8, 4, 2)
    options = {"epsilons": (0.4, 0.3, 0.2), "tolerance": 0.0}
    refinement = refine(list(truth), Oracle(truth), 3, **options)
    assert [xi.p for xi in refinement.errors] == [8, 2, 4]
    assert refinement.finished == {0.4: 2, 0.3: 3, 0.2: 3}
    assert refine(list(truth), Oracle(truth), 2, **options).finished == {0.4: 2}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epsilon": 0}, r"epsilon is 0; allowed: 0\.01 to 1\. Try 0\.2\."),
        ({"epsilon": math.nan}, r"epsilon is nan; allowed"),
        ({"selection": "best"}, r"selection is 'best'; allowed: cover, stride, exhaustive\."),
        ({"interval": 0}, r"interval is 0; .* at least 1\."),
        ({"spot_checks": -1}, r"spot_checks is -1; .* at least 0\."),
        ({"candidates": []}, r"there are no candidates"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_trained(wrong, message):
    arguments = {"candidates": list(line(1, 2)), "errors": lambda keys: pytest.fail("trained")}
    with pytest.raises(ValueError, match=message):
        extract(**(arguments | wrong))
