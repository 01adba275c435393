"""A student: one architecture, trained again and again from the same weights, every training kept.

Each finished training is written down at once, so a run that is killed goes on after the last one:
the same request, asked again, is answered from the file. Weights are kept of those only that were
the best of their round when they were made.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_engine.algorithms.agora import mean_accuracy
from bort_engine.finetune.plan import Config
from bort_engine.runs import records
from bort_engine.runs.events import Stop

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

OnStep = Callable[[int, int, float], None]
Label = int | tuple[float, ...]  # a class, or the probabilities of all classes
Pairs = Sequence[tuple[str, Label]]


@dataclass(frozen=True, slots=True)
class Training:
    """One training: the classes it predicts on the two halves of dev, and what it took.

    `key` is a digest of what was asked for; `loss` the mean over its last ten steps, in nats.
    """

    key: str
    seen: tuple[int, ...]
    held: tuple[int, ...]
    loss: float
    seconds: float
    steps: int


@dataclass(frozen=True, slots=True)
class Dev:
    """The two halves of dev, as positions: what Agora looks at, and what it never sees."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]
    seen: tuple[int, ...]
    held: tuple[int, ...]

    @classmethod
    def halved(cls, texts: Sequence[str], labels: Sequence[int]) -> Dev:
        order = np.random.default_rng(0).permutation(len(texts))
        half = (len(texts) + 1) // 2
        halves = (tuple(sorted(part.tolist())) for part in (order[:half], order[half:]))
        return cls(tuple(texts), tuple(map(int, labels)), *halves)

    @property
    def seen_pairs(self) -> list[tuple[str, int]]:
        return [(self.texts[i], self.labels[i]) for i in self.seen]


class Student:
    """Trains copies of `initial` and remembers them under `folder`.

    Args:
        initial: the model every training starts from; it is not changed.
        stop: becomes true when the work should end.
    """

    def __init__(
        self,
        initial: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        dev: Dev,
        folder: Path,
        stop: Stop,
    ) -> None:
        from bort_engine.training.trainer import encode

        self.initial, self.tokenizer, self.dev, self.folder = initial, tokenizer, dev, folder
        self.stop = stop
        self.best: Training | None = None  # of the latest round
        self._round_id: Hashable = None
        self._requests: dict[str, tuple[Config, Pairs, int]] = {}  # by key, to train again
        self._dev_rows = encode(dev.texts, tokenizer, dev.labels)
        folder.mkdir(parents=True, exist_ok=True)

    def fit(
        self,
        config: Config,
        pairs: Pairs,
        steps: int,
        on_step: OnStep = lambda step, total, loss: None,
        round_id: Hashable = None,
    ) -> Training:
        """Train with one hyper-parameter set on (text, class or probabilities) pairs.

        Args:
            on_step: told the step, how many there are, and the loss.
            round_id: what it is compared within; with another one `best` begins anew.

        Raises:
            Cancelled: a stop was asked for; this training is lost, those before it are kept.
            ValueError: the training diverged.
        """
        if round_id != self._round_id:
            self.best, self._round_id = None, round_id
        key = _digest(config, pairs, steps)
        self._requests[key] = (config, pairs, steps)
        path = self.folder / f"{key}.json"
        if path.is_file():
            training = records.read(path, Training)
            if self._beats_best(training):
                self.best = training
            return training
        start, losses = perf_counter(), []

        def note_loss(step: int, total: int, loss: float) -> None:
            losses.append(loss)
            on_step(step, total, loss)

        model = self._train(config, pairs, steps, note_loss)
        seen, held = self._predictions(model)
        loss, seconds = float(np.mean(losses[-10:])), perf_counter() - start
        training = Training(key, seen, held, round(loss, 5), round(seconds, 2), steps)
        if self._beats_best(training):
            self._keep(model, key)
            self.best = training
        # Last, so that a training on file always has its weights if it was the best.
        records.write(path, training)
        return training

    def _beats_best(self, training: Training) -> bool:
        return self.best is None or self.score(training) > self.score(self.best)

    def score(self, training: Training) -> float:
        """Return what Agora chooses by: the mean over classes of the share right, the half seen."""
        truth = [self.dev.labels[i] for i in self.dev.seen]
        right = [guess == label for guess, label in zip(training.seen, truth, strict=True)]
        return float(mean_accuracy(right, truth))

    def accuracy(self, training: Training, half: str = "seen") -> float:
        """Return the share of right answers on the half of dev that is "seen" or "held"."""
        truth = [self.dev.labels[i] for i in getattr(self.dev, half)]
        return float(np.mean(np.array(getattr(training, half)) == truth))

    def load(self, training: Training) -> PreTrainedModel:
        """Return the model of a training; one whose weights were not kept is trained again."""
        from safetensors.torch import load_file

        path = self.folder / f"{training.key}.safetensors"
        if not path.is_file():
            self._keep(self._train(*self._requests[training.key]), training.key)
        model = copy.deepcopy(self.initial)
        model.load_state_dict(load_file(path))
        return model.eval()

    def _train(
        self,
        config: Config,
        pairs: Pairs,
        steps: int,
        on_step: OnStep = lambda step, total, loss: None,
    ) -> PreTrainedModel:
        from bort_engine.training.trainer import Recipe, encode, train

        n_classes: Any = self.initial.config.num_labels
        one_hot = np.eye(n_classes).tolist()
        labels = [one_hot[label] if isinstance(label, int) else label for _, label in pairs]
        recipe = Recipe(
            steps=steps,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            warmup_share=config.warmup_share,
            weight_decay=config.weight_decay,
        )
        return train(
            copy.deepcopy(self.initial),
            encode([text for text, _ in pairs], self.tokenizer, labels),
            self.tokenizer,
            recipe,
            seed=config.seed,
            on_step=on_step,
            stop=self.stop,
        )

    def _predictions(self, model: PreTrainedModel) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the classes a model predicts on the two halves of dev."""
        from bort_engine.training.trainer import predict

        logits = predict(model, self._dev_rows, self.tokenizer)
        if not np.isfinite(logits).all():
            raise ValueError(
                "a training diverged: its outputs are not numbers. Take a smaller learning rate."
            )
        classes = logits.argmax(1)
        return tuple(classes[[*self.dev.seen]].tolist()), tuple(classes[[*self.dev.held]].tolist())

    def _keep(self, model: PreTrainedModel, key: str) -> None:
        from safetensors.torch import save

        weights = {name: value.contiguous() for name, value in model.state_dict().items()}
        records.write_bytes(self.folder / f"{key}.safetensors", save(weights))


def _digest(config: Config, pairs: Pairs, steps: int) -> str:
    labelled = [[text, np.round(label, 4).tolist()] for text, label in pairs]
    return hashlib.sha256(json.dumps([config, steps, labelled]).encode()).hexdigest()[:16]
