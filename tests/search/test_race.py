"""The verb `race`: on tables made for the test, and trained for real on a tiny grid."""

from functools import partial
from pathlib import Path

import pytest

from bort_engine import race
from bort_engine.algorithms import fptas
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import SearchSpace
from bort_engine.runs.events import Cancelled
from bort_engine.runs.provenance import Provenance
from bort_engine.search.evaluate import BriefTraining, Evaluation, EvaluationTable, Header, Setup
from bort_engine.search.scale import Scale
from bort_engine.search.scores import Race
from bort_engine.training.teacher import ELASTIC_VERSION, RECIPE_VERSION, TeacherReport

GRID = "D=1-3 A=2,12 H=96,192 I=192,384"
SIZE, LARGEST = 24, "3,12,192,384"


def a_table(folder: Path, seed: int = 0, **changes) -> Path:
    """Write a table of made-up errors that fall with depth, width and neurons."""
    setup = Setup(**{"source": "minilm-l6", "task": "rotten-tomatoes", "seed": seed} | changes)
    teacher = TeacherReport(0.2, 0.1, 0.45, 1000, 1000, 1.0)
    path = folder / f"table-{seed}.jsonl"
    table = EvaluationTable(path, Header(setup, teacher, Provenance("made up", "", "")))
    for number, a in enumerate(SearchSpace.parse(GRID, sources["minilm-l6"])):
        volume = a.num_hidden_layers * a.hidden_size * a.intermediate_size
        error = 3 / volume**0.15 * (1 + 0.01 * ((number * 7 + seed) % 5))
        table.add(Evaluation(a, error, error / 2, 2.0))
    return path


def replayed(tmp_path, **options) -> Race:
    tables = [a_table(tmp_path, seed) for seed in (0, 1)]
    return race(
        "minilm-l6",
        **{"space": GRID, "oracle": "brief", "records": tables, "budget": 8, "seeds": 4} | options,
    )


def test_every_search_trains_its_budget_on_the_table_of_its_seed(tmp_path):
    result = replayed(tmp_path)
    assert result.searchers == ("fptas", "random", "tpe", "nsga2", "local", "surface", "gp")
    assert [len(result.traces[name]) for name in result.searchers] == [2, *[4] * 6]
    assert len(result.errors) == 2 and result.errors[0] != result.errors[1]
    assert {len(set(trace)) for traces in result.traces.values() for trace in traces} == {8}
    firsts = {trace[0] for traces in result.traces.values() for trace in traces}
    assert [str(result.points[row].architecture) for row in firsts] == [LARGEST]
    assert result.curves["tpe"].seconds[0].tolist() == [2.0 * n for n in range(1, 9)]
    assert result.provenance.training_seeds == (0, 1)
    assert replayed(tmp_path).traces == result.traces


def test_what_draws_nothing_at_random_searches_once_a_table(tmp_path):
    result = replayed(tmp_path, samplers=["stride", "fptas-no-surface", "grid"], seeds=3)
    assert [len(traces) for traces in result.traces.values()] == [2, 2, 2, 3]
    strides = result.traces["stride"]
    assert strides[0] == strides[1] and str(result.points[strides[0][-1]].architecture)[0] == "1"


def test_an_own_optuna_sampler_races_beside_the_others(tmp_path):
    from optuna.samplers import QMCSampler, TPESampler

    own = {
        "qmc": partial(QMCSampler, scramble=True),
        "tpe-again": lambda seed: TPESampler(seed=seed),
    }
    result = replayed(tmp_path, samplers=["tpe"], own=own)
    assert result.searchers == ("fptas", "tpe", "qmc", "tpe-again")
    assert result.traces["tpe-again"] == result.traces["tpe"]
    # One value a seed, of searches that differ, each as long as the budget, from the source on.
    assert result.curves["qmc"].epsilon.shape == (4, 8)
    assert len(set(result.traces["qmc"])) == 4
    assert str(result.points[result.traces["qmc"][0][0]].architecture) == LARGEST
    result.save(tmp_path / "race.json")
    assert Race.load(tmp_path / "race.json") == result and "\n              qmc " in str(result)


def test_with_the_whole_space_as_budget_everyone_finds_the_truth(tmp_path):
    result = replayed(tmp_path, budget=SIZE, seeds=1, samplers=["brute", "local"])
    for scores in result.summary()["samplers"].values():
        assert scores["hypervolume_median"] == 1 and scores["epsilon_median"] == 0
    assert result.summary()["fptas"]["epsilon_median"] == 0


