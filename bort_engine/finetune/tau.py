"""Agora's instance for text: tau makes new sentences near a mistake, the fine-tuned source labels.

Three kinds of tau behind one interface: `pool` takes the nearest unlabelled texts in the source's
sentence-embedding space; `tokens` swaps a share of the tokens for near neighbours in the source's
word-embedding space; `mask` lets the source's masked-language-model head fill them in anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from bort_engine.algorithms.agora import Mistake, RoundId
from bort_engine.finetune.forecast import POOL
from bort_engine.finetune.student import Dev, Student
from bort_engine.runs import records
from bort_engine.runs.events import Progress, counted, silent
from bort_engine.training.metrics import divergence
from bort_engine.training.teacher import Teacher
from bort_engine.training.trainer import encode, predict
from bort_engine.training.vectors import Vectors
from bort_engine.training.word_swap import Tau, mask_tau, tokens_tau

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bort_engine.encoder.sources import Source
    from bort_engine.finetune.plan import Plan

NEAR_DUPLICATE = 0.95  # cosine of two sentence vectors; such a text is not new
Probabilities = tuple[float, ...]


class Labeller:
    """S: the source, fine-tuned on the labelled rows; with the texts of the train split."""

    def __init__(
        self,
        teacher: Teacher,
        source: Source,
        dev: Dev,
        plan: Plan,
        on_progress: Progress = silent,
    ) -> None:
        self.teacher, self.source, self.dev, self.plan = teacher, source, dev, plan
        self.on_progress = on_progress
        train = teacher.splits["train"]
        self.train_texts: list[str] = list(train["text"])
        self.is_labelled = np.zeros(len(self.train_texts), dtype=bool)
        self.is_labelled[teacher.labelled] = True
        labels = map(int, train["label"])
        rows = list(zip(self.train_texts, labels, self.is_labelled, strict=True))
        self.train_pairs = [(text, label) for text, label, is_labelled in rows if is_labelled]
        self.pool_texts = [text for text, _, is_labelled in rows if not is_labelled]
        self._known = dict(zip(self.train_texts, teacher.train_logits, strict=True))

    @cached_property
    def vectors(self) -> Vectors:
        from bort_engine.encoder.build import load_source

        return Vectors(load_source(self.source), self.teacher.tokenizer)

    @cached_property
    def pool(self) -> Pool:
        """The unlabelled texts, less those that nearly repeat a labelled text or one of dev."""
        n = len(self.train_texts)
        texts = [*self.train_texts, *self.dev.texts]
        on_row = counted(POOL, len(texts), 0, self.on_progress)
        vectors = self.vectors.cached(texts, self.source, on_row)
        known = np.concatenate([vectors[:n][self.is_labelled], vectors[n:]])
        return Pool(self.pool_texts, vectors[:n][~self.is_labelled], known)

    def predict(self, model: PreTrainedModel, texts: Sequence[str]) -> np.ndarray:
        """Return the logits (texts, classes) of any model with this tokenizer."""
        tokenizer = self.teacher.tokenizer
        return predict(model, encode(texts, tokenizer, [0] * len(texts)), tokenizer)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return S's logits: known already for the train split's texts, computed for others."""
        if others := [text for text in texts if text not in self._known]:
            logits = self.predict(self.teacher.model, others)
            self._known.update(zip(others, logits, strict=True))
        return np.array([self._known[text] for text in texts])

    def labels(self, texts: Sequence[str], every: bool = False) -> list[Probabilities | None]:
        """Return S's labels, None where it is not sure enough; with `every` it must label all."""
        confidence = 0 if every else self.plan.confidence
        return labels_of(self.logits(texts), confidence, self.plan.labels == "soft")

    def random_pairs(self, seed: int) -> Iterator[tuple[str, Probabilities]]:
        """Give texts of the pool (without one, of the labelled rows) in random order, labelled."""
        texts = self.pool.texts if self.pool_texts else [text for text, _ in self.train_pairs]
        order = np.random.default_rng([seed, 1]).permutation(len(texts))
        for start in range(0, len(texts), 512):
            part = [texts[i] for i in order[start : start + 512]]
            for text, label in zip(part, self.labels(part), strict=True):
                if label is not None:
                    yield text, label

    def tau(self, student: Student, seed: int) -> Tau:
        """Return the tau that the plan asks for, with its filters, for one student.

        From the inside out: candidates, less repeats, the most disputed of them, remembered.
        """
        kind = self.plan.tau
        if kind == "auto":
            kind = "pool" if self.pool_texts else "tokens"
        taken: set[str] = set()
        if kind == "pool":
            tau = self.pool.tau(self.vectors, taken)
        else:
            tokenizer = self.teacher.tokenizer
            if kind == "mask":
                tau = mask_tau(self.source, tokenizer, seed)
            else:
                tau = tokens_tau(self.vectors.model, tokenizer, seed)
            known = self.vectors.of([text for text, _ in self.train_pairs])
            tau = without_repeats(tau, self.vectors, known, taken)

        def disagreement(texts: list[str]) -> np.ndarray:
            if not texts:
                return np.empty(0)
            assert student.best is not None, "points are made after the first round"
            return divergence(self.logits(texts), self.predict(student.load(student.best), texts))

        tau = most_disputed(tau, disagreement, self.plan.candidates)
        return remembered(tau, student.folder, taken)


