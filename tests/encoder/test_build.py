"""Inheriting: what is kept is the parent's own weights, for every family, and T itself is exact."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from bort_engine.encoder.build import Importance, build, inherit
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture

SHAPE = Architecture(4, 4, 32, 48)
FAMILIES = {
    "bert": Source("tiny-bert", "bert", SHAPE, 50, 40, 2),
    "roberta": Source("tiny-roberta", "roberta", SHAPE, 50, 40, 1),
    "distilbert": Source("tiny-distilbert", "distilbert", SHAPE, 50, 40, 0, pooler=False),
}


def parent_of(source: Source):
    torch.manual_seed(0)
    config = AutoConfig.for_model(source.model_type, **source.config(), num_labels=3)
    return AutoModelForSequenceClassification.from_config(config).eval()


def batch():
    ids = torch.randint(5, 50, (4, 12), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("family", FAMILIES)
def test_inheriting_everything_gives_the_same_logits(family):
    source = FAMILIES[family]
    parent = parent_of(source)
    with torch.inference_mode():
        expected = parent(**batch()).logits
        found = inherit(parent, SHAPE, source)(**batch()).logits
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ["1,1,8,6", "2,4,16,48", "3,2,24,12", "4,1,32,48"])
def test_a_child_has_its_shape_and_runs(family, text):
    source, shape = FAMILIES[family], Architecture.parse(text)
    importance = Importance.measure(parent_of(source), [batch()])
    child = inherit(parent_of(source), shape, source, importance)
    ours = source.config(shape)
    assert {name: getattr(child.config, name) for name in ours} == ours
    with torch.inference_mode():
        assert child(**batch()).logits.shape == (4, 3)
        assert torch.isfinite(child(**batch()).logits).all()


def test_kept_layers_are_spread_and_the_top_one_stays():
    source = FAMILIES["bert"]
    parent = parent_of(source)
    child = inherit(parent, Architecture(2, 4, 32, 48), source)
    for mine, theirs in ((0, 1), (1, 3)):
        key = "bert.encoder.layer.{}.intermediate.dense.weight"
        kept = child.state_dict()[key.format(mine)]
        assert torch.equal(kept, parent.state_dict()[key.format(theirs)])


def test_the_most_important_neurons_and_hidden_units_are_kept_in_order():
    source = FAMILIES["bert"]
    parent = parent_of(source)
    hidden, neurons = np.zeros(32), np.zeros((4, 48))
    hidden[[3, 7, 8, 30]] = 1
    neurons[:, [0, 47]] = 1
    importance = Importance(hidden, np.ones((4, 32)), np.ones((4, 32)), neurons)
    child = inherit(parent, Architecture(4, 4, 4, 2), source, importance)
    key = "bert.encoder.layer.2.intermediate.dense.weight"
    expected = parent.state_dict()[key][[0, 47]][:, [3, 7, 8, 30]]
    assert torch.equal(child.state_dict()[key], expected)


def test_importance_is_the_mean_absolute_activation():
    source = FAMILIES["bert"]
    parent = parent_of(source)
    seen = []
    dense = parent.bert.encoder.layer[1].output.dense
    handle = dense.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].abs()))
    importance = Importance.measure(parent, [batch()])
    handle.remove()
    np.testing.assert_allclose(importance.neurons[1], seen[0].sum((0, 1)).numpy(), rtol=1e-5)
    assert importance.attention.shape == (4, 32) and importance.hidden.shape == (32,)


def test_merged_heads_keep_the_scale_of_their_queries():
    source = FAMILIES["bert"]
    parent = parent_of(source)
    child = inherit(parent, Architecture(4, 1, 32, 48), source)
    key = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.allclose(child.state_dict()[key], parent.state_dict()[key] * 2)


def test_more_than_the_source_is_refused():
    source = FAMILIES["bert"]
    with pytest.raises(ValueError, match=r"5,4,32,48 does not fit in tiny-bert \(4,4,32,48\)"):
        inherit(parent_of(source), Architecture(5, 4, 32, 48), source)


def test_build_from_scratch_depends_on_the_seed_only_and_knows_its_words():
    source = FAMILIES["bert"]
    first, same, other = (
        build(SHAPE, source, "scratch", seed).state_dict()["embeddings.word_embeddings.weight"]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, same) and not torch.equal(first, other)
    with pytest.raises(ValueError, match=r"initial is 'copy'; allowed: inherit, scratch"):
        build(SHAPE, source, "copy")
    with pytest.raises(ValueError, match=r"tiny-bert has no weights to load"):
        build(SHAPE, source)
