"""The FPTAS against brute force: what it promises must hold on any space, whatever is drawn."""

import math
from collections.abc import Hashable, Sequence

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
    guarantee,
    maximum_point,
    refine,
    representative,
    w_coefficient,
    w_optimum,
)
from bort_engine.algorithms.pareto import achieved_epsilon, nondominated

SLACK = 1 + 1e-9  # of floating point
EPSILONS = st.floats(0.01, 1)
# No deadlines: the machine may be busy.
thorough = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


def inside(xi: Candidate, other: Candidate) -> bool:
    return all(a <= b for a, b in zip(xi.order, other.order, strict=True))


@st.composite
def monotone_by_order(draw: st.DrawFn) -> Truth:
    """Draw errors that never rise from a candidate to one that contains it; else anything."""
    space = draw(spaces())
    raw = [draw(st.floats(0.01, 2)) for _ in space]
    return {
        xi: max(e for other, e in zip(space, raw, strict=True) if inside(xi, other)) for xi in space
    }


@st.composite
def arbitrary(draw: st.DrawFn) -> Truth:
    return {xi: draw(st.floats(0.01, 2)) for xi in draw(spaces())}


class Oracle:
    """Answers from the truth, remembers the batches it was asked, and objects to repetition."""

    def __init__(self, truth: Truth) -> None:
        self._errors = {xi.key: e for xi, e in truth.items()}
        self.batches: list[list[Hashable]] = []

    @property
    def asked(self) -> list[Hashable]:
        return [key for batch in self.batches for key in batch]

    def __call__(self, keys: Sequence[Hashable]) -> list[float]:
        assert len(set(keys)) == len(keys) and not set(keys) & set(self.asked), "asked twice"
        self.batches.append(list(keys))
        return [self._errors[key] for key in keys]


def run(truth: Truth, epsilon: float, lazy: bool = False, **options) -> Extraction:
    options = {"tolerance": 0.0} | options
    return extract(list(truth), Oracle(truth), epsilon=epsilon, lazy=lazy, **options)


def within(s: Candidate, xi: Candidate, epsilon: float) -> bool:
    """True where s costs at most 1 + epsilon times what xi costs, in p and in i."""
    reach = (1 + epsilon) * SLACK
    return s.p <= reach * xi.p and s.i <= reach * xi.i


def covered(found: Extraction, truth: Truth, xi: Candidate, epsilon: float) -> bool:
    limit = (1 + epsilon) * SLACK * truth[xi]
    return any(within(s, xi, epsilon) and e <= limit for s, e in found.cover.items())


def rows(errors: Truth) -> np.ndarray:
    return np.array([(xi.p, xi.i, e) for xi, e in errors.items()])


# The cover, against brute force


@thorough
@given(arbitrary(), EPSILONS, st.booleans())
def test_in_p_and_i_everything_is_covered_whatever_the_errors(truth, epsilon, lazy):
    found = run(truth, epsilon, lazy)
    assert all(any(within(s, xi, epsilon) for s in found.cover) for xi in truth)


@thorough
@given(arbitrary(), EPSILONS)
def test_every_candidate_shares_its_cell_with_an_evaluated_one_of_at_least_its_size(truth, epsilon):
    found = run(truth, epsilon)
    for xi in truth:
        assert any(
            within(s, xi, epsilon) and within(xi, s, epsilon) and s.p >= xi.p
            for s in found.evaluated
        )


@thorough
@given(monotone_by_size(), EPSILONS, st.booleans())
def test_errors_that_fall_with_size_are_covered_too_eagerly_and_lazily(truth, epsilon, lazy):
    found = run(truth, epsilon, lazy)
    assert all(covered(found, truth, xi, epsilon) for xi in truth)
    assert achieved_epsilon(rows(found.cover), rows(truth)) <= epsilon * SLACK + 1e-9


