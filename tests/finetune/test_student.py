"""A student's trainings: remembered, resumed, the best one's weights kept."""

import numpy as np
import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification, set_seed

from bort_engine import Cancelled
from bort_engine.finetune.plan import Config
from bort_engine.finetune.student import Dev, Student

TEXTS = [f"{word} film {n}" for n in range(8) for word in ("good", "bad")]
PAIRS = [(text, int(text.startswith("good"))) for text in TEXTS]
CONFIG = Config(2e-2, 0.0, 0.0, 8, 0)
SLOW = Config(1e-6, 0.0, 0.0, 8, 0)


@pytest.fixture(scope="module")
def tokenizer(embedded):
    from bort_engine.encoder.build import load_tokenizer
    from bort_engine.encoder.sources import sources

    return load_tokenizer(sources["minilm-l6"])


def student(tokenizer, folder, stop=lambda: False):
    set_seed(0)
    shape = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    config = AutoConfig.for_model("bert", num_hidden_layers=1, vocab_size=30522, **shape)
    initial = AutoModelForSequenceClassification.from_config(config).eval()
    dev = Dev.halved(TEXTS, [label for _, label in PAIRS])
    return Student(initial, tokenizer, dev, folder, stop)


def test_the_halves_of_dev_share_nothing_and_miss_nothing():
    dev = Dev.halved(list("abcde"), [0, 1, 0, 1, 0])
    assert len(dev.seen) == 3 and len(dev.held) == 2
    assert sorted(dev.seen + dev.held) == [0, 1, 2, 3, 4]
    assert dev.seen_pairs == [("abcde"[i], i % 2) for i in dev.seen]
    assert Dev.halved(list("abcde"), [0] * 5).seen == dev.seen


def test_a_training_is_remembered_and_asked_only_once(tokenizer, tmp_path):
    steps = []
    training = student(tokenizer, tmp_path).fit(CONFIG, PAIRS, 3, lambda *step: steps.append(step))
    assert len(steps) == training.steps == 3
    again = student(tokenizer, tmp_path)  # as after a kill
    assert again.fit(CONFIG, PAIRS, 3, lambda *step: steps.append(step)) == training
    assert len(steps) == 3
    for config, pairs, n in ((SLOW, PAIRS, 3), (CONFIG, PAIRS[:8], 3), (CONFIG, PAIRS, 1)):
        assert again.fit(config, pairs, n).key != training.key


def test_weights_are_kept_of_what_was_best_and_give_its_predictions(tokenizer, tmp_path):
    """Half of the labels are given as probabilities, half as classes."""
    from bort_engine.training.trainer import encode, predict

    mixed = [*PAIRS[:8], *((text, ((0.9, 0.1), (0.1, 0.9))[label]) for text, label in PAIRS[8:])]
    first = student(tokenizer, tmp_path)
    before = {name: value.clone() for name, value in first.initial.state_dict().items()}
    poor = first.fit(SLOW, mixed, 1)
    good = first.fit(CONFIG, mixed, 60)
    assert first.accuracy(good) == 1 > first.accuracy(poor)
    later = first.fit(SLOW._replace(seed=1), mixed, 1)
    assert first.best == good
    for name, value in first.initial.state_dict().items():  # every training starts from there
        assert np.array_equal(value, before[name])
    seen = [first.dev.texts[i] for i in first.dev.seen]
    rows = encode(seen, tokenizer, [0] * len(seen))
    assert tuple(predict(first.load(good), rows, tokenizer).argmax(1)) == good.seen
    kept = {path.stem for path in tmp_path.glob("*.safetensors")}
    assert good.key in kept and later.key not in kept
    again = student(tokenizer, tmp_path)
    assert [again.fit(SLOW, mixed, 1), again.fit(CONFIG, mixed, 60)] == [poor, good]
    assert again.best == good
    next_round = again.fit(SLOW, mixed, 2, round_id=2)
    assert again.best == next_round and again.load(next_round)


def test_a_model_whose_weights_were_not_kept_is_trained_again_when_asked_for(tokenizer, tmp_path):
    from safetensors.torch import load_file

    training = student(tokenizer, tmp_path).fit(CONFIG, PAIRS, 3)
    kept = load_file(tmp_path / f"{training.key}.safetensors")
    (tmp_path / f"{training.key}.safetensors").unlink()
    again = student(tokenizer, tmp_path)
    assert again.fit(CONFIG, PAIRS, 3) == training and not list(tmp_path.glob("*.safetensors"))
    for name, value in again.load(training).state_dict().items():
        np.testing.assert_allclose(value, kept[name], atol=1e-5, err_msg=name)


def test_a_stop_loses_the_training_it_was_in_and_no_other(tokenizer, tmp_path):
    training = student(tokenizer, tmp_path).fit(CONFIG, PAIRS, 1)
    stopped = student(tokenizer, tmp_path, stop=lambda: True)
    with pytest.raises(Cancelled):
        stopped.fit(SLOW, PAIRS, 1)
    assert stopped.fit(CONFIG, PAIRS, 1) == training
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_on_a_full_disk_the_training_is_not_taken_for_finished(tokenizer, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        student(tokenizer, tmp_path).fit(CONFIG, PAIRS, 1)
    assert caught.value.errno == 28 and not list(tmp_path.iterdir())


def test_a_training_that_diverges_says_so(tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"diverged.*Take a smaller learning rate"):
        student(tokenizer, tmp_path).fit(CONFIG._replace(learning_rate=1e30), PAIRS, 3)
