"""One evaluation: a candidate is trained, and how far it then is from T is on record.

T is the source fine-tuned on the task, once, and cached. A candidate starts from slices of T
("brief") or from random weights ("scratch", the papers') and is trained for a few steps against T's
soft predictions; or it is cut from the elastic student, in which all are trained together. Its
error is the cross-entropy on dev against T ([BORT], section 3).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Le

from bort_engine.data.tasks import find_task
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.uneven import Uneven
from bort_engine.runs import records
from bort_engine.runs.checks import check_whole
from bort_engine.runs.events import Progress, Stop, never, silent
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import Count, NonNegative, Positive, Share
from bort_engine.training import metrics
from bort_engine.training.forecast import ELASTIC_RECIPE
from bort_engine.training.recipe import Recipe
from bort_engine.training.teacher import (
    ELASTIC_VERSION,
    RECIPE_VERSION,
    Teacher,
    TeacherReport,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bort_engine.training.elastic import Elastic

Shape = Architecture | Uneven
# Steps and learning rate, of a candidate and of the elastic student.
USUAL = ((30, 5e-4), (ELASTIC_RECIPE.steps, ELASTIC_RECIPE.learning_rate))
# How errors are made: the first two train each candidate, the third trains all of them together,
# and the last is a line through published GLUE scores.
OracleName = Literal["brief", "scratch", "elastic", "glue"]


@dataclass(frozen=True, slots=True)
class BriefTraining:
    """How a candidate is trained: equal settings give comparable errors, others do not.

    Args:
        steps: training steps of each candidate, or of the elastic student; 0 for 30, or 500.
        train_batch_size: sentences a step.
        learning_rate: the highest of the schedule; 0 for 5e-4, or 4e-4 of the elastic student.
        teacher_steps: training steps of the source; 0 for two epochs. Small numbers are for tests.

    Raises:
        ValueError: a setting is out of range.
    """

    steps: int = 0
    train_batch_size: int = 64
    learning_rate: float = 0.0
    teacher_steps: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("steps", 0, 100_000),
            ("train_batch_size", 1, 1024),
            ("teacher_steps", 0, 100_000),
        ):
            check_whole(name, getattr(self, name), low, high)
        if not 0 <= self.learning_rate <= 1:
            raise ValueError(f"learning_rate is {self.learning_rate!r}; allowed: 0 to 1. Try 5e-4.")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluated candidate: `error` against T (nats), `dev_error` against the labels, on dev.

    An error that is predicted has no `dev_error`, and took no `seconds`.
    """

    architecture: Shape
    error: Positive
    dev_error: Share | None
    seconds: NonNegative = 0.0

    @property
    def wrong(self) -> float:
        """The share of wrong answers, measured on dev or predicted."""
        return self.error if self.dev_error is None else self.dev_error

    AGAIN: ClassVar[str] = "move the file away to start anew"


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that decides an evaluation; records of different set-ups are never mixed.

    `recipe` is the version of the training code, `student` that of the elastic student's (0 for
    other oracles), `task_digest` and `source_digest` those of the user's own texts and model.
    """

    source: str
    task: str
    oracle: OracleName = "brief"
    training: BriefTraining = BriefTraining()
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = 0
    recipe: Count = RECIPE_VERSION
    student: Count = 0
    task_digest: str = ""
    source_digest: str = ""

    def __post_init__(self) -> None:
        steps, rate = USUAL[self.oracle == "elastic"]
        training = replace(
            self.training,
            steps=self.training.steps or steps,
            learning_rate=self.training.learning_rate or rate,
        )
        object.__setattr__(self, "training", training)  # the way in when frozen

    def as_recipe(self) -> Recipe:
        """Return how each candidate is trained, or the elastic student."""
        training = self.training
        return Recipe(
            steps=training.steps,
            batch_size=training.train_batch_size,
            learning_rate=training.learning_rate,
        )


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a table of evaluations."""

    setup: Setup
    teacher: TeacherReport
    made: Provenance
    schema: Literal[2] = 2

    AGAIN: ClassVar[str] = "move the file away to start anew"


