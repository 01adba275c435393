"""How long a fine-tuning takes, and how many trainings its rounds have."""

from bort_engine.algorithms.agora import prune
from bort_engine.finetune.forecast import TRAININGS, rounds, stages
from bort_engine.finetune.plan import CONFIGS, Config, Plan, Request


def planned(monkeypatch, tmp_path, **plan):
    monkeypatch.setenv("BORT_CACHE", str(tmp_path))
    shape, task = "3,12,384,768", "rotten-tomatoes"
    return stages(Request.of(shape, "minilm-l6", task, Plan(**plan), None))


def test_the_run_that_was_measured_is_planned_as_long_as_it_was(monkeypatch, tmp_path):
    plan = planned(monkeypatch, tmp_path, labelled=1000)
    assert [stage.name for stage in plan] == [
        "fetching", "fine-tuning the source", "labelling all texts with it", "comparing all texts",
        TRAININGS, "saving and reloading",
    ]  # fmt: skip
    assert sum(s.low for s in plan) < 625 < sum(s.high for s in plan)


def test_controls_and_seeds_take_as_long_as_agora_each(monkeypatch, tmp_path):
    one, many = (
        next(s for s in planned(monkeypatch, tmp_path, **change) if s.name == TRAININGS)
        for change in ({"controls": ()}, {"controls": ("plain",), "seeds": 3})
    )
    assert round((many.middle - 2) / (one.middle - 2)) == 6


def test_the_trainings_of_a_round_follow_from_who_leaves_by_hand():
    quick = CONFIGS["quick"]  # the first two share four fields, the others none
    assert prune(quick[:2]) == (quick[:2], 4)
    # Fewest: the pair leaves first, then one after another; most: the pair stays to the end.
    assert rounds(quick) == ((4, 2, 1), (4, 3, 2))
    assert rounds(quick[:1]) == ((1,), (1,)) and rounds(()) == ((), ())
    many = tuple(Config(1e-4, 0, 0.1, 8, seed) for seed in range(8))
    assert rounds(many) == ((8, 4, 2, 1), (8, 7, 6, 5, 4, 3, 2, 1))
