"""A saved folder opens in a new process with the same outputs; every way to damage one is named."""

import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bort_engine.encoder.checkpoint import write
from bort_engine.encoder.reload import check_reload
from tests.encoder.test_build import FAMILIES
from tests.encoder.test_checkpoint import child_of, tokenizer_of, write_small
from tests.encoder.test_model_card import card_of


def change_weights(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def renumber(path):
    path.write_text(re.sub(r'"(the|is)": (\d)', r'"\1": 1\2', path.read_text()))


TOKEN_TYPES = "bert.embeddings.token_type_embeddings.weight"
DAMAGE = {  # what is done to a folder, and the words that name it
    "a changed weight": (
        lambda f: change_weights(f, lambda w: w["bert.pooler.dense.bias"].add_(1)),
        "not those that were saved: bert.pooler.dense.bias; its outputs differ by",
    ),
    "a weight that the batch does not read": (
        lambda f: change_weights(f, lambda w: w[TOKEN_TYPES][1].add_(1)),
        f"as it was saved: these weights are not those that were saved: {TOKEN_TYPES}$",
    ),
    "another activation": (
        lambda f: change_json(f / "config.json", hidden_act="relu"),
        r"as it was saved: its outputs differ by \S+; at most 1e-05 is allowed$",
    ),
    "a lost key": (
        lambda f: change_weights(f, lambda w: w.pop("bert.encoder.layer.1.output.dense.bias")),
        r"the weights lack bert(\.encoder\.layer\.1\.output\.dense\.bias); "
        r"opened by AutoModel, the encoder lacks encoder\.layer\.1\.output\.dense\.bias",
    ),
    "a key too many": (
        lambda f: change_weights(f, lambda w: w.update(extra=torch.zeros(2))),
        "the weights have extra, which the model does not",
    ),
    "another shape": (
        lambda f: change_json(f / "config.json", intermediate_size=11),
        "disagree on the shape of bert.encoder.layer.0.intermediate.dense.bias",
    ),
    "not a number": (
        lambda f: change_weights(f, lambda w: w["classifier.bias"].fill_(float("nan"))),
        "its outputs differ by nan",
    ),
    "code": (lambda f: (f / "modeling.py").write_text(""), r"custom code \(modeling.py\)"),
    "an auto_map": (
        lambda f: change_json(f / "config.json", auto_map={"AutoModel": "modeling.Model"}),
        r"custom code \(auto_map in config.json\)",
    ),
    "a pickle": (
        lambda f: (f / "pytorch_model.bin").write_bytes(b""),
        "pytorch_model.bin is not safetensors",
    ),
    "cut-off weights": (
        lambda f: os.truncate(f / "model.safetensors", 1000),
        r"could not be opened \(SafetensorError: ",
    ),
    "another tokenizer": (
        lambda f: renumber(f / "tokenizer.json"),
        "as it was saved: its tokenizer makes other tokens of the same text$",
    ),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """One new process opens the whole folders and the damaged ones."""
    root = tmp_path_factory.mktemp("checkpoints")
    probes = {root / family: write_small(root / family, family) for family in FAMILIES}
    for name, (damage, _) in DAMAGE.items():
        shutil.copytree(root / "bert", root / name)
        damage(root / name)
        probes[root / name] = probes[root / "bert"]
    card, folder = card_of(FAMILIES["bert"], labels=()), root / "encoder"
    probes[folder] = write(child_of("bert").base_model, tokenizer_of("bert"), folder, card)
    return {folder.name: report for folder, report in check_reload(probes).items()}


@pytest.mark.parametrize(
    ("family", "prefix"), [("bert", "Bert"), ("roberta", "Roberta"), ("distilbert", "DistilBert")]
)
def test_a_whole_folder_opens_elsewhere_with_the_same_logits(reports, family, prefix):
    report = reports[family]
    assert report.problems == ()
    assert report.max_difference == 0  # the same sums in the same order
    parts = ("Tokenizer", "ForSequenceClassification", "Model")
    assert report.classes == tuple(prefix + part for part in parts)
    assert str(report).startswith(f"opens in a new process as {prefix}Tokenizer, ")


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(reports, name):
    _, words = DAMAGE[name]
    assert reports[name].problems and re.search(words, str(reports[name])), reports[name]


def test_a_bare_encoder_opens_too(reports):
    assert reports["encoder"].problems == ()
    assert reports["encoder"].classes == ("BertTokenizer", "BertModel", "BertModel")


def test_a_new_process_that_dies_or_hangs_is_a_problem_not_an_error(tmp_path, monkeypatch):
    probe = write_small(tmp_path / "a")
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\ncat >/dev/null\necho first >&2\necho boom >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    report = check_reload({tmp_path / "a": probe})[tmp_path / "a"]
    assert report.problems == ("the new process ended with code 3: boom",)
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    report = check_reload({tmp_path / "a": probe}, timeout_s=0.2)[tmp_path / "a"]
    assert report.problems == ("the new process was not done after 0.2 s",)
    assert np.isnan(report.max_difference) and (tmp_path / "a" / "config.json").is_file()
