"""Run an exported model: `python run.py "A sentence."`, or one a line on stdin; pairs with a tab.

It needs tokenizers, numpy, and onnxruntime, or openvino where model.xml lies beside it. For each it
prints the label and its probability, or the number where the model predicts one. `bort_engine`
copies this file into an export, as run.py.
"""

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

MOST_CHARACTERS = 20_000  # of a text: its tokenizer reads all of it before it cuts


# Inputs (batch, length) by name become outputs (batch, classes).
Session = Callable[[dict[str, np.ndarray]], np.ndarray]


def open_onnx(folder: Path) -> tuple[list[str], Session]:
    """Return the names of the inputs of model.onnx, and what runs it."""
    from onnxruntime import InferenceSession

    session = InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return names, lambda feed: np.array(session.run(None, feed)[0])


@cache
def core() -> Any:
    """Return OpenVINO's core, one for as long as the process lives.

    Its CPU plugin gives a thread a stack for signals and frees it when it goes, after which a
    signal would be a crash.
    """
    # With this package OpenVINO, and NNCF, would report to Google Analytics that they are used.
    sys.modules["openvino_telemetry"] = None  # type: ignore
    from openvino import Core  # type: ignore  # an extra

    made = Core()
    made.get_versions("CPU")  # loads the plugin
    return made


def open_openvino(folder: Path) -> tuple[list[str], Session]:
    """Return the names of the inputs of model.xml, and what runs it."""
    model: Any = core().compile_model(folder / "model.xml", "CPU")
    names = [node.any_name for node in model.inputs]
    return names, lambda feed: np.array(model(feed)[0])


class Model:
    """An exported model in a folder; texts are read one at a time."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.most_tokens: int = (self.tokenizer.truncation or {})["max_length"]
        self.labels = json.loads((folder / "config.json").read_text("utf-8")).get("id2label", {})
        is_openvino = (folder / "model.xml").is_file()
        self.inputs, self.session = (open_openvino if is_openvino else open_onnx)(folder)

    def encode(self, text: str) -> Encoding:
        """Return the tokens of a text, or of a pair of texts with a tab between them."""
        first, _, second = (part[:MOST_CHARACTERS] for part in text.partition("\t"))
        if second:
            first, second = self._beginning(first), self._beginning(second)
        return self.tokenizer.encode(first, second or None)

    def _beginning(self, text: str) -> str:
        """Cut a text of a pair to as many tokens as are read at most, which changes no answer.

        Of a pair the tokenizer makes all combinations of what it cuts off: 15,551, in 0.9 s, for
        texts of 10,000 and 5,000 characters.
        """
        tokens = self.tokenizer.encode(text)
        return text[: max(end for _, end in tokens.offsets)] if tokens.overflowing else text

    def run(self, tokens: Encoding) -> np.ndarray:
        """Return the outputs for these tokens, one a class."""
        inputs = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask}
        inputs["token_type_ids"] = tokens.type_ids
        return self.session({name: np.array([inputs[name]], np.int64) for name in self.inputs})[0]

    def shares(self, outputs: np.ndarray) -> dict[str, float]:
        """Return the probability of each label."""
        exps = np.exp(outputs - outputs.max())
        names = (self.labels.get(str(n), f"LABEL_{n}") for n in range(len(outputs)))
        return dict(zip(names, (exps / exps.sum()).tolist(), strict=True))


@cache
def model() -> Model:
    """Return the model beside this file."""
    return Model(Path(__file__).parent)


def logits(text: str) -> np.ndarray:
    """Return the model's outputs for a text, or for a pair of texts with a tab between them."""
    return model().run(model().encode(text))


if __name__ == "__main__":
    for line in sys.argv[1:] or sys.stdin:
        outputs = logits(line.rstrip("\n"))
        if len(outputs) == 1:
            print(f"{outputs[0]:.4f}")
        else:
            shares = model().shares(outputs)
            best = max(shares, key=shares.__getitem__)
            print(f"{best}\t{shares[best]:.4f}")
