"""The arms of a seed's run: Agora's own trainings, and the controls that repeat each of them.

plain: the labelled rows only. copied: the seen half's mistakes of the round before, with their own
labels, repeated until there are enough. random: any texts of the pool, labelled by S; where there
is no pool, S's own labels of the labelled rows. The result is the best of the last round, as
Agora's; plain's, whose data does not grow, is its best of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle, islice
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_engine.algorithms import agora as algorithm
from bort_engine.algorithms.agora import Outcome, RoundId
from bort_engine.data.tasks import find_task
from bort_engine.finetune.forecast import EPOCHS_OF_FEW, TRAININGS, seconds_left
from bort_engine.finetune.plan import Config, Request
from bort_engine.finetune.report import (
    NAMES,
    Arm,
    ArmName,
    Data,
    Fit,
    LabellerScores,
    Mistake,
    NewPoint,
    NewPoints,
    Round,
)
from bort_engine.finetune.report_file import ReportFile
from bort_engine.finetune.student import Dev, Student, Training
from bort_engine.finetune.tau import Labeller
from bort_engine.runs.events import Progress, Stop
from bort_engine.training.distil import initial_student
from bort_engine.training.teacher import EPOCHS, MANY, Teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bort_engine.training.word_swap import Tau


@dataclass(slots=True)
class SeedRun:
    """All that one seed does: its labeller, the student's initialisation, and its arms' results.

    `best` says how to load the model that each arm returned.
    """

    file: ReportFile
    seed: int
    labeller: Labeller
    initial: PreTrainedModel
    on_progress: Progress
    stop: Stop
    best: dict[ArmName, Callable[[], PreTrainedModel]] = field(default_factory=dict)

    @classmethod
    def prepare(cls, file: ReportFile, seed: int, on_progress: Progress, stop: Stop) -> SeedRun:
        """Fine-tune the source, or find it in the cache, and slice or distil the student."""
        request = file.report.request
        plan = request.plan
        teacher = Teacher.prepare(
            request.source,
            request.task,
            steps=plan.teacher_steps,
            n_labelled=plan.labelled,
            seed=seed,
            on_progress=on_progress,
            stop=stop,
        )
        dev = Dev.halved(teacher.splits["validation"]["text"], teacher.dev_labels.tolist())
        labeller = Labeller(teacher, request.source, dev, plan, on_progress)
        right = teacher.dev_logits.argmax(1) == teacher.dev_labels
        file.note(
            data=Data(
                n_train=len(labeller.train_pairs),
                n_pool=len(labeller.pool_texts),
                n_dev_seen=len(dev.seen),
                n_dev_held=len(dev.held),
                labels=find_task(request.task).labels,
                majority_share=round(1 - teacher.report.chance_error, 5),
            ),
            labeller=LabellerScores(
                dev_seen=round(float(right[[*dev.seen]].mean()), 5),
                dev_held=round(float(right[[*dev.held]].mean()), 5),
                seconds=teacher.report.seconds,
            ),
        )
        seen = [*dev.seen]
        guesses, truth = teacher.dev_logits.argmax(1)[seen], teacher.dev_labels[seen]
        algorithm.check_labeller(guesses.tolist(), truth.tolist(), class_of=int)  # before the rest
        initial = initial_student(
            request.architecture,
            request.source,
            teacher,
            plan.initialisation,
            seed=seed,
            general_steps=plan.general_steps,
            on_progress=on_progress,
            stop=stop,
        )
        return cls(file, seed, labeller, initial, on_progress, stop)

    @property
    def request(self) -> Request:
        return self.file.report.request

    def train(self) -> None:
        """Agora first, then each control with as much data and as many steps."""
        plan, arm = self.request.plan, ArmRun(self, "agora")
        outcome = algorithm.agora(
            self.request.configs,
            self.labeller.train_pairs,
            self.labeller.dev.seen_pairs,
            fit=arm.fit,
            predict=lambda training, texts: training.seen,
            label=arm.label,
            tau=partial(arm.make_points, self.labeller.tau(arm.student, self.seed)),
            m=plan.points,
            agrees=_agrees,
            class_of=int,  # a label of dev is the number of its class
            replays=plan.replays,
            on_round=arm.settle,
        )
        arm.finish(outcome.model)
        for control in plan.controls:
            self._train_control(control, outcome)

    def _train_control(self, name: ArmName, outcome: Outcome) -> None:
        """Repeat every training of Agora with other data: as much of it, for as many steps."""
        arm, labelled = ArmRun(self, name), self.labeller.train_pairs
        seen_pairs = self.labeller.dev.seen_pairs
        extra: list[tuple[str, Any]] = []
        random_pairs = self.labeller.random_pairs(self.seed) if name == "random" else iter(())
        best, contenders = None, []
        for attempt in outcome.rounds:
            n_more = 0 if name == "plain" else attempt.n_train - len(labelled) - len(extra)
            if name == "copied" and n_more and best:
                guesses = zip(seen_pairs, best.seen, strict=True)
                mistakes = [pair for pair, guess in guesses if pair[1] != guess]
                extra += islice(cycle(mistakes or seen_pairs), n_more)
            extra += islice(random_pairs, n_more)
            trainings = [
                arm.fit(config, [*labelled, *extra], attempt.at, arm.steps(config, attempt.n_train))
                for config in map(Config._make, attempt.theta)
            ]
            arm.rounds[attempt.at] = replace(arm.rounds[attempt.at], counts=attempt.counts)
            if attempt.counts:
                contenders = [*contenders, *trainings] if name == "plain" else trainings
                best = max(contenders, key=arm.student.score)
        assert best is not None, "there is a round or more"
        arm.note(n_points=len(extra))
        arm.finish(best)


def _agrees(guess: Any, label: int) -> bool:
    """The labeller guesses in probabilities, the student a class."""
    return (int(np.argmax(guess)) if isinstance(guess, tuple) else guess) == label


class ArmRun:
    """One line of trainings, Agora's own or a control's, noted in the report as it goes."""

    def __init__(self, run: SeedRun, name: ArmName) -> None:
        self.run = run
        self.name: ArmName = name
        folder = run.file.folder / f"seed-{run.seed}"
        tokenizer = run.labeller.teacher.tokenizer
        self.student = Student(run.initial, tokenizer, run.labeller.dev, folder, run.stop)
        # A run that goes on replays its rounds from the files, but makes no points anew: the
        # seconds that these took are known from before.
        record = run.file.report.arms(run.seed).get(name, Arm())
        self.record = Arm(seconds_generating=record.seconds_generating)
        self.rounds: dict[RoundId, Round] = {}
        self._fits: dict[str, tuple[int, Fit]] = {}  # by a training's key: its round, and itself

    def note(self, **parts: Any) -> None:
        """Put parts into the arm's record, with the rounds as they are now."""
        self.record = replace(self.record, rounds=tuple(self.rounds.values()), **parts)
        self.run.file.note_arm(self.run.seed, self.name, self.record)

    def steps(self, config: Config, n_train: int) -> int:
        """Return how many optimizer steps a training on so many sentences takes."""
        few = len(self.run.labeller.train_pairs) < MANY
        epochs = self.run.request.plan.epochs or (EPOCHS_OF_FEW if few else EPOCHS)
        return math.ceil(epochs * n_train / config.batch_size)

    def fit(
        self,
        theta: Sequence[Any],
        pairs: Sequence[tuple[str, Any]],
        at: RoundId,
        steps: int | None = None,
    ) -> Training:
        """Train the student once, and note the result; `steps` are by default those of `pairs`."""
        config = Config._make(theta)
        steps = steps or self.steps(config, len(pairs))
        if at not in self.rounds:
            self.rounds[at] = Round(at.number, at.attempt, len(pairs))
            self.note()
        fits = self.rounds[at].fits
        event = {
            "stage": f"{NAMES[self.name]}, round {at.number}",
            "detail": f"config {len(fits) + 1}: {config}",
            "arm": self.name,
            "seed": self.run.seed,
            "done": 0,
            "total": steps,
        }

        began: list[float] = []

        def on_step(step: int, total: int, loss: float) -> None:
            began.append(perf_counter())
            pace = (began[-1] - began[0]) / (step - 1) if step > 1 else None
            left = seconds_left(self.run.file.report, self.name, step, total, pace)
            known = {}
            if left:
                known = {"part": TRAININGS, "seconds_left": left[0], "most_seconds_left": left[1]}
            self.run.on_progress(event | {"done": step, "loss": round(loss, 4)} | known)

        self.run.on_progress(event)
        training = self.student.fit(config, pairs, steps, on_step, at)
        fit = Fit(
            config,
            dev_seen=round(self.student.accuracy(training), 5),
            dev_held=round(self.student.accuracy(training, "held"), 5),
            loss=training.loss,
            seconds=training.seconds,
            score=round(self.student.score(training), 5),
        )
        self._fits[training.key] = at.number, fit
        self.rounds[at] = replace(self.rounds[at], fits=(*fits, fit))
        self.note(
            steps=self.record.steps + training.steps,
            seconds_training=round(self.record.seconds_training + training.seconds, 2),
        )
        return training

    def label(self, texts: Sequence[str], at: RoundId) -> list[Any]:
        """Ask S; on dev, before the first round, it must label every text."""
        with self._generating():
            return self.run.labeller.labels(texts, every=at.number == 0)

    def make_points(self, tau: Tau, mistakes: Any, m: int, at: RoundId) -> list[list[str]]:
        self.run.on_progress({"stage": "making points", "done": 0, "total": len(mistakes)})
        with self._generating():
            return tau(mistakes, m, at)

    @contextmanager
    def _generating(self) -> Iterator[None]:
        start = perf_counter()
        yield
        spent = self.record.seconds_generating + perf_counter() - start
        self.record = replace(self.record, seconds_generating=round(spent, 2))

    def settle(self, attempt: algorithm.Round) -> None:
        """Note what a round's end decides: its mistakes, its points, what was pruned."""
        data = self.run.file.report.data
        assert data is not None, "it is noted before the first training"
        self.rounds[attempt.at] = replace(
            self.rounds[attempt.at],
            counts=attempt.counts,
            mistakes=tuple(_mistake(mistake, data.labels) for mistake in attempt.mistakes),
            new_points=tuple(_new_points(group, data.labels) for group in attempt.new_points),
            pruned=tuple(map(Config._make, attempt.pruned)),
            prefix=attempt.prefix,
        )
        self.note(n_points=self.record.n_points + (len(attempt.pairs) if attempt.counts else 0))

    def finish(self, best: Training) -> None:
        """Note which training is the arm's result, and keep it for the judge."""
        self.run.best[self.name] = partial(self.student.load, best)
        number, fit = self._fits[best.key]
        self.note(best=fit, best_round=number)


def _mistake(mistake: algorithm.Mistake, labels: Sequence[str]) -> Mistake:
    return Mistake(mistake.x, labels[int(mistake.y)], labels[int(mistake.guess)])


def _new_points(group: algorithm.NewPoints, labels: Sequence[str]) -> NewPoints:
    """Name the classes; `y` holds S's probabilities, None where it declined."""
    points = []
    for text, y in zip(group.points, group.labels, strict=True):
        label, confidence = (labels[int(np.argmax(y))], round(max(y), 4)) if y else (None, None)
        points.append(NewPoint(text, label, confidence))
    return NewPoints(_mistake(group.near, labels), tuple(points))