def test_the_fptas_says_when_each_cover_was_whole(tmp_path):
    result = replayed(tmp_path, budget=SIZE, samplers=["random"], seeds=2)
    for seed, finished in enumerate(result.finished):
        counts = list(finished.values())
        assert counts == sorted(counts) and next(iter(finished)) == fptas.EPSILONS[0]
        for epsilon, evaluations in finished.items():
            # Where r should fall it rises by up to 0.04; the proofs allow for 0.03.
            assert result.curves["fptas"].epsilon[seed, evaluations - 1] <= epsilon + 0.011


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"samplers": ["magic"]}, r"sampler is 'magic'; allowed: random, tpe, nsga2, local, brute"),
        ({"own": {"tpe": dict}}, r"called 'tpe'; allowed: 1 to 17 of a-z.* none of fptas, random"),
        ({"own": {"<b>": dict}}, r"called '<b>'; allowed"),
        ({"own": {"mine": {}}}, r"mine is a dict with one seed; give what makes one from any"),
        ({"own": {"mine": dict}}, r"of your own is dict; it must be .*optuna.samplers.BaseSampler"),
        ({"own": {f"s{n}": dict for n in range(9)}}, r"16 searches are to race; allowed: 11"),
        ({"budget": 0}, r"budget is 0; allowed: 1 to 24, the size of the space; try 24"),
        ({"budget": True}, r"budget is True; allowed"),
        ({"seeds": 0}, r"seeds is 0; allowed: 1 to 1000"),
        ({"size": "small"}, r"size is 'small'; allowed: total, effective"),
        ({"records": ["nowhere.jsonl"]}, r"there is no table nowhere.jsonl; give an evaluations"),
        ({"space": "D=1-4 A=2 H=96 I=192", "budget": 2}, r"lacks 1 of 4 architectures; finish"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, options, text):
    with pytest.raises(ValueError, match=text):
        replayed(tmp_path, **options)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"source": "bort"}, r"measured with source 'bort', not 'minilm-l6'; record it anew"),
        ({"recipe": 1}, rf"measured with recipe 1, not {RECIPE_VERSION}"),
        ({"oracle": "elastic"}, r"measured with oracle 'elastic', not 'brief'"),
    ],
)
def test_a_table_of_something_else_is_refused(tmp_path, changes, text):
    with pytest.raises(ValueError, match=text):
        table = a_table(tmp_path, **changes)
        race("minilm-l6", oracle="brief", space=GRID, records=[table], budget=4, seeds=1)


def test_where_no_table_ships_the_way_out_is_named():
    with pytest.raises(ValueError, match=r"no table of all 3 architectures of bort on .*measured"):
        race("bort", space="D=1-3 A=2 H=96 I=192", budget=2)


def test_slices_of_another_elastic_student_are_refused_and_wide_heads_left_out(tmp_path):
    options = {"space": GRID, "budget": 4, "seeds": 1, "samplers": ["random"]}
    old, new = (
        a_table(folder, oracle="elastic", student=version)
        for folder, version in ((tmp_path / "old", 1), (tmp_path, ELASTIC_VERSION))
    )
    with pytest.raises(ValueError, match=rf"student 1, not {ELASTIC_VERSION}; record it anew"):
        race("minilm-l6", records=[old], **options)
    result = race("minilm-l6", records=[new], **options)
    assert result.oracle == "elastic" and len(result.points) == 12  # two heads would be too wide


def test_a_live_race_shares_what_it_trains_and_goes_on_after_a_stop(
    quick_evaluator, small_task, tmp_path, monkeypatch
):
    # After 4 steps T does no better than guessing.
    monkeypatch.setattr(Scale, "of", lambda teacher: Scale(teacher.dev_error))
    out, trained = tmp_path / "run", []

    def run(stop_after: int = 99) -> Race:
        trained.clear()

        def on_progress(event):
            if event.get("detail", "").startswith("training"):
                trained.append(event["detail"])

        return race(
            "minilm-l6",
            small_task,
            samplers=["random", "tpe"],
            budget=2,
            seeds=2,
            errors="measured",
            oracle="brief",
            space="D=1-2 A=2 H=96 I=192",
            training=BriefTraining(steps=2, teacher_steps=4),
            out=out,
            on_progress=on_progress,
            stop=lambda: len(trained) >= stop_after,
        )

    with pytest.raises(Cancelled):
        run(stop_after=2)  # in the middle of the second training
    assert len(trained) == 2
    result = run()
    assert len(trained) == 1  # that one again; all searches share the two
    assert result.origin == "measured" and result.errors[0].count(None) == 0
    assert Race.load(out / "race.json") == result
    assert len(list((out / "journals").glob("*.log"))) == 4
    assert run().traces == result.traces and not trained
