"""Inheriting: what is kept is the parent's own weights, for every family, and T itself is exact."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, BertTokenizer

from bort_engine.encoder.build import Importance, build, inherit, load_source, load_tokenizer
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture

SHAPE = Architecture(4, 4, 32, 48)
FAMILIES = {
    "bert": Source("tiny-bert", "bert", SHAPE, 50, 40, 2),
    "roberta": Source("tiny-roberta", "roberta", SHAPE, 50, 40, 1),
    "distilbert": Source("tiny-distilbert", "distilbert", SHAPE, 50, 40, 0, pooler=False),
}
BERT = FAMILIES["bert"]


def even(shape: Architecture) -> Importance:
    """Every unit is as important as any other, so that the first are kept."""
    depth, width = shape.num_hidden_layers, shape.hidden_size
    by_unit = np.ones((depth, width))
    return Importance(np.ones(width), by_unit, by_unit, np.ones((depth, shape.intermediate_size)))


EVEN = even(SHAPE)


def parent_of(source: Source):
    torch.manual_seed(0)
    config = AutoConfig.for_model(source.model_type, **source.config(), num_labels=3)
    return AutoModelForSequenceClassification.from_config(config).eval()


def batch():
    ids = torch.randint(5, 50, (4, 12), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ["4,4,32,48", "2,4,16,48", "3,2,24,12"])
def test_a_child_has_its_shape_and_runs_and_a_whole_one_is_the_parent(family, text):
    source, shape = FAMILIES[family], Architecture.parse(text)
    parent = parent_of(source)
    child = inherit(parent, shape, source, Importance.measure(parent, [batch()]))
    config = source.config(shape)
    assert {name: getattr(child.config, name) for name in config} == config
    with torch.inference_mode():
        logits = child(**batch()).logits
        assert logits.shape == (4, 3) and torch.isfinite(logits).all()
        if shape == SHAPE:
            assert torch.allclose(logits, parent(**batch()).logits, atol=1e-6)


def test_kept_layers_are_spread_and_the_top_one_stays():
    parent = parent_of(BERT)
    child = inherit(parent, Architecture(2, 4, 32, 48), BERT, EVEN)
    key = "bert.encoder.layer.{}.intermediate.dense.weight"
    for layer, origin in ((0, 1), (1, 3)):
        weight = child.state_dict()[key.format(layer)]
        assert torch.equal(weight, parent.state_dict()[key.format(origin)])


def test_the_most_important_neurons_and_hidden_units_are_kept_in_order():
    parent = parent_of(BERT)
    hidden, neurons = np.zeros(32), np.zeros((4, 48))
    hidden[[3, 7, 8, 30]] = 1
    neurons[:, [0, 47]] = 1
    importance = Importance(hidden, EVEN.attention, EVEN.logits, neurons)
    child = inherit(parent, Architecture(4, 4, 4, 2), BERT, importance)
    key = "bert.encoder.layer.2.intermediate.dense.weight"
    expected = parent.state_dict()[key][[0, 47]][:, [3, 7, 8, 30]]
    assert torch.equal(child.state_dict()[key], expected)


def test_the_best_heads_are_kept_and_of_each_the_best_units():
    parent = parent_of(BERT)
    attention, logits = np.ones((4, 32)), np.ones((4, 32))
    attention[:, 8:16], attention[:, [9, 12]] = 2, 3  # the second of four heads; its best values
    logits[:, [8, 15]] = 2  # its best queries and keys
    importance = Importance(EVEN.hidden, attention, logits, EVEN.neurons)
    child = inherit(parent, Architecture(4, 1, 2, 48), BERT, importance).state_dict()
    key = "bert.encoder.layer.0.attention.self.{}.weight"
    value, weights = key.format("value"), parent.state_dict()
    assert torch.equal(child[value], weights[value][[9, 12]][:, [0, 1]])
    # A head of 2 instead of 8 units: logits are divided by 2 ** 0.5 and no more by 8 ** 0.5.
    query, expected = key.format("query"), weights[key.format("query")][[8, 15]][:, [0, 1]] / 2
    assert torch.allclose(child[query], expected)
    assert torch.equal(child[key.format("key")], weights[key.format("key")][[8, 15]][:, [0, 1]])


def test_importance_is_the_summed_absolute_activation_of_real_tokens():
    parent, inputs = parent_of(BERT), batch()
    inputs["attention_mask"][:, 7:] = 0
    activations = []
    dense = parent.bert.encoder.layer[1].output.dense
    handle = dense.register_forward_pre_hook(lambda _, args: activations.append(args[0].abs()))
    importance = Importance.measure(parent, [inputs])
    handle.remove()
    expected = activations[0][:, :7].sum((0, 1)).numpy()
    np.testing.assert_allclose(importance.neurons[1], expected, rtol=1e-5)
    assert importance.attention.shape == (4, 32) and importance.hidden.shape == (32,)
    assert not dense._forward_hooks


@pytest.mark.parametrize("make", [build, lambda *args: inherit(parent_of(BERT), *args, EVEN)])
def test_more_than_the_source_is_refused(make):
    with pytest.raises(ValueError, match=r"5,4,32,48 does not fit in tiny-bert \(4,4,32,48\)"):
        make(Architecture(5, 4, 32, 48), BERT)


def test_build_from_scratch_depends_on_the_seed_only_and_knows_its_words():
    first, same, other = (
        build(SHAPE, BERT, "scratch", seed).state_dict()["embeddings.word_embeddings.weight"]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, same) and not torch.equal(first, other)
    with pytest.raises(ValueError, match=r"initialisation is 'copy'; allowed: inherit, scratch"):
        build(SHAPE, BERT, "copy")
    with pytest.raises(ValueError, match=r"tiny-bert has no weights to load"):
        build(SHAPE, BERT)


def test_build_keeps_the_neurons_that_the_texts_excite_most(embedded, monkeypatch):
    source, shape = sources["minilm-l6"], Architecture(6, 12, 384, 192)
    numbers = [str(n) for n in range(256)]  # of 512 general texts, every other one is read
    general = [text for number in numbers for text in (number, "a film to forget")]
    monkeypatch.setattr("bort_engine.encoder.build.general_texts", lambda: general)
    key = "encoder.layer.3.intermediate.dense.weight"
    default, chosen, others = (
        build(shape, source, texts=texts).state_dict()[key]
        for texts in (None, numbers, general[1:2])
    )
    assert torch.equal(default, chosen) and not torch.equal(default, others)
    with pytest.raises(ValueError, match="texts is empty; give one at least"):
        build(shape, source, texts=[])


def change(name, **values):
    def apply(folder):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return apply


def words(change):
    def apply(folder):
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


@pytest.fixture
def saved(tmp_path):
    """A whole folder: a model of 50 words, and a tokenizer of at most as many."""
    parent_of(BERT).bfloat16().save_pretrained(tmp_path)
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    BertTokenizer({token: n for n, token in enumerate(vocab)}).save_pretrained(tmp_path)
    return tmp_path


def test_a_folder_is_opened_in_fp32_and_with_the_attention_that_we_name(saved):
    change("config.json", dtype="bfloat16", attn_implementation="someone/kernel")(saved)
    model = load_source(Source.load(str(saved)), num_labels=2)
    assert model.dtype == torch.float32 and model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (words(lambda t: t["model"]["vocab"].update(z=50)), "ids go from 0 to 50, .* from 0 to 49"),
        (words(lambda t: t["model"]["vocab"].update(z=-1)), ""),
        (words(lambda t: t.update(model=None)), ""),
        (lambda folder: (folder / "tokenizer.json").write_text("[" * 100_000), ""),
        (lambda folder: (folder / "tokenizer.json").write_bytes(b"\xff\x00"), ""),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no words in it"),
        (change("tokenizer_config.json", pad_token=None), "have a padding token"),
        (change("tokenizer_config.json", pad_token={"a": 1}), ""),
        (change("tokenizer_config.json", model_max_length=-5), "model_max_length is -5"),
        (change("tokenizer_config.json", model_max_length="x"), ""),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_one_line(saved, spoil, cause):
    load_tokenizer(Source.load(str(saved)))
    spoil(saved)
    expected = (
        f"^the tokenizer of .* could not be loaded .*{cause}.*check the network or the folder"
    )
    with pytest.raises(ValueError, match=expected) as refusal:
        load_tokenizer(Source.load(str(saved)))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("bert.encoder.layer.1.attention.self.query.bias", None, "lacks bert.*1.attention.self.qu"),
        ("bert.embeddings.LayerNorm.weight", torch.ones(31), "lacks bert.embeddings.LayerNorm"),
        ("bert.pooler.dense.bias", torch.full((32,), torch.nan), "some of them are not finite"),
    ],
)
def test_weights_that_would_be_drawn_at_random_are_refused(saved, name, value, cause):
    weights = load_file(saved / "model.safetensors") | {name: value}
    kept = {name: weight for name, weight in weights.items() if weight is not None}
    save_file(kept, saved / "model.safetensors", {"format": "pt"})
    source = Source.load(str(saved))
    with pytest.raises(ValueError, match=f"^the weights of .* could not be loaded .*{cause}"):
        load_source(source, num_labels=2)
