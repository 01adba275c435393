"""The FPTAS against brute force: what it promises must hold on any space, whatever is drawn."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bort_engine.algorithms.fptas import (
    ERROR_FLOOR,
    Candidate,
    Extraction,
    cell_bound,
    cells,
    extract,
    maximum_point,
    refine,
    representative,
    w_coefficient,
    w_optimum,
)
from bort_engine.algorithms.guarantee import guarantee
from bort_engine.algorithms.pareto import achieved_epsilon, nondominated

SLACK = 1 + 1e-9  # of floating point
EPSILONS = st.floats(0.01, 1)
SELECTIONS = st.sampled_from(["cover", "stride", "exhaustive"])
# No deadlines: the machine may be busy.
thorough = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
Truth = dict[Candidate, float]


@st.composite
def spaces(draw: st.DrawFn) -> list[Candidate]:
    """Draw up to 24 candidates; p rises strictly along the order, i is anything positive."""
    steps = draw(st.tuples(*[st.floats(0.3, 30)] * 3))
    orders = draw(st.lists(st.tuples(*[st.integers(1, 4)] * 3), min_size=1, max_size=24))
    return [
        Candidate(
            key=n,
            p=sum(step * place**2 for step, place in zip(steps, order, strict=True)),
            i=draw(st.floats(0.1, 20)),
            order=order,
            tie=(n % 3,),
        )
        for n, order in enumerate(orders)
    ]


@st.composite
def monotone_by_size(draw: st.DrawFn) -> Truth:
    """Draw errors that never rise with p; so they never rise along the order either."""
    space = draw(spaces())
    error, errors = draw(st.floats(0.01, 1)), {}
    for p in sorted({xi.p for xi in space}, reverse=True):
        errors[p] = error
        error += draw(st.sampled_from([0, 0.01, 0.1, 1]) | st.floats(0, 1))
    return {xi: errors[xi.p] for xi in space}


@st.composite
def arbitrary(draw: st.DrawFn) -> Truth:
    return {xi: draw(st.floats(0.01, 2)) for xi in draw(spaces())}


def by_order(truth: Truth) -> Truth:
    """Raise errors so that none rises from a candidate to one that contains it."""

    def worst(xi: Candidate) -> float:
        return max(e for s, e in truth.items() if np.less_equal(xi.order, s.order).all())

    return {xi: worst(xi) for xi in truth}


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


def within(s: Candidate, xi: Candidate, epsilon: float) -> bool:
    """True where s costs at most 1 + epsilon times what xi costs, in p and in i."""
    reach = (1 + epsilon) * SLACK
    return s.p <= reach * xi.p and s.i <= reach * xi.i


def covered(cover: Truth, truth: Truth, xi: Candidate, epsilon: float) -> bool:
    limit = (1 + epsilon) * SLACK * truth[xi]
    return any(within(s, xi, epsilon) and e <= limit for s, e in cover.items())


def rows(errors: Truth) -> np.ndarray:
    return np.array([(xi.p, xi.i, e) for xi, e in errors.items()])


@thorough
@given(arbitrary(), EPSILONS, st.booleans())
def test_in_p_and_i_everything_is_covered_whatever_the_errors(truth, epsilon, lazy):
    extraction = run(truth, epsilon, lazy)
    for xi in truth:
        near = [s for s in extraction.cover if within(s, xi, epsilon)]
        assert near
        # Not lazily, one of them is of the same cell and at least as large.
        assert lazy or any(within(xi, s, epsilon) and s.p >= xi.p for s in near)


@thorough
@given(monotone_by_size(), EPSILONS, st.booleans(), st.none() | st.integers(0, 999))
def test_errors_that_fall_with_size_are_covered_too_whatever_is_guessed(truth, epsilon, lazy, seed):
    guesses = None if seed is None else np.random.default_rng(seed).uniform(0, 3, len(truth))
    guess = None if guesses is None else lambda measured: guesses
    extraction = run(truth, epsilon, lazy, spot_checks=99, guess=guess)
    assert all(covered(extraction.cover, truth, xi, epsilon) for xi in truth)
    promise = guarantee(extraction, tolerance=0.0)
    assert promise.achieved == achieved_epsilon(rows(extraction.cover), rows(truth))
    assert promise.achieved <= epsilon * SLACK + 1e-9
    assert (promise.n_measured, promise.order_violations) == (len(truth), 0)


@thorough
@given(arbitrary().map(by_order), EPSILONS, st.floats(0, 0.3), st.integers(0, 999))
def test_every_skipped_candidate_is_covered_while_noise_stays_within_the_tolerance(
    truth, epsilon, tolerance, seed
):
    noise = np.random.default_rng(seed).uniform(0, tolerance, len(truth))
    noisy = {xi: e * (1 - off) for (xi, e), off in zip(truth.items(), noise, strict=True)}
    extraction = run(noisy, epsilon, lazy=True, tolerance=tolerance)
    for cell, members in extraction.skipped.items():
        assert cells(truth, epsilon)[cell] == members
        assert all(covered(extraction.cover, noisy, xi, epsilon) for xi in members)


@thorough
@given(arbitrary(), EPSILONS, st.booleans(), SELECTIONS)
def test_each_cell_is_evaluated_once_or_skipped_and_progress_goes_from_none_to_all(
    truth, epsilon, lazy, selection
):
    progress = []
    options = {
        "known": {xi.key: e for xi, e in list(truth.items())[::3]},
        "on_settled": lambda *counts: progress.append(counts),
    }
    extraction = run(truth, epsilon, lazy, selection=selection, **options)
    n_cells = extraction.n_cells
    assert len(extraction.evaluated) + len(extraction.skipped) == n_cells <= extraction.bound
    assert progress[0] == (0, n_cells) and progress[-1] == (n_cells, n_cells)
    assert progress == sorted(progress) and {total for _, total in progress} == {n_cells}
    assert extraction.measured == {xi: truth[xi] for xi in extraction.measured}
    if selection == "cover":
        groups = cells(truth, epsilon)
        wanted = groups.keys() - extraction.skipped.keys()
        representatives = {representative(groups[cell], extraction.maximum) for cell in wanted}
        assert representatives == extraction.evaluated.keys()
        assert extraction.bound == cell_bound(list(truth), epsilon)


@thorough
@given(arbitrary(), EPSILONS)
def test_laziness_asks_one_at_a_time_for_nothing_that_eagerness_does_not(truth, epsilon):
    lazy, eager = Oracle(truth), Oracle(truth)
    extract(list(truth), lazy, epsilon=epsilon, lazy=True)
    extract(list(truth), eager, epsilon=epsilon, lazy=False)
    assert set(lazy.keys) <= set(eager.keys)
    T = maximum_point(truth)
    assert lazy.batches[0] == [T.key] and all(len(batch) == 1 for batch in lazy.batches)
    assert len(eager.batches) == 1 and eager.keys[0] == T.key
    sizes = {xi.key: -xi.p for xi in truth}
    assert eager.keys == sorted(eager.keys, key=sizes.__getitem__)


@thorough
@given(arbitrary(), EPSILONS, st.booleans(), SELECTIONS)
def test_the_w_optimum_is_dominated_by_nothing_evaluated(truth, epsilon, lazy, selection):
    extraction = run(truth, epsilon, lazy, selection=selection, interval=2)
    cover, T = extraction.cover, extraction.maximum
    best = w_optimum(cover, T)
    assert dict(zip(cover, nondominated(rows(cover)), strict=True))[best]
    w = {xi: w_coefficient(xi.p, xi.i, e, T) for xi, e in cover.items()}
    assert w[best] == max(w.values())


@thorough
@given(arbitrary(), st.booleans(), EPSILONS)
def test_halving_epsilon_with_what_is_known_never_worsens_what_is_achieved(truth, lazy, epsilon):
    known, achieved = {}, math.inf
    for _ in range(4):
        oracle = Oracle(truth)
        extraction = extract(list(truth), oracle, epsilon=epsilon, lazy=lazy, known=known)
        assert not set(oracle.keys) & known.keys()
        assert known.keys() <= {xi.key for xi in extraction.cover}
        now = achieved_epsilon(rows(extraction.cover), rows(truth))
        assert now <= achieved * SLACK
        achieved, epsilon = now, epsilon / 2
        known = {xi.key: e for xi, e in extraction.cover.items()}


# At epsilon 1 each has a cell of its own: [8, 16), [4, 8), [2, 4), [1, 2) in p and in i. T and the
# smallest are measured first; T contains all, so no error is below 0.50 * (1 - tolerance).
CHAIN = {
    Candidate("T", 8.0, 8.0, (4,)): 0.50,
    Candidate("middling", 4.5, 4.5, (3,)): 0.52,  # T is within twice its costs
    Candidate("small", 2.5, 2.5, (2,)): 0.54,  # T is not; tiny, at 0.56, costs less
    Candidate("tiny", 1.5, 1.5, (1,)): 0.56,
}


# By the guess middling is farther from covered than small: T's 0.50 misses it by 0.50 / 0.20 = 2.5,
# and tiny's 0.56 misses small by 0.56 / 0.54.
GUESS = {"guess": lambda measured: np.array([0.50, 0.20, 0.54, 0.56])}


@pytest.mark.parametrize(
    ("tolerance", "options", "trained"),
    [
        (0.43, {}, ["T", "tiny"]),  # 0.56 <= 2 * 0.50 * 0.57: tiny covers all between
        (0.45, {}, ["T", "tiny", "small"]),  # 0.56 > 2 * 0.50 * 0.55, but T covers middling
        (0.51, {}, ["T", "tiny", "small", "middling"]),  # 0.50 > 2 * 0.50 * 0.49: nothing is
        (0.60, GUESS, ["T", "tiny", "middling", "small"]),  # the farthest comes next
    ],
)
def test_laziness_skips_what_the_measured_prove_covered(tolerance, options, trained):
    extraction = run(CHAIN, 1.0, lazy=True, tolerance=tolerance, **options)
    assert [xi.key for xi in extraction.evaluated] == trained
    skipped = {xi.key for group in extraction.skipped.values() for xi in group}
    assert skipped == {xi.key for xi in CHAIN} - set(trained)


def test_eagerness_skips_nothing_nor_does_laziness_without_an_order():
    unordered = {Candidate(xi.key, xi.p, xi.i): e for xi, e in CHAIN.items()}
    for extraction in (run(CHAIN, 1.0), run(unordered, 1.0, lazy=True)):
        assert {xi.key for xi in extraction.evaluated} == {"T", "middling", "small", "tiny"}
        assert extraction.skipped == {}


def test_laziness_proves_from_what_is_known_and_counts_it_where_it_is_wanted():
    oracle = Oracle(CHAIN)
    known = {"T": 0.50, "tiny": 0.56}
    extraction = extract(list(CHAIN), oracle, epsilon=1.0, tolerance=0.43, known=known)
    assert oracle.keys == [] and len(extraction.skipped) == 2
    assert {xi.key for xi in extraction.evaluated} == {"T", "tiny"} and extraction.known == {}


def test_cells_are_powers_of_one_plus_epsilon_in_p_and_in_i():
    costs = [(1, 1), (1.9, 1), (3, 1), (3, 5), (9, 5)]
    space = [Candidate(n, p, i) for n, (p, i) in enumerate(costs)]
    grouped = {cell: [xi.key for xi in group] for cell, group in cells(space, 1.0).items()}
    assert grouped == {(0, 0): [0, 1], (1, 0): [2], (1, 2): [3], (3, 2): [4]}
    assert [len(group) for group in cells(space, 0.5).values()] == [1, 1, 1, 1, 1]


def test_the_bound_on_cells_is_the_stated_formula():
    space = [Candidate(0, 1.0, 3.0), Candidate(1, 8.0, 6.0)]
    assert cell_bound(space, 1.0) == pytest.approx((2 + 3) * (2 + 1))  # log2 of 8 / 1 and of 6 / 3


def test_a_representative_is_the_largest_then_the_larger_tie_unless_t_is_there():
    small, few, many = (Candidate(n, p, 1.0, tie=(n,)) for n, p in ((9, 1), (1, 2), (4, 2)))
    assert representative([small, few, many], T=small) is small
    assert representative([small, many, few], T=Candidate("T", 9, 9)) is many


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
    extraction = run(line(*range(1, 11)), 0.5, True, selection="stride", interval=interval)
    assert [xi.key for xi in extraction.evaluated] == trained
    assert extraction.n_cells == extraction.bound == len(trained)


def test_stride_puts_the_slower_first_among_equals_in_size_and_the_sources_own_before_all():
    fast, slow, T = Candidate("fast", 2, 1), Candidate("slow", 2, 5), Candidate("T", 3, 9)
    extraction = run({fast: 0.5, slow: 0.5, T: 0.1}, 0.5, selection="stride", interval=2)
    assert list(extraction.evaluated) == [T, fast]
    extraction = run({slow: 0.5, fast: 0.5}, 0.5, own="fast", selection="stride", interval=2)
    assert list(extraction.evaluated) == [fast]


def test_spot_checks_are_other_candidates_drawn_by_the_seed():
    def drawn(n, seed):
        extraction = run(line(*range(1, 50)), 1.0, spot_checks=n, seed=seed)
        assert not extraction.checks.keys() & extraction.cover.keys()
        return [xi.key for xi in extraction.checks]

    assert len(drawn(5, 0)) == 5 and drawn(0, 0) == []
    assert drawn(5, 0) == drawn(5, 0) != drawn(5, 1)
    assert len(drawn(99, 0)) == 49 - 6  # no more than there are: [1, 2) ... [32, 64) are six cells


def test_what_is_known_is_kept_in_the_cover_but_counts_only_where_it_is_wanted():
    space, oracle = list(line(8, 5, 4.5, 2)), Oracle(line(8, 5, 4.5, 2))
    known = {5: 0.2, 4.5: 0.3, "stranger": 0.1}
    extraction = extract(space, oracle, epsilon=1.0, lazy=False, known=known)
    assert oracle.keys == [8, 2]  # 5 stands for its cell and is known; 4.5 does not
    assert {xi.key for xi in extraction.evaluated} == {8, 5, 2}
    assert [(xi.key, e) for xi, e in extraction.known.items()] == [(4.5, 0.3)]


def test_errors_may_come_one_by_one_each_settled_before_the_next():
    log = []

    def errors(keys):
        for key in keys:
            log.append(key)
            yield 0.5

    options = {"lazy": False, "on_settled": lambda *counts: log.append(counts)}
    extract(list(line(8, 4, 2)), errors, epsilon=1.0, **options)
    assert log == [(0, 3), 8, (1, 3), 4, (2, 3), 2, (3, 3), (3, 3)]


@thorough
@given(monotone_by_size(), st.integers(1, 30))
def test_refining_keeps_to_its_budget_repeats_nothing_and_finishes_covers(truth, budget):
    oracle = Oracle(truth)
    refinement = refine(list(truth), oracle, budget)
    trained = list(refinement.errors)
    assert oracle.keys == [xi.key for xi in trained] and len(trained) == min(budget, len(truth))
    assert refinement.errors == {xi: truth[xi] for xi in trained}
    for epsilon, count in refinement.finished.items():
        cover = {xi: truth[xi] for xi in trained[:count]}
        assert all(covered(cover, truth, xi, epsilon) for xi in truth)


def test_refining_by_hand():
    # T, then the smallest: at epsilon 1 T covers what lies between; at 0.5 it must be trained.
    refinement = refine(list(line(8, 4, 2)), Oracle(line(8, 4, 2)), 3, epsilons=(1.0, 0.5))
    assert [xi.p for xi in refinement.errors] == [8, 2, 4]
    assert refinement.finished == {1.0: 2, 0.5: 3}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epsilon": 0}, r"epsilon is 0; allowed: above 0, at most 1\. Try 0\.2\."),
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


def measured(cover: Truth, checks: Truth) -> Extraction:
    return Extraction(next(iter(cover)), cover, {}, checks, len(cover), 9.0, {})


def test_the_guarantee_is_what_was_measured_by_hand():
    T = Candidate("T", 8.0, 8.0, (2, 2))
    a, b, x = (
        Candidate(key, p, i, order)
        for key, p, i, order in (("a", 4, 4, (1, 2)), ("b", 4, 3, (2, 1)), ("x", 3, 4, (1, 1)))
    )
    # T contains all, a and b contain x, a and b do not compare: 5 pairs. a is twice as wrong as x
    # though it contains it; b by 2 %, which is noise.
    extraction = measured({T: 0.1, a: 0.4, b: 0.204}, {x: 0.2})
    promise = guarantee(extraction)
    assert (promise.n_measured, promise.order_pairs, promise.order_violations) == (4, 5, 1)
    assert promise.worst_violation == pytest.approx(1.0)
    # x is covered best by b: 4 / 3 in p, 1 in i, 1.02 in e
    assert promise.achieved == pytest.approx(1 / 3)
    assert guarantee(extraction, tolerance=0.01).order_violations == 2


def test_below_the_floor_errors_count_as_equal_and_none_divides_by_zero():
    T, a, x = (Candidate(key, 8.0, 8.0, (place,)) for key, place in (("T", 3), ("a", 2), ("x", 1)))
    promise = guarantee(measured({T: 2 * ERROR_FLOOR, a: 0.9 * ERROR_FLOOR}, {x: 0.0}))
    assert promise.achieved == 0  # a is as good as x
    assert promise.worst_violation == pytest.approx(1.0)  # T, at twice the floor, contains both
    assert promise.order_violations == 2


@pytest.mark.parametrize("order", [(1, 1), ()])
def test_equals_in_the_order_and_candidates_without_one_make_no_pairs(order):
    same = [Candidate(n, 8.0 - n, 1.0, order) for n in range(3)]
    promise = guarantee(measured({xi: 0.5 - 0.1 * xi.key for xi in same}, {}))
    assert (promise.order_pairs, promise.order_violations, promise.worst_violation) == (0, 0, 0.0)