@thorough
@given(monotone_by_order(), EPSILONS, st.floats(0, 0.3), st.data())
def test_every_skipped_candidate_is_covered_while_noise_stays_within_the_tolerance(
    truth, epsilon, tolerance, data
):
    noisy = {xi: e * (1 - tolerance * data.draw(st.floats(0, 1))) for xi, e in truth.items()}
    found = run(noisy, epsilon, lazy=True, tolerance=tolerance)
    for cell, members in found.skipped.items():
        assert cells(truth, epsilon)[cell] == members
        assert not set(members) & {
            representative(g, found.maximum)
            for c, g in cells(truth, epsilon).items()
            if c not in found.skipped
        }
        assert all(covered(found, noisy, xi, epsilon) for xi in members)


@thorough
@given(arbitrary(), EPSILONS, st.booleans())
def test_each_cell_is_either_evaluated_once_or_skipped(truth, epsilon, lazy):
    found = run(truth, epsilon, lazy)
    grouped = cells(truth, epsilon)
    assert sorted(xi.key for group in grouped.values() for xi in group) == sorted(
        xi.key for xi in truth
    )
    assert found.n_cells == len(grouped) <= found.bound == cell_bound(list(truth), epsilon)
    wanted = {
        representative(g, found.maximum) for c, g in grouped.items() if c not in found.skipped
    }
    assert wanted <= set(found.evaluated)
    assert len(found.evaluated) <= found.n_cells
    assert all(truth[xi] == e for xi, e in found.measured.items())


@thorough
@given(arbitrary(), EPSILONS)
def test_laziness_asks_for_nothing_that_eagerness_does_not(truth, epsilon):
    lazy, eager = Oracle(truth), Oracle(truth)
    extract(list(truth), lazy, epsilon=epsilon, lazy=True)
    extract(list(truth), eager, epsilon=epsilon, lazy=False)
    assert set(lazy.asked) <= set(eager.asked)
    T = maximum_point(truth)
    assert lazy.batches[0] == [T.key] and all(len(batch) == 1 for batch in lazy.batches)
    assert len(eager.batches) == 1 and eager.asked[0] == T.key
    sizes = {xi.key: xi.p for xi in truth}
    assert [sizes[key] for key in eager.asked] == sorted(
        (sizes[key] for key in eager.asked), reverse=True
    )


@thorough
@given(arbitrary(), EPSILONS, st.booleans(), st.sampled_from(["cover", "stride", "exhaustive"]))
def test_the_w_optimum_is_dominated_by_nothing_evaluated(truth, epsilon, lazy, selection):
    found = run(truth, epsilon, lazy, selection=selection, interval=2)
    best = w_optimum(found.cover, found.maximum)
    on_front = dict(zip(found.cover, nondominated(rows(found.cover)), strict=True))
    assert on_front[best]
    scores = [w_coefficient(xi.p, xi.i, e, found.maximum) for xi, e in found.cover.items()]
    assert w_coefficient(best.p, best.i, found.cover[best], found.maximum) == max(scores)


@thorough
@given(arbitrary(), st.booleans(), EPSILONS)
def test_halving_epsilon_with_what_is_known_never_worsens_what_is_achieved(truth, lazy, epsilon):
    known: dict[Hashable, float] = {}
    achieved = math.inf
    for _ in range(4):
        oracle = Oracle(truth)
        found = extract(
            list(truth), oracle, epsilon=epsilon, lazy=lazy, known=dict(known), tolerance=0
        )
        assert not set(oracle.asked) & known.keys()
        assert known.keys() <= {xi.key for xi in found.cover}
        assert len(found.evaluated) <= found.n_cells
        now = achieved_epsilon(rows(found.cover), rows(truth))
        assert now <= achieved * SLACK
        achieved, epsilon = now, epsilon / 2
        known = {xi.key: e for xi, e in found.cover.items()}


def test_two_separate_runs_can_worsen_it_since_their_cells_are_not_nested():
    # One inference cost; cells of p, and what is evaluated in each (*):
    #   epsilon 1:    [1, 2): 1.9*    [2, 4): 2.1*                    [8, 16): 8*
    #   epsilon 0.5:       [1.5, 2.25): 1.9, 2.1*             [7.59, 11.39): 8*
    truth = {Candidate(p, p, 1.0, (p,)): e for p, e in ((1.9, 0.6), (2.1, 0.5), (8.0, 0.1))}
    coarse, fine = run(truth, 1.0), run(truth, 0.5)
    assert [xi.p for xi in coarse.evaluated] == [8.0, 2.1, 1.9]
    assert [xi.p for xi in fine.evaluated] == [8.0, 2.1]
    assert achieved_epsilon(rows(coarse.cover), rows(truth)) == 0
    worse = achieved_epsilon(rows(fine.cover), rows(truth))
    assert worse == pytest.approx(2.1 / 1.9 - 1) and 0 < worse <= 0.5


