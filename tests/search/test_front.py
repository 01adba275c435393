"""The verb `front`: on record, predicted, and measured for real on a tiny grid."""

from dataclasses import replace

import pytest

from bort_engine.algorithms.pareto import nondominated
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture
from bort_engine.runs.events import Cancelled
from bort_engine.search.evaluate import BriefTraining
from bort_engine.search.front import front
from bort_engine.search.result import Front, Search
from bort_engine.show import front as words
from bort_engine.training.elastic import Elastic
from bort_engine.training.trainer import Recipe, predict

GRID = "D=1-2 A=2 H=96 I=192,384"


def predicted(**change) -> Front:
    options = {"oracle": "glue", "latency": "recorded", "search": Search(space="bort")}
    return front("bert-large-uncased", epsilon=0.2, **(options | change))


def test_bert_large_in_bort_s_space_needs_no_training_and_says_predicted():
    result = predicted()
    assert (result.space_size, result.origin, result.oracle) == (300, "predicted", "glue")
    assert result.n_cells <= result.guarantee.cell_bound and result.achieved_epsilon <= 0.2
    # BERT-large, with r = 0, is none of the space; nothing in it errs less than its largest.
    assert result.source_point.r == min(p.r for p in result.points) > 0
    assert all(p.dev_error is None and not p.at_chance for p in result.points)
    assert result.maximum == Architecture(12, 16, 1024, 3072)
    assert result.provenance.predictor.n_points == 6
    assert result[sources["bort"].architecture].role == "known"
    costs = [(p.n_parameters, p.latency_ms, p.r) for p in result.points]
    tie = result.latency.median_relative_error
    assert [p.pareto for p in result.points] == nondominated(costs, tie).tolist()
    assert result.best.w == max(p.w for p in result.pareto)


def test_w_s_options_change_the_best_only():
    by_total = predicted(search=Search(space="bort", w_size="total", w_error="cross-entropy"))
    shapes = [{p.architecture for p in result.points} for result in (predicted(), by_total)]
    assert shapes[0] == shapes[1]
    point, T = by_total.points[3], by_total.source_point
    saved = (1 - point.n_parameters / T.n_parameters) * (1 - point.latency_ms / T.latency_ms)
    assert point.w == pytest.approx(max(0, saved) / point.error)


