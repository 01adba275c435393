"""Sources: by name, folder and hub id, as transformers writes them; hostile ones are refused."""

import json
import re
from dataclasses import replace

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
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


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(b"")
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
        (CONFIG | {"vocab_size": "many"}, "source .*mine: vocab_size is 'many'; it must be an int"),
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
