"""What an exported model answers to a text, in the process that asks, without torch.

The reading is that of the export's own run.py (run_onnx.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from bort_engine.runs.text import one_line

if TYPE_CHECKING:
    from bort_engine.encoder.run_onnx import Model

N_TIMES, MOST_SECONDS = 5, 0.1  # an answer is timed so often, unless that takes longer


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a text or a pair of texts.

    `shares` are the probabilities by label; None where the model predicts a `number`. `ms` is how
    long the answer took, its tokens included, in the median of some tries. `most_tokens` is what
    the model reads at most; where a text had more, `is_cut`.
    """

    shares: dict[str, float] | None
    number: float
    ms: float
    most_tokens: int
    is_cut: bool

    @property
    def label(self) -> str:
        """The most probable label, or the number as a text."""
        if self.shares is None:
            return f"{self.number:.3f}"
        return max(self.shares, key=self.shares.__getitem__)


def load(folder: Path) -> Model:
    """Read an ONNX or OpenVINO export, and run it once: a session's first answer is slower.

    Raises:
        ValueError: a file is missing or damaged, or onnxruntime or openvino is not installed.
    """
    try:
        from bort_engine.encoder.run_onnx import Model

        model = Model(folder)
        model.run(model.encode("a"))
    except Exception as e:  # each runtime, and tokenizers, raise errors of their own
        raise ValueError(
            f"the export in {folder} could not be read: {one_line(e)[:200]}; export it again."
        ) from e
    return model


def answer(model: Model, texts: Sequence[str], n_times: int = N_TIMES) -> Answer:
    """Answer to one text, or to a pair of texts; `n_times` tries are timed at most.

    Raises:
        ValueError: there are more than two texts, or one is empty.
    """
    from bort_engine.encoder.run_onnx import MOST_CHARACTERS

    if not 1 <= len(texts) <= 2 or not all(text.strip() for text in texts):
        raise ValueError("give one text, or two, none of them empty.")
    # Cut first, so that a text of any length is quick; a tab would part it in two.
    parts = [text[: MOST_CHARACTERS + 1].replace("\t", " ") for text in texts]
    times: list[float] = []
    while True:  # a single time says little on a busy machine
        start = perf_counter()
        tokens = model.encode("\t".join(parts))
        outputs = model.run(tokens)
        times.append(perf_counter() - start)
        if len(times) >= n_times or sum(times) > MOST_SECONDS:
            break
    is_cut = bool(tokens.overflowing) or any(len(part) > MOST_CHARACTERS for part in parts)
    shares = model.shares(outputs) if len(outputs) > 1 else None
    return Answer(shares, float(outputs[0]), 1000 * median(times), model.most_tokens, is_cut)
