"""T on a task: the source, fine-tuned once on labelled text, cached, with what it says of all text.

It teaches candidates (`evaluate`), labels new points for Agora, and is what a student is held to.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_engine.data.columns import Kind, parse_name
from bort_engine.data.resources import cache_dir
from bort_engine.data.tasks import MAX_LENGTH, find_task, load_task
from bort_engine.encoder.sources import Source
from bort_engine.runs import records
from bort_engine.runs.events import Progress, Stop, counted, never, silent, step_events
from bort_engine.runs.records import NonNegative, Positive, PositiveCount, Share
from bort_engine.training import metrics, together

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bort_engine.encoder.build import Importance
    from bort_engine.training.recipe import Recipe
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
MOST_TOKENS = 256  # of a text that is read: on two cores more take too long
FEWEST = 50  # labelled rows that are trained on
TEACHER_STAGES = ("fine-tuning the source", "labelling all texts with it")


@dataclass(frozen=True, slots=True)
class TeacherReport:
    """What was measured of T, see `metrics`.

    `error` is its distance from itself: its own entropy on dev (nats), the least cross-entropy
    there is. `chance_error` is what one gets wrong who always names the more frequent class. At
    most `max_length` tokens of a text are read, which cuts the share `cut` of them. Numbers
    (`kind`) are learnt less `mean`, in units of `spread`.
    """

    error: NonNegative
    dev_error: Share
    chance_error: Share
    n_dev: PositiveCount
    n_labelled: PositiveCount
    seconds: NonNegative
    precision: str = ""  # of its training: "bf16" or "fp32"; "" in reports of the first version
    kind: Kind = "class"
    max_length: PositiveCount = MAX_LENGTH
    cut: Share = 0.0
    mean: float = 0.0
    spread: Positive = 1.0

    def at_chance(self, dev_error: float) -> bool:
        """Is it no better than naming the more frequent class, within two standard errors?"""
        chance = self.chance_error
        if self.kind == "number":  # the standard error of a correlation of about 0
            return 1 - dev_error < 2 / self.n_dev**0.5
        return dev_error > chance - 2 * (chance * (1 - chance) / self.n_dev) ** 0.5


class Teacher:
    """The fine-tuned source, its predictions on train and dev, and what was measured of it.

    `labelled` are the rows of the train split whose labels it has seen, all of them by default;
    the others are an unlabelled pool to it and to whoever learns from it.
    """

    def __init__(self, folder: Path, source: Source, task: str) -> None:
        self.folder, self._source = folder, source
        self.report = records.read(folder / "report.json", TeacherReport)
        self.error, self.dev_error = self.report.error, self.report.dev_error
        with np.load(folder / "logits.npz", allow_pickle=False) as arrays:
            self.train_logits, self.dev_logits = arrays["train"], arrays["validation"]
            self.labelled: np.ndarray = arrays["labelled"]
        self.splits = load_task(task)
        labels = np.array(self.splits["validation"]["label"])
        self.dev_labels = labels
        if self.report.kind == "number":  # as it was learnt
            self.dev_labels = (labels - self.report.mean) / self.report.spread

    @cached_property
    def model(self) -> PreTrainedModel:
        from transformers import AutoModelForSequenceClassification

        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            self.folder / "model", use_safetensors=True
        )
        return model.eval()

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        from bort_engine.encoder.build import load_tokenizer

        tokenizer = load_tokenizer(self._source)
        tokenizer.model_max_length = self.report.max_length
        return tokenizer

    @cached_property
    def importance(self) -> Importance:
        from bort_engine.encoder.build import Importance

        return Importance.load(self.folder / "importance.npz")

    def student_folder(self, recipe: Recipe, seed: int) -> Path:
        """Return where the elastic student of this training lies, or will."""
        return self.folder / student_name(recipe, seed)

    @cached_property
    def train_data(self) -> Rows:
        """The train split with T's own outputs as labels, to distil from."""
        return self.encode(self.splits["train"], metrics.soft_labels(self.train_logits))

    @cached_property
    def dev_data(self) -> Rows:
        return self.encode(self.splits["validation"], self.dev_labels)

    def encode(self, split: Dataset, labels: Any) -> Rows:
        """Tokenise a split as T reads it."""
        return _encode(split, self.tokenizer, labels)

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
        on_progress({"stage": "getting ready", "done": 0, "total": 1})
        training = (source, task, splits, (steps, rows, seed), folder, on_progress, stop)
        together.made(folder, partial(_fine_tune, *training))
        return cls(folder, source, task)


def _encode(split: Dataset, tokenizer: PreTrainedTokenizerBase, labels: Any) -> Rows:
    from bort_engine.training.trainer import encode

    second = split["second"] if "second" in split.column_names else None
    return encode(split["text"], tokenizer, labels, second)


