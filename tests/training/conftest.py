"""A source so small that it trains in seconds, with MiniLM's words."""

import shutil

import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification, set_seed

from bort_engine.encoder.sources import Source


@pytest.fixture(scope="session")
def source(quick_cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    set_seed(0)
    shape = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    config = AutoConfig.for_model("bert", num_hidden_layers=2, vocab_size=30522, **shape)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(quick_cache / "resources" / "minilm-l6-0.1.0" / name, folder)
    return Source.load(str(folder))
