"""What a whole table says, by hand on three candidates and on a law without exceptions."""

import numpy as np
import pytest

from bort_engine.algorithms.fptas import Candidate
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import SearchSpace
from bort_engine.lab.ground_truth import CoverResult, covers, noise, order, surface


def nested(*errors: float) -> tuple[list[Candidate], list[float]]:
    """Candidates that contain one another, each twice as large and slow as the one before."""
    sizes = [2.0**n for n in range(len(errors))]
    return [Candidate(n, p, p, order=(n + 1,)) for n, p in enumerate(sizes)], list(errors)


def test_noise_is_the_difference_of_two_tables():
    measured = noise(np.array([0.4, 0.5, 0.6]), np.array([0.4, 0.5, 0.9]))
    assert measured.median == 0
    # The last two are 0.3 apart; the 95th percentile lies nine tenths of the way from 0 to it.
    assert measured.p95 == pytest.approx(0.9 * 0.3)
    assert measured.kendall_tau == pytest.approx(1)


def test_only_what_rises_by_more_than_the_tolerance_breaks_the_order():
    candidates, errors = nested(0.50, 0.51, 0.60)
    held = order(candidates, errors)
    # 0.51 is 0.01 over 0.50; 0.60 is 0.10 over the first and 0.09 over the second.
    assert (held.pairs, held.violations) == (3, 2)
    assert held.worst == pytest.approx(0.1)


def test_the_predictor_of_a_power_law_has_no_error():
    shapes = list(SearchSpace.parse("D=1-3 A=2,4 H=96,192 I=192,384", sources["minilm-l6"]))
    candidates = [Candidate(a, 1.0, 1.0) for a in shapes]
    errors = [0.9 * a.num_hidden_layers**-0.2 * a.hidden_size**-0.1 for a in shapes]
    assert surface(candidates, errors).leave_one_out == pytest.approx(0, abs=1e-9)


def test_covers_are_held_against_all_that_was_measured():
    candidates, errors = nested(1.4, 0.8, 0.0)
    lazy, whole = covers(candidates, errors, epsilons=(0.5,))
    assert whole == CoverResult(0.5, False, cells=3, evaluations=3, achieved=0.0)
    assert lazy == CoverResult(0.5, True, cells=3, evaluations=3, achieved=0.0)
    lazy, whole = covers(*nested(0.4, 0.39, 0.0), epsilons=(0.5,))
    # One cell each; T and the smallest prove the middle one covered: 0.4 is within 0.5 of 0.
    assert (whole.evaluations, lazy.evaluations) == (3, 2)
    assert lazy.achieved == pytest.approx(0.01) and whole.achieved == 0


def test_where_errors_rise_with_size_the_cover_says_what_it_achieved():
    # The middle one, the best, is never asked for: by the order it errs no less than T.
    candidates, errors = nested(0.8, 0.1, 0.8)
    lazy, _ = covers(candidates, errors, epsilons=(0.5,))
    assert lazy.evaluations == 2 and lazy.achieved == pytest.approx(0.7)