def read_header(path: Path) -> Header:
    """Return a table's first line, whatever comes after it. Raises ValueError if it is damaged."""
    with path.open("rb") as file:
        try:
            return records.parse(file.readline(records.MOST_BYTES), Header)
        except records.OtherVersion as e:
            raise ValueError(f"{path}: {e}") from e
        except ValueError as e:
            raise ValueError(f"{path} line 1 is damaged ({e})") from e


class EvaluationTable:
    """The evaluations of a run: a file of JSON lines, a header first, appended to at once.

    A last line cut off by a crash is dropped; anything else that is damaged is refused. Without a
    path nothing is written; without a header the file is only read.

    Raises:
        ValueError: the file is damaged, or belongs to another set-up.
    """

    def __init__(self, path: Path | None, header: Header | None = None) -> None:
        self.path = path
        self.evaluations: dict[Shape, Evaluation] = {}
        if path and path.exists() and path.stat().st_size:
            self.header = self._read(path, header)
            return
        if header is None:
            raise ValueError(f"{path} holds no evaluations; record some with `front`.")
        self.header = header
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(header)

    def _read(self, path: Path, expected: Header | None) -> Header:
        # A line that lacks its end was cut off by a crash: what comes after the last newline.
        if path.stat().st_size > records.MOST_BYTES:
            raise ValueError(f"{path} is larger than {records.MOST_BYTES / 2**20:g} MB.")
        whole, end, cut_off = path.read_bytes().rpartition(b"\n")
        if expected and not end and cut_off.startswith(b'{"setup":'):  # not even the header is
            path.write_bytes(b"")
            self._append(expected)
            return expected
        number = 1
        try:
            first, *lines = whole.splitlines() or [b""]
            header = records.parse(first, Header)
            for line in lines:
                number += 1
                evaluation = records.parse(line, Evaluation)
                shape = evaluation.architecture
                earlier = self.evaluations.setdefault(shape, evaluation)
                if (earlier.error, earlier.wrong) != (evaluation.error, evaluation.wrong):
                    again = Evaluation.AGAIN
                    raise ValueError(f"{shape} has another error in an earlier line; {again}")
        except records.OtherVersion as e:
            raise ValueError(f"{path}: {e}") from e
        except ValueError as e:
            raise ValueError(f"{path} line {number} is damaged ({e})") from e
        if expected is None:
            return header
        check_setup(path, header.setup, expected.setup)
        if cut_off:
            with path.open("r+b") as file:
                file.truncate(len(whole) + 1)
        return header

    def _append(self, record: Header | Evaluation) -> None:
        if self.path:
            with self.path.open("ab") as file:
                file.write(records.dump_line(record) + b"\n")

    def add(self, evaluation: Evaluation) -> None:
        """Write an evaluation before anything else happens, so that a crash loses none."""
        self._append(evaluation)
        self.evaluations[evaluation.architecture] = evaluation


def check_setup(path: Path, old: Setup, new: Setup) -> None:
    """Raise a ValueError that names what differs, unless a table's set-up is this one."""
    before, now = (asdict(setup) for setup in (old, new))
    for settings in (before, now):
        settings |= settings.pop("training")
    differing = [name for name in now if before[name] != now[name]]
    if differing:
        texts = (
            " and ".join(f"{name} {settings[name]!r}" for name in differing)
            for settings in (before, now)
        )
        raise ValueError(
            "{} holds errors measured with {}, not with {}; they cannot be mixed. Choose another "
            "--out.".format(path, *texts)
        )


