"""How long a front takes: replayed from what was recorded, with the recorded times."""

from dataclasses import replace

import pytest

from bort_engine.encoder.sources import sources
from bort_engine.encoder.timing import LatencySettings
from bort_engine.runs import records
from bort_engine.runs.time_left import TimeLeft
from bort_engine.search import errors as oracles
from bort_engine.search.candidates import calibration_for
from bort_engine.search.evaluate import BriefTraining, Setup
from bort_engine.search.forecast import EVALUATING, Evaluations, kept, layer_stages, stages
from bort_engine.search.front import search_front
from bort_engine.search.layer_result import Effort
from bort_engine.search.result import Search
from bort_engine.training import forecast
from bort_engine.training.teacher import student_name
from tests.conftest import TEACHER

MINILM = sources["minilm-l6"]
FINE = oracles.searched("default", "elastic", MINILM)


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BORT_CACHE", str(tmp_path))
    return tmp_path


def planned(epsilon, source=MINILM, task="rotten-tomatoes", space=FINE, **search):
    return stages(
        source,
        task,
        epsilon,
        "elastic",
        space,
        Search(**search),
        BriefTraining(),
        LatencySettings(),
    )


def test_minilm_s_first_front_is_planned_as_it_was_measured(empty_cache):
    plan = {stage.name: stage for stage in planned(0.1)}
    fetching, teacher, labelling, calibrating, elastic, evaluating = plan.values()
    assert fetching.name == "fetching" and not fetching.is_work
    assert forecast.to_fetch_mb(MINILM, "rotten-tomatoes") == 93
    assert teacher.low < 109 * 60_600 / 71_967 < teacher.high and labelling.middle < 25
    assert elastic.low < 224 < elastic.high and calibrating.low < 15 < calibrating.high
    assert evaluating.low < 46 < evaluating.high
    assert sum(s.low for s in plan.values()) < 404 < sum(s.high for s in plan.values())


def test_what_is_kept_is_left_out_and_the_rest_of_the_space_comes_in(empty_cache):
    whole = planned(0.2, check_all=True)
    assert whole[-1].name == "checking the whole space" and whole[-1].low > 10 * whole[-2].high
    assert forecast.is_kept(MINILM, "rotten-tomatoes", 10_100) is False
    setup = Setup("minilm-l6", "rotten-tomatoes", "elastic")
    folder = empty_cache / "teachers" / "minilm-l6-rotten-tomatoes-1"
    (folder / student_name(setup.as_recipe(), 0)).mkdir(parents=True)
    assert kept(MINILM, setup) == ()  # no T
    records.write(folder / "report.json", TEACHER)
    n_train = TEACHER.n_labelled
    assert forecast.is_kept(MINILM, "rotten-tomatoes", n_train)
    assert forecast.is_kept(MINILM, "rotten-tomatoes", n_train + 1) is False
    records.write(folder / "report.json", replace(TEACHER, n_labelled=10_100))
    assert kept(MINILM, setup) == (*forecast.TEACHER_STAGES, forecast.ELASTIC)
    other = replace(setup, training=BriefTraining(steps=300))  # a student of another training
    assert kept(MINILM, other) == kept(MINILM, replace(setup, seed=1)) == forecast.TEACHER_STAGES
    base = sources["bert-base-uncased"]
    space = oracles.searched("default", "elastic", base)
    larger = planned(0.2, base, space=space)[1]
    assert larger.middle > 5 * planned(0.2)[1].middle


def test_minilm_s_uneven_shapes_are_planned_as_they_were_measured(empty_cache):
    n = Effort().n_shapes
    assert n == 300 + 50 + 8 * 40 + 40 + 40
    plan = layer_stages(MINILM, "rotten-tomatoes", n, BriefTraining(), LatencySettings())
    assert plan[:-1] == planned(0.1)[:-1]  # whatever comes before
    # Two side by side took 0.97 s each.
    assert plan[-1].name == EVALUATING and plan[-1].low < n * 0.97 / 2 < plan[-1].high


def test_how_many_evaluations_are_left_by_hand():
    n = Evaluations(100, checks=30, closer=20, lazy=True, space_size=1000)
    assert n.left(0, 0, 130) == 100 + 50 and n.left(36, 90, 130) == 64 + 50
    assert n.left(99, 99, 130) == n.left(150, 99, 130) == 1 + 50  # not settled yet
    assert n.share(75, 75) == 75 / (150 + 12) and n.share(140, 10) == 146 / 162
    assert n.left(90, 100, 130) == 30 + 20 and n.left(120, 130, 130) == 20
    assert replace(n, space_size=50).left(36, 42, 130) == 14  # all there are
    eager = replace(n, lazy=False)  # 90 of 100 cells after 36 evaluations: 40 are all
    assert eager.left(36, 90, 130) == 4 + 50
    assert Evaluations.of(Search(selection="exhaustive"), 0.1, 300) == (
        Evaluations(300, 0, 0, False, 300)
    )
    assert Evaluations.of(Search(), 0.1, 2640).cover == 45


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("epsilon", [0.05, 0.1, 0.2])
def test_a_recorded_search_is_foretold_within_a_factor_of_one_and_a_half(
    empty_cache, seed, epsilon
):
    """The stages before it take what docs/scale.md says; each evaluation what it took on record."""
    recorded = oracles.shipped("minilm-l6", "rotten-tomatoes", seed)
    calibration = calibration_for(MINILM, FINE, None, "recorded")
    trace, events, clock = TimeLeft(), [], [0.0]
    before = (("fetching", 15), (forecast.TEACHER_STAGES[0], 92), (forecast.TEACHER_STAGES[1], 17),
              ("calibrating latency", 15), (forecast.ELASTIC, 224))  # fmt: skip

    def told(event):
        left = trace.note(event, clock[0])
        events.append((clock[0], left.low, left.high))

    told({"stage": "getting ready", "done": 0, "total": 0, "plan": planned(epsilon)})
    for stage, seconds in before:
        for done in range(101):
            told({"stage": stage, "done": done, "total": 100})
            clock[0] += seconds / 101

    def evaluate(architecture):
        clock[0] += recorded.evaluations[architecture].seconds / 2  # two were side by side
        return recorded.evaluations[architecture]

    oracle = replace(recorded, evaluations={}, evaluate_new=evaluate, on_progress=told)
    search_front(MINILM, FINE, epsilon, Search(), calibration, oracle, seed)
    end = clock[0]
    assert trace.stage == EVALUATING and max(events[-1][1:]) < 5
    for over, low, high in events:
        left = end - over
        if 0.1 * end < over < 0.95 * end:
            assert low / 1.5 < left < high * 1.5, (over, left)
        if 0.1 * end < over < 0.5 * end:
            assert 1 / 1.5 < (low + high) / 2 / left < 1.5, (over, left)
