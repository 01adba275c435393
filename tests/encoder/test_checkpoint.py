"""A saved model opens elsewhere with the same outputs; every way to damage one is named."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import BertTokenizer, DistilBertTokenizer, RobertaTokenizer

from bort_engine.encoder.build import inherit, load_source, load_tokenizer
from bort_engine.encoder.checkpoint import Probe, check_reload, save, write
from bort_engine.encoder.model_card import EMBEDDED
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture, SearchSpace
from tests.encoder.test_build import FAMILIES, parent_of
from tests.encoder.test_model_card import SMALL, card_of

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def tokenizer_of(family):
    """A tokenizer of 50 tokens at most, whose padding is where each family's config expects it."""
    if family == "roberta":
        vocab = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *LETTERS]
        return RobertaTokenizer({token: i for i, token in enumerate(vocab)}, [])
    kind = BertTokenizer if family == "bert" else DistilBertTokenizer
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "is", *LETTERS]
    return kind({token: i for i, token in enumerate(vocab)})


def child_of(family, architecture=SMALL):
    return inherit(parent_of(FAMILIES[family]), architecture, FAMILIES[family])


def write_small(folder, family="bert", **changed):
    card = card_of(FAMILIES[family], **changed)
    return write(child_of(family), tokenizer_of(family), folder, card)


def change_weights(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def change_json(path, **changed):
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


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
        "the weights lack bert.encoder.layer.1.output.dense.bias",
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
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        r"could not be opened \(OSError: .*model.safetensors",
    ),
    "another tokenizer": (
        lambda f: renumber(f / "tokenizer.json"),
        "as it was saved: its tokenizer makes other tokens of the same text$",
    ),
}


def drawn():
    """20 architectures of the tiny families, drawn with a fixed seed."""
    pool = list(SearchSpace((1, 2, 3, 4), (1, 2, 4), (8, 16, 24, 32), (6, 12, 48)))
    picks = np.random.default_rng(3).choice(len(pool), 20, replace=False)
    return [(list(FAMILIES)[n % 3], pool[pick]) for n, pick in enumerate(picks)]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two threads that wait for each other crawl where other programs are at work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """One new process opens the 20 drawn ones and the damaged ones."""
    root = tmp_path_factory.mktemp("checkpoints")
    probes = {}
    for family, shape in drawn():
        folder = root / f"{family}-{shape}"
        card = card_of(FAMILIES[family], shape)
        probes[folder] = write(child_of(family, shape), tokenizer_of(family), folder, card)
    whole = write_small(root / "whole")
    for name, (damage, _) in DAMAGE.items():
        shutil.copytree(root / "whole", root / name)
        damage(root / name)
        probes[root / name] = whole
    encoder = child_of("bert").base_model
    probes[root / "encoder"] = write(
        encoder, tokenizer_of("bert"), root / "encoder", card_of(FAMILIES["bert"], labels=())
    )
    return {folder.name: report for folder, report in check_reload(probes).items()}


@pytest.mark.parametrize(("family", "shape"), drawn(), ids=str)
def test_a_drawn_architecture_opens_elsewhere_with_the_same_logits(reports, family, shape):
    report = reports[f"{family}-{shape}"]
    assert report.ok, report
    assert report.max_difference == 0  # the same sums in the same order
    assert report.missing_keys == report.unexpected_keys == ()
    assert not report.custom_code
    name = {"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert"}[family]
    expected = tuple(name + part for part in ("Tokenizer", "ForSequenceClassification", "Model"))
    assert report.classes == expected
    assert str(report).startswith(f"opens in a new process as {name}Tokenizer, ")


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(reports, name):
    report, words = reports[name], DAMAGE[name][1]
    assert not report.ok
    assert re.search(words, str(report)), report
    assert report.custom_code == (name in ("code", "an auto_map"))


def test_the_keys_of_a_damaged_checkpoint_are_reported(reports):
    key = "encoder.layer.1.output.dense.bias"
    assert reports["a lost key"].missing_keys == (f"bert.{key}",)
    assert f"opened by AutoModel, the encoder lacks {key}" in reports["a lost key"].problems
    assert reports["a key too many"].unexpected_keys == ("extra",)
    assert reports["a changed weight"].max_difference > 1e-5


def test_a_bare_encoder_opens_too(reports):
    assert reports["encoder"].ok, reports["encoder"]
    assert reports["encoder"].classes == ("BertTokenizer", "BertModel", "BertModel")


