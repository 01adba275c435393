"""Sources: by name, folder and hub id, as transformers writes them; hostile ones are refused."""

import json
import re
from dataclasses import replace

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.numpy import save_file
from transformers import AutoConfig

from bort_engine.data.resources import RESOURCES
from bort_engine.encoder.sources import LEFT_OUT, Source, sources
from bort_engine.encoder.space import Architecture

CONFIG = {
    "model_type": "bert",
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 64,
    "intermediate_size": 128,
    "vocab_size": 1000,
    "max_position_embeddings": 128,
    "type_vocab_size": 3,
}


def write_weights(folder, config):
    """Write a BERT's weights, as far as they are compared with its config: zeros."""
    width = config["hidden_size"]
    names = ("vocab_size", "max_position_embeddings", "type_vocab_size")
    parts = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    rows = {part: config[name] for part, name in zip(parts, names, strict=True)}
    for n in range(config["num_hidden_layers"]):
        rows[f"layer.{n}.intermediate.dense"] = config["intermediate_size"]
    weights = {f"bert.{part}.weight": np.zeros((n, width), "f4") for part, n in rows.items()}
    save_file(weights, folder / "model.safetensors")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_weights(folder, CONFIG)
    return folder


def test_a_local_folder_and_a_hub_id_are_sources(folder, monkeypatch):
    assert Source.load(str(folder)) == Source(
        str(folder), "bert", Architecture(2, 4, 64, 128), 1000, 128, 3, weights=str(folder)
    )
    config = str(folder / "config.json")
    monkeypatch.setattr("bort_engine.encoder.sources.check_hub", lambda: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda name, file: config)
    source = Source.load("someone/something")
    assert (source.name, source.weights) == ("someone/something", "someone/something")
    assert source.architecture == Architecture(2, 4, 64, 128)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpt-9", r"'gpt-9' is not known; allowed: minilm-l6, .* hub id"),
        ("x" * 300, "is not known; allowed: minilm-l6"),  # longer than a file system takes
        ("~nobody-by-that-name/model", "is not known; allowed: minilm-l6"),
        ("mobilebert", "left out: its layers have bottlenecks .* Choose "),
    ],
)
def test_a_name_that_is_no_source_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        Source.load(name)
    assert not LEFT_OUT.keys() & sources.keys()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG | {"model_type": "gpt2"}, "model_type 'gpt2'; allowed: bert, roberta, distilbert"),
        ({k: v for k, v in CONFIG.items() if k != "hidden_size"}, "mine: .* lacks 'hidden_size'"),
        (CONFIG | {"vocab_size": "many"}, "source .*mine: vocab_size is 'many'; allowed: an int"),
        (
            CONFIG | {"hidden_size": 10**12, "num_attention_heads": 7},
            "hidden_size is 10{12}; allowed",
        ),
        (CONFIG | {"num_hidden_layers": 10**5}, "num_hidden_layers is 100000; .* from 1 to 256"),
        (CONFIG | {"vocab_size": 10**400}, "vocab_size is 10{39}; allowed: .* from 1 to 2,000,000"),
        (CONFIG | {"num_labels": 10**9}, "mine: config.json has more than 10,000 labels"),
        (CONFIG | {"quantization_config": {}}, "config.json has quantization_config; save a plain"),
        (CONFIG | {"intermediate_size": 48}, r"layer.0.* is \(128, 64\), but \(48, 64\) by config"),
        (CONFIG | {"num_hidden_layers": 3}, r"layer.2.* is missing, but \(128, 64\) by config"),
        ([], r"mine: config\.json is not a JSON object"),
    ],
    ids=str,
)
def test_a_config_that_describes_no_source_is_refused(folder, config, message):
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        Source.load(str(folder))


def test_a_folder_without_json_or_safe_weights_is_refused(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not JSON .*; save the model again"):
        Source.load(str(folder))
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"config\.json is not JSON .*; save the model again"):
        Source.load(str(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"no model\.safetensors: .* pickled ones are not read"):
        Source.load(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has no config\.json; save the model there with"):
        Source.load(str(folder))


@pytest.mark.parametrize("kind", [LocalEntryNotFoundError, RepositoryNotFoundError])
def test_a_hub_that_cannot_be_reached_is_one_clear_line(monkeypatch, kind):
    def fail(*args: object) -> str:
        error = kind.__new__(kind)  # their constructors want a response, which is beside the point
        error.args = ("no",)
        raise error

    monkeypatch.setattr("bort_engine.encoder.sources.check_hub", lambda: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    expected = rf"'a/b' could not be fetched from the hub \({kind.__name__}\): check .* minilm-l6"
    with pytest.raises(ValueError, match=expected) as refusal:
        Source.load("a/b")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bert-tiny", "Bert"),
        ("roberta-base", "Roberta"),
        ("distilbert-base-uncased", "DistilBert"),
    ],
)
def test_a_real_transformers_config_is_built_and_read_back(name, kind):
    source, shape = sources[name], Architecture(3, 2, 64, 96)
    config = AutoConfig.for_model(source.model_type, **source.config(shape))
    assert type(config).__name__ == f"{kind}Config"
    assert config.num_hidden_layers == 3 and config.hidden_size == 64
    read = Source.from_config(config.to_dict(), name, source.weights)
    assert read == replace(source, architecture=shape)
    assert read.longest_input == 512  # RoBERTa's 514 positions begin after the padding token's


def test_every_reference_weights_are_a_hub_id_or_embedded_or_none():
    for source in sources.values():
        assert source.weights in (None, "embedded") or re.fullmatch(r"[\w.-]+/.+", source.weights)
    embedded = {name for name, source in sources.items() if source.weights == "embedded"}
    assert embedded == {"minilm-l6", "minilm-l3"} <= RESOURCES.keys()
    assert sources["bort"].weights is None


def test_the_small_embedded_source_is_the_other_with_half_its_layers():
    l6, l3 = Source.load("minilm-l6"), Source.load("minilm-l3")
    shape = replace(l6.architecture, num_hidden_layers=3)
    assert l3 == replace(l6, name="minilm-l3", architecture=shape)
