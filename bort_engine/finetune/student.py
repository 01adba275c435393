"""A student: one architecture, trained again and again from the same start, every training kept.

Each finished training is written down at once, so a run that is killed goes on after the last one:
the same request, asked again, is answered from the file. Weights are kept of those only that were
the best of their round when they were made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_engine.runs.events import Stop, never

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bort_engine.training.trainer import Rows

# What a hyper-parameter set holds, in this order, which decides what Agora prunes together.
FIELDS = ("learning rate", "weight decay", "warm-up share", "batch size", "seed")
OnStep = Callable[[int, int, float], None]


@dataclass(frozen=True, slots=True)
class Fitted:
    """One training: the classes it predicts on the two halves of dev, and what it took.

    `loss` is the mean over its last ten steps, in nats.
    """

    key: str
    seen: tuple[int, ...]
    held: tuple[int, ...]
    loss: float
    seconds: float
    steps: int


@dataclass(frozen=True, slots=True)
class Dev:
    """The two halves of dev: what Agora looks at, and what it never sees."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]
    seen: tuple[int, ...]
    held: tuple[int, ...]

    @classmethod
    def halved(cls, texts: Sequence[str], labels: Sequence[int], seed: int = 0) -> Dev:
        order = np.random.default_rng(seed).permutation(len(texts))
        half = (len(texts) + 1) // 2
        halves = (tuple(sorted(part.tolist())) for part in (order[:half], order[half:]))
        return cls(tuple(texts), tuple(map(int, labels)), *halves)

    def pairs(self, half: Sequence[int]) -> list[tuple[str, int]]:
        return [(self.texts[i], self.labels[i]) for i in half]


class Student:
    """Trains copies of `start` and remembers them under `folder`.

    Args:
        start: the model every training starts from; it is not changed.
        on_step: told the step, how many there are, and the loss.
        stop: becomes true when the work should end.
    """

    def __init__(
        self,
        start: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        dev: Dev,
        folder: Path,
        stop: Stop = never,
    ) -> None:
        from bort_engine.training.trainer import encode

        self.start, self.tokenizer, self.dev, self.folder = start, tokenizer, dev, folder
        self.stop = stop
        self.best: Fitted | None = None  # of the latest round
        self._round: Hashable = None
        self._asked: dict[str, tuple[Any, ...]] = {}
        self._dev_rows = encode(dev.texts, tokenizer, dev.labels)
        folder.mkdir(parents=True, exist_ok=True)

    def fit(
        self,
        theta: tuple[Any, ...],
        pairs: Sequence[tuple[str, Any]],
        steps: int,
        on_step: OnStep = lambda step, total, loss: None,
        round: Hashable = None,
    ) -> Fitted:
        """Train with one hyper-parameter set on (text, class or probabilities) pairs.

        Args:
            round: what it is compared within; with another one `best` begins anew.

        Raises:
            Cancelled: a stop was asked for; this training is lost, those before it are kept.
        """
        if round != self._round:
            self.best, self._round = None, round
        key = self._key(theta, pairs, steps)
        self._asked[key] = (theta, pairs, steps)
        path = self.folder / f"{key}.json"
        if path.is_file():
            fitted = _read(path)
            self.best = fitted if self._beats(fitted) else self.best
            return fitted
        start, losses = perf_counter(), []

        def told(step: int, total: int, loss: float) -> None:
            losses.append(loss)
            on_step(step, total, loss)

        model = self._train(theta, pairs, steps, told)
        fitted = self._measured(model, key, losses, steps, start)
        if self._beats(fitted):
            self._keep(model, key)
            self.best = fitted
        _write(path, fitted)
        return fitted

    def _beats(self, fitted: Fitted) -> bool:
        return self.best is None or self.accuracy(fitted) > self.accuracy(self.best)

    def accuracy(self, fitted: Fitted, half: str = "seen") -> float:
        """Return the share of right answers on the half of dev that is "seen" or "held"."""
        truth = [self.dev.labels[i] for i in getattr(self.dev, half)]
        return float(np.mean([a == b for a, b in zip(getattr(fitted, half), truth, strict=True)]))

    def load(self, fitted: Fitted) -> PreTrainedModel:
        """Return the model of a training; one whose weights were not kept is trained again."""
        from safetensors.torch import load_file

        path = self._weights(fitted.key)
        if not path.is_file():
            self._keep(self._train(*self._asked[fitted.key]), fitted.key)
        model = self._copy()
        model.load_state_dict(load_file(path))
        return model.eval()

    def _train(
        self,
        theta: tuple[Any, ...],
        pairs: Sequence[tuple[str, Any]],
        steps: int,
        on_step: OnStep = lambda step, total, loss: None,
    ) -> PreTrainedModel:
        from bort_engine.training.trainer import Recipe, train

        learning_rate, weight_decay, warmup_share, batch_size, seed = theta
        recipe = Recipe(
            steps=steps,
            batch_size=int(batch_size),
            learning_rate=learning_rate,
            warmup_share=warmup_share,
            weight_decay=weight_decay,
        )
        return train(
            self._copy(),
            self._rows(pairs),
            self.tokenizer,
            recipe,
            seed=int(seed),
            on_step=on_step,
            stop=self.stop,
        )

    def _copy(self) -> PreTrainedModel:
        import copy

        return copy.deepcopy(self.start)

    def _rows(self, pairs: Sequence[tuple[str, Any]]) -> Rows:
        from bort_engine.training.trainer import encode

        n: Any = self.start.config.num_labels
        labels = [np.eye(n)[y].tolist() if isinstance(y, int) else y for _, y in pairs]
        return encode([text for text, _ in pairs], self.tokenizer, labels)

    def _measured(
        self, model: PreTrainedModel, key: str, losses: list[float], steps: int, start: float
    ) -> Fitted:
        from bort_engine.training.trainer import predict

        logits = predict(model, self._dev_rows, self.tokenizer)
        if not np.isfinite(logits).all():
            raise ValueError(
                "a training diverged: its outputs are not numbers. Take a smaller learning rate."
            )
        guesses = logits.argmax(1).tolist()
        return Fitted(
            key,
            tuple(guesses[i] for i in self.dev.seen),
            tuple(guesses[i] for i in self.dev.held),
            round(float(np.mean(losses[-10:])), 5),
            round(perf_counter() - start, 2),
            steps,
        )

    def _key(self, theta: tuple[Any, ...], pairs: Sequence[tuple[str, Any]], steps: int) -> str:
        asked = json.dumps([theta, steps, [[text, np.round(y, 4).tolist()] for text, y in pairs]])
        return hashlib.sha256(asked.encode()).hexdigest()[:16]

    def _weights(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _keep(self, model: PreTrainedModel, key: str) -> None:
        from safetensors.torch import save_file

        from bort_engine.encoder.checkpoint import os_errors

        part = self.folder / f"{key}.part"
        weights = {name: value.contiguous() for name, value in model.state_dict().items()}
        with os_errors():
            save_file(weights, part)
        part.replace(self._weights(key))


def _write(path: Path, fitted: Fitted) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(fitted)))
    part.replace(path)


def _read(path: Path) -> Fitted:
    plain = json.loads(path.read_text())
    return Fitted(**plain | {half: tuple(plain[half]) for half in ("seen", "held")})
