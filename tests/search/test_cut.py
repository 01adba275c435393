"""The verb `cut`, with the real training on a small task."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from bort_engine.data.tasks import find_task
from bort_engine.encoder.space import Architecture
from bort_engine.runs import records
from bort_engine.runs.events import Cancelled
from bort_engine.search.cut import Cut, Recall, _recalls, cut
from bort_engine.search.evaluate import BriefTraining, Evaluator, Setup

SHAPE = Architecture.parse("1,12,96,192")
TRAINING = BriefTraining(steps=2, teacher_steps=4)


def test_a_slice_is_saved_that_a_front_measured_as_so_accurate(
    quick_evaluator, small_task, tmp_path
):
    result = cut(
        "minilm-l6", small_task, architecture=SHAPE, polish=2, training=TRAINING, out=tmp_path
    )
    setup = Setup("minilm-l6", small_task, "elastic", TRAINING)
    assert result.front_error == Evaluator(quick_evaluator.source, setup).evaluate(SHAPE).dev_error
    assert records.read(tmp_path / "cut.json", Cut) == result
    T, scores = quick_evaluator.teacher, result.scores
    assert scores["this model"]["accuracy"] == pytest.approx(1 - result.dev_error, abs=1e-6)
    assert scores["source"]["accuracy"] == pytest.approx(1 - T.dev_error, abs=1e-6)
    majority = scores["always the most frequent class"]
    share = T.dev_labels.mean()
    assert majority["accuracy"] == pytest.approx(max(share, 1 - share), abs=1e-6)
    assert majority["balanced accuracy"] == 0.5
    assert [recall.label for recall in result.recalls] == list(find_task(small_task).labels)
    for name, error in (("this_model", result.dev_error), ("source", result.source_error)):
        row = scores[name.replace("_", " ")]
        recalls = [getattr(recall, name) for recall in result.recalls]
        assert sum(recalls) / 2 == pytest.approx(row["balanced accuracy"], abs=1e-6)
        n_right = sum(recall.n_dev * getattr(recall, name) for recall in result.recalls)
        assert n_right == pytest.approx(result.n_dev * (1 - error), abs=0.01)
    card = (tmp_path / "model" / "README.md").read_text()
    first = result.recalls[0]
    assert f"| recall of {first.label}, this model | dev | {first.this_model:.4g} |" in card
    assert "macro F1, this model" in card and "accuracy, always the most frequent class" in card
    assert "opens in a new process" in result.reloaded


@pytest.mark.parametrize("kind", ["class", "number"])
def test_the_recall_of_each_class_by_hand(kind):
    # T always names the first of three classes; the slice finds one of the second's two rows, too.
    # Dev has none of the third. Of numbers there is no recall.
    logits = np.eye(3)
    T = SimpleNamespace(
        report=SimpleNamespace(kind=kind),
        dev_labels=np.array([0, 0, 0, 1, 1]),
        dev_logits=logits[[0] * 5],
    )
    recalls = _recalls(cast(Any, T), logits[[0, 0, 2, 1, 0]], ("no", "yes", "never"))
    by_hand = (
        Recall("no", 3, 2 / 3, 1.0),
        Recall("yes", 2, 0.5, 0.0),
        Recall("never", 0, None, None),
    )
    assert recalls == (by_hand if kind == "class" else ())


def test_a_polish_can_be_stopped(quick_evaluator, small_task, tmp_path):
    with pytest.raises(Cancelled):
        cut(
            "minilm-l6", small_task, architecture=SHAPE, polish=5, training=TRAINING, out=tmp_path,
            stop=lambda: True,
        )  # fmt: skip
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("shape", "polish", "cause"),
    [
        ("7,12,384,1536", 0, "is no slice"),
        ("1,2,96,192", 0, "wider heads"),
        ("1,12,96,192", -1, "0 to"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(shape, polish, cause, tmp_path):
    with pytest.raises(ValueError, match=cause):
        cut("minilm-l6", architecture=Architecture.parse(shape), polish=polish, out=tmp_path)
