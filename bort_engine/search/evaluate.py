"""The error oracle: how far a candidate is from T after a brief distillation, on record.

T is the source fine-tuned on the task, once, and cached. A candidate starts from T's weights
(`inherit`) or from random ones (`scratch`, the papers'), is trained for a few steps against T's
soft predictions, and its error is the cross-entropy on dev against T ([BORT], section 3).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_engine.data.tasks import find_task
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.runs.events import Progress, Stop, never, silent
from bort_engine.training.teacher import Teacher, cross_entropy

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class OracleSettings:
    """What makes an error: equal settings give comparable errors, others do not.

    `teacher_steps` is 0 for the default two epochs; small numbers are for tests and first looks.

    Raises:
        ValueError: a setting is out of range.
    """

    source: str
    task: str
    initial: str = "inherit"
    steps: int = 30
    batch_size: int = 64
    learning_rate: float = 5e-4
    seed: int = 0
    teacher_steps: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("steps", 1, 100_000),
            ("batch_size", 1, 1024),
            ("seed", 0, 2**31 - 1),
            ("teacher_steps", 0, 100_000),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} is {value!r}; allowed: {low} to {high}.")
        if self.initial not in ("inherit", "scratch"):
            raise ValueError(f"initial is {self.initial!r}; allowed: inherit, scratch.")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One measured candidate: `error` against T, `dev_error` against the labels, both on dev."""

    architecture: Architecture
    error: float
    dev_error: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"architecture": str(self.architecture)}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Evaluation:
        numbers = {key: value for key, value in plain.items() if key != "architecture"}
        found = cls(Architecture.parse(plain["architecture"]), **numbers)
        if not all(0 <= n < float("inf") for n in numbers.values()) or found.dev_error > 1:
            raise ValueError(f"impossible numbers {numbers}")
        return found


SCHEMA = 1


class Record:
    """The evaluations of a run: a file of JSON lines, a header first, appended to at once.

    A last line cut off by a crash is dropped; anything else that is damaged is refused.

    Raises:
        ValueError: the file is damaged, or belongs to other settings.
    """

    def __init__(self, path: Path | None, header: dict[str, Any] | None = None) -> None:
        self.path = path
        self.header: dict[str, Any] = {"schema": SCHEMA} | (header or {})
        self.evaluations: dict[Architecture, Evaluation] = {}
        if path and path.exists() and path.stat().st_size:
            self._read(path, header)
        elif path and header is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(self.header)

    def _read(self, path: Path, header: dict[str, Any] | None) -> None:
        raw = path.read_bytes()
        whole, _, cut = raw.rpartition(b"\n")
        lines = whole.splitlines()
        number = 1
        try:
            self.header = json.loads(lines[0])
            if self.header["schema"] != SCHEMA:
                raise ValueError(f"schema {self.header['schema']!r}, not {SCHEMA}")
            for line in lines[1:]:
                number += 1
                found = Evaluation.from_json(json.loads(line))
                self.evaluations[found.architecture] = found
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
            raise ValueError(
                f"{path} line {number} is damaged ({e}); move the file away to start anew."
            ) from e
        theirs, ours = self.header.get("oracle"), (header or {}).get("oracle")
        if ours is not None and theirs != ours:
            raise ValueError(
                f"{path} holds errors measured with {theirs}, not with {ours}; they cannot be "
                "mixed. Choose another --out."
            )
        if cut and header is not None:
            with path.open("r+b") as file:
                file.truncate(len(whole) + 1)

    def _write(self, plain: dict[str, Any]) -> None:
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps(plain) + "\n")

    def add(self, evaluation: Evaluation) -> None:
        self._write(evaluation.to_json())
        self.evaluations[evaluation.architecture] = evaluation


class Oracle:
    """Answers "what is this architecture's error?" by training it briefly against T."""

    def __init__(
        self,
        source: Source,
        settings: OracleSettings,
        on_progress: Progress = silent,
        stop: Stop = never,
    ) -> None:
        find_task(settings.task)
        self.source, self.settings = source, settings
        self.on_progress, self.stop = on_progress, stop

    @cached_property
    def teacher(self) -> Teacher:
        return Teacher.prepare(
            self.source,
            self.settings.task,
            steps=self.settings.teacher_steps,
            on_progress=self.on_progress,
            stop=self.stop,
        )

    def evaluate(self, architecture: Architecture) -> Evaluation:
        """Build, distil for `steps`, and measure on dev. T itself is not trained: it is exact.

        Raises:
            ValueError: the architecture does not fit in the source whose weights it inherits.
            Cancelled: a stop was asked for.
        """
        from transformers import set_seed

        from bort_engine.training.trainer import Recipe, predict, train, without_dropout

        start = perf_counter()
        T = self.teacher
        if architecture == self.source.architecture and self.settings.initial == "inherit":
            return Evaluation(architecture, T.error, T.dev_error, round(perf_counter() - start, 3))
        set_seed(self.settings.seed)
        model = without_dropout(self._start(architecture))
        recipe = Recipe(
            steps=self.settings.steps,
            batch_size=self.settings.batch_size,
            learning_rate=self.settings.learning_rate,
        )
        train(model, T.train_data, T.tokenizer, recipe, seed=self.settings.seed, stop=self.stop)
        logits = predict(model, T.dev_data, T.tokenizer)
        if not np.isfinite(logits).all():
            raise ValueError(f"the training of {architecture} diverged; lower the learning rate.")
        return Evaluation(
            architecture,
            error=round(cross_entropy(T.dev_logits, logits), 6),
            dev_error=round(float((logits.argmax(1) != T.dev_labels).mean()), 6),
            seconds=round(perf_counter() - start, 3),
        )

    def _start(self, architecture: Architecture) -> PreTrainedModel:
        from transformers import AutoConfig, AutoModelForSequenceClassification

        from bort_engine.encoder.build import inherit

        if self.settings.initial == "inherit":
            return inherit(self.teacher.model, architecture, self.source, self.teacher.importance)
        config = AutoConfig.for_model(
            self.source.model_type,
            **self.source.config(architecture),
            num_labels=len(find_task(self.settings.task).labels),
        )
        return AutoModelForSequenceClassification.from_config(config)
