"""A student's trainings: remembered, resumed, the best one's weights kept."""

import numpy as np
import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification, set_seed

from bort_engine import Cancelled
from bort_engine.finetune.student import FIELDS, Dev, Student

TEXTS = [f"{word} film {n}" for n in range(8) for word in ("good", "bad")]
PAIRS = [(text, int(text.startswith("good"))) for text in TEXTS]
THETA = (2e-2, 0.0, 0.0, 8, 0)
OTHER = (1e-6, 0.0, 0.0, 8, 0)


@pytest.fixture(scope="module")
def tokenizer(embedded):
    from bort_engine.encoder.build import load_tokenizer
    from bort_engine.encoder.sources import sources

    return load_tokenizer(sources["minilm-l6"])


def student(tokenizer, folder, stop=lambda: False):
    set_seed(0)
    shape = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    config = AutoConfig.for_model("bert", num_hidden_layers=1, vocab_size=30522, **shape)
    start = AutoModelForSequenceClassification.from_config(config).eval()
    dev = Dev.halved(TEXTS, [label for _, label in PAIRS])
    return Student(start, tokenizer, dev, folder, stop)


def test_the_halves_of_dev_share_nothing_and_miss_nothing():
    dev = Dev.halved(list("abcde"), [0, 1, 0, 1, 0])
    assert len(dev.seen) == 3 and len(dev.held) == 2
    assert sorted(dev.seen + dev.held) == [0, 1, 2, 3, 4]
    assert dev.pairs(dev.held) == [("abcde"[i], i % 2) for i in dev.held]
    assert Dev.halved(list("abcde"), [0] * 5).seen == dev.seen


def test_a_training_is_remembered_and_asked_only_once(tokenizer, tmp_path):
    told = []
    first = student(tokenizer, tmp_path)
    fitted = first.fit(THETA, PAIRS, 12, lambda *step: told.append(step))
    assert len(told) == 12 and fitted.steps == 12 and len(FIELDS) == len(THETA)
    again = student(tokenizer, tmp_path)  # as after a kill
    assert again.fit(THETA, PAIRS, 12, lambda *step: told.append(step)) == fitted
    assert len(told) == 12
    for theta, pairs, steps in ((OTHER, PAIRS, 12), (THETA, PAIRS[:8], 12), (THETA, PAIRS, 2)):
        assert again.fit(theta, pairs, steps).key != fitted.key


def test_weights_are_kept_of_what_was_best_and_give_its_predictions(tokenizer, tmp_path):
    from bort_engine.training.trainer import encode, predict

    one = student(tokenizer, tmp_path)
    poor = one.fit(OTHER, PAIRS, 1)
    good = one.fit(THETA, PAIRS, 60)
    assert one.accuracy(good) == 1 > one.accuracy(poor)
    later = one.fit((1e-6, 0.0, 0.0, 8, 1), PAIRS, 1)
    assert one.best == good
    seen = [one.dev.texts[i] for i in one.dev.seen]
    rows = encode(seen, tokenizer, [0] * len(seen))
    assert tuple(predict(one.load(good), rows, tokenizer).argmax(1)) == good.seen
    kept = {path.stem for path in tmp_path.glob("*.safetensors")}
    assert good.key in kept and later.key not in kept
    again = student(tokenizer, tmp_path)
    assert [again.fit(OTHER, PAIRS, 1), again.fit(THETA, PAIRS, 60)] == [poor, good]
    assert again.best == good
    next_round = again.fit(OTHER, PAIRS, 2, round=2)
    assert again.best == next_round and again.load(next_round)


def test_a_model_whose_weights_were_not_kept_is_trained_again_when_asked_for(tokenizer, tmp_path):
    from safetensors.torch import load_file

    fitted = student(tokenizer, tmp_path).fit(THETA, PAIRS, 3)
    kept = load_file(tmp_path / f"{fitted.key}.safetensors")
    (tmp_path / f"{fitted.key}.safetensors").unlink()
    again = student(tokenizer, tmp_path)
    assert again.fit(THETA, PAIRS, 3) == fitted and not list(tmp_path.glob("*.safetensors"))
    for name, value in again.load(fitted).state_dict().items():
        np.testing.assert_allclose(value, kept[name], atol=1e-5, err_msg=name)


def test_every_training_starts_from_the_same_place(tokenizer, tmp_path):
    one = student(tokenizer, tmp_path)
    before = {name: value.clone() for name, value in one.start.state_dict().items()}
    one.fit(THETA, PAIRS, 5)
    for name, value in one.start.state_dict().items():
        assert np.array_equal(value, before[name])


def test_soft_labels_and_classes_may_be_mixed(tokenizer, tmp_path):
    soft = [(text, (0.9, 0.1) if label == 0 else (0.1, 0.9)) for text, label in PAIRS[8:]]
    one = student(tokenizer, tmp_path)
    assert one.accuracy(one.fit(THETA, PAIRS[:8] + soft, 60)) == 1


def test_a_stop_loses_the_training_it_was_in_and_no_other(tokenizer, tmp_path):
    fitted = student(tokenizer, tmp_path).fit(THETA, PAIRS, 3)
    stopped = student(tokenizer, tmp_path, stop=lambda: True)
    with pytest.raises(Cancelled):
        stopped.fit(OTHER, PAIRS, 3)
    assert stopped.fit(THETA, PAIRS, 3) == fitted
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_a_full_disk_is_an_os_error_and_the_training_is_not_taken_for_finished(
    tokenizer, tmp_path, monkeypatch
):
    from safetensors import SafetensorError

    def full(weights, path):
        raise SafetensorError("Error while serializing: I/O error: No space left (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        student(tokenizer, tmp_path).fit(THETA, PAIRS, 1)
    assert caught.value.errno == 28 and not list(tmp_path.glob("*.json"))


def test_a_training_that_diverges_says_so(tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"diverged.*Take a smaller learning rate"):
        student(tokenizer, tmp_path).fit((1e30, 0.0, 0.0, 8, 0), PAIRS, 5)