@thorough
@given(monotone_by_size(), EPSILONS, st.integers(0, 999))
def test_a_guess_decides_the_order_and_proves_nothing(truth, epsilon, seed):
    guess = np.random.default_rng(seed).uniform(0, 3, len(truth))
    found = run(truth, epsilon, lazy=True, guess=lambda measured: guess)
    assert all(covered(found, truth, xi, epsilon) for xi in truth)
    assert len(found.evaluated) <= found.n_cells


def test_what_is_guessed_to_be_the_farthest_from_covered_comes_next():
    # T and tiny first. By what is proven small is farther (above); by the guess middling is, which
    # T's 0.50 then misses by 0.50 / 0.20 = 2.5, and tiny's 0.56 misses small by 0.56 / 0.54.
    guesses = np.array([0.50, 0.20, 0.54, 0.56])
    found = run(CHAIN, 1.0, lazy=True, tolerance=0.6, guess=lambda measured: guesses)
    assert [xi.key for xi in found.evaluated] == ["T", "tiny", "middling", "small"]


# Laziness, by hand


# At epsilon 1 each has a cell of its own: [8, 16), [4, 8), [2, 4), [1, 2) in p and in i. T and the
# smallest are measured first; T contains all, so no error is below 0.50 * (1 - tolerance).
CHAIN = {
    Candidate("T", 8.0, 8.0, (4,)): 0.50,
    Candidate("middling", 4.5, 4.5, (3,)): 0.52,  # T is within twice its costs
    Candidate("small", 2.5, 2.5, (2,)): 0.54,  # T is not; tiny, at 0.56, costs less
    Candidate("tiny", 1.5, 1.5, (1,)): 0.56,
}


@pytest.mark.parametrize(
    ("tolerance", "trained"),
    [
        (0.43, ["T", "tiny"]),  # 0.56 <= 2 * 0.50 * 0.57: tiny covers all between
        (0.45, ["T", "tiny", "small"]),  # 0.56 > 2 * 0.50 * 0.55, but T's 0.50 covers middling
        (0.51, ["T", "tiny", "small", "middling"]),  # 0.50 > 2 * 0.50 * 0.49: nothing is covered
    ],
)
def test_laziness_skips_what_the_measured_prove_covered(tolerance, trained):
    found = run(CHAIN, 1.0, lazy=True, tolerance=tolerance)
    assert [xi.key for xi in found.evaluated] == trained
    skipped = {xi.key for group in found.skipped.values() for xi in group}
    assert skipped == {xi.key for xi in CHAIN} - set(trained)


def test_eagerness_skips_nothing():
    found = run(CHAIN, 1.0)
    assert [xi.key for xi in found.evaluated] == ["T", "middling", "small", "tiny"]
    assert found.skipped == {}


def test_without_an_order_laziness_assumes_nothing():
    truth = {Candidate(xi.key, xi.p, xi.i): e for xi, e in CHAIN.items()}
    found = run(truth, 1.0, lazy=True)
    assert set(found.evaluated) == set(truth) and found.skipped == {}


# Cells, representatives and the maximum point, by hand


def line(*sizes: float, i: float = 1.0) -> list[Candidate]:
    return [Candidate(p, p, i, (p,)) for p in sizes]


def test_cells_are_powers_of_one_plus_epsilon_in_p_and_in_i():
    xis = [
        Candidate(n, p, i) for n, (p, i) in enumerate([(1, 1), (1.9, 1), (3, 1), (3, 5), (9, 5)])
    ]
    grouped = {cell: [xi.key for xi in group] for cell, group in cells(xis, 1.0).items()}
    assert grouped == {(0, 0): [0, 1], (1, 0): [2], (1, 2): [3], (3, 2): [4]}
    assert [len(group) for group in cells(xis, 0.5).values()] == [1, 1, 1, 1, 1]


