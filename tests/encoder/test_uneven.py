"""Uneven shapes: what is cut, counted and padded is what the plain model would have."""

import random

import pytest
import torch

from bort_engine.encoder.build import Importance, inherit
from bort_engine.encoder.build_uneven import cut_uneven, padded, unpadded
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.uneven import Uneven, draw, parse_shape, uneven_parameters
from tests.encoder.test_build import BERT, EVEN, FAMILIES, batch, parent_of

TEXTS = ("32:4x48,2x8,-,1x16", "16:0x48,3x0,4x8,-", "24:-,-,0x8,2x0")


def logits_of(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(**batch()).logits


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", TEXTS)
def test_a_cut_shape_has_its_parameters_and_padded_it_says_the_same(family, text):
    source, shape = FAMILIES[family], Uneven.parse(text)
    parent = parent_of(source)
    model = cut_uneven(parent, shape, source, Importance.measure(parent, [batch()]))
    counted = sum(w.numel() for name, w in model.named_parameters() if ".layer." in name)
    assert counted == uneven_parameters(shape, source).encoder
    logits, plain = logits_of(model), padded(model, shape, source)
    assert logits.shape == (4, 3) and torch.isfinite(logits).all()
    torch.testing.assert_close(logits_of(plain), logits)
    config = source.config(shape.padded(source))
    assert {name: getattr(plain.config, name) for name in config} == config
    weights = unpadded(plain, shape, source).state_dict()
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("text", ["4,4,32,48", "2,4,16,24"])
def test_a_uniform_shape_has_the_parameters_of_its_architecture(text):
    architecture = Architecture.parse(text)
    shape = Uneven.of(architecture, BERT)
    assert uneven_parameters(shape, BERT) == n_parameters(architecture, BERT)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ["4,4,32,48", "2,4,16,48", "3,4,24,12", "1,4,32,8"])
def test_a_uniform_shape_is_cut_as_ever(family, text):
    source, architecture = FAMILIES[family], Architecture.parse(text)
    parent = parent_of(source)
    importance = Importance.measure(parent, [batch()])
    shape = Uneven.of(architecture, source)
    uneven = logits_of(cut_uneven(parent, shape, source, importance))
    torch.testing.assert_close(uneven, logits_of(inherit(parent, architecture, source, importance)))


def test_without_heads_and_neurons_a_layer_adds_its_biases_only():
    parent = parent_of(BERT)
    layer = parent.bert.encoder.layer[0]
    model = cut_uneven(
        parent, Uneven.parse("32:0x0,4x48,0x8,4x48".replace("0x0", "0x8")), BERT, EVEN
    )
    x = torch.randn(2, 3, 32)
    expected = layer.attention.output.LayerNorm(x + layer.attention.output.dense.bias)
    with torch.inference_mode():
        torch.testing.assert_close(model.bert.encoder.layer[0].attention(x)[0], expected)


def test_what_is_kept_is_the_most_important():
    parent = parent_of(BERT)
    importance = Importance(EVEN.hidden, EVEN.attention.copy(), EVEN.logits, EVEN.neurons.copy())
    importance.attention[0, 8:16] = 2  # the second of four heads, each of 8 units
    importance.neurons[0, 40:48] = 2
    child = cut_uneven(parent, Uneven.parse("32:1x8,4x48,4x48,4x48"), BERT, importance)
    mine, whole = child.bert.encoder.layer[0], parent.bert.encoder.layer[0]
    assert torch.equal(mine.attention.self.query.weight, whole.attention.self.query.weight[8:16])
    assert torch.equal(mine.output.dense.weight, whole.output.dense.weight[:, 40:])


@pytest.mark.parametrize("text", TEXTS)
def test_a_shape_is_read_as_it_is_written(text):
    assert str(Uneven.parse(text)) == text
    assert Uneven.parse(text).kept == tuple(
        k for k, layer in enumerate(text.partition(":")[2].split(",")) if layer != "-"
    )


def test_either_form_is_read_and_what_is_neither_is_told_of_both():
    assert parse_shape("3,12,384,768") == Architecture(3, 12, 384, 768)
    assert parse_shape(TEXTS[0]) == Uneven.parse(TEXTS[0])
    with pytest.raises(ValueError, match=r"neither form; allowed: D,A,H,I .* H:AxI,"):
        parse_shape("small")


@pytest.mark.parametrize(
    "text", ["", "32", "32:4", "32:4x", "32:4x8,,", "32:4x8;4x8", "4x8,32:1x1"]
)
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(ValueError, match="write, for example"):
        Uneven.parse(text)


@pytest.mark.parametrize(
    "text",
    ["32:4x48", "32:5x48,-,-,-", "32:4x56,-,-,-", "30:4x48,-,-,-", "64:4x48,-,-,-", "32:-,-,-,-"],
)
def test_what_is_no_slice_is_refused(text):
    with pytest.raises(ValueError, match="cannot be cut out of tiny-bert: give 4 layers of"):
        Uneven.parse(text).check(BERT)


def test_drawn_shapes_are_slices_of_all_sizes():
    rng = random.Random(0)
    shapes = [draw(BERT, 24, rng) for _ in range(200)]
    for shape in shapes:
        shape.check(BERT)
    depths = {len(shape.kept) for shape in shapes}
    assert depths == {1, 2, 3, 4}
    heads, neurons = zip(*(layer for shape in shapes for layer in shape.layers), strict=True)
    assert set(heads) == {0, 1, 2, 3, 4} and set(neurons) == set(range(0, 49, 8))
