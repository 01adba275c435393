"""A chosen model becomes an ordinary folder that transformers opens, and a new process proves it.

The folder holds config.json, model.safetensors (fp32), the tokenizer and a model card: no code, no
pickles. It appears whole or not at all; what lay there before goes only when the new one is whole.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.initialization import no_init_weights

from bort_engine.encoder.model_card import Card, write_card

LARGEST_DIFFERENCE = 1e-5  # of an output, absolute; with eager attention on both sides it is 0
TIMEOUT_S = 300
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack")
HEADS = ("ForSequenceClassification", "Model")
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
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> Probe:
        """Run random tokens through the model in rows of different lengths, eagerly from now on."""
        length = min(16, _n_positions(model.config))
        rng = np.random.default_rng(seed)
        ids = rng.integers(model.config.vocab_size, size=(4, length))
        mask = (np.arange(length) < rng.integers(1, length + 1, size=(4, 1))).astype(np.int64)
        mask[0] = 1
        ids = np.where(mask, ids, model.config.pad_token_id or 0)
        model.set_attn_implementation("eager")
        with torch.inference_mode():
            found = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
        outputs = found.logits if "logits" in found else found.last_hidden_state
        tokens = tokenizer(TEXT)["input_ids"]
        weights = {
            name: hashlib.sha256(value.contiguous().numpy()).hexdigest()
            for name, value in model.state_dict().items()
        }
        return cls(ids, mask, outputs.numpy(), weights, tuple(tokens))


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What a new process found when it opened a folder; `problems` is empty where all is well.

    `max_difference` of outputs is NaN where they could not be compared. `seconds` is the whole
    process's, which may have opened other folders too.
    """

    max_difference: float
    missing_keys: tuple[str, ...]
    unexpected_keys: tuple[str, ...]
    custom_code: bool
    classes: tuple[str, ...]
    seconds: float
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        if self.problems:
            return "does not open as it was saved: " + "; ".join(self.problems)
        return (
            f"opens in a new process as {', '.join(self.classes)}; its outputs differ by at most "
            f"{self.max_difference:.1e}"
        )


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, card: Card
) -> ReloadReport:
    """Write a checkpoint as `write` does, then open it in a new process and compare.

    A failed check deletes nothing: the report's problems say what differs.
    """
    folder = _whole_path(folder)
    return check_reload({folder: write(model, tokenizer, folder, card)})[folder]


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
    folder = _whole_path(folder)
    plain = _plain_model(model, card)
    words = _plain_tokenizer(tokenizer, plain.config)
    probe = Probe.of(plain, words)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".part-{folder.name}-{secrets.token_hex(4)}")
    lock = folder.with_name(f".lock-{folder.name}")
    with FileLock(lock):
        try:
            _sweep(folder)
            part.mkdir()
            with os_errors():
                plain.save_pretrained(part)
                words.save_pretrained(part)
                size = (part / "model.safetensors").stat().st_size
                write_card(card, part / "README.md", size, words.model_max_length)
            for path in part.iterdir():  # safetensors leaves its file to the owner alone
                path.chmod(part.stat().st_mode & 0o666)
            _put(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            lock.unlink(missing_ok=True)  # who waits for it notices, and makes a new one
    return probe


def _whole_path(folder: Path) -> Path:
    folder = Path(folder).expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; choose a folder for the checkpoint.")
    return folder


def _plain_model(model: PreTrainedModel, card: Card) -> PreTrainedModel:
    """Return a new fp32 model on the CPU with the same weights (shared, where they are that).

    A new one, since Trainer may leave a forward pass behind that computes in bf16.
    """
    kind, config = type(model), copy.deepcopy(model.config)
    if not kind.__name__.endswith(HEADS):
        raise ValueError(f"the model is a {kind.__name__}; allowed: {' or '.join(HEADS)}.")
    shape = card.source.config(card.architecture)
    found = {name: getattr(config, name, None) for name in shape}
    if found != shape or config.model_type != card.source.model_type:
        raise ValueError(
            f"the card says {card.source.model_type} {shape}, the model is {config.model_type} "
            f"{found}; give the card of this model."
        )
    if card.labels:
        classes = config.num_labels if kind.__name__.endswith(HEADS[0]) else 0
        if classes != len(card.labels):
            raise ValueError(
                f"the card has {len(card.labels)} labels, the model {classes} classes; "
                "give one label for each class."
            )
        config.id2label = dict(enumerate(card.labels))
        config.label2id = {label: number for number, label in enumerate(card.labels)}
    with no_init_weights():  # all of them are loaded below
        plain = kind(config)
    plain.load_state_dict(
        {
            name: value.detach().to("cpu", torch.float32 if value.is_floating_point() else None)
            for name, value in model.state_dict().items()
        },
        assign=True,
    )
    return plain.eval()


def _plain_tokenizer(
    tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig
) -> PreTrainedTokenizerBase:
    """Return a copy that truncates to what the model can read, and only where it is asked to.

    tokenizer.json keeps the truncation and padding of the last call, or of sentence-transformers
    (always 128 tokens). transformers overrides them on each call, but what reads the file alone
    (tokenizers, text-embeddings-inference, transformers.js) would cut or pad every text so.
    """
    plain = copy.deepcopy(tokenizer)
    plain.model_max_length = min(plain.model_max_length, _n_positions(config))
    if plain.is_fast:
        backend: Any = plain.backend_tokenizer  # type: ignore[attr-defined]
        backend.no_truncation()
        backend.no_padding()
    settings = ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of")
    for name in (*settings, "is_local", "local_files_only"):  # the last: where it was loaded from
        plain.init_kwargs.pop(name, None)
    return plain


def _n_positions(config: PreTrainedConfig) -> int:
    """How many tokens the model can read; RoBERTa's positions start after its padding token."""
    offset = config.pad_token_id + 1 if config.model_type == "roberta" else 0
    return config.max_position_embeddings - offset


def _earlier(folder: Path) -> Path:
    return folder.with_name(f".earlier-{folder.name}")


def _sweep(folder: Path) -> None:
    """Undo what a killed save left: put an earlier checkpoint back, remove unfinished ones."""
    earlier = _earlier(folder)
    if earlier.exists() and not folder.exists():
        earlier.rename(folder)
    shutil.rmtree(earlier, ignore_errors=True)
    unfinished = re.compile(rf"\.part-{re.escape(folder.name)}-[0-9a-f]{{8}}")
    for path in folder.parent.iterdir():
        if unfinished.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _put(part: Path, folder: Path) -> None:
    """Rename `part` onto `folder`; a checkpoint there makes room, anything else is refused."""
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
    """Turn the system's errors as safetensors and tokenizers raise them into OSError."""
    try:
        yield
    except Exception as e:
        found = re.search(r"\(os error (\d+)\)", str(e))
        if found is None or isinstance(e, OSError):
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number)) from e