def test_the_bound_on_cells_is_the_stated_formula():
    xis = [Candidate(0, 1.0, 3.0), Candidate(1, 8.0, 6.0)]
    assert cell_bound(xis, 1.0) == pytest.approx((2 + 3) * (2 + 1))  # log2 of 8 / 1 and of 6 / 3
    widths = math.log(8) / math.log(1.25), math.log(2) / math.log(1.25)
    assert cell_bound(xis, 0.25) == pytest.approx((2 + widths[0]) * (2 + widths[1]))


def test_a_representative_is_the_largest_then_the_larger_tie_unless_t_is_there():
    small, few, many = (
        Candidate(key, p, 1.0, tie=(heads,))
        for key, p, heads in (("s", 1, 9), ("f", 2, 1), ("m", 2, 4))
    )
    assert representative([small, few, many], T=small) is small
    assert representative([small, many, few], T=Candidate("T", 9, 9)) is many


def test_the_maximum_point_is_the_sources_own_among_equals_else_the_largest_tie():
    # Bort's space: three architectures tie in size, since heads are free
    xis = [Candidate(heads, 5.0, 1.0 + heads, tie=(heads,)) for heads in (4, 16, 8)]
    xis += [Candidate("smaller", 4.0, 99.0, tie=(99,))]
    assert maximum_point(xis, own=8).key == 8
    assert maximum_point(xis, own="not there").key == maximum_point(xis).key == 16
    assert maximum_point(xis, own="smaller").key == 16
    truth = {xi: 1.0 for xi in xis}
    assert run(truth, 1.0, own=4).maximum.key == 4
    assert run(truth, 1.0, own=4, selection="stride", interval=99).evaluated.keys() == {xis[0]}


# W


T = Candidate("T", 100.0, 10.0)


@pytest.mark.parametrize(
    ("p", "i", "e", "w"),
    [
        (50, 5, 0.5, 0.5 * 0.5 / 0.5),
        (20, 9, 0.4, 0.8 * 0.1 / 0.4),
        (100, 5, 0.5, 0.0),  # as large as T
        (50, 10, 0.5, 0.0),  # as slow as T
        (200, 20, 0.5, 0.0),  # beyond T in both: -1 * -1 is no merit
        (50, 5, 0.0, 0.25 / ERROR_FLOOR),
        (50, 5, ERROR_FLOOR / 2, 0.25 / ERROR_FLOOR),
    ],
)
def test_w_is_the_shares_saved_over_the_error(p, i, e, w):
    assert w_coefficient(p, i, e, T) == pytest.approx(w)


def test_the_w_optimum_by_hand():
    errors = {T: 0.1, Candidate("a", 50.0, 5.0): 0.2, Candidate("b", 10.0, 1.0): 0.9}
    assert w_optimum(errors, T).key == "a"  # 0, 0.25 / 0.2 = 1.25 and 0.81 / 0.9 = 0.9
    beyond = {Candidate("c", 200.0, 1.0): 0.3, Candidate("d", 300.0, 1.0): 0.3}
    assert w_optimum(beyond, T).key == "c"  # both 0, equal errors: the smaller
    below_the_floor = {Candidate("f", 50.0, 5.0): 5e-4, Candidate("g", 50.0, 5.0): 4e-4}
    assert w_optimum(below_the_floor, T).key == "g"


# Other selections, spot-checks, what is known


@pytest.mark.parametrize(
    ("interval", "trained"),
    [(1, list(range(10, 0, -1))), (3, [10, 7, 4, 1]), (4, [10, 6, 2]), (10, [10]), (99, [10])],
)
def test_stride_takes_every_kth_by_size_from_t_down(interval, trained):
    truth = {xi: 1 / xi.p for xi in line(*range(1, 11))}
    found = run(truth, 0.5, lazy=True, selection="stride", interval=interval)
    assert [xi.key for xi in found.evaluated] == trained
    assert found.n_cells == found.bound == len(trained)


def test_stride_puts_the_slower_first_among_equals_in_size():
    fast, slow, T = Candidate("fast", 2, 1), Candidate("slow", 2, 5), Candidate("T", 3, 9)
    found = run({fast: 0.5, slow: 0.5, T: 0.1}, 0.5, selection="stride", interval=2)
    assert list(found.evaluated) == [T, fast]


