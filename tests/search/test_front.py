"""The verb `front`: on record, predicted, and measured for real on a tiny grid."""

import json
from dataclasses import replace

import pytest

from bort_engine.algorithms.pareto import nondominated
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture
from bort_engine.search import evaluate
from bort_engine.search.front import Search, front, recorded, recorded_front
from bort_engine.search.result import Front

GRID = "D=1-2 A=2 H=96 I=192,384"


def predicted(**change) -> Front:
    options = {"error": "published", "latency": "recorded", "search": Search(space="bort")}
    return front("bert-large-uncased", epsilon=0.2, **(options | change))


def test_bert_large_in_bort_s_space_needs_no_training_and_says_predicted():
    found = predicted()
    assert (found.space_size, found.origin, found.error_kind) == (300, "predicted", "published")
    assert found.n_evaluated <= found.n_cells <= found.guarantee["cell_bound"]
    assert all(p.dev_error is None and not p.at_chance for p in found.points)
    assert found.maximum == Architecture(12, 16, 1024, 3072)
    assert "leave-one-out" in found.provenance["task_note"]
    assert found.latency.recorded
    assert found[sources["bort"].architecture].role == "known"


def test_the_front_is_what_dominance_says_and_holds_the_best():
    found = predicted()
    costs = [(p.n_parameters, p.latency_ms, p.error) for p in found.points]
    assert [p.pareto for p in found.points] == nondominated(costs).tolist()
    assert found[found.best].pareto
    assert found[found.best].w == max(p.w for p in found.pareto)


def test_w_s_options_change_the_best_only():
    by_effective = predicted()
    by_total = predicted(search=Search(space="bort", w_size="total", w_error="cross-entropy"))
    assert {p.architecture for p in by_effective.points} == {
        p.architecture for p in by_total.points
    }
    some = by_total.points[3]
    T = by_total.source_point
    expected = (1 - some.n_parameters / T.n_parameters) * (1 - some.latency_ms / T.latency_ms)
    assert some.w == pytest.approx(max(0, expected) / some.error)


def test_every_recorded_pair_redraws_for_any_epsilon():
    assert ("minilm-l6", "rotten-tomatoes") in recorded()
    for epsilon in (1.0, 0.5, 0.2, 0.1):
        found = recorded_front("minilm-l6", "rotten-tomatoes", epsilon)
        assert found.origin == "recorded" and found.achieved_epsilon <= epsilon
        assert found.n_evaluated <= found.n_cells
        assert len(found.pareto) >= 4 or epsilon == 1.0
    assert found.provenance["machine"] and found.provenance["made_on"]


def test_laziness_saves_trainings_on_the_record():
    lazy = recorded_front("minilm-l6", epsilon=0.2)
    eager = recorded_front("minilm-l6", epsilon=0.2, search=Search(lazy=False))
    assert lazy.n_evaluated < eager.n_evaluated == eager.n_cells == lazy.n_cells


def test_what_is_not_on_record_is_one_clear_line():
    with pytest.raises(
        ValueError, match=r"no measurements of 'bort' on 'x' are shipped; on record"
    ):
        recorded_front("bort", "x")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epsilon": 0}, r"epsilon is 0; allowed: above 0, at most 1"),
        ({"epsilon": float("nan")}, r"epsilon is nan; allowed"),
        ({"error": "guess"}, r"error is 'guess'; allowed: measured, published"),
        ({"latency": "soon"}, r"latency is 'soon'; allowed: auto, measure, recorded"),
        ({"task": "nope"}, r"task 'nope' is not known; allowed: rotten-tomatoes"),
        ({"source": "nope"}, r"source 'nope' is not known"),
        ({"source": "bort"}, r"source bort has no weights to load; use error=published"),
        ({"search": Search(space="D=1 A=5 H=96 I=192")}, r"the grid is empty: none of the heads"),
        ({"search": Search(space="D=7 A=2 H=96 I=192")}, r"num_hidden_layers 7 is beyond minilm"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(change, text):
    with pytest.raises(ValueError, match=text):
        front(**({"source": "minilm-l6"} | change))


def test_search_options_are_named_when_wrong():
    with pytest.raises(
        ValueError, match=r"selection is 'best'; allowed: cover, stride, exhaustive"
    ):
        Search(selection="best")
    with pytest.raises(ValueError, match=r"tolerance is 1; allowed: 0 up to, not with, 1"):
        Search(tolerance=1)


@pytest.fixture
def measured(quick_cache, tmp_path):
    """Run a real, tiny extraction into a folder; count what was trained."""
    folder = tmp_path / "run"

    def run(epsilon: float = 0.5, **options) -> tuple[Front, list[str]]:
        events: list[dict] = []
        found = front(
            "minilm-l6",
            epsilon=epsilon,
            search=Search(space=GRID, lazy=False, spot_checks=1),
            steps=2,
            teacher_steps=4,
            out=folder,
            on_progress=events.append,
            **options,
        )
        return found, [e["detail"] for e in events if e.get("detail", "").startswith("training")]

    return folder, run


def test_a_measured_front_is_saved_resumed_and_refined(measured, quick_oracle):
    folder, run = measured
    first, trained = run()
    assert first.origin == "measured" and len(trained) == first.guarantee["n_measured"]
    assert Front.load(folder / "front.json") == first
    again, nothing = run()
    assert nothing == []
    assert replace(again, provenance={}) == replace(first, provenance={})
    finer, more = run(epsilon=0.05)
    assert len(finer.points) >= len(first.points)
    assert len(trained) + len(more) <= 4
    lines = (folder / "evaluations.jsonl").read_text().splitlines()
    assert len(lines) == 1 + len(trained) + len(more)
    assert json.loads(lines[0])["oracle"]["steps"] == 2


def test_a_record_of_other_settings_is_refused(measured, quick_oracle):
    folder, run = measured
    run()
    text = (folder / "evaluations.jsonl").read_text().replace('"steps": 2', '"steps": 9')
    (folder / "evaluations.jsonl").write_text(text)
    with pytest.raises(ValueError, match=r"they cannot be mixed. Choose another --out"):
        run()


def test_an_interrupted_search_keeps_what_was_measured(measured, quick_oracle, monkeypatch):
    _, run = measured
    real = evaluate.Oracle.evaluate
    asked = []

    def dies_at_the_third(self, architecture):
        asked.append(architecture)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(self, architecture)

    with monkeypatch.context() as broken:
        broken.setattr(evaluate.Oracle, "evaluate", dies_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            run(epsilon=0.05)
    trained = run(epsilon=0.05)[1]
    assert not {f"training {a}" for a in asked[:2]} & set(trained)


def test_a_local_folder_is_a_source_like_any_other(embedded, tmp_path):
    from bort_engine.encoder.build import load_source

    load_source(sources["minilm-l6"]).save_pretrained(tmp_path / "mine")
    source = Source.load(str(tmp_path / "mine"))
    assert source.architecture == sources["minilm-l6"].architecture
    assert load_source(source, num_labels=2).config.num_labels == 2
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"the weights of mine could not be loaded"):
        load_source(source)