def check_reload(
    probes: Mapping[Path, Probe], timeout_s: float = TIMEOUT_S
) -> dict[Path, ReloadReport]:
    """Open folders in one new process by plain transformers code, and compare with their probes.

    Nothing is asked of the network, no code of a folder runs, and nothing in it is changed.
    """
    start = perf_counter()
    paths = {folder: Path(folder).resolve() for folder in probes}
    request = {
        "threads": torch.get_num_threads(),  # sums in the same order
        "text": TEXT,
        "folders": [
            {
                "folder": str(paths[folder]),
                "input_ids": probe.input_ids.tolist(),
                "attention_mask": probe.attention_mask.tolist(),
            }
            for folder, probe in probes.items()
        ],
    }
    answers, crash = _ask_new_process(request, timeout_s)
    seconds = round(perf_counter() - start, 2)
    return {
        folder: _compare(paths[folder], probe, answer, crash, seconds)
        for (folder, probe), answer in zip(
            probes.items(), answers or [{} for _ in probes], strict=True
        )
    }


def _ask_new_process(
    request: dict[str, Any], timeout_s: float
) -> tuple[list[dict[str, Any]] | None, str]:
    """Return the answers, or None and how the process ended."""
    # -P: no file of the current folder can stand in for a module.
    script = f"{inspect.getsource(_open_plainly)}\n_open_plainly()"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", script],
            input=json.dumps(request),
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return None, f"the new process was not done after {timeout_s:g} s"
    if done.returncode == 0:
        return json.loads(done.stdout), ""
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
    return None, f"the new process ended with code {done.returncode}: {last}"