class Evaluator:
    """Evaluates architectures against T, which is prepared at first use, as is the student."""

    def __init__(
        self, source: Source, setup: Setup, on_progress: Progress = silent, stop: Stop = never
    ) -> None:
        self.source = source
        student = ELASTIC_VERSION if setup.oracle == "elastic" else 0
        digests = {
            "task_digest": find_task(setup.task).digest,
            "source_digest": source.digest(),
        }
        self.setup = replace(setup, student=student, **digests)
        self.on_progress, self.stop = on_progress, stop

    @cached_property
    def teacher(self) -> Teacher:
        return Teacher.prepare(
            self.source,
            self.setup.task,
            steps=self.setup.training.teacher_steps,
            on_progress=self.on_progress,
            stop=self.stop,
        )

    @cached_property
    def student(self) -> Elastic:
        """The elastic student, of which candidates are slices."""
        from bort_engine.training.elastic import Elastic

        return Elastic.prepare(
            self.source,
            self.teacher,
            self.setup.as_recipe(),
            seed=self.setup.seed,
            on_progress=self.on_progress,
            stop=self.stop,
        )

    def prepare(self) -> None:
        """Train what is not in the cache yet: T, and the elastic student where it is needed."""
        if self.setup.oracle == "elastic" and not self._student_folder.is_dir():
            _ = self.student

    def load(self) -> None:
        """Have in memory what evaluations use, after training what is not in the cache yet."""
        _ = self.student if self.setup.oracle == "elastic" else self.teacher

    def weights(self) -> list[Path]:
        """Return the files that evaluations read once `prepare` was called: T, and the student."""
        folders = [self.teacher.folder]
        folders += [self._student_folder] if self.setup.oracle == "elastic" else []
        return [folder / "model" / "model.safetensors" for folder in folders]

    @property
    def _student_folder(self) -> Path:
        return self.teacher.student_folder(self.setup.as_recipe(), self.setup.seed)

    def evaluate(self, architecture: Shape) -> Evaluation:
        """Build, train where need be, and measure on dev. T itself is exact: it is not trained.

        Raises:
            ValueError: the architecture does not fit in the source whose weights it inherits, or
                its training diverged.
            Cancelled: a stop was asked for.
        """
        self.prepare()  # these trainings do not count
        if self.is_exact(architecture):
            return Evaluation(architecture, self.teacher.error, self.teacher.dev_error)
        student = self.student if self.setup.oracle == "elastic" else None
        start = perf_counter()
        if student:
            return self.measure(architecture, student.cut(architecture), start)
        if isinstance(architecture, Uneven):
            raise ValueError(f"{architecture} can be cut from the elastic student only.")
        model = self._trained(architecture)
        return self.measure(architecture, model, start)

    def is_exact(self, architecture: Shape) -> bool:
        """Is it T itself, which needs no evaluation?"""
        return architecture == self.source.architecture and self.setup.oracle != "scratch"

    def measure(
        self, architecture: Shape, model: PreTrainedModel, start: float | None = None
    ) -> Evaluation:
        """Measure a model on dev; its seconds count from `start`. Raises as `evaluate` does."""
        start = perf_counter() if start is None else start
        return self.judge(architecture, self.outputs(model), start)

    def outputs(self, model: PreTrainedModel) -> np.ndarray:
        """Return what a model says of dev, shape (n, classes), or (n, 1) of numbers."""
        from bort_engine.training.trainer import predict

        return predict(model, self.teacher.dev_data, self.teacher.tokenizer)

    def judge(self, architecture: Shape, outputs: np.ndarray, start: float) -> Evaluation:
        """Return the errors of outputs on dev; seconds count from `start`."""
        T = self.teacher
        if not np.isfinite(outputs).all():
            raise ValueError(f"the training of {architecture} diverged; lower the learning rate.")
        return Evaluation(
            architecture,
            error=round(metrics.distance(T.dev_logits, outputs), 6),
            dev_error=round(metrics.error(T.dev_labels, outputs), 6),
            seconds=round(perf_counter() - start, 3),
        )

    def _trained(self, architecture: Architecture) -> PreTrainedModel:
        """Return the candidate after its own brief training."""
        from transformers import set_seed

        from bort_engine.training.trainer import train, without_dropout

        T, seed = self.teacher, self.setup.seed
        set_seed(seed)
        model = without_dropout(self._initial(architecture))
        return train(
            model, T.train_data, T.tokenizer, self.setup.as_recipe(), seed=seed, stop=self.stop
        )

    def _initial(self, architecture: Architecture) -> PreTrainedModel:
        """Return the candidate before its training: slices of T, or random weights."""
        from transformers import AutoConfig, AutoModelForSequenceClassification

        from bort_engine.encoder.build import inherit

        if self.setup.oracle == "brief":
            return inherit(self.teacher.model, architecture, self.source, self.teacher.importance)
        config = AutoConfig.for_model(
            self.source.model_type,
            **self.source.config(architecture),
            num_labels=len(find_task(self.setup.task).labels) or 1,
        )
        return AutoModelForSequenceClassification.from_config(config)
