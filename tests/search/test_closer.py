"""A closer look around what is recommended, on spaces made by hand and at random."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bort_engine.algorithms.fptas import Candidate
from bort_engine.search.closer import closer_look


def space(times):
    return [Candidate(key, 1.0, float(i)) for key, i in enumerate(times)]


def test_the_fastest_that_is_likely_within_the_limit_comes_first_by_hand():
    candidates = space([8, 4, 2, 1, 16])
    errors = [0.0, 0.05, 0.3, 0.9, 0.0]
    asked = []

    def measure(keys):
        asked.append(keys)
        return [errors[key] for key in keys]

    measured = {candidates[0]: 0.0, candidates[4]: 0.0}
    # The guess is off by 0 and by 0.2, so by 0.1 in the root mean square about its mean. Twice as
    # fast at probability 0.69, four times at 0.02; the slower one is never asked for.
    guess = np.array([0.0, 0.05, 0.3, 0.9, 0.2])
    found = closer_look(candidates, measure, measured, lambda known: guess, 1, 0.1)
    assert asked == [[1]] and found == {candidates[1]: 0.05}
    found = closer_look(candidates, measure, measured, lambda known: guess, 20, 0.1, 4)
    assert asked[1:] == [[1, 2, 3]] and [xi.key for xi in found] == [1, 2, 3]


def test_without_a_guess_or_anything_faster_nothing_is_measured():
    candidates = space([2, 1, 3])

    def measure(keys):
        raise AssertionError(keys)

    nothing = np.full(3, -np.inf)
    assert not closer_look(candidates, measure, {candidates[0]: 0.0}, lambda _: nothing, 9, 0.1)
    best = {candidates[1]: 0.0}
    assert not closer_look(candidates, measure, best, lambda _: np.zeros(3), 9, 0.1)


@given(st.integers(0, 10**6), st.integers(0, 12))
def test_it_keeps_to_its_number_repeats_nothing_and_asks_for_faster_ones_only(seed, n):
    rng = np.random.default_rng(seed)
    candidates, errors = space(rng.uniform(1, 9, 30)), rng.uniform(0, 1, 30)
    limit = float(errors[0])
    fastest, asked = candidates[0].i, []

    def measure(keys):
        nonlocal fastest
        assert all(candidates[key].i < fastest for key in keys)
        asked.extend(keys)
        fastest = min([fastest, *(candidates[key].i for key in keys if errors[key] <= limit)])
        return errors[keys].tolist()

    guess = rng.uniform(0, 1, 30)
    found = closer_look(candidates, measure, {candidates[0]: limit}, lambda _: guess, n, limit, 3)
    assert len(found) <= n and [xi.key for xi in found] == asked
    assert len({*asked, 0}) == len(asked) + 1
