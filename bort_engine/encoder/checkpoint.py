"""A chosen model becomes an ordinary folder that transformers opens (`reload.py` proves it).

The folder holds config.json, model.safetensors (fp32), the tokenizer and a model card: no code, no
pickles. It appears whole or not at all; what lay there before goes only when the new one is whole.
"""

from __future__ import annotations

import copy
import errno
import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.initialization import no_init_weights

from bort_engine.encoder.model_card import Card, write_card
from bort_engine.encoder.reload import Probe
from bort_engine.runs.records import lock_of

HEADS = ("ForSequenceClassification", "Model")


def write(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, card: Card
) -> Probe:
    """Write config, weights, tokenizer and model card, whole or not at all; return their probe.

    An earlier checkpoint in `folder` is replaced when the new one is whole. The model stays as it
    is, on its device and in its precision; what is written is fp32.

    Raises:
        ValueError: the card is another model's, or `folder` holds something else.
        OSError: the disk is full, or the folder cannot be written; an earlier checkpoint stays.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; choose a folder for the checkpoint.")
    model = _fp32_copy(model, card)
    tokenizer = _clean_copy(tokenizer, card.source.longest_input)
    probe = Probe.of(model, tokenizer)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".part-{folder.name}-{secrets.token_hex(4)}")
    with FileLock(lock_of(folder)):
        try:
            _sweep(folder)
            part.mkdir()
            with os_errors():
                model.save_pretrained(part)
                tokenizer.save_pretrained(part)
                size = (part / "model.safetensors").stat().st_size
                write_card(card, part / "README.md", size, tokenizer.model_max_length)
            for path in part.iterdir():  # safetensors leaves its file to the owner alone
                path.chmod(part.stat().st_mode & 0o666)
            _put(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return probe


def _fp32_copy(model: PreTrainedModel, card: Card) -> PreTrainedModel:
    """Return a new fp32 model on the CPU with the same weights (shared, where they are that).

    A new one, since Trainer may leave a forward pass behind that computes in bf16.
    """
    kind, config = type(model), copy.deepcopy(model.config)
    if not kind.__name__.endswith(HEADS):
        raise ValueError(f"the model is a {kind.__name__}; allowed: {' or '.join(HEADS)}.")
    card_shape = card.source.config(card.architecture)
    shape = {name: getattr(config, name, None) for name in card_shape}
    if shape != card_shape or config.model_type != card.source.model_type:
        raise ValueError(
            f"the card says {card.source.model_type} {card_shape}, the model is "
            f"{config.model_type} {shape}; give the card of this model."
        )
    if card.labels:
        n_classes = config.num_labels if kind.__name__.endswith(HEADS[0]) else 0
        if n_classes != len(card.labels):
            raise ValueError(
                f"the card has {len(card.labels)} labels, the model {n_classes} classes; "
                "give one label for each class."
            )
        config.id2label = dict(enumerate(card.labels))
        config.label2id = {label: number for number, label in enumerate(card.labels)}
    with no_init_weights():  # all of them are loaded below
        fp32 = kind(config)
    fp32.load_state_dict(
        {
            name: value.detach().to("cpu", torch.float32 if value.is_floating_point() else None)
            for name, value in model.state_dict().items()
        },
        assign=True,  # the new model's weights are these tensors, not copies of them
    )
    return fp32.eval()


def _clean_copy(tokenizer: PreTrainedTokenizerBase, longest_input: int) -> PreTrainedTokenizerBase:
    """Return a copy that truncates to what the model can read, and only where it is asked to.

    tokenizer.json keeps the truncation and padding of the last call, or of sentence-transformers
    (always 128 tokens). transformers overrides them on each call, but what reads the file alone
    (tokenizers, text-embeddings-inference, transformers.js) would cut or pad every text so.
    """
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest_input)
    if tokenizer.is_fast:
        backend: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
        backend.no_truncation()
        backend.no_padding()
    settings = ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of")
    for name in (*settings, "is_local", "local_files_only"):  # the last: where it was loaded from
        tokenizer.init_kwargs.pop(name, None)
    return tokenizer


def _earlier(folder: Path) -> Path:
    return folder.with_name(f".earlier-{folder.name}")


def _sweep(folder: Path) -> None:
    """Undo what a killed save left: put an earlier checkpoint back, remove unfinished ones."""
    earlier = _earlier(folder)
    if earlier.exists() and not folder.exists():
        earlier.rename(folder)
    shutil.rmtree(earlier, ignore_errors=True)
    for path in folder.parent.glob(f".part-{glob.escape(folder.name)}-{'[0-9a-f]' * 8}"):
        shutil.rmtree(path, ignore_errors=True)


def _put(part: Path, folder: Path) -> None:
    """Rename `part` onto `folder`; a checkpoint there makes room, anything else is refused.

    A folder that is not empty cannot be replaced in one rename, so there are two. A kill between
    them leaves the earlier checkpoint beside its place, and the next save's `_sweep` puts it back.
    """
    if not folder.exists():
        part.rename(folder)
        return
    others = sorted({path.name for path in folder.iterdir()} - {p.name for p in part.iterdir()})
    if others:
        raise ValueError(
            f"{folder} holds {', '.join(others[:3])}, which is not a checkpoint's; choose another "
            "folder, or empty this one."
        )
    earlier = _earlier(folder)
    folder.rename(earlier)
    try:
        part.rename(folder)
    except BaseException:
        earlier.rename(folder)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


@contextmanager
def os_errors() -> Iterator[None]:
    """Turn the system's errors as safetensors, tokenizers and torch raise them into OSError.

    torch hides the number of what made its writer stop short; a full disk does.
    """
    try:
        yield
    except Exception as e:
        match = re.search(r"\(os error (\d+)\)|inline_container\.cc.*unexpected pos", str(e))
        if match is None or isinstance(e, OSError):
            raise
        number = int(match[1] or errno.ENOSPC)
        raise OSError(number, os.strerror(number)) from e