def test_exhaustive_trains_all_largest_first():
    truth = {xi: 1 / xi.p for xi in line(2, 5, 3)}
    found = run(truth, 1.0, lazy=True, selection="exhaustive")
    assert [xi.key for xi in found.evaluated] == [5, 3, 2]
    assert found.n_cells == found.bound == 3


def test_spot_checks_are_other_candidates_drawn_by_the_seed():
    truth = {xi: 1 / xi.p for xi in line(*np.arange(1, 50))}

    def drawn(n: int, seed: int) -> list[Hashable]:
        found = run(truth, 1.0, spot_checks=n, seed=seed)
        assert not found.checks.keys() & found.cover.keys()
        assert len(found.measured) == len(found.checks) + len(found.cover)
        return [xi.key for xi in found.checks]

    assert len(drawn(5, 0)) == 5
    assert drawn(5, 0) == drawn(5, 0) != drawn(5, 1)
    assert drawn(0, 0) == []
    assert len(drawn(99, 0)) == 49 - 6  # no more than there are: [1, 2) ... [32, 64) are six cells


def test_what_is_known_is_kept_in_the_cover_but_counts_only_where_it_is_wanted():
    truth = {xi: 1 / xi.p for xi in line(8, 5, 4.5, 2)}
    oracle = Oracle(truth)
    found = extract(
        list(truth), oracle, epsilon=1.0, lazy=False, known={5: 0.2, 4.5: 0.3, "stranger": 0.1}
    )
    assert oracle.asked == [8, 2]  # 5 stands for its cell and is known; 4.5 does not
    assert {xi.key for xi in found.evaluated} == {8, 5, 2}
    assert [(xi.key, e) for xi, e in found.known.items()] == [(4.5, 0.3)]
    assert {xi.key for xi in found.cover} == {8, 5, 4.5, 2}


def test_laziness_proves_from_what_is_known_and_counts_it_where_it_is_wanted():
    oracle = Oracle(CHAIN)
    found = extract(
        list(CHAIN), oracle, epsilon=1.0, tolerance=0.43, known={"T": 0.50, "tiny": 0.56}
    )
    assert oracle.asked == [] and len(found.skipped) == 2
    assert {xi.key for xi in found.evaluated} == {"T", "tiny"} and found.known == {}


@thorough
@given(arbitrary(), EPSILONS, st.booleans(), st.sampled_from(["cover", "stride", "exhaustive"]))
def test_what_is_settled_is_told_from_none_to_all(truth, epsilon, lazy, selection):
    told: list[tuple[int, int]] = []
    known = {xi.key: e for xi, e in list(truth.items())[::3]}
    found = run(
        truth,
        epsilon,
        lazy,
        selection=selection,
        known=known,
        on_settled=lambda done, total: told.append((done, total)),
    )
    assert told[0] == (0, found.n_cells) and told[-1] == (found.n_cells, found.n_cells)
    assert told == sorted(told) and {total for _, total in told} == {found.n_cells}


def test_errors_may_come_one_by_one():
    truth = {xi: 1 / xi.p for xi in line(8, 4, 2)}
    oracle = Oracle(truth)
    found = extract(list(truth), lambda keys: (e for e in oracle(keys)), epsilon=1.0)
    assert found.measured == {xi: truth[xi] for xi in found.measured}


# Refining step by step


@thorough
@given(arbitrary(), st.integers(1, 30))
def test_refining_trains_no_more_than_its_budget_and_no_one_twice(truth, budget):
    oracle = Oracle(truth)
    found = refine(list(truth), oracle, budget)
    assert len(oracle.asked) == len(set(oracle.asked)) == len(found.errors)
    assert len(found.errors) == min(budget, len(truth))
    assert found.errors == {xi: truth[xi] for xi in found.errors}


@thorough
@given(monotone_by_size())
def test_each_epsilon_that_is_finished_is_covered(truth):
    found = refine(list(truth), Oracle(truth), len(truth))
    trained = list(found.errors)
    for epsilon, count in found.finished.items():
        for xi in truth:
            assert any(
                within(s, xi, epsilon) and truth[s] <= (1 + epsilon) * SLACK * truth[xi]
                for s in trained[:count]
            )