def test_a_recorded_front_is_drawn_for_any_epsilon_and_its_promise_kept():
    for epsilon in (1.0, 0.5, 0.3):
        result = front("minilm-l6", epsilon=epsilon, errors="recorded")
        assert result.origin == "recorded" and result.achieved_epsilon <= epsilon
        assert result.oracle == "elastic" and result.n_evaluated < result.space_size / 20
        assert all(p.r == result.scale.r(p.dev_error) for p in result.points)
        assert result.guarantee.n_missed == 0 and result.guarantee.most_uncovered < 0.1
        # the table holds the whole space, which costs nothing to hold the promise against
        assert result.guarantee.n_evaluated == result.space_size > len(result.points)
        assert result.guarantee.n_uncovered == 0
    assert result.provenance.made.machine and result.provenance.teacher.n_dev == 1267


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epsilon": 0}, r"epsilon is 0; allowed: 0.01 to 1"),
        ({"oracle": "guess"}, r"oracle is 'guess'; allowed: brief, scratch, elastic, glue"),
        ({"source": "bort"}, r"source bort has no weights to load"),
        ({"search": Search(space="D=7 A=2 H=96 I=192")}, r"num_hidden_layers 7 is beyond minilm"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(change, text):
    with pytest.raises(ValueError, match=text):
        front(**({"source": "minilm-l6"} | change))


def test_search_options_are_named_when_wrong():
    with pytest.raises(ValueError, match=r"selection is 'best'; allowed: cover, stride"):
        Search(selection="best")
    with pytest.raises(ValueError, match=r"tolerance is 1; allowed: 0 up to, not with, 1"):
        Search(tolerance=1)


def test_a_front_of_an_older_version_is_refused_in_one_line(tmp_path):
    (tmp_path / "front.json").write_text('{"schema": 2, "points": []}\n')
    with pytest.raises(ValueError, match=r"front\.json.* another version.*run `front` again") as e:
        front("minilm-l6", errors="recorded", out=tmp_path)
    assert "\n" not in str(e.value)


@pytest.mark.usefixtures("quick_evaluator")
def test_a_measured_front_is_saved_resumed_and_refined(small_task, tmp_path):
    def run(epsilon: float = 0.5) -> tuple[Front, list[str]]:
        events: list[dict] = []
        result = front(
            "minilm-l6",
            small_task,
            epsilon,
            oracle="brief",
            search=Search(space=GRID, lazy=False, spot_checks=1),
            training=BriefTraining(steps=2, teacher_steps=4),
            out=tmp_path,
            on_progress=events.append,
        )
        return result, [e["detail"] for e in events if e.get("detail", "").startswith("training")]

    first, trained = run()
    assert first.origin == "measured" and len(trained) == first.guarantee.n_evaluated
    assert Front.load(tmp_path / "front.json") == first
    again, nothing = run()
    assert nothing == []
    assert replace(again, provenance=first.provenance) == first
    finer, more = run(epsilon=0.05)
    assert len(finer.points) >= len(first.points)
    lines = (tmp_path / "evaluations.jsonl").read_text().splitlines()
    assert len(lines) == 1 + len(trained) + len(more) <= 5
    # told at once: no other T is fine-tuned first
    with pytest.raises(ValueError, match=r"with teacher_steps 4, not with teacher_steps 0;"):
        training = BriefTraining(steps=2)
        front("minilm-l6", small_task, oracle="brief", training=training, out=tmp_path)


@pytest.mark.parametrize("stage", ["evaluating candidates", "checking the whole space"])
def test_a_stop_leaves_a_front_of_what_was_measured(quick_evaluator, small_task, tmp_path, stage):
    measured: list[str] = []

    def run(stop_after: int) -> Front:
        def on_progress(event: dict) -> None:
            if event["stage"] == stage and "architecture" in event:
                measured.append(event["architecture"])
            if len(measured) >= stop_after:  # once stopped, it stays so
                raise Cancelled

        search = Search(space="D=1,6 A=12 H=96,384 I=192,1536", spot_checks=1, check_all=True)
        return front(
            "minilm-l6",
            small_task,
            1.0,
            latency="recorded",
            search=search,
            training=BriefTraining(steps=2, teacher_steps=4),
            out=tmp_path,
            on_progress=on_progress,
        )

    with pytest.raises(Cancelled):
        run(stop_after=2)
    stopped = Front.load(tmp_path / "front.json")
    lines = (tmp_path / "evaluations.jsonl").read_text().splitlines()
    assert stopped.partial == (stage == "evaluating candidates")
    assert stopped.guarantee.n_evaluated == len(stopped.points) == len(lines) - 1 < 8
    assert ("partial" in words.badge(stopped).lower()) == stopped.partial
    assert ("nothing is promised" in words.promise(stopped)) == stopped.partial
    whole = run(stop_after=99)
    assert whole.guarantee.n_evaluated == len(whole.points) == whole.space_size == 8
    assert {p.architecture for p in stopped.points} < {p.architecture for p in whole.points}
    assert not whole.partial and "That is the whole space: " in words.promise(whole)


def test_points_of_an_elastic_front_err_as_the_front_says(quick_evaluator, small_task):
    result = front(
        "minilm-l6",
        small_task,
        0.5,
        latency="recorded",
        search=Search(space="D=1,6 A=2,12 H=96,384 I=192,1536", lazy=False, spot_checks=0),
        training=BriefTraining(steps=2, teacher_steps=4),
    )
    # Two heads would be wider than the source's.
    assert (result.oracle, result.space_size) == ("elastic", 8)
    T, source = quick_evaluator.teacher, sources["minilm-l6"]
    student = Elastic.prepare(source, T, Recipe(steps=2, batch_size=64, learning_rate=4e-4))
    assert result.source_point.dev_error == T.dev_error
    for point in result.points:
        logits = predict(student.cut(point.architecture), T.dev_data, T.tokenizer)
        wrong = (logits.argmax(1) != T.dev_labels).mean()
        assert point.dev_error == pytest.approx(wrong, abs=1e-6)


def test_a_local_folder_is_a_source_like_any_other(embedded, tmp_path):
    from bort_engine.encoder.build import load_source

    load_source(sources["minilm-l6"]).save_pretrained(tmp_path / "mine")
    source = Source.load(str(tmp_path / "mine"))
    assert source.architecture == sources["minilm-l6"].architecture
    assert load_source(source, num_labels=2).config.num_labels == 2
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"the weights of .*mine could not be loaded"):
        load_source(source)
    with pytest.raises(ValueError, match=r"model.safetensors is damaged"):
        Source.load(source.name)
