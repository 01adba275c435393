"""Agora's instance for text: tau makes new sentences near a mistake, the fine-tuned source labels.

Three kinds of tau behind one interface: `pool` takes the nearest unlabelled texts in the source's
sentence-embedding space; `tokens` swaps a share of the tokens for near neighbours in the source's
word-embedding space; `mask` lets the source's masked-language-model head fill them in anew.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bort_engine.algorithms.agora import Mistake, RoundId
from bort_engine.data.resources import cache_dir
from bort_engine.data.tasks import MAX_LENGTH
from bort_engine.training.word_swap import BATCH, Tau

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bort_engine.encoder.sources import Source

NEAR_DUPLICATE = 0.95  # cosine of two sentence vectors; such a text is not new


class Vectors:
    """Sentence vectors (n, H) of unit length: the mean of the source's last hidden states.

    They are kept in the cache by the texts' digest, for a pool of 10,000 takes half a minute.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer

    def of(self, texts: Sequence[str]) -> np.ndarray:
        found = np.empty((len(texts), self.model.config.hidden_size), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for start in range(0, len(texts), BATCH):
                rows = order[start : start + BATCH]
                batch = self.tokenizer(
                    [texts[i] for i in rows],
                    padding=True,
                    truncation=True,
                    max_length=MAX_LENGTH,
                    return_tensors="pt",
                )
                mask = batch["attention_mask"][..., None].float()
                states = self.model(
                    input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
                ).last_hidden_state.float()
                mean = (states * mask).sum(1) / mask.sum(1)
                found[rows] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        return found

    def cached(self, texts: Sequence[str], source: Source) -> np.ndarray:
        key = "\n".join([source.name, str(source.weights), *texts])
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        path = cache_dir() / "vectors" / f"{digest}.npy"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as part:
                np.save(part, self.of(texts))
            Path(part.name).replace(path)
        return np.load(path, allow_pickle=False)


class Pool:
    """Unlabelled texts; what nearly repeats a known text is left out."""

    def __init__(self, texts: Sequence[str], vectors: np.ndarray, known: np.ndarray) -> None:
        new = nearest(vectors, known) < NEAR_DUPLICATE
        self.texts = [text for text, is_new in zip(texts, new, strict=True) if is_new]
        self.vectors = vectors[new]

    def tau(self, vectors: Vectors, taken: set[str]) -> Tau:
        """Return a tau that gives the nearest texts not taken yet, every mistake in turn."""

        def tau(mistakes: Sequence[Mistake], m: int, at: RoundId) -> list[list[str]]:
            free = np.array([text not in taken for text in self.texts], dtype=bool)
            closeness = self.vectors @ vectors.of([mistake.x for mistake in mistakes]).T
            made: list[list[str]] = [[] for _ in mistakes]
            for _ in range(m):
                for k, texts in enumerate(made):
                    if free.any():
                        best = int(np.where(free, closeness[:, k], -2).argmax())
                        free[best] = False
                        texts.append(self.texts[best])
            return made

        return tau


def most_disputed(tau: Tau, disagreement: Callable[[list[str]], np.ndarray], share: int) -> Tau:
    """Return tau, asked for `share` times as much, less what the student knows already.

    Of the candidates near a mistake those stay on which student and labeller differ most. The paper
    leaves open which points near a mistake are worth their training.
    """

    def chosen(mistakes: Sequence[Mistake], m: int, at: RoundId) -> list[list[str]]:
        made = tau(mistakes, share * m, at)
        gaps = iter(disagreement([text for texts in made for text in texts]).tolist())
        kept = []
        for texts in made:
            by_gap = sorted(((next(gaps), text) for text in texts), reverse=True)
            kept.append([text for _, text in by_gap[:m]])
        return kept

    return chosen


def remembered(tau: Tau, folder: Path, taken: set[str]) -> Tau:
    """Return tau, answered from `folder` where a run that goes on has asked it before.

    `taken` is what tau must not give again; each answer is added to it.
    """

    def answered(mistakes: Sequence[Mistake], m: int, at: RoundId) -> list[list[str]]:
        path = folder / f"points-{at.number}-{at.attempt}.json"
        if path.is_file():
            made = json.loads(path.read_text())
        else:
            made = tau(mistakes, m, at)
            part = path.with_suffix(".part")
            part.write_text(json.dumps(made))
            part.replace(path)
        taken.update(text for texts in made for text in texts)
        return made

    return answered


def nearest(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return each vector's cosine to the nearest of `known` (-1 where there is none)."""
    if not len(known):
        return np.full(len(vectors), -1, dtype=np.float32)
    blocks = [vectors[at : at + 2048] @ known.T for at in range(0, len(vectors), 2048)]
    return np.concatenate([block.max(1) for block in blocks]) if blocks else np.empty(0)


def without_repeats(tau: Tau, vectors: Vectors, known: np.ndarray, taken: set[str]) -> Tau:
    """Return tau less what nearly repeats a known text, one taken before, or another new one.

    For made-up sentences; those of a pool were compared when the pool was made.
    """
    found: dict[str, np.ndarray] = {}

    def of(texts: Sequence[str]) -> np.ndarray:
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        found.update(zip(missing, vectors.of(missing), strict=True))
        return np.array([found[text] for text in texts]).reshape(len(texts), known.shape[1])

    def filtered(mistakes: Sequence[Mistake], m: int, at: RoundId) -> list[list[str]]:
        made = tau(mistakes, m, at)
        flat = of([text for texts in made for text in texts])
        new = nearest(flat, np.concatenate([known, of(sorted(taken))])) < NEAR_DUPLICATE
        for k in range(len(flat)):  # of two that repeat each other the first stays
            if new[k]:
                new[k + 1 :] &= flat[k + 1 :] @ flat[k] < NEAR_DUPLICATE
        keep = iter(new)
        return [[text for text in texts if next(keep)] for texts in made]

    return filtered


def labels_of(logits: np.ndarray, confidence: float, soft: bool) -> list[tuple[float, ...] | None]:
    """Return S's labels for points as probabilities: soft, or all on its first choice.

    None, declined, where its first choice has less than `confidence`.
    """
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    p = shifted / shifted.sum(1, keepdims=True)
    given: Any = p if soft else np.eye(p.shape[1])[p.argmax(1)]
    return [
        tuple(map(float, row)) if best >= confidence else None
        for row, best in zip(given, p.max(1), strict=True)
    ]
