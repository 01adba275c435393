"""The verb `cut`, with the real training on a small task."""

import json
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bort_engine.data.tasks import find_task
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.export import clear
from bort_engine.encoder.run_onnx import open_onnx
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.uneven import Uneven, parse_shape, uneven_parameters
from bort_engine.runs import records
from bort_engine.runs.events import Cancelled
from bort_engine.runs.provenance import Provenance
from bort_engine.search.cut import Cut, Recall, _recalls, cut
from bort_engine.search.evaluate import BriefTraining, Evaluator, Setup

SHAPE = Architecture.parse("1,12,96,192")
TRAINING = BriefTraining(steps=2, teacher_steps=4)


def test_a_slice_is_saved_that_a_front_measured_as_so_accurate(
    quick_evaluator, small_task, tmp_path
):
    (tmp_path / "onnx").mkdir()  # of another shape, whose layers differ
    for name in ("model.onnx", "run.py"):
        (tmp_path / "onnx" / name).touch()
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
    assert result.onnx is None and not (tmp_path / "onnx").exists()


def test_layers_that_differ_are_saved_padded_and_as_onnx(quick_evaluator, small_task, tmp_path):
    shape = Uneven.parse("384:12x768,0x512,-,3x0,-,-")
    request: Any = {"polish": 2, "training": TRAINING, "out": tmp_path}
    result = cut("minilm-l6", small_task, architecture=shape, **request)
    evaluator = Evaluator(
        quick_evaluator.source, Setup("minilm-l6", small_task, "elastic", TRAINING)
    )
    assert result.front_error == evaluator.evaluate(shape).dev_error
    assert records.read(tmp_path / "cut.json", Cut) == result and result.architecture == shape
    assert "opens in a new process" in result.reloaded

    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    kept = shape.padded(evaluator.source)
    assert (plain.config.num_hidden_layers, plain.config.intermediate_size) == (3, 768)
    dev_error = evaluator.measure(kept, plain).dev_error
    assert dev_error == pytest.approx(result.dev_error, abs=0.01)  # in bf16 sums have other orders

    names, session = open_onnx(tmp_path / "onnx")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    texts = ["a fine film", "dull, and far too long for what it has to say"]
    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        logits = plain(**inputs).logits.numpy()
    outputs = session({name: inputs[name].numpy() for name in names})
    assert np.abs(outputs - logits).max() < 0.01 * np.ptp(logits, axis=0).min()
    assert result.onnx and result.onnx.n == result.n_dev and result.onnx.max_difference < 1e-5
    config = json.loads((tmp_path / "onnx" / "config.json").read_text())
    assert [*config["id2label"].values()] == list(find_task(small_task).labels)
    sizes = [
        (tmp_path / name).stat().st_size for name in ("onnx/model.onnx", "model/model.safetensors")
    ]
    assert sizes[0] < sizes[1]

    card = (tmp_path / "model" / "README.md").read_text()
    effective = uneven_parameters(shape, evaluator.source)
    assert f"| parameters, true widths | {effective.total:,} |" in card
    assert f"| parameters, padded | {n_parameters(kept, evaluator.source).total:,} |" in card
    assert f"minilm-l6 at {shape}" in card and str(kept) in card and "`onnx/`" in card
    assert "Of the true widths, in PyTorch" in card

    clear(tmp_path / "onnx")  # as a uniform shape does that is cut into the same folder
    assert not (tmp_path / "onnx").exists()


def test_a_record_of_an_older_version_is_read(tmp_path):
    made = Provenance("Synthetic CPU", "made up for the tests", "2000-01-01")
    cut = Cut(
        SHAPE, "minilm-l6", "mine", str(tmp_path), 0.2, 0.2, 0.1, {}, (), 100, 0, 0, "opens", made
    )  # fmt: skip
    old = records.dump(cut)
    del old["onnx"]
    assert old["architecture"] == "1,12,96,192" and records.parse(old, Cut) == cut


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
        ("384:12x1536,-", 0, "cannot be cut out of minilm-l6: give 6 layers"),
        ("384:13x96,-,-,-,-,-", 0, "of at most 12x1536"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(shape, polish, cause, tmp_path):
    with pytest.raises(ValueError, match=cause):
        cut("minilm-l6", architecture=parse_shape(shape), polish=polish, out=tmp_path)


def test_what_would_be_written_over_is_found_before_anything_is_trained(tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "mine.txt").touch()
    with pytest.raises(ValueError, match="no export that could be replaced"):
        cut("minilm-l6", architecture=Uneven.parse("96:2x192,-,-,-,-,-"), out=tmp_path)
