"""The rivals: each asks within its budget, never twice, the same again with the same seed."""

from itertools import product

import pytest

from bort_engine.algorithms.pareto import nondominated
from bort_engine.encoder.space import Architecture
from bort_engine.search.rivals import SAMPLERS, sample

GRID = [
    Architecture(d, a, h, i)
    for d, a, h, i in product((1, 2, 3), (2, 4, 12), (96, 128), (192, 384))
    if h % a == 0
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
def test_each_asks_for_as_many_different_ones_as_it_may(sampler):
    asked = []

    def ask(a):
        asked.append(a)
        return law(a)

    costs = sample(sampler, GRID, ask, budget=12, seed=3)
    assert len(asked) == len(set(asked)) == 12 and list(costs) == asked
    assert set(asked) <= set(GRID)
    assert costs == {a: law(a) for a in asked}
    assert list(sample(sampler, GRID, law, budget=12, seed=3)) == asked


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_reaches_the_whole_space_and_ends(sampler):
    assert set(sample(sampler, GRID, law, budget=len(GRID), seed=0)) == set(GRID)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_another_seed_is_another_sample(sampler):
    one, other = (list(sample(sampler, GRID, law, budget=10, seed=s)) for s in (0, 1))
    assert one != other


def test_local_search_begins_in_the_corners_and_goes_step_by_step():
    asked = list(sample("local", GRID, law, budget=8, seed=0))
    assert asked[:2] == [Architecture(3, 12, 96, 384), Architecture(1, 2, 96, 192)]
    axes = {name: sorted({getattr(a, name) for a in GRID}) for name in Architecture.__slots__}

    def steps(a, b):
        places = [(axes[n].index(getattr(a, n)), axes[n].index(getattr(b, n))) for n in axes]
        return sum(abs(x - y) for x, y in places)

    for number, a in enumerate(asked[2:], 2):
        assert any(steps(a, b) == 1 for b in asked[:number])


def test_local_search_finds_the_front_of_a_smooth_law_before_all_is_trained():
    costs = sample("local", GRID, law, budget=len(GRID) - 4, seed=0)
    truth = [law(a) for a in GRID]
    front = {a for a, on in zip(GRID, nondominated(truth), strict=True) if on}
    assert len(front & set(costs)) >= len(front) - 4


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_all_begin_with_what_they_are_given(sampler):
    first = Architecture(2, 4, 128, 384)
    costs = list(sample(sampler, GRID, law, budget=6, seed=0, first=first))
    assert costs[0] == first and len(costs) == 6


def test_what_asking_raises_is_passed_on():
    def ask(a):
        raise RuntimeError("no power")

    for sampler in ("random", "local"):
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


@pytest.mark.parametrize(
    ("sampler", "budget", "text"),
    [
        ("magic", 3, r"sampler is 'magic'; allowed: random, tpe, nsga2, local, brute"),
        ("tpe", 0, r"budget is 0; allowed: 1 to 30, the size of the space"),
        ("local", 31, r"budget is 31; allowed: 1 to 30"),
        ("random", True, r"budget is True"),
    ],
)
def test_a_mistake_is_one_line(sampler, budget, text):
    with pytest.raises(ValueError, match=text):
        sample(sampler, GRID, law, budget)
