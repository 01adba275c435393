"""Training: what is trained, in which order the rows come, and that it stops when asked to."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from bort_engine import Cancelled
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.training import trainer
from bort_engine.training.trainer import (
    Recipe,
    _LikeLengths,
    encode,
    predict,
    train,
    train_module,
    words_in_use,
)

SHAPE = Architecture(1, 2, 16, 24)
FAMILIES = {
    "bert": Source("tiny-bert", "bert", SHAPE, 30_522, 80, 2),
    "roberta": Source("tiny-roberta", "roberta", SHAPE, 30_522, 80, 1),
    "distilbert": Source("tiny-distilbert", "distilbert", SHAPE, 30_522, 80, 0, pooler=False),
}
TEXTS = ["a good film", "bad", "not a good film at all", "good bad film", "the worst of films"]


@pytest.fixture(scope="module")
def tokenizer(embedded):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(embedded.parent / "minilm-l6-0.1.0")


def tiny(family: str = "bert"):
    source = FAMILIES[family]
    torch.manual_seed(0)
    config = AutoConfig.for_model(source.model_type, **source.config(), num_labels=2)
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_holding_only_thewords_in_use_changes_no_prediction(tokenizer, family):
    model, rows = tiny(family), encode(TEXTS, tokenizer, [0] * len(TEXTS))
    expected = predict(model, rows, tokenizer)
    with words_in_use(model, rows) as renumbered:
        assert model.get_input_embeddings().num_embeddings < 40
        found = predict(model, renumbered, tokenizer)
    np.testing.assert_allclose(found, expected, atol=2e-3)  # bf16 in another order
    assert model.get_input_embeddings().num_embeddings == 30_522


@pytest.mark.parametrize("family", FAMILIES)
def test_training_moves_the_words_it_saw_and_no_others(tokenizer, family):
    model = tiny(family)
    rows = encode(TEXTS, tokenizer, [1, 0, 0, 1, 0])
    before = model.get_input_embeddings().weight.detach().clone()
    train(model, rows, tokenizer, Recipe(steps=2, batch_size=5, warmup_share=0))
    moved = (model.get_input_embeddings().weight != before).any(1).nonzero().ravel().tolist()
    seen = {i for row in rows for i in row["input_ids"]} | {tokenizer.pad_token_id}
    assert set(moved) == seen - {model.get_input_embeddings().padding_idx}


def test_predictions_come_in_the_order_of_the_rows(tokenizer):
    model = tiny()
    rows = encode(TEXTS, tokenizer, [0] * len(TEXTS))
    alone = np.concatenate([predict(model, [row], tokenizer) for row in rows])
    np.testing.assert_allclose(predict(model, rows, tokenizer), alone, atol=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_are_those_of_plain_forward_passes(family, tokenizer, monkeypatch):
    monkeypatch.setenv("BORT_PRECISION", "fp32")
    model, rows = tiny(family), encode(TEXTS, tokenizer, [0] * len(TEXTS))
    seen = list[torch.Size]()
    norms = [m for m in model.base_model.modules() if isinstance(m, torch.nn.LayerNorm)]
    hook = norms[-1].register_forward_hook(lambda *passed: seen.append(passed[-1].shape))
    found = predict(model, rows, tokenizer)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        expected = model(**inputs).logits
    hook.remove()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # One token was enough; once that is over, the model computes all of them again.
    assert [shape[1] for shape in seen] == [1, inputs["input_ids"].shape[1]]


def test_batches_hold_rows_of_like_length_in_random_order():
    lengths = list(range(1, 101))
    sampler = _LikeLengths(lengths, 8, seed=0)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(100)) and first != second
    batches = [[lengths[i] for i in first[at : at + 8]] for at in range(0, 96, 8)]
    # Jitter moves a row by a quarter at most, so a batch spans 8 rows and little more than that.
    assert all(max(batch) <= 1.6 * min(batch) + 8 + 4 for batch in batches)
    longest = [max(batch) for batch in batches]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)


def test_a_model_learns_classes_and_soft_labels_and_tells_its_loss(tokenizer):
    texts, labels = ["good film"] * 16 + ["bad film"] * 16, [1] * 16 + [0] * 16
    recipe = Recipe(steps=40, batch_size=16, learning_rate=2e-2)
    for targets in (labels, np.eye(2)[labels]):
        model, seen = tiny(), []
        rows = encode(texts, tokenizer, targets)
        train(model, rows, tokenizer, recipe, on_step=lambda *step, seen=seen: seen.append(step))
        losses = [loss for _, _, loss in seen]
        assert len(losses) == 40 and losses[-1] < 0.3 < losses[0]
        assert (predict(model, rows, tokenizer).argmax(1) == labels).all()


def test_it_stops_after_the_step_in_which_it_is_asked_to_and_gives_the_words_back(tokenizer):
    model, steps = tiny(), []
    rows = encode(TEXTS, tokenizer, [0] * len(TEXTS))
    with pytest.raises(Cancelled):
        train(
            model,
            rows,
            tokenizer,
            Recipe(steps=50, batch_size=5),
            on_step=lambda step, total, loss: steps.append((step, total)),
            stop=lambda: len(steps) >= 3,
        )
    assert steps == [(1, 50), (2, 50), (3, 50)]
    assert model.get_input_embeddings().num_embeddings == 30_522


def test_a_state_that_is_not_whole_is_passed_over_and_a_full_disk_named(
    tokenizer, tmp_path, monkeypatch
):
    def full(*_, **__):
        raise Exception("No space left on device (os error 28)")  # as tokenizers raises it

    for step, text in ((50, "{}"), (100, '{"epoch": 1'), (150, "")):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(text)
    assert trainer._last_state(tmp_path) == str(tmp_path / "checkpoint-50")
    rows = encode(TEXTS, tokenizer, [1, 0, 0, 1, 0])
    monkeypatch.setattr(trainer._Trainer, "save_model", full)
    with pytest.raises(OSError, match="No space left on device"):
        recipe = Recipe(steps=2, batch_size=5)
        train_module(tiny(), rows, tokenizer, recipe, stop=lambda: True, states=tmp_path / "kept")