class Pool:
    """Unlabelled texts; what nearly repeats a known text is left out."""

    def __init__(self, texts: Sequence[str], vectors: np.ndarray, known: np.ndarray) -> None:
        is_new = nearest(vectors, known) < NEAR_DUPLICATE
        self.texts = [text for text, new in zip(texts, is_new, strict=True) if new]
        self.vectors = vectors[is_new]

    def tau(self, vectors: Vectors, taken: set[str]) -> Tau:
        """Return a tau that gives the nearest texts not taken yet, every mistake in turn."""

        def tau(mistakes: Sequence[Mistake], m: int, at: RoundId) -> list[list[str]]:
            free = np.array([text not in taken for text in self.texts], dtype=bool)
            closeness = self.vectors @ vectors.of([mistake.x for mistake in mistakes]).T
            texts_near: list[list[str]] = [[] for _ in mistakes]
            for _ in range(m):
                for k, texts in enumerate(texts_near):
                    if free.any():
                        nearest_free = int(np.where(free, closeness[:, k], -2).argmax())
                        free[nearest_free] = False
                        texts.append(self.texts[nearest_free])
            return texts_near

        return tau


def most_disputed(tau: Tau, disagreement: Callable[[list[str]], np.ndarray], share: int) -> Tau:
    """Return tau, asked for `share` times as much, less what the student knows already.

    Of the candidates near a mistake those stay on which student and labeller differ most. The paper
    leaves open which points near a mistake are worth their training.
    """

    def disputed(mistakes: Sequence[Mistake], m: int, at: RoundId) -> list[list[str]]:
        candidates = tau(mistakes, share * m, at)
        gaps = iter(disagreement([text for texts in candidates for text in texts]).tolist())
        by_gap = [sorted(((next(gaps), text) for text in ts), reverse=True) for ts in candidates]
        return [[text for _, text in texts[:m]] for texts in by_gap]

    return disputed


def remembered(tau: Tau, folder: Path, taken: set[str]) -> Tau:
    """Return tau, answered from `folder` where a run that goes on has asked it before.

    `taken` is what tau must not give again; each answer is added to it.
    """

    def from_folder(mistakes: Sequence[Mistake], m: int, at: RoundId) -> list[list[str]]:
        path = folder / f"points-{at.number}-{at.attempt}.json"
        if path.is_file():
            texts_near = records.read(path, list[list[str]])
        else:
            texts_near = tau(mistakes, m, at)
            records.write(path, texts_near)
        taken.update(text for texts in texts_near for text in texts)
        return texts_near

    return from_folder


def nearest(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return each vector's cosine to the nearest of `known` (-1 where there is none)."""
    # In blocks: all cosines at once would need too much memory. Of no vectors one empty block.
    blocks = (vectors[at : at + 2048] for at in range(0, max(1, len(vectors)), 2048))
    return np.concatenate([(block @ known.T).max(1, initial=-1) for block in blocks])


def without_repeats(tau: Tau, vectors: Vectors, known: np.ndarray, taken: set[str]) -> Tau:
    """Return tau less what nearly repeats a known text, one taken before, or another new one.

    For made-up sentences; those of a pool were compared when the pool was made.
    """
    cache: dict[str, np.ndarray] = {}

    def vectors_of(texts: Sequence[str]) -> np.ndarray:
        others = [text for text in dict.fromkeys(texts) if text not in cache]
        cache.update(zip(others, vectors.of(others), strict=True))
        return np.array([cache[text] for text in texts]).reshape(len(texts), known.shape[1])

    def new_only(mistakes: Sequence[Mistake], m: int, at: RoundId) -> list[list[str]]:
        texts_near = tau(mistakes, m, at)
        flat = vectors_of([text for texts in texts_near for text in texts])
        new = nearest(flat, np.concatenate([known, vectors_of(sorted(taken))])) < NEAR_DUPLICATE
        for k in range(len(flat)):  # of two that repeat each other the first stays
            if new[k]:
                new[k + 1 :] &= flat[k + 1 :] @ flat[k] < NEAR_DUPLICATE
        keep = iter(new)
        return [[text for text in texts if next(keep)] for texts in texts_near]

    return new_only


def labels_of(logits: np.ndarray, confidence: float, soft: bool) -> list[Probabilities | None]:
    """Return S's labels for points as probabilities: soft, or all on its first choice.

    None, declined, where its first choice has less than `confidence`.
    """
    p = softmax(logits, axis=1)
    labels = p if soft else np.eye(p.shape[1])[p.argmax(1)]
    return [
        tuple(map(float, label)) if best >= confidence else None
        for label, best in zip(labels, p.max(1), strict=True)
    ]
