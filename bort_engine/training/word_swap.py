"""New sentences from old ones: a share of the words is swapped for words that can stand there.

`tokens` takes near neighbours in the word-embedding space; `mask` lets a masked-language-model head
fill the places in anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bort_engine.algorithms.agora import Mistake, RoundId

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bort_engine.encoder.sources import Source


SWAPPED_SHARE = 0.2  # of a sentence's words
NEIGHBOURS = 12  # a token is swapped for one of these many best ones (TinyBERT takes one of 15)
BATCH = 64

# Sentences as token ids, and of each the places to fill -> of each place, the tokens proposed.
Propose = Callable[[list[list[int]], list[list[int]]], list[list[list[int]]]]
Tau = Callable[[Sequence[Mistake], int, RoundId], list[list[str]]]


def tokens_tau(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int) -> Tau:
    """Return a tau that swaps tokens for near neighbours in the word-embedding space."""
    words = _Words(tokenizer)
    embeddings: Any = model.get_input_embeddings()
    table = torch.nn.functional.normalize(embeddings.weight.detach(), dim=-1)
    near: dict[int, list[int]] = {}  # kept from one call to the next

    def propose(ids: list[list[int]], places: list[list[int]]) -> list[list[list[int]]]:
        tokens = {row[k] for row, ks in zip(ids, places, strict=True) for k in ks}
        new = sorted(tokens - near.keys())
        for start in range(0, len(new), 1024):  # of 30,522 words: 125 MB of cosines at a time
            block = new[start : start + 1024]
            cosines = table[block] @ table.T
            for row, token in enumerate(block):
                cosines[row, ~words.like(token)] = -2  # below every cosine: never among the best
                cosines[row, token] = -2
            near.update(zip(block, cosines.topk(NEIGHBOURS).indices.tolist(), strict=True))
        return [[near[row[k]] for k in ks] for row, ks in zip(ids, places, strict=True)]

    return _swapping(tokenizer, words, propose, seed)


def mask_tau(source: Source, tokenizer: PreTrainedTokenizerBase, seed: int) -> Tau:
    """Return a tau that masks tokens and takes what the source's own language model puts there.

    Raises:
        ValueError: the source has no masked-language-model head.
    """
    from transformers import AutoModelForMaskedLM

    from bort_engine.encoder.build import PLAIN, weights_of

    model, info = AutoModelForMaskedLM.from_pretrained(
        weights_of(source), output_loading_info=True, **PLAIN
    )
    if lacking := [key for key in info["missing_keys"] if not key.endswith("decoder.bias")]:
        raise ValueError(
            f"tau is mask, but {source.name} has no masked-language-model head (it lacks "
            f"{sorted(lacking)[0]}); allowed: pool, tokens."
        )
    words = _Words(tokenizer)
    model.eval()

    def propose(ids: list[list[int]], places: list[list[int]]) -> list[list[list[int]]]:
        proposals: list[list[list[int]]] = []
        for start in range(0, len(ids), BATCH):
            block = slice(start, start + BATCH)
            rows = list(zip(ids[block], places[block], strict=True))
            masked: Any = [
                [tokenizer.mask_token_id if k in ks else token for k, token in enumerate(row)]
                for row, ks in rows
            ]
            batch = tokenizer.pad({"input_ids": masked}, return_tensors="pt")
            with torch.inference_mode():
                scores = model(**batch).logits
            for row_scores, (row, ks) in zip(scores, rows, strict=True):
                best = []
                for k in ks:
                    allowed = words.like(row[k])
                    allowed[row[k]] = False
                    score = row_scores[k].masked_fill(~allowed, -torch.inf)
                    best.append(score.topk(NEIGHBOURS).indices.tolist())
                proposals.append(best)
        return proposals

    return _swapping(tokenizer, words, propose, seed)


class _Words:
    """Which tokens are words, or pieces of words, that may stand in for one another."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        special = set(tokenizer.all_special_tokens)
        # 0: never touched; else whether it begins a word, in BERT's spelling or in RoBERTa's.
        self.kind = torch.tensor(
            [
                0
                if token in special or not token.strip("#Ġ").isalpha()
                else 1 + token.startswith(("##", "Ġ"))
                for token in map(str, tokens)
            ]
        )

    def like(self, token: int) -> torch.Tensor:
        return self.kind == self.kind[token]

    def places(self, ids: list[int]) -> list[int]:
        return [k for k, token in enumerate(ids) if self.kind[token]]


def _swapping(
    tokenizer: PreTrainedTokenizerBase, words: _Words, propose: Propose, seed: int
) -> Tau:
    """Return a tau that swaps random words of a sentence for some of those proposed for them."""

    def tau(mistakes: Sequence[Mistake], m: int, at: RoundId) -> list[list[str]]:
        rng = np.random.default_rng([seed, at.number, at.attempt])
        texts = [mistake.x for mistake in mistakes for _ in range(m)]
        ids = tokenizer(texts, truncation=True)["input_ids"]
        places = []
        for row in ids:
            candidates = words.places(row)
            n = min(len(candidates), max(1, round(SWAPPED_SHARE * len(candidates))))
            places.append(sorted(rng.choice(candidates, n, replace=False).tolist()) if n else [])
        for row, ks, choices in zip(ids, places, propose(ids, places), strict=True):
            for k, tokens in zip(ks, choices, strict=True):
                row[k] = int(rng.choice(tokens))
        pairs = zip(tokenizer.batch_decode(ids, skip_special_tokens=True), texts, strict=True)
        # A sentence that came out unchanged is none, and neither is one that came out before.
        new = [text if text.split() != old.lower().split() else "" for text, old in pairs]
        return [
            list(dict.fromkeys(filter(None, new[start : start + m])))
            for start in range(0, len(new), m)
        ]

    return tau
