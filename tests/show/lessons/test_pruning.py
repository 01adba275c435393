"""The lesson on pruning: the article's toy by hand, the FPTAS on all its relatives, its page."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bort_engine.algorithms.fptas import ERROR_FLOOR, w_coefficient
from bort_engine.algorithms.pareto import nondominated
from bort_engine.lab import toy
from bort_engine.lab.toy import Exam, Network, Toy, ToyShape
from bort_engine.show.lessons import toy_figures
from pages.parts.lessons import pruning
from tests.show.lessons.conftest import press, words

any_toy = some.builds(
    Toy, **{name: some.integers(low, high) for name, (low, high) in toy.LIMITS.items()}
)

T = toy.largest(Toy())
EXAM = Exam.of(T, 0)


def test_the_articles_two_shapes_count_72_and_40():
    chosen = ToyShape(2, 3, 3, 2)
    assert T.shape == ToyShape(2, 4, 3, 4) and T.n_stored == 72
    assert T.inherit(chosen).shape == chosen and T.inherit(chosen).n_stored == 40
    for shape, name, n_parameters, n_operations in (
        (T.shape, "(2,4,3,4,4)", 72, 56),
        (chosen, "(2,3,3,3,2)", 40, 30),
    ):
        counts = (str(shape), shape.n_parameters, shape.n_operations)
        assert counts == (name, n_parameters, n_operations)


def test_a_network_by_hand():
    #        x = (2, 3) -> hidden relu(2 - 3 + 4) = 3 -> output 2 * 3 + 1 = 7, and again:
    # wires (7, nothing) -> hidden relu(7 + 4)   = 11 -> output 2 * 11 + 1 = 23
    first, second = np.array([[[1.0, -1.0]]] * 2), np.full((2, 1, 1), 2.0)
    network = Network(first, np.full((2, 1), 4.0), second, np.full((2, 1), 1.0))
    rows = network.values(np.array([[2.0, 3.0]]))
    assert [row.tolist() for row in rows] == [[[2, 3]], [[3]], [[7]], [[11]], [[23]]]
    assert network.shape == ToyShape(2, 1, 2, 1)
    assert network.n_stored == network.shape.n_parameters == 10
    assert network.shape.n_operations == 6


def test_an_answer_that_never_moves_errs_by_one_and_T_not_at_all():
    assert EXAM.error(T) < 1e-12
    nothing = Network(*(np.zeros_like(array) for array in T.arrays))
    assert EXAM.error(nothing) == pytest.approx(1, abs=0.05)  # the average of other inputs


def test_units_are_in_order_of_activity_and_dead_ones_are_idle():
    assert [row.tolist() for row in toy.idle(T, EXAM.x)] == [
        [False] * 3,
        *[[False, False, False, True], [False, False, True, True]] * 2,
    ]
    for outputs in T.values(EXAM.x)[2::2]:
        assert (np.diff(outputs.std(axis=0)) < 0)[:-1].all()
    # The fourth output of a block that works: the next block reads three, C reads all.
    full = toy.largest(Toy(4, 0, 4, 0))
    fourth = [bool(row[-1]) for row in toy.idle(full, EXAM.x)]
    assert fourth == [False, False, True, False, False]


@pytest.mark.parametrize(("name", "value"), [("units", 0), ("blocks", 4), ("outputs", 2.0)])
def test_a_number_out_of_range_is_refused_with_those_allowed(name, value):
    low, high = toy.LIMITS[name]
    with pytest.raises(ValueError, match=f"^{name} is {value}; allowed: {low} to {high}"):
        Toy(**{name: value})


@pytest.mark.parametrize("draw", range(10))
def test_on_the_articles_toy_the_fptas_chooses_the_articles_subarchitecture(draw):
    comparison = toy.compare(Toy(draw=draw))
    assert comparison.chosen.key == comparison.best.key == ToyShape(2, 3, 3, 2)
    assert comparison.errors[2] < 1e-12
    cheaper = [e for xi, e in comparison.extraction.measured.items() if xi.p < 40]
    assert min(cheaper) > ERROR_FLOOR


def test_pruning_finds_the_dead_and_keeps_the_shape():
    # Dead in block 1: 3 + 1 into unit 4, 4 * 2 + 2 into outputs 3 and 4, 2 out of unit 4: 16.
    # In block 2 also the 3 weights that read output 3 of block 1: 19.
    pruned = toy.prune(T, EXAM, tolerance=1e-12)
    assert pruned.n_zero == 35 and pruned.shape == T.shape and pruned.n_stored == 72


def test_pruning_goes_on_to_the_tolerance_and_no_further():
    full = toy.largest(Toy(4, 0, 3, 0))
    exam, before = Exam.of(full, 0), 0
    for tolerance in (0.01, 0.1, 0.5):
        pruned = toy.prune(full, exam, tolerance)
        assert exam.error(pruned) <= tolerance and pruned.n_zero > before
        before = pruned.n_zero
        kept = np.concatenate([array[array != 0] for array in map(np.abs, pruned.arrays)]).min()
        next_one = Network(*(np.where(np.abs(a) > kept, a, 0.0) for a in pruned.arrays))
        assert next_one.n_zero == before + 1 and exam.error(next_one) > tolerance


@given(any_toy)
@settings(max_examples=10)
def test_the_choice_is_the_best_and_the_promise_is_kept_where_its_assumption_holds(any_T):
    comparison = toy.compare(any_T)
    cover, measured = comparison.extraction.cover, comparison.extraction.measured
    xi, T = comparison.chosen, comparison.extraction.maximum
    assert len(measured) == len(toy.candidates(comparison.networks[0].shape))

    def w(xi):
        return w_coefficient(xi.p, xi.i, measured[xi], T)

    assert w(xi) == max(map(w, cover))
    assert w(comparison.best) == max(map(w, measured))
    costs = np.array([(s.p, s.i, e) for s, e in cover.items()])
    assert nondominated(costs)[list(cover).index(xi)]
    # Size and work: a theorem. The error: where the order holds.
    reach = (1 + toy.EPSILON) * (1 + 1e-9)
    assert all(any(s.p <= reach * x.p and s.i <= reach * x.i for s in cover) for x in measured)
    if not comparison.promise.order_violations:
        assert comparison.promise.achieved <= reach - 1
    # And the parts sum up.
    for network in comparison.networks:
        assert network.n_stored == network.shape.n_parameters
        assert network.shape.n_operations == network.first.size + network.second.size
    assert comparison.networks[1].shape == comparison.networks[0].shape
    assert comparison.errors[1] <= comparison.tolerance
    assert toy_figures.figure(comparison).data


def test_where_nothing_is_smaller_the_choice_is_T():
    comparison = toy.compare(Toy(1, 0, 1, 0, 1, inputs=1))
    assert comparison.chosen == comparison.best == comparison.extraction.maximum
    assert comparison.networks[2].n_stored == 4 and comparison.promise.achieved == 0


@pytest.mark.parametrize("T", [Toy(), Toy(2, 1, 1, 1, 1)])
def test_in_the_draws_where_the_order_holds_the_promise_is_kept(T):
    promises = toy.every_draw(T)
    in_order = [promise for promise in promises if not promise.order_violations]
    assert in_order and all(promise.achieved <= toy.EPSILON for promise in in_order)
    assert len(promises) == 10 and promises[T.draw] == toy.compare(T).promise
    outcomes = toy_figures.draws(promises)["Promise"].tolist()
    assert outcomes == ["kept" if p.achieved <= toy.EPSILON else "broken" for p in promises]


def test_every_weight_and_unit_is_drawn_in_its_kind():
    comparison = toy.compare(Toy())
    counts: dict[str, list[int]] = {}  # of each kind, in each of the three networks
    for trace in toy_figures.figure(comparison).data:
        row = counts.setdefault(trace.name, [0, 0, 0])
        row[["x", "x2", "x3"].index(trace.xaxis)] = list(trace.x).count(None) or len(trace.x)
    assert counts == {
        "Weight": [56, 56 - 29, 30],
        # Of the 35 zeros six are biases: two hidden units' and four outputs', which are not drawn.
        "Weight at zero": [0, 29, 0],
        "Input": [3, 3, 3],
        "Unit at work": [10, 10, 10],
        "Idle unit": [6, 6, 0],
        "Wire at 0": [0, 0, 1],
    }
    assert "35 of 72 parameters are zero" in toy_figures.summary(comparison)
    assert toy_figures.to_frame(comparison)["Parameters stored"].tolist() == [72, 72, 40]


def test_the_presets_show_what_their_captions_say(open_lesson):
    at = open_lesson("pruning")
    for preset in (pruning.BAD, pruning.GOOD):
        press(at, preset.label)
        assert {key: at.slider(key=key).value for key in preset.values} == preset.values
    assert "**35 zeros among 72 parameters**" in words(at)
    assert "**40 parameters and 30 multiplications**" in words(at)
    # "A network of little more than half the size gives the same answers."
    good, bad = toy.compare(pruning.ARTICLE), toy.compare(pruning.FULL)
    assert 0.5 < good.chosen.p / good.extraction.maximum.p < 0.6 and good.errors[2] < 1e-12
    assert good.promise.achieved <= toy.EPSILON
    # "Nothing to spare. Whatever is smaller errs, and the best W is that of a tiny network."
    assert not np.concatenate(toy.idle(bad.networks[0], bad.exam.x)).any()
    T = bad.extraction.maximum
    assert all(e > ERROR_FLOOR for xi, e in bad.extraction.measured.items() if xi != T)
    assert bad.chosen.p < 0.25 * T.p and bad.errors[2] > 0.25
