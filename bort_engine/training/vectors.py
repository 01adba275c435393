"""Sentence vectors of a pretrained encoder: what it says of a text before any fine-tuning."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from bort_engine.data.resources import cache_dir
from bort_engine.runs import records
from bort_engine.training.precision import precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bort_engine.encoder.sources import Source

BATCH = 64


class Vectors:
    """Sentence vectors (n, H) of unit length: the mean of the source's last hidden states."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer

    def of(
        self, texts: Sequence[str], on_row: Callable[[int], None] = lambda done: None
    ) -> np.ndarray:
        """Return the texts' vectors; `on_row` is told how many are done."""
        vectors = np.empty((len(texts), self.model.config.hidden_size), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # batches of like length
        bf16 = torch.autocast("cpu", torch.bfloat16, enabled=precision() == "bf16")
        with torch.inference_mode(), bf16:
            for start in range(0, len(texts), BATCH):
                rows = order[start : start + BATCH]
                batch = self.tokenizer(
                    [texts[i] for i in rows],
                    padding=True,
                    truncation=True,
                    return_tensors="pt",
                )
                mask = batch["attention_mask"][..., None].float()
                states = self.model(
                    input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
                ).last_hidden_state.float()
                mean = (states * mask).sum(1) / mask.sum(1)
                vectors[rows] = torch.nn.functional.normalize(mean, dim=-1).numpy()
                on_row(start + len(rows))
        return vectors

    def cached(
        self,
        texts: Sequence[str],
        source: Source,
        on_row: Callable[[int], None] = lambda done: None,
    ) -> np.ndarray:
        """Return the vectors, kept by the texts' digest: those of 10,000 take half a minute."""
        n_tokens = str(self.tokenizer.model_max_length)
        place = f"{source.weights}{source.digest()}"
        key = "\n".join([source.name, place, n_tokens, *texts])
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        path = cache_dir() / "vectors" / f"{digest}.npy"
        if not path.is_file():
            buffer = io.BytesIO()
            np.save(buffer, self.of(texts, on_row))
            records.write_bytes(path, buffer.getvalue())
        return np.load(path, allow_pickle=False)