def _open_plainly() -> None:
    """Run in the new process, which gets this function's source and nothing else of ours."""
    import hashlib
    import json
    import sys

    out, sys.stdout = sys.stdout, sys.stderr  # so that nothing else comes between

    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])

    def opened(kind, folder):
        return kind.from_pretrained(
            folder,
            output_loading_info=True,
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # to name them all
        )

    def answer(asked):
        folder = asked["folder"]
        encoder, below = opened(AutoModel, folder)
        headed = encoder.config.architectures[0].endswith("ForSequenceClassification")
        model, info = opened(AutoModelForSequenceClassification if headed else AutoModel, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        batch = {name: torch.tensor(asked[name]) for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            found = model(**batch)
            tokens = tokenizer(request["text"], truncation=True, return_tensors="pt")
            model(**tokens)  # raises where the two do not fit together
        return {
            "outputs": (found.logits if headed else found.last_hidden_state).tolist(),
            "weights": {
                name: hashlib.sha256(value.contiguous().numpy()).hexdigest()
                for name, value in model.state_dict().items()
            },
            "token_ids": tokenizer(request["text"])["input_ids"],
            "classes": [type(part).__name__ for part in (tokenizer, model, encoder)],
            "missing": sorted(info["missing_keys"]),
            "unexpected": sorted(info["unexpected_keys"]),
            "mismatched": sorted(str(key[0]) for key in info["mismatched_keys"]),
            "encoder_missing": sorted(below["missing_keys"]),
        }

    answers = []
    for asked in request["folders"]:
        try:
            answers.append(answer(asked))
        except Exception as e:
            line = (str(e).strip().splitlines() or [""])[0]
            answers.append({"error": f"{type(e).__name__}: {line}"[:300]})
    json.dump(answers, out)


def _compare(
    folder: Path, probe: Probe, answer: dict[str, Any], crash: str, seconds: float
) -> ReloadReport:
    problems, custom_code = _unwanted(folder)
    if crash or "error" in answer:
        problems.append(crash or f"it could not be opened ({answer['error']})")
    missing, unexpected = answer.get("missing", []), answer.get("unexpected", [])
    # RoBERTa's classifier has no pooler, so a bare encoder draws a new one: that is normal.
    below = [key for key in answer.get("encoder_missing", []) if not key.startswith("pooler.")]
    mismatched = answer.get("mismatched", [])
    told = {*missing, *mismatched}
    changed = [
        name
        for name, digest in answer.get("weights", {}).items()
        if name not in told and probe.weights.get(name) != digest
    ]
    for keys, said in (
        (missing, "the weights lack {}"),
        (unexpected, "the weights have {}, which the model does not"),
        (mismatched, "the weights and config.json disagree on the shape of {}"),
        (changed, "these weights are not those that were saved: {}"),
        (below, "opened by AutoModel, the encoder lacks {}"),
    ):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            problems.append(said.format(", ".join(keys[:3]) + more))
    difference = float("nan")
    if "outputs" in answer:
        outputs = np.array(answer["outputs"])
        if outputs.shape != probe.outputs.shape:
            problems.append(f"its outputs are {outputs.shape}, not {probe.outputs.shape}")
        else:
            difference = float(np.abs(outputs - probe.outputs).max())
            if not difference <= LARGEST_DIFFERENCE:  # not a number is a difference, too
                problems.append(
                    f"its outputs differ by {difference:.2g}; at most {LARGEST_DIFFERENCE:g} is "
                    "allowed"
                )
        if tuple(answer["token_ids"]) != probe.token_ids:
            problems.append("its tokenizer makes other tokens of the same text")
    return ReloadReport(
        max_difference=difference,
        missing_keys=tuple(missing),
        unexpected_keys=tuple(unexpected),
        custom_code=custom_code,
        classes=tuple(answer.get("classes", ())),
        seconds=seconds,
        problems=tuple(problems),
    )


def _unwanted(folder: Path) -> tuple[list[str], bool]:
    """Return what must not be in a folder, in words, and whether code is among it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    code = [path.name for path in files if path.suffix == ".py"]
    code += [
        f"auto_map in {path.name}"
        for path in files
        if path.name.endswith("config.json") and b'"auto_map"' in path.read_bytes()
    ]
    problems = [f"it brings custom code ({name})" for name in code]
    problems += [
        f"{path.name} is not safetensors" for path in files if path.suffix.lower() in PICKLED
    ]
    return problems, bool(code)