def student_name(recipe: Recipe, seed: int) -> str:
    """Return the name of the folder, in T's, of the elastic student of this training."""
    key = json.dumps([RECIPE_VERSION, ELASTIC_VERSION, asdict(recipe), seed])
    return f"elastic-{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def reading_length(
    split: Dataset, tokenizer: PreTrainedTokenizerBase, longest: int, asked: int = 0
) -> tuple[int, float]:
    """Return how many tokens of a text are to be read, and the share of texts that this cuts.

    As many as are asked for; else as many as 95 % of the texts have, a multiple of 8, at most
    `longest` and `MOST_TOKENS`.

    Raises:
        ValueError: more are asked for than the source can read.
    """
    if asked > longest:
        raise ValueError(f"max_length is {asked}; this source reads at most {longest} tokens.")
    some = split.select(range(0, len(split), max(1, len(split) // 2000)))
    tokenizer.model_max_length = longest + 1  # what has one more than can be read is cut
    rows = _encode(some, tokenizer, [0] * len(some))
    lengths = np.array([len(row["input_ids"]) for row in rows])
    most = int(np.quantile(lengths, 0.95, method="inverted_cdf"))
    length = asked or min(longest, MOST_TOKENS, 8 * math.ceil(most / 8))
    return length, round(float((lengths > length).mean()), 4)


def usual_recipe(n_rows: int, steps: int = 0) -> Recipe:
    """Return how a model is fine-tuned on so many labelled rows."""
    from bort_engine.training.recipe import Recipe

    many = n_rows >= MANY
    return Recipe(
        steps=steps,
        epochs=EPOCHS if many else EPOCHS_OF_FEW,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE if many else LEARNING_RATE_OF_FEW,
    )


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
    if len(np.unique(labels[rows])) < 2:  # of numbers, too
        raise ValueError(
            f"the {len(rows)} labelled rows of {task} are all of one class; label more of them."
        )
    return rows


def _folder(
    source: Source, task: str, splits: DatasetDict, steps: int, n_labelled: int, seed: int
) -> Path:
    """Return where T lies: everything that decides its weights is in the name's digest."""
    columns = [list(split[column]) for split in splits.values() for column in split.column_names]
    texts = hashlib.sha256(json.dumps(columns).encode()).hexdigest()
    key = [RECIPE_VERSION, asdict(source), texts, source.digest()]
    key += [steps, n_labelled, n_labelled and seed]
    path, columns = parse_name(task)
    key += [columns.max_length] if columns.max_length else []
    digest = hashlib.sha256(json.dumps(key, default=str).encode()).hexdigest()[:10]
    name = f"{Path(source.name).name}-{Path(path).stem}-{digest}"
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
    from bort_engine.training.trainer import predict, train, without_dropout

    start, (training, labelling) = perf_counter(), TEACHER_STAGES
    steps, rows, seed = recipe
    weights_of(source, on_progress)
    tokenizer, about = load_tokenizer(source), find_task(task)
    labels = {name: np.array(splits[name]["label"]) for name in splits}
    mean, spread = 0.0, 1.0
    if about.kind == "number":
        some = labels["train"][rows]
        mean, spread = float(some.mean()), float(some.std())
        labels = {name: (values - mean) / spread for name, values in labels.items()}
    length, cut = reading_length(splits["train"], tokenizer, source.longest_input, about.max_length)
    tokenizer.model_max_length = length
    read = f"at most {length} tokens are read, which cuts {cut:.1%} of the texts"
    on_progress({"stage": "reading the texts", "done": 1, "total": 1, "detail": read})
    data = {name: _encode(splits[name], tokenizer, labels[name]) for name in splits}
    set_seed(seed)
    n_outputs = len(about.labels) or 1  # of a number one, else one a class
    model = without_dropout(load_source(source, num_labels=n_outputs, seed=seed))
    train(
        model,
        [data["train"][row] for row in rows],
        tokenizer,
        usual_recipe(len(rows), steps),
        seed=seed,
        on_step=step_events(training, on_progress),
        stop=stop,
    )
    if not together.is_first():
        return
    n_texts, logits = sum(map(len, data.values())), {}
    for name in data:
        before = sum(map(len, logits.values()))
        on_row = counted(labelling, n_texts, before, on_progress)
        logits[name] = predict(model, data[name], tokenizer, on_row)
    sample = [{k: v for k, v in row.items() if k != "labels"} for row in data["train"][:256]]
    batches = [
        tokenizer.pad(sample[at : at + 64], return_tensors="pt") for at in range(0, len(sample), 64)
    ]
    dev, outputs = labels["validation"], logits["validation"]
    report = TeacherReport(
        error=round(metrics.distance(outputs, outputs), 6),
        dev_error=round(metrics.error(dev, outputs), 6),
        chance_error=round(metrics.chance_error(dev, n_outputs), 6),
        n_dev=len(dev),
        n_labelled=len(rows),
        seconds=round(perf_counter() - start, 1),
        precision=precision(),
        kind=about.kind,
        max_length=length,
        cut=cut,
        mean=mean,
        spread=spread,
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
