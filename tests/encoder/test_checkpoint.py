"""A checkpoint appears whole or not at all, as an ordinary folder that transformers opens."""

import errno
import json
import re

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import BertTokenizer, DistilBertTokenizer, RobertaTokenizer

from bort_engine.encoder.build import inherit, load_source, load_tokenizer
from bort_engine.encoder.checkpoint import write
from bort_engine.encoder.model_card import EMBEDDED
from bort_engine.encoder.reload import Probe, check_reload
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from tests.encoder.test_build import EVEN, FAMILIES, even, parent_of
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


def child_of(family):
    return inherit(parent_of(FAMILIES[family]), SMALL, FAMILIES[family], EVEN)


def write_small(folder, family="bert", **changes):
    card = card_of(FAMILIES[family], **changes)
    return write(child_of(family), tokenizer_of(family), folder, card)


def test_what_is_written_is_fp32_whatever_the_model_has_become(tmp_path):
    model, tokenizer, card = (
        child_of("roberta"),
        tokenizer_of("roberta"),
        card_of(FAMILIES["roberta"]),
    )
    expected = Probe.of(model, tokenizer).outputs
    model.forward = None  # as Trainer puts autocast around it
    probe = write(model, tokenizer, tmp_path / "a", card)
    np.testing.assert_array_equal(probe.outputs, expected)

    half = child_of("roberta").bfloat16()
    write(half, tokenizer, tmp_path / "a", card)
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
    backend = json.loads((folder / "tokenizer.json").read_text())
    assert backend["truncation"] is None and backend["padding"] is None
    # RoBERTa's first position is the one after its padding token, number 1.
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["model_max_length"] == expected
    card = (folder / "README.md").read_text()
    size = (folder / "model.safetensors").stat().st_size
    assert f"| {size / 1e6:.2f} MB |" in card and f"at most {expected} tokens" in card
    assert model.config.id2label[0] == "LABEL_0" and tokenizer.model_max_length > 10**9


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        # As safetensors 0.8 raises it; tokenizers 0.23 raises an Exception that ends so.
        SafetensorError("Error while serializing: I/O error: No space left (os error 28)"),
        # As torch.save of torch 2.13 raises it.
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
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
    with pytest.raises(OSError, match="No space left on device") as refusal:
        write_small(tmp_path / "a", seed=2)
    assert refusal.value.errno == errno.ENOSPC
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    with pytest.raises(OSError):
        write_small(tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_kill_left_is_swept_and_nothing_else_and_a_new_one_replaces_an_earlier_one(
    tmp_path, monkeypatch
):
    write_small(tmp_path / "a", seed=1)
    (tmp_path / "a").rename(tmp_path / ".earlier-a")  # killed between the two renames
    for name in (".part-a-0123abcd", ".part-a-2-0123abcd", ".part-b-0123abcd", "part-a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{")
    with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
        broken.setattr(BertTokenizer, "save_pretrained", lambda *_: 1 / 0)
        write_small(tmp_path / "a", seed=2)
    assert "**Seed:** 1" in (tmp_path / "a" / "README.md").read_text()  # it is put back
    write_small(tmp_path / "a", seed=2)
    assert "**Seed:** 2" in (tmp_path / "a" / "README.md").read_text()
    remaining = {path.name for path in tmp_path.iterdir()}
    assert remaining == {"a", ".part-a-2-0123abcd", ".part-b-0123abcd", "part-a"}


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
    other = card_of(FAMILIES["bert"], Architecture(3, 2, 16, 12))
    with pytest.raises(ValueError, match=r"card says bert .*'num_hidden_layers': 3.* the model"):
        write(child_of("bert"), tokenizer_of("bert"), tmp_path / "a", other)
    with pytest.raises(ValueError, match=r"the card has 2 labels, the model 3 classes"):
        write_small(tmp_path / "a", labels=("no", "yes"))
    assert not list(tmp_path.iterdir())


def test_a_slice_of_the_real_model_works_in_a_plain_pipeline(
    embedded, tmp_path, monkeypatch, capsys
):
    source, shape = sources["minilm-l6"], Architecture(3, 12, 384, 768)
    model = inherit(load_source(source, 2), shape, source, even(source.architecture))
    card = card_of(source, shape, labels=("rotten", "fresh"), licence="apache-2.0")
    folder = tmp_path / "a"
    report = check_reload({folder: write(model, load_tokenizer(source), folder, card)})[folder]
    assert report.problems == () and report.max_difference == 0, report
    readme = ModelCard.load(folder / "README.md")
    assert readme.data.base_model == EMBEDDED["minilm-l6"]
    # (30,522 + 512 + 2 + 2) * 384 + 3 * (4*384*384 + 2*384*768 + 9*384 + 768) + 384*384 + 384
    assert "| parameters | 15,618,048 | 22,713,216 | 68.8 % |" in readme.text
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["model_max_length"] == 512 and "max_length" not in settings
    code = re.search(r"```python\n(.*?)```", readme.text, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    exec(code.replace("this-folder", "a"), {})
    assert re.search(r"'label': '(rotten|fresh)', 'score': 0\.\d+", capsys.readouterr().out)
