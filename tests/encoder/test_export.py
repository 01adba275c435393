"""An export says what the checkpoint says, runs without torch, and appears whole or not at all."""

import errno
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from bort_engine.__main__ import main
from bort_engine.encoder import exporters
from bort_engine.encoder.checkpoint import write
from bort_engine.encoder.export import PACKAGES, Export, export
from bort_engine.encoder.run_onnx import open_onnx, open_openvino
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.runs import records
from bort_engine.runs.events import Cancelled
from tests.encoder.test_build import FAMILIES
from tests.encoder.test_checkpoint import LETTERS, tokenizer_of
from tests.encoder.test_model_card import LABELS, card_of

LENGTHS = np.random.default_rng(0).integers(1, 30, 200)
TEXTS = [" ".join(np.random.default_rng(n).choice([*LETTERS], n)) for n in LENGTHS]
# Not importorskip: OpenVINO, once imported, reports its use, unless it was kept from that before.
needs_openvino = pytest.mark.skipif(
    not all(map(find_spec, PACKAGES["openvino-int8"])),
    reason="needs the extra: pip install -r requirements-openvino.txt",
)
RUN = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def checkpoint(folder, family="bert", labels=LABELS):
    """Write a model of one layer, whose weights are so large that its outputs follow the text."""
    source, shape = FAMILIES[family], Architecture(1, 4, 32, 48)
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **source.config(shape), num_labels=len(labels) or 1)
    model = AutoModelForSequenceClassification.from_config(config)
    for name, weight in model.named_parameters():
        weight.data *= 1 if "LayerNorm" in name else 10
    card = card_of(source, shape, labels=labels, licence="mit")
    write(model, tokenizer_of(family), folder, card)
    return str(folder)


@pytest.fixture(scope="module", autouse=True)
def letters():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bort_engine.encoder.export.general_texts", lambda on_progress: TEXTS)
        yield


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("cut") / "model")


def write_part(folder, *args, **kwargs):
    (folder / "model.onnx").write_text("some")


