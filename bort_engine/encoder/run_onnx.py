"""Run an exported model: `python run.py "A sentence."`, or one a line on stdin; pairs with a tab.

It needs onnxruntime, tokenizers and numpy. For each it prints the label and its probability, or the
number where the model predicts one. `bort_engine` copies this file into an export, as run.py.
"""

import json
import sys
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession
from tokenizers import Tokenizer

FOLDER = Path(__file__).parent
tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
labels = json.loads((FOLDER / "config.json").read_text("utf-8")).get("id2label", {})
session = InferenceSession(FOLDER / "model.onnx", providers=["CPUExecutionProvider"])


def logits(text: str) -> np.ndarray:
    """Return the model's outputs for a text, or for a pair of texts with a tab between them."""
    first, _, second = text.partition("\t")
    tokens = tokenizer.encode(first, second or None)
    inputs = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask}
    inputs["token_type_ids"] = tokens.type_ids
    feed = {node.name: np.array([inputs[node.name]], np.int64) for node in session.get_inputs()}
    return np.array(session.run(None, feed)[0])[0]


if __name__ == "__main__":
    for line in sys.argv[1:] or sys.stdin:
        values = logits(line.rstrip("\n"))
        if len(values) == 1:
            print(f"{values[0]:.4f}")
        else:
            best, share = str(values.argmax()), 1 / np.exp(values - values.max()).sum()
            print(f"{labels.get(best, f'LABEL_{best}')}\t{share:.4f}")
