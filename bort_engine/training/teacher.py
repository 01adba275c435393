"""T on a task: the source, fine-tuned once on labelled text, cached, with what it says of all text.

It teaches candidates (`evaluate`), labels new points for Agora, and is what a student is held to.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax, softmax

from bort_engine.data.resources import cache_dir
from bort_engine.data.tasks import find_task, load_task
from bort_engine.encoder.sources import Source
from bort_engine.runs import records
from bort_engine.runs.events import Progress, Stop, never, silent, step_events

if TYPE_CHECKING:
    from datasets import DatasetDict

    from bort_engine.encoder.build import Importance
    from bort_engine.training.trainer import Rows

# Parts of cache keys and of records: raise one when a training changes its results, T's and the
# candidates', or the elastic student's.
RECIPE_VERSION = 6
ELASTIC_VERSION = 2
# BERT's fine-tuning (Devlin et al. 2019, appendix A.3: batch 16 or 32, rate 2e-5 to 5e-5, 2 to 4
# epochs), but twice its highest rate with many rows: measured with MiniLM-L6 on 10,129 film
# sentences, two epochs then give 81.8 % on dev.
BATCH = 32
MANY = 5000  # labelled rows; with fewer, more epochs at half the rate
EPOCHS, LEARNING_RATE = 2, 1e-4
EPOCHS_OF_FEW, LEARNING_RATE_OF_FEW = 4, 5e-5
FEWEST = 50  # labelled rows that are trained on


@dataclass(frozen=True, slots=True)
class TeacherReport:
    """What was measured of T. `error` is its own entropy on dev (nats), the least cross-entropy
    there is; `chance_error` what one gets wrong who always names the more frequent class."""

    error: float
    dev_error: float
    chance_error: float
    n_dev: int
    n_labelled: int
    seconds: float
    precision: str = ""  # of its training: "bf16" or "fp32"; "" in reports of the first version


class Teacher:
    """The fine-tuned source, its predictions on train and dev, and what was measured of it.

    `labelled` are the rows of the train split whose labels it has seen, all of them by default;
    the others are an unlabelled pool to it and to whoever learns from it.
    """

    def __init__(self, folder: Path, source: Source, task: str) -> None:
        from transformers import AutoModelForSequenceClassification

        from bort_engine.encoder.build import Importance, load_tokenizer

        self.folder = folder
        self.report = records.read(folder / "report.json", TeacherReport)
        self.error, self.dev_error = self.report.error, self.report.dev_error
        self.importance: Importance = Importance.load(folder / "importance.npz")
        self.model = AutoModelForSequenceClassification.from_pretrained(
            folder / "model", use_safetensors=True
        ).eval()
        self.tokenizer = load_tokenizer(source)
        with np.load(folder / "logits.npz", allow_pickle=False) as arrays:
            self.train_logits, self.dev_logits = arrays["train"], arrays["validation"]
            self.labelled: np.ndarray = arrays["labelled"]
        self.splits = load_task(task)
        self.dev_labels = np.array(self.splits["validation"]["label"])

    @cached_property
    def train_data(self) -> Rows:
        """The train split with T's own probabilities as labels, to distil from."""
        from bort_engine.training.trainer import encode

        return encode(
            self.splits["train"]["text"], self.tokenizer, softmax(self.train_logits, axis=-1)
        )

    @cached_property
    def dev_data(self) -> Rows:
        from bort_engine.training.trainer import encode

        return encode(self.splits["validation"]["text"], self.tokenizer, self.dev_labels)

    @classmethod
    def prepare(
        cls,
        source: Source,
        task: str,
        *,
        steps: int = 0,
        n_labelled: int = 0,
        seed: int = 0,
        on_progress: Progress = silent,
        stop: Stop = never,
    ) -> Teacher:
        """Return T from the cache, fine-tuning it at first use.

        Args:
            steps: of the training; 0 for two epochs, or four where few rows are labelled.
            n_labelled: how many rows of the train split it may learn from; 0 for all.
            seed: which rows these are, and the order they are seen in.

        Raises:
            ValueError: too few rows are labelled, or all of one class.
            Cancelled: a stop was asked for; nothing is kept.
        """
        splits = load_task(task, on_progress)
        rows = _labelled(splits, task, n_labelled, seed)
        folder = _folder(source, task, splits, steps, n_labelled, seed)
        if not folder.is_dir():
            recipe = (steps, rows, seed)
            _fine_tune(source, task, splits, recipe, folder, on_progress, stop)
        return cls(folder, source, task)


