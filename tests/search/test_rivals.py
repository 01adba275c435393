"""The rivals: each asks within its budget, never twice, the same again with the same seed."""

import errno
from dataclasses import astuple
from itertools import product

import numpy as np
import pytest

from bort_engine.algorithms.fptas import Candidate, maximum_point
from bort_engine.algorithms.pareto import nondominated
from bort_engine.encoder.space import Architecture
from bort_engine.search import ablations
from bort_engine.search.rivals import SAMPLERS, sample

GRID = [
    Architecture(d, a, h, i)
    for d, a, h, i in product((1, 2, 3), (2, 4, 12), (96, 128), (192, 384))
    if h % a == 0 and h // a <= 48  # 128 units have heads of four or more
]


def law(a: Architecture) -> tuple[float, float, float]:
    """A made-up law: larger is slower and errs less; heads cost time and help a little."""
    volume = a.num_hidden_layers * a.hidden_size * a.intermediate_size
    return (
        float(volume),
        volume / 1e4 + a.num_attention_heads,
        1 / volume**0.3 + 0.01 / (a.num_attention_heads),
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_asks_for_its_budget_of_different_ones_by_its_seed(sampler):
    order = []

    def ask(a):
        order.append(a)
        return law(a)

    costs = sample(sampler, GRID, ask, budget=12, seed=3)
    assert len(order) == len(set(order)) == 12 and list(costs) == order
    assert costs == {a: law(a) for a in order}
    assert list(sample(sampler, GRID, law, budget=12, seed=3)) == order
    assert list(sample(sampler, GRID, law, budget=12, seed=4)) != order
    first = Architecture(2, 4, 128, 384)
    assert next(iter(sample(sampler, GRID, law, budget=6, first=first))) == first
    assert set(sample(sampler, GRID, law, budget=len(GRID))) == set(GRID)


CANDIDATES = [Candidate(a, *law(a)[:2], order=astuple(a)) for a in GRID]


@pytest.mark.parametrize("sampler", ablations.SAMPLERS)
def test_each_ablation_asks_for_its_budget_of_different_ones_by_its_seed(sampler):
    def order(budget: int, seed: int = 3) -> list[Architecture]:
        asked: list[Architecture] = []

        def error(a: Architecture) -> float:
            asked.append(a)
            return law(a)[2]

        T = maximum_point(CANDIDATES)
        found = ablations.sample(sampler, CANDIDATES, error, budget, seed, T)
        assert found == asked and len(set(asked)) == budget and asked[0] == T.key
        return asked

    assert order(12) == order(12)
    assert (order(12) == order(12, seed=4)) == (sampler in ablations.FIXED)
    assert set(order(len(GRID))) == set(GRID) and len(order(2)) == 2


def test_a_gaussian_process_guesses_a_smooth_law():
    errors = {xi: law(xi.key)[2] for xi in CANDIDATES[::3]}
    guess = ablations.gaussian_process(CANDIDATES)(errors)
    assert np.corrcoef(guess, [law(xi.key)[2] for xi in CANDIDATES])[0, 1] > 0.9


def test_local_search_begins_in_the_corners_and_goes_step_by_step():
    order = list(sample("local", GRID, law, budget=8, seed=0))
    assert order[:2] == [Architecture(3, 12, 96, 384), Architecture(1, 2, 96, 192)]
    axes = {name: sorted({getattr(a, name) for a in GRID}) for name in Architecture.__slots__}

    def steps(a, b):
        places = [(axes[n].index(getattr(a, n)), axes[n].index(getattr(b, n))) for n in axes]
        return sum(abs(x - y) for x, y in places)

    for number, a in enumerate(order[2:], 2):
        assert any(steps(a, b) == 1 for b in order[:number])


def test_local_search_finds_the_front_of_a_smooth_law_before_all_is_trained():
    costs = sample("local", GRID, law, budget=len(GRID) - 4, seed=0)
    truth = [law(a) for a in GRID]
    front = {a for a, on in zip(GRID, nondominated(truth), strict=True) if on}
    assert len(front & set(costs)) >= len(front) - 4


@pytest.mark.parametrize("sampler", ["random", "local"])
def test_what_asking_raises_is_passed_on(sampler):
    def ask(a):
        raise RuntimeError("no power")

    with pytest.raises(RuntimeError, match="no power"):
        sample(sampler, GRID, ask, budget=3)


def test_a_journal_holds_the_study_and_a_damaged_one_is_replaced(tmp_path):
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    path = tmp_path / "journals" / "random-0.log"
    path.parent.mkdir()
    path.write_text('{"op_code": 0, "worker_id": "cut off in the mid')
    costs = sample("random", GRID, law, budget=5, seed=1, journal=path)
    storage = JournalStorage(JournalFileBackend(str(path)))
    (study,) = optuna.get_all_study_summaries(storage)
    trials = optuna.load_study(study_name=study.study_name, storage=storage).trials
    assert {tuple(trial.values) for trial in trials} == set(costs.values())


def test_a_journal_that_cannot_be_written_is_an_error_of_the_system(tmp_path, monkeypatch):
    from optuna.storages.journal import JournalFileBackend

    write = JournalFileBackend.append_logs

    def full(self, logs):
        if any(log.get("values") for log in logs):  # the end of a trial
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    with pytest.raises(OSError, match="No space left"):
        sample("random", GRID, law, budget=5, seed=1, journal=tmp_path / "random-0.log")
