"""The verb `compare`, with the real training on a small task."""

from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset

from bort_engine.data.tasks import find_task, load_task
from bort_engine.encoder.space import Architecture
from bort_engine.runs import records
from bort_engine.runs.events import Cancelled
from bort_engine.search import compare as module
from bort_engine.search.compare import Comparison, compare, spread
from bort_engine.search.evaluate import BriefTraining, Evaluator, Setup

SHAPES = tuple(map(Architecture.parse, ("1,12,96,192", "6,12,384,1536")))
BOTH = " ".join(map(str, SHAPES))
TRAINING = BriefTraining(steps=2, teacher_steps=4)


def test_the_counts_are_those_of_the_slices_errors(quick_evaluator, small_task, tmp_path):
    result = compare("minilm-l6", small_task, architectures=BOTH, training=TRAINING, out=tmp_path)
    setup = Setup("minilm-l6", small_task, "elastic", TRAINING)
    evaluator = Evaluator(quick_evaluator.source, setup)
    right = (result.n_both + result.n_first, result.n_both + result.n_second)
    for shape, n_right in zip(SHAPES, right, strict=True):
        wrong = evaluator.evaluate(shape).dev_error
        assert 1 - n_right / result.n_dev == pytest.approx(wrong, abs=1e-6)
    dev = load_task(small_task)["validation"]
    assert result.n_dev == len(dev)
    texts = {" ".join(text.split())[:1000] for text in dev["text"]}
    assert len(result.texts) == min(10, result.n_first + result.n_second)
    for text in result.texts:
        assert text.texts[0] in texts and text.answers.count(text.label) == 1
    assert records.read(tmp_path / "compare.json", Comparison) == result


def test_four_texts_by_hand(small_task, monkeypatch):
    # On the first both are right, on the next two one alone, on the last none.
    labels, answers = np.array([0, 1, 0, 1]), {SHAPES[0]: [0, 1, 1, 0], SHAPES[1]: [0, 0, 0, 0]}
    dev = Dataset.from_dict({"text": ["a", " b\n c", "d" * 2000, "e"], "label": labels})
    student = SimpleNamespace(cut=lambda shape: shape)
    fake = SimpleNamespace(
        teacher=SimpleNamespace(splits={"validation": dev}, dev_labels=labels),
        student=student,
        outputs=lambda shape: np.eye(2)[answers[shape]],
    )
    monkeypatch.setattr(module, "Evaluator", lambda *_: fake)
    result = compare("minilm-l6", small_task, architectures=BOTH)
    counts = (result.n_both, result.n_first, result.n_second, result.n_neither)
    assert counts == (1, 1, 1, 1)
    no, yes = find_task(small_task).labels
    rows = [(text.texts[0], text.label, text.answers) for text in result.texts]
    assert rows == [("b c", yes, (yes, no)), ("d" * 1000, no, (yes, no))]
    with pytest.raises(Cancelled):
        compare("minilm-l6", small_task, architectures=BOTH, stop=lambda: True)


def test_what_is_shown_is_spread_evenly():
    assert spread(np.arange(0, 50, 2), 5) == [0, 10, 20, 30, 40]
    assert spread([3, 7], 5) == [3, 7] and spread([], 5) == []


@pytest.mark.parametrize(
    ("shapes", "cause"),
    [
        ("1,12,96,192", "two different shapes"),
        ("1,12,96,192 1,12,96,192", "two different shapes"),
        ("1,12,96,192 7,12,384,1536", "is no slice"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(shapes, cause):
    with pytest.raises(ValueError, match=cause):
        compare("minilm-l6", architectures=shapes)


def test_numbers_are_not_right_or_wrong(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("text,label\n" + "".join(f"good {n},{n}.5\n" for n in range(200)))
    with pytest.raises(ValueError, match="predicts numbers"):
        compare("minilm-l6", f"{path}?kind=number", architectures=BOTH)