@pytest.fixture
def all_zeros(monkeypatch):
    """No ONNX model is made, and what a new process would read is all zeros."""
    zeros = np.zeros((len(TEXTS) // 2, 3))
    monkeypatch.setattr(exporters, "new_process_logits", lambda folder, texts: zeros)
    monkeypatch.setattr(exporters, "write_onnx", write_part)


def run(folder, *lines, stdin=""):
    """Return what run.py prints in a process that sees nothing of ours, and what it imported."""
    command = [sys.executable, "-I", "-B", "-c", RUN, str(Path(folder) / "run.py"), *lines]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=True)
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize(
    ("family", "format"), [*((family, "onnx") for family in FAMILIES), ("bert", "onnx-int8")]
)
def test_an_onnx_model_reads_any_batch_and_length_as_pytorch_does(family, format, tmp_path):
    folder = checkpoint(tmp_path / "cut" / "model", family)
    result = export(folder, format=format, out=tmp_path)
    most = 1e-5 if format == "onnx" else 0.5
    names, session = open_onnx(Path(result.folder))
    assert set(names) == set(AutoTokenizer.from_pretrained(folder).model_input_names)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    longest = FAMILIES[family].longest_input  # 40, and 38 for RoBERTa
    for batch, length in ((1, 5), (3, longest)):
        generator = torch.Generator().manual_seed(length)
        ids = torch.randint(5, 30, (batch, length), generator=generator)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if "token_type_ids" in names:
            inputs["token_type_ids"] = (torch.arange(length) > 2).long().expand_as(ids)
        inputs["attention_mask"][-1, length - 2 :] = 0
        with torch.inference_mode():
            expected = model(**inputs).logits.numpy()
        outputs = session({name: value.numpy() for name, value in inputs.items()})
        assert outputs.shape == (batch, 3)
        np.testing.assert_allclose(outputs, expected, atol=most)
    assert expected.std(0).max() > 0.1  # the texts of a batch are told apart
    assert result.parity.n == 100 and result.parity.max_difference <= most
    assert result.parity.same_labels == 1 or format != "onnx"
    assert records.read(Path(result.folder, "export.json"), Export) == result


@needs_openvino
@pytest.mark.parametrize("family", FAMILIES)
def test_an_openvino_model_reads_any_batch_and_length_as_pytorch_does(family, tmp_path):
    folder = checkpoint(tmp_path / "cut" / "model", family)
    result = export(folder, format="openvino-int8", out=tmp_path)
    names, session = open_openvino(Path(result.folder))
    model, tokenizer = exporters.load(Source.load(folder))
    assert set(names) == set(tokenizer.model_input_names)
    # Texts as those that calibrated it: activations beyond the ranges of these are cut.
    expected = exporters.torch_logits(model, tokenizer, TEXTS)
    most = 0.15 * np.ptp(expected)
    for n in (1, 3, len(TEXTS)):
        inputs = tokenizer(TEXTS[:n], padding=True, truncation=True, return_tensors="np")
        outputs = session({name: inputs[name] for name in names})
        np.testing.assert_allclose(outputs, expected[:n], atol=most)
    assert 0 < result.parity.max_difference < most
    assert expected.std(0).max() > 0.1  # the texts are told apart
    assert records.read(Path(result.folder, "export.json"), Export) == result


def test_a_folder_runs_alone_and_says_what_pytorch_says(bert, tmp_path):
    result = export(bert, format="onnx", out=tmp_path)
    files = {"model.onnx", "tokenizer.json", "config.json", "run.py", "README.md", "export.json"}
    assert {path.name for path in Path(result.folder).iterdir()} == files
    assert result.size_bytes.keys() == files - {"README.md", "export.json"}
    card = ModelCard.load(Path(result.folder, "README.md"))
    assert card.data.license == "mit" and card.data.library_name == "onnx"
    assert "# Film reviews, tiny-bert at 1,4,32,48, exported as onnx" in card.text
    assert "Labels: bad, middling, good. At most 40 tokens are read" in card.text

    model = AutoModelForSequenceClassification.from_pretrained(bert).eval()
    tokenizer = AutoTokenizer.from_pretrained(bert)
    texts = ["a b c", "the z is q", "x\ty z", "k " * 90]
    expected = []
    for text in texts:
        inputs = tokenizer(*text.split("\t"), truncation=True, max_length=40, return_tensors="pt")
        with torch.inference_mode():
            shares = model(**inputs).logits[0].softmax(0)
        expected.append(f"{LABELS[int(shares.argmax())]}\t{float(shares.max()):.4f}")
    assert len(set(expected)) == 4
    by_argument, modules = run(result.folder, *texts)
    assert by_argument == run(result.folder, stdin="\n".join(texts) + "\n")[0] == expected
    assert "'onnxruntime'" in modules and "'tokenizers'" in modules
    assert not re.search("'(torch|transformers|bort_engine|onnx|huggingface_hub)'", modules)


@needs_openvino
def test_an_openvino_folder_runs_alone_and_nothing_reports_that_it_does(
    bert, tmp_path, monkeypatch
):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # OpenVINO keeps the reporter's name there
    monkeypatch.delenv("CI", raising=False)  # where it does not report anyway
    result = export(bert, format="openvino-int8", out=tmp_path)
    files = {"model.xml", "model.bin", "tokenizer.json", "config.json", "run.py"}
    assert result.size_bytes.keys() == files
    assert {path.name for path in Path(result.folder).iterdir()} - files == {
        "README.md", "export.json",
    }  # fmt: skip
    # One byte a weight, not four; and scales and biases, which are not int8.
    assert result.size_bytes["model.bin"] < 0.5 * result.source_bytes
    assert result.calibration == "100 sentences of Wikipedia"
    card = ModelCard.load(Path(result.folder, "README.md"))
    assert card.data.library_name == "openvino"
    assert f"their ranges are those on {result.calibration}." in card.text
    assert "pip install openvino tokenizers numpy" in card.text
    texts = ["a b c", "the z is q", "x\ty z", "k " * 90]
    lines, modules = run(result.folder, *texts)
    assert "'openvino'" in modules
    assert not re.search("'(torch|transformers|bort_engine|onnxruntime|nncf|onnx)'", modules)
    model, tokenizer = exporters.load(Source.load(bert))
    logits = exporters.torch_logits(model, tokenizer, texts)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for line, row in zip(lines, shares, strict=True):
        label, share = line.split("\t")
        assert float(share) == pytest.approx(row[LABELS.index(label)], abs=0.1)
    assert not list((tmp_path / "home").iterdir())


@needs_openvino
def test_a_signal_after_openvino_has_gone_is_heard(bert, tmp_path):
    result = export(bert, format="openvino-int8", out=tmp_path)
    code = (
        "import gc, os, signal, sys\n"
        "from pathlib import Path\n"
        "from bort_engine.encoder.run_onnx import open_openvino\n"
        "session = open_openvino(Path(sys.argv[1]))\n"
        "del session\n"
        "gc.collect()\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard'))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    command = [sys.executable, "-c", code, result.folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("heard\n", 0), done.stderr


def test_training_texts_of_the_task_calibrate_openvino(bert, tmp_path, all_zeros, monkeypatch):
    texts = [f"a b {n}" for n in range(2000)]
    rows = [f"{text},{'xy'[n % 2]}" for n, text in enumerate(texts)]
    (tmp_path / "texts.csv").write_text("text,label\n" + "\n".join(rows))
    seen = []

    def note(folder, model, tokenizer, texts):
        seen.extend(texts)
        (folder / "model.xml").write_text("some")

    monkeypatch.setattr(exporters, "write_openvino", note)
    monkeypatch.setitem(PACKAGES, "openvino-int8", ())  # the extra is not needed for this
    task, compared = str(tmp_path / "texts.csv"), []
    monkeypatch.setattr(
        exporters,
        "new_process_logits",
        lambda folder, texts: compared.extend(texts) or np.zeros((len(texts), 3)),
    )
    result = export(bert, format="openvino-int8", task=task, out=tmp_path / "out")
    assert len(set(seen)) == 128 and len(set(compared)) == 100
    assert set(seen) | set(compared) <= set(texts) and not set(seen) & set(compared)
    assert result.calibration == f"128 training texts of {task}"
    assert records.read(Path(result.folder, "export.json"), Export) == result


def test_a_missing_extra_is_one_line_before_anything_is_read(bert, tmp_path, monkeypatch, capsys):
    monkeypatch.delattr(exporters, "load")
    monkeypatch.delattr("bort_engine.encoder.export.general_texts")
    monkeypatch.setattr(
        "bort_engine.encoder.export.find_spec",
        lambda name: None if name in ("openvino", "nncf") else find_spec(name),
    )
    out = tmp_path / "out"
    assert main(["export", bert, "--format", "openvino-int8", "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("openvino-int8 needs more packages: pip install openvino nncf")
    assert not out.exists()


def test_a_number_is_printed_as_a_number(tmp_path):
    folder = checkpoint(tmp_path / "cut" / "model", labels=())
    result = export(folder, format="onnx", out=tmp_path)
    assert result.parity.same_labels is None
    expected = exporters.torch_logits(*exporters.load(Source.load(folder)), ["a b"])[0, 0]
    assert float(run(result.folder, "a b")[0][0]) == pytest.approx(expected, abs=1e-4)


def test_bf16_is_a_plain_folder_of_half_the_size(bert, tmp_path):
    result = export(bert, format="safetensors-bf16", out=tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(result.folder)
    original = AutoModelForSequenceClassification.from_pretrained(bert)
    assert model.dtype == torch.bfloat16 and model.config.id2label == original.config.id2label
    for name, weight in original.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight.bfloat16())
    assert result.size_bytes["model.safetensors"] < 0.65 * result.source_bytes  # with its header
    assert 0 < result.parity.max_difference < 0.2
    tokenizer = AutoTokenizer.from_pretrained(result.folder)
    assert len(tokenizer("k " * 90, truncation=True)["input_ids"]) == 40
    assert tokenizer.backend_tokenizer.padding is None


def test_another_models_outputs_are_refused_and_nothing_is_kept(bert, tmp_path, all_zeros):
    with pytest.raises(ValueError, match=r"not the checkpoint: .* by at most \d.*0.001 is allowed"):
        export(bert, format="onnx", out=tmp_path)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ValueError, match="not numbers"):
        nothing = np.full((100, 3), np.nan)
        patch.setattr(exporters, "new_process_logits", lambda folder, texts: nothing)
        export(bert, format="safetensors-bf16", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_earlier_export_is_replaced_by_a_whole_one_only(bert, tmp_path, all_zeros, monkeypatch):
    export(bert, format="safetensors-bf16", out=tmp_path)
    before = {path.name for path in (tmp_path / "model").iterdir()}

    def fails(*args, **kwargs):
        write_part(*args)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(exporters, "write_onnx", fails)
        export(bert, out=tmp_path)
    with pytest.raises(Cancelled):
        export(bert, out=tmp_path, stop=lambda: True)
    assert {path.name for path in (tmp_path / "model").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    result = export(bert, out=tmp_path)
    assert json.loads((tmp_path / "model" / "export.json").read_text())["format"] == "onnx-int8"
    assert not (tmp_path / "model" / "model.safetensors").exists()
    # Compared with zeros, the difference is the largest of PyTorch's own outputs.
    outputs = exporters.torch_logits(*exporters.load(Source.load(bert)), TEXTS[::2])
    assert result.parity.max_difference == pytest.approx(np.abs(outputs).max(), abs=1e-6)
    assert result.parity.same_labels == np.mean(outputs.argmax(1) == 0)


def test_the_dev_texts_of_a_task_are_read_pairs_with_a_tab(bert, tmp_path, monkeypatch):
    pairs = [(f"a b {n}", f"c {n} d") for n in range(150)]
    rows = [f"{first},{second} ,{'xy'[len(first) % 2]}" for first, second in pairs]
    (tmp_path / "pairs.csv").write_text("text,second,label\n" + "\n".join(rows))
    seen = []

    def note(folder, texts):
        seen.extend(texts)
        return np.zeros((len(texts), 3))

    monkeypatch.setattr(exporters, "new_process_logits", note)
    task = f"{tmp_path / 'pairs.csv'}?second=second"
    result = export(bert, format="safetensors-bf16", task=task, out=tmp_path / "out")
    assert len(seen) == result.parity.n == 15  # a tenth is dev
    assert {tuple(text.split("\t")) for text in seen} < set(pairs)
    assert result.command.endswith(f"--task '{task}' --out {tmp_path / 'out'}")


def test_damaged_weights_are_refused(tmp_path):
    folder = Path(checkpoint(tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"its weights lack classifier.weight; save the model"):
        export(str(folder), out=tmp_path / "out")
    (folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"model.safetensors is damaged .*; save the model again"):
        export(str(folder), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def change(**values):
    def apply(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return apply


def pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda folder: folder.rename(folder.with_name("x")), "there is no folder .*RUN/model"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json; save"),
        (pickle, "has no model.safetensors.*pickled ones are not read"),
        (change(model_type="gpt2"), "'gpt2'; allowed: bert, roberta, distilbert"),
        (change(architectures=["BertModel"]), "has the architecture BertModel; allowed: one for"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json; save"),
    ],
    ids=["folder", "config", "pickle", "family", "architecture", "tokenizer"],
)
def test_what_is_no_checkpoint_is_refused_before_anything_is_loaded(
    spoil, cause, tmp_path, monkeypatch, capsys
):
    monkeypatch.delattr(exporters, "load")
    folder = Path(checkpoint(tmp_path / "cut" / "model"))
    spoil(folder)
    assert main(["export", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert re.search(cause, capsys.readouterr().err.splitlines()[-1])
    assert not (tmp_path / "out").exists()


def test_mistakes_in_what_is_asked_are_found_before_anything_is_loaded(bert, tmp_path, monkeypatch):
    monkeypatch.delattr(exporters, "load")
    with pytest.raises(ValueError, match=r"'int4'; allowed: onnx, onnx-int8, openvino-int8, saf"):
        export(bert, format="int4", out=tmp_path)
    with pytest.raises(ValueError, match=r"holds README.md, config.json, .*choose another --out"):
        export(bert, out=Path(bert).parent)  # the checkpoint itself
    (tmp_path / "model").mkdir()
    for name in ("export.json", "thesis.txt"):
        (tmp_path / "model" / name).touch()
    with pytest.raises(ValueError, match=r"is no export .*holds thesis.txt.*another --out"):
        export(bert, out=tmp_path)
    monkeypatch.setattr("bort_engine.encoder.export.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install onnx onnxscript onnxruntime"):
        export(bert, out=tmp_path / "other")