def _labelled(splits: DatasetDict, task: str, n_labelled: int, seed: int) -> np.ndarray:
    labels = np.array(splits["train"]["label"])
    if n_labelled and not FEWEST <= n_labelled <= len(labels):
        raise ValueError(
            f"labelled is {n_labelled}; allowed: 0 for all {len(labels)} of {task}, or {FEWEST} to "
            f"{len(labels)}."
        )
    rows = np.arange(len(labels))
    if n_labelled:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:n_labelled])
    if len(np.unique(labels[rows])) < 2:
        raise ValueError(
            f"the {len(rows)} labelled rows of {task} are all of one class; label more of them."
        )
    return rows


def _folder(
    source: Source, task: str, splits: DatasetDict, steps: int, n_labelled: int, seed: int
) -> Path:
    """Return where T lies: everything that decides its weights is in the name's digest."""
    columns = [list(splits[name][column]) for name in splits for column in ("text", "label")]
    texts = hashlib.sha256(json.dumps(columns).encode()).hexdigest()
    weights = Path(source.weights or "") / "model.safetensors"
    stamp = str(weights.stat().st_mtime_ns) if weights.is_file() else ""
    key = [RECIPE_VERSION, asdict(source), texts, stamp, steps, n_labelled, n_labelled and seed]
    digest = hashlib.sha256(json.dumps(key, default=str).encode()).hexdigest()[:10]
    name = f"{Path(source.name).name}-{Path(task).stem}-{digest}"
    return cache_dir() / "teachers" / name


def _fine_tune(
    source: Source,
    task: str,
    splits: DatasetDict,
    recipe: tuple[int, np.ndarray, int],
    folder: Path,
    on_progress: Progress,
    stop: Stop,
) -> None:
    """Fine-tune the source on the labelled rows and write T, whole or not at all."""
    from transformers import set_seed

    from bort_engine.encoder.build import Importance, load_source, load_tokenizer, weights_of
    from bort_engine.encoder.checkpoint import os_errors
    from bort_engine.training.precision import precision
    from bort_engine.training.trainer import Recipe, encode, predict, train, without_dropout

    start = perf_counter()
    steps, rows, seed = recipe
    many = len(rows) >= MANY
    weights_of(source, on_progress)
    labels = {name: np.array(splits[name]["label"]) for name in splits}
    tokenizer = load_tokenizer(source)
    data = {name: encode(splits[name]["text"], tokenizer, labels[name]) for name in splits}
    set_seed(seed)
    n_classes = len(find_task(task).labels)
    model = without_dropout(load_source(source, num_labels=n_classes, seed=seed))

    train(
        model,
        [data["train"][row] for row in rows],
        tokenizer,
        Recipe(
            steps=steps,
            epochs=EPOCHS if many else EPOCHS_OF_FEW,
            batch_size=BATCH,
            learning_rate=LEARNING_RATE if many else LEARNING_RATE_OF_FEW,
        ),
        seed=seed,
        on_step=step_events("fine-tuning the source", on_progress),
        stop=stop,
    )
    logits = {name: predict(model, data[name], tokenizer) for name in data}
    sample = [{k: row[k] for k in ("input_ids", "attention_mask")} for row in data["train"][:256]]
    batches = [
        tokenizer.pad(sample[at : at + 64], return_tensors="pt") for at in range(0, len(sample), 64)
    ]
    dev = labels["validation"]
    report = TeacherReport(
        error=round(cross_entropy(logits["validation"], logits["validation"]), 6),
        dev_error=round(float((logits["validation"].argmax(1) != dev).mean()), 6),
        chance_error=round(1 - float(np.bincount(dev).max() / len(dev)), 6),
        n_dev=len(dev),
        n_labelled=len(rows),
        seconds=round(perf_counter() - start, 1),
        precision=precision(),
    )
    with records.whole_folder(folder) as part:
        with os_errors():
            model.save_pretrained(part / "model")
        Importance.measure(model, batches).save(part / "importance.npz")
        np.savez(
            part / "logits.npz",
            labelled=rows,
            train=logits["train"],
            validation=logits["validation"],
        )
        records.write(part / "report.json", report)


def cross_entropy(teacher_logits: np.ndarray, logits: np.ndarray) -> float:
    """Return the mean over rows of -sum_k softmax(T)_k log softmax(f)_k, in nats."""
    shares = softmax(teacher_logits, axis=-1)
    return float(-(shares * log_softmax(logits, axis=-1)).sum(-1).mean())


def divergence(teacher_logits: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return each row's Kullback-Leibler divergence of f from T, in nats."""
    gap = log_softmax(teacher_logits, axis=-1) - log_softmax(logits, axis=-1)
    return (softmax(teacher_logits, axis=-1) * gap).sum(-1)
