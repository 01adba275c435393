"""Proof that a folder opens elsewhere: a new process loads it by plain transformers code."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

LARGEST_DIFFERENCE = 1e-5  # of an output, absolute; with eager attention on both sides it is 0
TIMEOUT_S = 300
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack")
TEXT = "The plot is thin."


@dataclass(frozen=True, slots=True)
class Probe:
    """What a saved folder must reproduce: each weight, a batch's outputs, the tokens of `TEXT`.

    `outputs` are logits (rows, classes), or the last hidden states (rows, tokens, H) of a bare
    encoder, from fp32 with eager attention. `weights` are sha256 by name: a fixed batch reads few
    rows of the vocabulary, and the logits of an untrained model hardly depend on it.
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray
    outputs: np.ndarray
    weights: dict[str, str]
    token_ids: tuple[int, ...]

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Probe:
        """Run random tokens through the model in rows of different lengths, eagerly from now on."""
        length = min(16, tokenizer.model_max_length)
        rng = np.random.default_rng(0)
        ids = rng.integers(model.config.vocab_size, size=(4, length))
        mask = (np.arange(length) < rng.integers(1, length + 1, size=(4, 1))).astype(np.int64)
        mask[0] = 1
        ids = np.where(mask, ids, model.config.pad_token_id or 0)
        model.set_attn_implementation("eager")  # its sums have one order on every machine
        with torch.inference_mode():
            result = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
        outputs = result.logits if "logits" in result else result.last_hidden_state
        weights = {
            name: hashlib.sha256(value.contiguous().numpy()).hexdigest()
            for name, value in model.state_dict().items()
        }
        return cls(ids, mask, outputs.numpy(), weights, tuple(tokenizer(TEXT)["input_ids"]))


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What a new process found when it opened a folder; `problems` is empty where all is well.

    `classes` are those of tokenizer, model and encoder. `max_difference` of outputs is NaN where
    they could not be compared.
    """

    max_difference: float
    classes: tuple[str, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        if self.problems:
            return "does not open as it was saved: " + "; ".join(self.problems)
        by = (
            f"differ by at most {self.max_difference:.1e}"
            if self.max_difference
            else "are the same"
        )
        return f"opens in a new process as {', '.join(self.classes)}; its outputs {by}"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the new process says of a folder, or in `error` why it could not open it."""

    error: str = ""
    outputs: Any = None
    token_ids: list[int] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    encoder_missing: list[str] = field(default_factory=list)


def check_reload(
    probes: Mapping[Path, Probe], timeout_s: float = TIMEOUT_S
) -> dict[Path, ReloadReport]:
    """Open folders in one new process by plain transformers code, and compare with their probes.

    Nothing is asked of the network, no code of a folder runs, and nothing in it is changed.
    """
    request = {
        "threads": torch.get_num_threads(),  # more of them would sum in another order
        "text": TEXT,
        "folders": [
            {
                "folder": str(folder.resolve()),
                "input_ids": probe.input_ids.tolist(),
                "attention_mask": probe.attention_mask.tolist(),
            }
            for folder, probe in probes.items()
        ],
    }
    answers = _ask_new_process(request, timeout_s)
    pairs = zip(probes.items(), answers, strict=True)
    return {folder: _compare(folder, probe, answer) for (folder, probe), answer in pairs}