def test_what_is_written_is_fp32_whatever_the_model_has_become(tmp_path):
    model = child_of("roberta")
    expected = Probe.of(model, tokenizer_of("roberta")).outputs
    model.forward = None  # as Trainer puts autocast around it
    card = card_of(FAMILIES["roberta"])
    found = write(model, tokenizer_of("roberta"), tmp_path / "a", card)
    np.testing.assert_array_equal(found.outputs, expected)

    half = child_of("roberta").bfloat16()
    write(half, tokenizer_of("roberta"), tmp_path / "a", card)
    weights = load_file(tmp_path / "a" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert half.dtype == torch.bfloat16
    assert json.loads((tmp_path / "a" / "config.json").read_text())["dtype"] == "float32"


@pytest.mark.parametrize(("family", "expected"), [("bert", 40), ("roberta", 38)])
def test_the_folder_is_an_ordinary_one(tmp_path, family, expected):
    tokenizer = tokenizer_of(family)
    tokenizer(["a b", "c"], truncation=True, max_length=3, padding="max_length")
    assert tokenizer.backend_tokenizer.truncation["max_length"] == 3  # what such a call leaves
    model = child_of(family)
    model.config._name_or_path = str(tmp_path / "somewhere")
    folder = tmp_path / "a"
    write(model, tokenizer, folder, card_of(FAMILIES[family]))

    names = {"README.md", "config.json", "model.safetensors"}
    assert {p.name for p in folder.iterdir()} == names | {"tokenizer.json", "tokenizer_config.json"}
    (tmp_path / "usual").touch()
    usual = (tmp_path / "usual").stat().st_mode
    assert {path.stat().st_mode for path in folder.iterdir()} == {usual}
    assert not [p for p in folder.iterdir() if str(tmp_path).encode() in p.read_bytes()]
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "bad", "1": "middling", "2": "good"}
    assert config["label2id"] == {"bad": 0, "middling": 1, "good": 2}
    plain = json.loads((folder / "tokenizer.json").read_text())
    assert plain["truncation"] is None and plain["padding"] is None
    # RoBERTa's first position is the one after its padding token, number 1.
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["model_max_length"] == expected
    card = (folder / "README.md").read_text()
    size = (folder / "model.safetensors").stat().st_size
    assert f"| {size / 1e6:.2f} MB |" in card and f"at most {expected} tokens" in card
    assert model.config.id2label[0] == "LABEL_0" and tokenizer.model_max_length > 10**9


def test_a_whole_new_one_replaces_an_earlier_one(tmp_path):
    write_small(tmp_path / "a", seed=1)
    write_small(tmp_path / "a", seed=2)
    assert "**Seed:** 2" in (tmp_path / "a" / "README.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        # As the two libraries raise it (safetensors 0.8, tokenizers 0.23).
        SafetensorError("Error while serializing: I/O error: No space left (os error 28)"),
        Exception("No space left on device (os error 28)"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_full_disk_leaves_the_earlier_one_whole(tmp_path, monkeypatch, error):
    write_small(tmp_path / "a")
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}

    def fails(self, folder, **kwargs):
        (folder / "tokenizer.json").write_text("{")
        raise error

    monkeypatch.setattr(BertTokenizer, "save_pretrained", fails)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_small(tmp_path / "a", seed=2)
    assert caught.value.errno == errno.ENOSPC
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    with pytest.raises(OSError):
        write_small(tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_kill_left_is_swept_and_nothing_else(tmp_path):
    write_small(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / ".earlier-a")  # killed between the two renames
    for name in (".part-a-0123abcd", ".part-a-2-0123abcd", ".part-b-0123abcd", "part-a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{")
    half = child_of("bert")
    half.state_dict = None  # fails right after the sweep would have lost the earlier one
    with pytest.raises(TypeError):
        write(half, tokenizer_of("bert"), tmp_path / "a", card_of(FAMILIES["bert"]))
    assert (tmp_path / ".earlier-a").is_dir()
    write_small(tmp_path / "a", seed=2)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a", ".part-a-2-0123abcd", ".part-b-0123abcd", "part-a"}


def test_an_earlier_one_is_put_back_before_a_save_that_fails(tmp_path, monkeypatch):
    write_small(tmp_path / "a", seed=1)
    (tmp_path / "a").rename(tmp_path / ".earlier-a")
    monkeypatch.setattr(BertTokenizer, "save_pretrained", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_small(tmp_path / "a", seed=2)
    assert "**Seed:** 1" in (tmp_path / "a" / "README.md").read_text()


def test_a_folder_with_something_else_in_it_is_refused_and_kept(tmp_path):
    write_small(tmp_path / "a")
    (tmp_path / "a" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"a holds thesis.txt, which is not a checkpoint's"):
        write_small(tmp_path / "a")
    assert (tmp_path / "a" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(ValueError, match=r"thesis.txt is a file; choose a folder"):
        write_small(tmp_path / "a" / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_card_of_another_model_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"the card says bert .*'num_hidden_layers': 3.* the model"
    ):
        other = card_of(FAMILIES["bert"], Architecture(3, 2, 16, 12))
        write(child_of("bert"), tokenizer_of("bert"), tmp_path / "a", other)
    with pytest.raises(ValueError, match=r"the card has 2 labels, the model 3 classes"):
        write_small(tmp_path / "a", labels=("no", "yes"))
    assert not list(tmp_path.iterdir())


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


def test_a_slice_of_the_real_model_works_in_a_plain_pipeline(embedded, tmp_path):
    source, shape = sources["minilm-l6"], Architecture(3, 12, 384, 768)
    model = inherit(load_source(source, num_labels=2), shape, source)
    card = card_of(source, shape, labels=("rotten", "fresh"), licence="apache-2.0")
    report = save(model, load_tokenizer(source), tmp_path / "a", card)
    assert report.ok and report.max_difference == 0, report
    written = ModelCard.load(tmp_path / "a" / "README.md")
    assert written.data.base_model == EMBEDDED
    # (30,522 + 512 + 2 + 2) * 384 + 3 * (4*384*384 + 2*384*768 + 9*384 + 768) + 384*384 + 384
    assert "| parameters | 15,618,048 | 22,713,216 | 68.8 % |" in written.text
    plain = json.loads((tmp_path / "a" / "tokenizer.json").read_text())
    assert plain["truncation"] is None and plain["padding"] is None
    settings = json.loads((tmp_path / "a" / "tokenizer_config.json").read_text())
    assert settings["model_max_length"] == 512 and "max_length" not in settings

    code = re.search(r"```python\n(.*?)```", written.text, re.DOTALL)[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code.replace("this-folder", "a")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"'label': '(rotten|fresh)', 'score': 0\.\d+", done.stdout), done.stdout
