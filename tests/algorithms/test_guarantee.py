"""The promise and its assumption, checked by hand; the checks' limit against the binomial."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from bort_engine.algorithms.fptas import Candidate, Extraction
from bort_engine.algorithms.guarantee import guarantee, upper_limit

Truth = dict[Candidate, float]


def measured(cover: Truth, checks: Truth) -> Extraction:
    return Extraction(next(iter(cover)), cover, {}, checks, len(cover), 9.0, {})


T, A, B, X = (
    Candidate(key, p, i, order)
    for key, p, i, order in (
        ("T", 8, 8, (2, 2)),
        ("a", 4, 4, (1, 2)),
        ("b", 4, 3, (2, 1)),
        ("x", 3, 4, (1, 1)),
    )
)


def test_the_guarantee_is_what_was_measured_by_hand():
    # T contains all, a and b contain x, a and b do not compare: 5 pairs. a errs 0.2 more than x
    # though it contains it; b 0.02, which is noise.
    extraction = measured({T: 0.1, A: 0.4, B: 0.22}, {X: 0.2})
    promise = guarantee(extraction, epsilon=0.2)
    assert (promise.n_measured, promise.order_pairs, promise.order_violations) == (4, 5, 1)
    assert promise.worst_violation == pytest.approx(0.2)
    # x is covered best by b: 4 / 3 - 1 in p, 0 in i, 0.02 in the error; that is beyond 0.2
    assert promise.achieved == pytest.approx(1 / 3)
    assert (promise.n_missed, promise.most_uncovered) == (1, 1.0)
    # y, known from elsewhere, is as b but errs 0.1 less: it is covered by b from 0.1 on
    known = guarantee(extraction, 1 / 3, others={replace(B, key="y"): 0.12})
    assert (known.n_measured, known.n_uncovered, promise.n_uncovered) == (5, 0, 1)
    assert guarantee(extraction, 0.09, others={replace(B, key="y"): 0.12}).n_uncovered == 2
    kept = guarantee(extraction, epsilon=1 / 3, tolerance=0.01)
    assert kept.order_violations == 2 and kept.n_missed == 0
    assert kept.most_uncovered == pytest.approx(0.95)  # of one check: 1 - 0.05


def test_without_checks_nothing_is_known_of_the_rest():
    promise = guarantee(measured({T: 0.1, A: 0.4}, {}), epsilon=0.2)
    assert (promise.achieved, promise.n_missed, promise.most_uncovered) == (0.0, 0, 1.0)


def test_the_limit_of_the_checks_by_hand():
    assert upper_limit(0, 30) == pytest.approx(1 - 0.05 ** (1 / 30))
    assert upper_limit(1, 2) == pytest.approx(0.95**0.5)  # 1 - q ** 2 = 0.05
    assert upper_limit(2, 2) == upper_limit(0, 0) == 1.0
    for missed, checks in ((1, 30), (7, 30), (29, 30), (3, 200)):
        limit = upper_limit(missed, checks)
        assert missed / checks < limit < 1
        assert binom.cdf(missed, checks, limit) == pytest.approx(0.05)


@pytest.mark.parametrize("order", [(1, 1), ()])
def test_equals_in_the_order_and_candidates_without_one_make_no_pairs(order):
    same = [Candidate(n, 8.0 - n, 1.0, order) for n in range(3)]
    errors = dict(zip(same, np.array([0.5, 0.4, 0.3]), strict=True))
    promise = guarantee(measured(errors, {}), epsilon=0.2)
    assert (promise.order_pairs, promise.order_violations, promise.worst_violation) == (0, 0, 0.0)
