"""An export answers as PyTorch does, in a process without torch, whatever is typed."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bort_engine.encoder import exporters
from bort_engine.encoder.answers import answer, load
from bort_engine.encoder.export import export
from bort_engine.encoder.sources import Source
from tests import tiny_onnx
from tests.encoder.test_export import TEXTS, checkpoint, needs_openvino

ROOT = Path(__file__).parents[2]
ALONE = """
import json, sys
from pathlib import Path
from bort_engine.encoder.answers import answer, load
model = load(Path(sys.argv[1]))
print(json.dumps([answer(model, texts).shares for texts in json.load(sys.stdin)]))
print(json.dumps(sorted({"torch", "transformers"} & sys.modules.keys())))
"""


@pytest.mark.parametrize(
    ("format", "most"), [("onnx", 1e-4), pytest.param("openvino-int8", 0.1, marks=needs_openvino)]
)
def test_a_real_export_answers_as_pytorch_in_a_process_without_torch(
    format, most, tmp_path, monkeypatch
):
    monkeypatch.setattr("bort_engine.encoder.export.general_texts", lambda on_progress: TEXTS)
    folder = checkpoint(tmp_path / "cut" / "model")
    result = export(folder, format=format, out=tmp_path)
    # The last pair is longer than the 40 tokens that are read, and would have millions of pieces.
    texts = [["a b c"], ["the z is q", "x y"], ["k l " * 90], ["a b " * 4000, "c d " * 4000]]
    process = subprocess.run(
        [sys.executable, "-c", ALONE, result.folder],
        input=json.dumps(texts), capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    shares, heavy = map(json.loads, process.stdout.splitlines())
    assert heavy == []
    pairs = ["\t".join(parts) for parts in [*texts[:3], [part[:400] for part in texts[3]]]]
    logits = exporters.torch_logits(*exporters.load(Source.load(folder)), pairs)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert [list(row) for row in shares] == [["bad", "middling", "good"]] * 4
    np.testing.assert_allclose([list(row.values()) for row in shares], expected, atol=most)
    assert np.ptp(expected, axis=0).max() > 0.1  # the texts are told apart


def test_probabilities_numbers_and_what_is_read_by_hand(tmp_path):
    model = load(tiny_onnx.write(tmp_path / "classes"))
    good = answer(model, ["good"])
    assert good.shares == pytest.approx({"rotten": 1 - 0.880797, "fresh": 0.880797}, abs=1e-6)
    assert (good.label, good.is_cut, good.most_tokens) == ("fresh", False, 8) and good.ms > 0
    assert answer(model, ["good\tgood", "bad bad bad"]).label == "rotten"  # a tab parts nothing
    assert not answer(model, ["good " * 8]).is_cut and answer(model, ["good " * 9]).is_cut
    model = load(tiny_onnx.write(tmp_path / "number", labels=()))
    number = answer(model, ["bad good bad good bad"])
    assert number.shares is None and number.number == pytest.approx(-0.4)
    assert number.label == "-0.400"


@pytest.mark.parametrize("texts", [["good " * 20_000], ["!" * 100_000, "good " * 20_000]])
def test_a_very_long_text_is_cut_and_quick(texts, tmp_path):
    model, start = load(tiny_onnx.write(tmp_path / "model")), time.perf_counter()
    assert answer(model, texts).is_cut
    assert time.perf_counter() - start < 2  # 20 ms alone; a pair read whole takes minutes
    blanks = answer(model, ["good" + " " * 30_000 + "bad"])
    assert blanks.is_cut and blanks.shares["fresh"] == pytest.approx(1 / (1 + math.exp(-2)))


@pytest.mark.parametrize("texts", [[], [""], ["good", " \n"], ["a", "b", "c"]])
def test_nothing_is_answered_to_nothing(texts, tmp_path):
    model = load(tiny_onnx.write(tmp_path / "model"))
    with pytest.raises(ValueError, match="none of them empty"):
        answer(model, texts)


@needs_openvino
def test_a_damaged_openvino_export_is_one_line(tmp_path):
    folder = tiny_onnx.write(tmp_path / "model")
    (folder / "model.xml").write_text("<net")
    with pytest.raises(ValueError, match=r"model could not be read: .*; export it again") as e:
        load(folder)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_damaged_export_is_one_line(name, tmp_path):
    folder = tiny_onnx.write(tmp_path / "model")
    (folder / name).write_bytes(b"{")
    with pytest.raises(ValueError, match=r"model could not be read: .*; export it again") as e:
        load(folder)
    assert "\n" not in str(e.value)
    (folder / name).unlink()
    with pytest.raises(ValueError, match="could not be read"):
        load(folder)
