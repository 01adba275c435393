"""An exported BERT: every weight finds its name, whatever the exporter called it, or is refused."""

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from transformers import BertConfig, BertModel

from bort_engine.data.resources import cache_dir
from bort_engine.encoder import build, onnx_weights
from bort_engine.encoder.build import load_source, load_tokenizer
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.onnx_weights import read_weights, transformers_folder
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from tests.encoder.test_build import BERT

TINY = replace(BERT, name="tiny", architecture=Architecture(2, 2, 16, 24))
PREFIX = "model.0.auto_model."
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = BertModel(BertConfig(**TINY.config()))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_()  # no two alike, also of norms and biases
    return model


def save(path, initializers, nodes):
    tensors = [numpy_helper.from_array(array, name) for name, array in initializers.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "a graph", [], [], tensors)), path)
    return path


def export(model, path, prefix=PREFIX, pooler=False):
    """Write a model's weights as torch's exporter does; the anonymous ones have random numbers."""
    rng = np.random.default_rng(0)
    linear = {name for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    arrays, nodes = {"/Constant": np.array([1, 2])}, []
    for number, (name, weight) in zip(
        rng.permutation(1000), model.named_parameters(), strict=False
    ):
        layer, _, kind = name.rpartition(".")
        array = weight.detach().numpy()
        if layer == "pooler.dense":  # of one token's state: exported as Gemm, which keeps the name
            if pooler:
                arrays[prefix + name] = array
        elif layer in linear and kind == "weight":
            arrays[f"onnx::MatMul_{number}"] = array.T.copy()
            nodes.append(helper.make_node("MatMul", ["x", f"onnx::MatMul_{number}"], [layer]))
            terms = [layer, f"{prefix}{layer}.bias"]
            nodes.append(helper.make_node("Add", terms[:: rng.choice([1, -1])], [f"{layer} sum"]))
            # Also added, but no linear layer's: a residual, and a constant to the product.
            nodes.append(helper.make_node("Add", [f"{layer} sum", "x"], [f"{layer} residual"]))
            nodes.append(helper.make_node("Add", [layer, "/Constant"], [f"{layer} more"]))
        else:
            arrays[prefix + name] = array
    return save(path, arrays, nodes)


@pytest.mark.parametrize("prefix", ["", "bert.", PREFIX])
def test_an_exported_model_comes_back_with_equal_weights(model, tmp_path, prefix):
    path = export(model, tmp_path / "tiny.onnx", prefix, pooler=True)
    folder = transformers_folder(path, TINY, [])
    again, info = BertModel.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    weights = again.state_dict()
    for name, weight in model.state_dict().items():
        assert torch.equal(weights[name], weight), name


def test_a_pooler_that_was_not_exported_passes_the_first_token_on(model, tmp_path):
    folder = transformers_folder(export(model, tmp_path / "tiny.onnx"), TINY, [])
    again, info = BertModel.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    with torch.inference_mode():
        result = again.eval()(torch.tensor([[3, 4, 5]]))
    expected = torch.tanh(result.last_hidden_state[:, 0])
    assert torch.allclose(result.pooler_output, expected, atol=1e-6)


def test_by_hand_the_bias_names_the_product_it_is_added_to(tmp_path):
    # y = x [[1, 2, 3], [4, 5, 6]] + b: torch's weight has a row for each of the three outputs.
    arrays = {
        f"m.{onnx_weights._WORDS}": np.zeros((1, 2), np.float32),
        "onnx::MatMul_7": np.array([[1, 2, 3], [4, 5, 6]], np.float32),
        "m.layer.bias": np.array([7, 8, 9], np.float32),
        "head.weight": np.ones((2, 2), np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["product"]),
        helper.make_node("Add", ["m.layer.bias", "product"], ["y"]),
    ]
    weights = read_weights(save(tmp_path / "hand.onnx", arrays, nodes))
    assert weights.keys() == {onnx_weights._WORDS, "layer.bias", "layer.weight"}
    assert weights["layer.weight"].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert weights["layer.bias"].tolist() == [7, 8, 9]


def without_sums(path):
    graph = onnx.load(path)
    nodes = [node for node in graph.graph.node if node.op_type != "Add"]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    onnx.save(graph, path)


@pytest.mark.parametrize(
    ("spoil", "layers", "reason"),
    [
        (lambda path: path.write_bytes(b"hello, I am no graph"), 2, "it is not ONNX: "),
        (lambda path: path.write_bytes(path.read_bytes()[:999]), 2, "it is not ONNX: "),
        (lambda path: path.write_bytes(b""), 2, "it has no embeddings.word_embeddings.weight"),
        (without_sums, 2, "a BERT's: encoder.layer.0.attention.output.dense.weight, "),
        (lambda path: None, 3, "a BERT's: encoder.layer.2.attention.output.LayerNorm.bias, "),
        (lambda path: None, 1, "a BERT's: encoder.layer.1.attention.output.LayerNorm.bias, "),
    ],
    ids=["text", "cut short", "empty", "no biases added", "a layer too few", "a layer too many"],
)
def test_a_file_that_is_no_such_export_is_refused(model, tmp_path, spoil, layers, reason):
    path = export(model, tmp_path / "tiny.onnx")
    spoil(path)
    source = replace(TINY, architecture=replace(TINY.architecture, num_hidden_layers=layers))
    told = f"{path} does not hold a BERT of shape {layers},2,16,24 as torch exports it ("
    with pytest.raises(ValueError, match=f"{re.escape(told)}.*{reason}") as refusal:
        transformers_folder(path, source, [])
    assert str(refusal.value).endswith(f"; delete {tmp_path}, and it is fetched again.")
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == [path]


def test_an_embedded_export_is_converted_once_and_whole(model, tmp_path, monkeypatch):
    folders = {name: tmp_path / name for name in ("minilm-l3", "minilm-l6")}
    for folder in folders.values():
        folder.mkdir()
    for name in TOKENIZER:
        (folders["minilm-l6"] / name).write_text(name)
    path = export(model, folders["minilm-l3"] / "tiny.onnx")
    monkeypatch.setattr(build, "fetch", lambda name, on_progress: folders[name])
    source = replace(TINY, name="minilm-l3", weights="embedded")

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(onnx_weights.shutil, "copy", interrupt)  # the model is written by then
        with pytest.raises(KeyboardInterrupt):
            load_source(source)
    assert list(folders["minilm-l3"].iterdir()) == [path]

    key = "encoder.layer.1.attention.self.key.weight"
    assert torch.equal(load_source(source).state_dict()[key], model.state_dict()[key])
    folder = folders["minilm-l3"] / "transformers"
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors", *TOKENIZER}
    assert all((folder / name).read_text() == name for name in TOKENIZER)
    path.write_bytes(b"")  # not read again
    assert build.weights_of(source) == str(folder)


def test_minilm_l3_computes_what_onnxruntime_does():
    if not all(list(cache_dir().glob(f"resources/minilm-{size}-*")) for size in ("l3", "l6")):
        pytest.skip("not in the cache: python -m bort_engine fetch --names minilm-l3,minilm-l6")
    source = sources["minilm-l3"]
    model, tokenizer = load_source(source).eval(), load_tokenizer(source)
    assert model.num_parameters() == n_parameters(source.architecture, source).total == 17_389_824
    with torch.inference_mode():
        state = model(**tokenizer("The plot is thin.", return_tensors="pt")).last_hidden_state
    # The exported graph's last norm, first token, first five units, by onnxruntime 1.32.0 in fp32.
    expected = torch.tensor([-0.4464863, 0.14898197, 0.16509739, 0.170342, 0.2169994])
    assert torch.allclose(state[0, 0, :5], expected, atol=1e-5)