def test_refining_by_hand():
    truth = {xi: 1 / xi.p for xi in line(8, 4, 2)}
    found = refine(list(truth), Oracle(truth), 3, epsilons=(1.0, 0.5))
    # T, then the smallest: at epsilon 1 T covers what lies between; at 0.5 it must be trained.
    assert [xi.p for xi in found.errors] == [8, 2, 4]
    assert found.finished == {1.0: 2, 0.5: 3}


# Mistakes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epsilon": 0}, r"epsilon is 0; allowed: above 0, at most 1\. Try 0\.2\."),
        ({"epsilon": 1.5}, r"epsilon is 1\.5; allowed: above 0, at most 1"),
        ({"epsilon": -0.1}, r"epsilon is -0\.1; allowed: above 0, at most 1"),
        ({"epsilon": math.nan}, r"epsilon is nan; allowed: above 0, at most 1"),
        ({"selection": "best"}, r"selection is 'best'; allowed: cover, stride, exhaustive\."),
        ({"selection": "stride", "interval": 0}, r"interval is 0; it must be an integer of at le"),
        ({"selection": "stride", "interval": 2.5}, r"interval is 2\.5; it must be an integer of"),
        ({"spot_checks": -1}, r"spot_checks is -1; it must be at least 0\."),
        ({"candidates": []}, r"there are no candidates; widen the search space\."),
    ],
)
def test_a_mistake_is_refused_before_anything_is_trained(wrong, message):
    def no_training(keys: Sequence[Hashable]) -> list[float]:
        raise AssertionError("trained")

    with pytest.raises(ValueError, match=message):
        extract(**({"candidates": line(1, 2), "errors": no_training} | wrong))


# The guarantee, by hand


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
    check = guarantee(measured({T: 0.1, a: 0.4, b: 0.204}, {x: 0.2}))
    assert (check.n_measured, check.order_pairs, check.order_violations) == (4, 5, 1)
    assert check.worst_violation == pytest.approx(1.0)
    # x is covered best by b: 4 / 3 in p, 1 in i, 1.02 in e
    assert check.achieved == pytest.approx(1 / 3)
    strict = guarantee(measured({T: 0.1, a: 0.4, b: 0.204}, {x: 0.2}), tolerance=0.01)
    assert strict.order_violations == 2


def test_below_the_floor_errors_count_as_equal_and_none_divides_by_zero():
    T, a, x = (Candidate(key, 8.0, 8.0, (place,)) for key, place in (("T", 3), ("a", 2), ("x", 1)))
    check = guarantee(measured({T: 2 * ERROR_FLOOR, a: 0.9 * ERROR_FLOOR}, {x: 0.0}))
    assert check.achieved == 0  # a is as good as x
    assert check.worst_violation == pytest.approx(1.0)  # T, at twice the floor, contains both
    assert check.order_violations == 2


def test_a_guarantee_without_violations_has_no_worst_one():
    T, a = Candidate("T", 8.0, 8.0, (2,)), Candidate("a", 4.0, 4.0, (1,))
    check = guarantee(measured({T: 0.1, a: 0.4}, {}))
    assert (check.order_pairs, check.order_violations, check.worst_violation) == (1, 0, 0.0)
    assert check.achieved == 0


def test_equals_in_the_order_and_candidates_without_one_make_no_pairs():
    same = [Candidate(n, 8.0 - n, 1.0, (1, 1)) for n in range(3)]
    assert guarantee(measured(dict.fromkeys(same, 0.5), {})).order_pairs == 0
    unordered = [Candidate(n, 8.0 - n, 1.0) for n in range(3)]
    assert guarantee(measured(dict.fromkeys(unordered, 0.5), {})).order_pairs == 0


@thorough
@given(monotone_by_size(), EPSILONS, st.booleans())
def test_the_guarantee_holds_and_counts_no_violation_where_errors_are_monotone(
    truth, epsilon, lazy
):
    check = guarantee(run(truth, epsilon, lazy, spot_checks=99), tolerance=0.0)
    assert check.n_measured == len(truth)
    assert check.achieved <= epsilon * SLACK + 1e-9
    assert check.order_violations == 0
