"""An ONNX export that can be worked out by hand: it knows two words, and reads eight tokens."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = {"[UNK]": 0, "good": 1, "bad": 2}
MOST_TOKENS = 8


def write(folder: Path, good: float = 2.0, labels: tuple[str, ...] = ("rotten", "fresh")) -> Path:
    """Write a model whose outputs are means over the words of a text.

    The last output is `good` for each "good" and its negative for each "bad"; others are 0.
    """
    folder.mkdir(parents=True)
    rows = np.zeros((3, max(1, len(labels))), np.float32)
    rows[1:, -1] = good, -good
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["rows", "input_ids"], ["words"]),
            helper.make_node("ReduceMean", ["words", "axes"], ["logits"], keepdims=0),
        ],
        "tiny",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", rows.shape[1]])],
        [numpy_helper.from_array(rows, "rows"), numpy_helper.from_array(np.array([1]), "axes")],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), folder / "model.onnx")
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"id2label": dict(enumerate(labels))} if labels else {}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "run.py").write_text("# made up\n")
    return folder
