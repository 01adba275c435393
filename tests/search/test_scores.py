"""A race's scores by hand and against moocore; records that cannot be trusted."""

import json
from dataclasses import replace

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bort_engine.algorithms.pareto import achieved_epsilon
from bort_engine.encoder.space import Architecture
from bort_engine.runs import records
from bort_engine.search.result import Costs
from bort_engine.search.scale import Scale
from bort_engine.search.scores import Curves, Race, Truth
from tests.fake_engine import synthetic_race

# Sizes 1, 2, 4 and errors 0.8, 0.4, 0.2 at one latency: all three are on the front.
THREE = np.array([[1.0, 1.0, 0.8], [2.0, 1.0, 0.4], [4.0, 1.0, 0.2]])
COSTS = arrays(np.float64, st.tuples(st.integers(2, 12), st.just(3)), elements=st.floats(0.5, 9.0))


def point(depth: int, size: int, latency_ms: float) -> Costs:
    return Costs(Architecture(depth, 2, 96, 192), size, size // 2, size * 10, latency_ms)


def a_race(**change) -> Race:
    """Three points on the front, two training seeds; the second made all errors half as large."""
    values = {
        "budget": 2,
        "points": (point(1, 100, 1.0), point(2, 200, 1.0), point(3, 400, 1.0)),
        "errors": ((0.8, 0.4, 0.2), (0.4, 0.2, 0.1)),
        "seconds": ((1.0, 2.0, 4.0), (1.0, 2.0, 4.0)),
        "traces": {"fptas": ((2, 0), (2, 0)), "random": ((0, 1), (1, 0), (2, 1))},
        "finished": ({1.0: 1}, {1.0: 2}),
    }
    return synthetic_race(**values | change)


def test_the_achieved_epsilon_of_a_trace_by_hand():
    truth = Truth(THREE)
    # The first alone errs 0.6 more than the last; with the second, 0.2; then nothing is left.
    assert truth.epsilons([0, 1, 2]) == pytest.approx([0.6, 0.2, 0.0])
    # The last alone is 4 times as large as the first, which errs 0.4 more than the second.
    assert truth.epsilons([2, 0]) == pytest.approx([3.0, 0.4])


def test_the_hypervolume_of_a_trace_by_hand():
    # Scaled: sizes 0, 1/3, 1; latency all 0; errors 1, 1/3, 0; the reference is 1.1 everywhere.
    whole = 1.1 * (1.1 * 0.1 + (1.1 - 1 / 3) * (1 - 1 / 3) + 0.1 * (1 / 3))
    first = 1.1 * 1.1 * 0.1
    second = first + 1.1 * (1.1 - 1 / 3) * (1 - 1 / 3)
    shares = Truth(THREE).hypervolumes([0, 1, 2])
    assert shares == pytest.approx([first / whole, second / whole, 1.0])


@given(COSTS, st.randoms(use_true_random=False))
def test_scores_are_moocore_s_on_every_prefix(costs, random):
    truth, trace = Truth(costs), random.sample(range(len(costs)), len(costs))
    low, spread = costs.min(axis=0), np.maximum(np.ptp(costs, axis=0), 1e-12)
    ref = np.full(3, 1.1)
    whole = moocore.hypervolume((costs - low) / spread, ref=ref)
    epsilons, volumes = truth.epsilons(trace), truth.hypervolumes(trace)
    for n in range(1, len(trace) + 1):
        some = costs[trace[:n]]
        assert epsilons[n - 1] == pytest.approx(achieved_epsilon(some, costs))
        share = moocore.hypervolume((some - low) / spread, ref=ref) / whole
        assert volumes[n - 1] == pytest.approx(share)
    assert (np.diff(epsilons) <= 1e-12).all() and (np.diff(volumes) >= -1e-12).all()
    assert epsilons[-1] == pytest.approx(0) and volumes[-1] == pytest.approx(1)


def test_what_was_not_measured_is_no_part_of_the_truth():
    truth = Truth(np.array([[1.0, 1.0, 0.8], [2.0, 1.0, np.nan], [4.0, 1.0, 0.2]]))
    assert truth.epsilons([0, 2]) == pytest.approx([0.6, 0.0])


def test_the_price_of_a_goal_is_the_median_over_seeds_and_none_beyond_the_budget():
    epsilon = np.array([[0.5, 0.15, 0.05], [0.15, 0.05, 0.05], [0.5, 0.5, 0.5]])
    curves = Curves(epsilon, epsilon, epsilon)
    assert curves.evaluations_to(0.2) == 2  # of 2, 1 and never
    assert curves.evaluations_to(0.1) == 3  # of 3, 2 and never
    assert curves.evaluations_to(0.01) is None


def test_seed_k_is_scored_on_the_table_it_saw():
    race = a_race()
    assert [race.table(seed) for seed in range(3)] == [0, 1, 0]
    assert race.seeds == 3
    # Seed 1 saw errors 0.4, 0.2, 0.1 and trained the middle, then the first.
    assert race.curves["random"].epsilon[1] == pytest.approx([1.0, 0.1])
    assert race.curves["random"].seconds.tolist() == [[1.0, 3.0], [2.0, 3.0], [4.0, 6.0]]
    assert race.trace("fptas", 3) == (2, 0)


def test_errors_are_compared_from_the_source_s_to_guessing_s():
    race = a_race(scale=Scale(0.1, 0.5))
    assert race.truths[0].costs[:, 2] == pytest.approx([1.4, 0.6, 0.2])
    assert race.curves["random"].epsilon[0] == pytest.approx([1.2, 0.4])


def test_the_summary_by_hand():
    summary = a_race().summary()
    assert (summary["budget"], summary["seeds"]) == (2, 3)
    assert summary["fptas"]["epsilon_median"] == pytest.approx(0.3)
    assert summary["fptas"]["evaluations_to_0.1"] is None
    assert summary["samplers"].keys() == {"random"}
    assert summary["samplers"]["random"]["epsilon_median"] == pytest.approx(0.2)
    json.dumps(summary, allow_nan=False)


def test_a_race_prints_one_line_a_searcher():
    lines = str(a_race()).splitlines()
    assert lines[0].startswith(
        "minilm-l6 on rotten-tomatoes: 2 evaluations each in a space of 3, 3 "
    )
    assert lines[2].split()[0] == "FPTAS" and lines[2].split()[-1] == "-"
    assert lines[3].split()[:2] == ["Random", "search"]


def test_a_race_survives_being_saved_and_loaded(tmp_path):
    race = a_race()
    assert Race.load(race.save(tmp_path / "race.json")) == race


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema": 2}, r"another version.*run `race` again"),
        ({"points": []}, r"a table is not as long as the space"),
        ({"traces": {"random": [[0, 1]]}}, r"the FPTAS is missing"),
        ({"traces": {"fptas": [[0, 1]], "<b>": [[0, 1]]}}, r"a searcher's name is no name"),
        ({"traces": {"fptas": [[0, 7], [0, 1]]}}, r"names a point that does not exist"),
        ({"traces": {"fptas": [[0, 0], [0, 1]]}}, r"not as long as the budget, or repeats itself"),
        ({"traces": {"fptas": []}}, r"a searcher has no trace"),
        ({"errors": [[0.1, None, 0.3], [0.1, 0.2, 0.3]]}, r"a point that was not measured"),
        ({"errors": [[0.1, 0.2, -1], [0.1, 0.2, 0.3]]}, r"errors.0.2"),
        ({"seconds": [[1.0, 1.0, 1.0]]}, r"of different seeds"),
        ({"finished": [{"1.0": 0}, {}]}, r"finished.0"),
    ],
)
def test_a_hostile_record_is_refused_with_its_cause(change, text):
    with pytest.raises(ValueError, match=text):
        records.parse(json.dumps(records.dump(a_race()) | change), Race)


def test_effective_size_counts_the_encoder_only():
    race = a_race(points=tuple(replace(p, n_encoder_parameters=50) for p in a_race().points))
    assert race.curves["random"].epsilon[0, 0] == pytest.approx(0.6)
    encoder_only = replace(race, size="effective")
    # At one size and one latency the front is the last point alone.
    assert encoder_only.curves["random"].epsilon[2] == pytest.approx([0.0, 0.0])
