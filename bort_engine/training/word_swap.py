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
from bort_engine.data.tasks import MAX_LENGTH

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bort_engine.encoder.sources import Source


SWAPPED_SHARE = 0.2  # of a sentence's tokens


NEIGHBOURS = 12  # a token is swapped for one of these many nearest words


BATCH = 64


Tau = Callable[[Sequence[Mistake], int, RoundId], list[list[str]]]


def tokens_tau(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int) -> Tau:
    """Return a tau that swaps tokens for near neighbours in the word-embedding space."""
    words = _Words(tokenizer)
    embeddings: Any = model.get_input_embeddings()
    table = torch.nn.functional.normalize(embeddings.weight.detach(), dim=-1)
    near: dict[int, list[int]] = {}  # kept from one call to the next

    def propose(ids: list[list[int]], places: list[list[int]]) -> list[list[list[int]]]:
        asked = {row[k] for row, at in zip(ids, places, strict=True) for k in at}
        wanted = sorted(asked - near.keys())
        for start in range(0, len(wanted), 1024):
            block = wanted[start : start + 1024]
            closeness = table[block] @ table.T
            for row, token in enumerate(block):
                closeness[row, ~words.like(token)] = -2
                closeness[row, token] = -2
            near.update(zip(block, closeness.topk(NEIGHBOURS).indices.tolist(), strict=True))
        return [[near[row[k]] for k in at] for row, at in zip(ids, places, strict=True)]

    return _swapping(tokenizer, words, propose, seed)


def mask_tau(source: Source, tokenizer: PreTrainedTokenizerBase, seed: int) -> Tau:
    """Return a tau that masks tokens and takes what the source's own language model puts there.

    Raises:
        ValueError: the source has no masked-language-model head.
    """
    from transformers import AutoModelForMaskedLM

    from bort_engine.encoder.build import weights_of

    model, info = AutoModelForMaskedLM.from_pretrained(
        weights_of(source), output_loading_info=True, use_safetensors=True, trust_remote_code=False
    )
    if lacking := [key for key in info["missing_keys"] if not key.endswith("decoder.bias")]:
        raise ValueError(
            f"tau is mask, but {source.name} has no masked-language-model head (it lacks "
            f"{sorted(lacking)[0]}); allowed: pool, tokens."
        )
    words = _Words(tokenizer)
    model.eval()

    def propose(ids: list[list[int]], places: list[list[int]]) -> list[list[list[int]]]:
        found: list[list[list[int]]] = []
        for start in range(0, len(ids), BATCH):
            rows, at = ids[start : start + BATCH], places[start : start + BATCH]
            masked = [
                [tokenizer.mask_token_id if k in set(ks) else i for k, i in enumerate(row)]
                for row, ks in zip(rows, at, strict=True)
            ]
            plain: Any = {"input_ids": masked}
            batch = tokenizer.pad(plain, return_tensors="pt")
            with torch.inference_mode():
                scores = model(**batch).logits
            for row, (original, ks) in enumerate(zip(rows, at, strict=True)):
                best = []
                for k in ks:
                    able = words.like(original[k])
                    able[original[k]] = False
                    score = scores[row, k].masked_fill(~able, -torch.inf)
                    best.append(score.topk(NEIGHBOURS).indices.tolist())
                found.append(best)
        return found

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


Propose = Callable[[list[list[int]], list[list[int]]], list[list[list[int]]]]


def _swapping(
    tokenizer: PreTrainedTokenizerBase, words: _Words, propose: Propose, seed: int
) -> Tau:
    """Return a tau that swaps random words of a sentence for some of those proposed for them."""

    def tau(mistakes: Sequence[Mistake], m: int, at: RoundId) -> list[list[str]]:
        rng = np.random.default_rng([seed, at.number, at.attempt])
        texts = [mistake.x for mistake in mistakes for _ in range(m)]
        ids = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
        places = []
        for row in ids:
            able = words.places(row)
            n = min(len(able), max(1, round(SWAPPED_SHARE * len(able))))
            places.append(sorted(rng.choice(able, n, replace=False).tolist()) if n else [])
        for row, ks, proposed in zip(ids, places, propose(ids, places), strict=True):
            for k, choices in zip(ks, proposed, strict=True):
                row[k] = int(rng.choice(choices))
        made = tokenizer.batch_decode(ids, skip_special_tokens=True)
        both = zip(made, texts, strict=True)
        new = [text if text.split() != old.lower().split() else "" for text, old in both]
        return [
            list(dict.fromkeys(filter(None, new[start : start + m])))
            for start in range(0, len(new), m)
        ]

    return tau