def _ask_new_process(request: dict[str, Any], timeout_s: float) -> list[_Answer]:
    # -P keeps the current folder off the module path: with -c it would come first, and a file
    # random.py there would stand in for Python's.
    script = f"{inspect.getsource(_open_plainly)}\n_open_plainly()"
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-c", script],
            input=json.dumps(request),
            env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if process.returncode == 0:
            return [_Answer(**answer) for answer in json.loads(process.stdout)]
        last = (process.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
        error = f"the new process ended with code {process.returncode}: {last}"
    except subprocess.TimeoutExpired:
        error = f"the new process was not done after {timeout_s:g} s"
    return [_Answer(error) for _ in request["folders"]]


def _open_plainly() -> None:
    """Run in the new process, which gets this function's source and nothing else of ours."""
    import hashlib
    import json
    import sys

    out, sys.stdout = sys.stdout, sys.stderr  # so that no library's print comes between

    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])

    def load(kind, folder):
        return kind.from_pretrained(
            folder,
            output_loading_info=True,
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # to name them all
        )

    def answer(folder, input_ids, attention_mask):
        encoder, encoder_info = load(AutoModel, folder)
        headed = encoder.config.architectures[0].endswith("ForSequenceClassification")
        model, info = load(AutoModelForSequenceClassification if headed else AutoModel, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        with torch.inference_mode():
            result = model(torch.tensor(input_ids), attention_mask=torch.tensor(attention_mask))
            # This raises where tokenizer and model do not fit together.
            model(**tokenizer(request["text"], truncation=True, return_tensors="pt"))
        return {
            "outputs": (result.logits if headed else result.last_hidden_state).tolist(),
            "token_ids": tokenizer(request["text"])["input_ids"],
            "weights": {
                name: hashlib.sha256(value.contiguous().numpy()).hexdigest()
                for name, value in model.state_dict().items()
            },
            "classes": [type(part).__name__ for part in (tokenizer, model, encoder)],
            "missing": sorted(info["missing_keys"]),
            "unexpected": sorted(info["unexpected_keys"]),
            "mismatched": sorted(str(key[0]) for key in info["mismatched_keys"]),
            "encoder_missing": sorted(encoder_info["missing_keys"]),
        }

    answers = []
    for folder in request["folders"]:
        try:
            answers.append(answer(**folder))
        except Exception as e:
            line = (str(e).strip().splitlines() or [""])[0]
            answers.append({"error": f"it could not be opened ({type(e).__name__}: {line[:250]})"})
    json.dump(answers, out)


def _compare(folder: Path, probe: Probe, answer: _Answer) -> ReloadReport:
    problems, difference = _unwanted(folder), float("nan")
    if answer.error:
        return ReloadReport(difference, (), (*problems, answer.error))
    problems += _wrong_weights(probe, answer)
    outputs = np.array(answer.outputs)
    if outputs.shape != probe.outputs.shape:
        problems.append(f"its outputs are {outputs.shape}, not {probe.outputs.shape}")
    else:
        difference = float(np.abs(outputs - probe.outputs).max())
        if not difference <= LARGEST_DIFFERENCE:  # so that NaN is a difference, too
            problems.append(
                f"its outputs differ by {difference:.2g}; at most {LARGEST_DIFFERENCE:g} is allowed"
            )
    if tuple(answer.token_ids) != probe.token_ids:
        problems.append("its tokenizer makes other tokens of the same text")
    return ReloadReport(difference, tuple(answer.classes), tuple(problems))


def _unwanted(folder: Path) -> list[str]:
    """Say what must not be in a folder: code, a key that has code run, and pickles."""
    problems = []
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".py":
            problems.append(f"it brings custom code ({path.name})")
        elif path.name.endswith("config.json") and b'"auto_map"' in path.read_bytes():
            problems.append(f"it brings custom code (auto_map in {path.name})")
        elif path.suffix.lower() in PICKLED:
            problems.append(f"{path.name} is not safetensors")
    return problems


def _wrong_weights(probe: Probe, answer: _Answer) -> list[str]:
    absent = {*answer.missing, *answer.mismatched}
    unequal = [
        name
        for name, digest in answer.weights.items()
        if name not in absent and probe.weights.get(name) != digest
    ]
    # RoBERTa's classifier has no pooler, so a bare encoder draws a new one: that is normal.
    encoder_missing = [key for key in answer.encoder_missing if not key.startswith("pooler.")]
    sentences = (
        ("the weights lack {}", answer.missing),
        ("the weights have {}, which the model does not", answer.unexpected),
        ("the weights and config.json disagree on the shape of {}", answer.mismatched),
        ("these weights are not those that were saved: {}", unequal),
        ("opened by AutoModel, the encoder lacks {}", encoder_missing),
    )
    return [
        sentence.format(", ".join(keys[:3]) + f" and {len(keys) - 3} more" * (len(keys) > 3))
        for sentence, keys in sentences
        if keys
    ]
