"""The report of a fine-tuning run: the record that is written after every training, and read back.

A part that is missing has not happened yet, so the report of a run at work is whole too.
Accuracies are shares, 0 to 1; a gap is in points, hundredths of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from bort_engine.data.resources import ASSETS
from bort_engine.finetune.plan import Config, Request
from bort_engine.runs.provenance import Origin, Provenance
from bort_engine.runs.records import Count, NonNegative, Positive, PositiveCount, Share
from bort_engine.runs.text import printable

RECORDED = ASSETS / "recorded"
ROUNDED = 1e-4  # what rounding may do to a number and its interval

ArmName = Literal["agora", "plain", "copied", "random"]
RowName = Literal["agora", "plain", "copied", "random", "labeller", "start"]
NAMES: dict[RowName, str] = {
    "agora": "Agora",
    "plain": "Plain fine-tuning",
    "copied": "Dev mistakes copied",
    "random": "Random pool texts",
    "labeller": "Source, fine-tuned",
    "start": "Student before Agora",
}
Difference = Annotated[float, Ge(-1), Le(1)]


def _make_printable(record: Any, *names: str) -> None:
    for name in names:
        object.__setattr__(record, name, printable(getattr(record, name)))


@dataclass(frozen=True, slots=True)
class Data:
    """How many sentences each part of the data has, and the names of the classes.

    `majority_share` is the most frequent class's share of dev, None in reports without it.
    """

    n_train: Count
    n_pool: Count
    n_dev_seen: Count
    n_dev_held: Count
    labels: tuple[str, ...]
    majority_share: Share | None = None


@dataclass(frozen=True, slots=True)
class LabellerScores:
    """How often the fine-tuned source, which labels the points, is right on dev."""

    dev_seen: Share
    dev_held: Share
    seconds: NonNegative


@dataclass(frozen=True, slots=True)
class Mistake:
    """A dev text that the best model of a round gets wrong; both labels are names of classes."""

    text: str
    label: str
    guess: str

    def __post_init__(self) -> None:
        _make_printable(self, "text", "label", "guess")


@dataclass(frozen=True, slots=True)
class NewPoint:
    """A text near a mistake; label and confidence are the labeller's, None where it declined."""

    text: str
    label: str | None
    confidence: Share | None

    def __post_init__(self) -> None:
        _make_printable(self, "text", *(["label"] if self.label is not None else []))
        if (self.label is None) != (self.confidence is None):
            raise ValueError("a point has a label and a confidence, or neither.")

    @property
    def kept(self) -> bool:
        return self.label is not None


@dataclass(frozen=True, slots=True)
class NewPoints:
    """What was made near a mistake of the round before."""

    near: Mistake
    points: tuple[NewPoint, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """One training: accuracy on both halves of dev, the mean loss of its last steps (nats).

    `score` is what Agora chooses by, the mean over classes on the seen half; None in older reports,
    where accuracy was.
    """

    config: Config
    dev_seen: Share
    dev_held: Share
    loss: NonNegative
    seconds: NonNegative
    score: Share | None = None

    @property
    def chosen_by(self) -> float:
        return self.dev_seen if self.score is None else self.score


@dataclass(frozen=True, slots=True)
class Round:
    """One attempt at a round; `mistakes`, `new_points` and `pruned` are known once it is settled.

    Attributes:
        counts: False for the worse attempt of a round that was done twice.
        mistakes: those of its best fit.
        new_points: made near the mistakes of the round before, and trained on in this one.
        prefix: how many first fields the pruned configs share.
    """

    number: PositiveCount
    attempt: Annotated[int, Ge(1), Le(2)]
    n_train: Count
    fits: tuple[Fit, ...] = ()
    counts: bool = True
    mistakes: tuple[Mistake, ...] = ()
    new_points: tuple[NewPoints, ...] = ()
    pruned: tuple[Config, ...] = ()
    prefix: Annotated[int, Ge(0), Le(len(Config._fields))] = 0

    @property
    def best(self) -> Fit | None:
        """The best fit on the seen half so far, the first of equals."""
        return max(self.fits, key=lambda fit: fit.chosen_by, default=None)

    @property
    def points(self) -> list[NewPoint]:
        return [point for group in self.new_points for point in group.points]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of training the student: Agora, or a control of equal data and equal steps.

    `best` is the training that the arm returned, of round `best_round`.
    """

    rounds: tuple[Round, ...] = ()
    best: Fit | None = None
    best_round: Count = 0
    steps: Count = 0
    n_points: Count = 0
    seconds_training: NonNegative = 0.0
    seconds_generating: NonNegative = 0.0

    @property
    def counted(self) -> list[Round]:
        """The rounds that count, in order; of two attempts that may, the later one."""
        by_number = {attempt.number: attempt for attempt in self.rounds if attempt.counts}
        return [by_number[number] for number in sorted(by_number) if by_number[number].fits]


@dataclass(frozen=True, slots=True)
class Seed:
    seed: Count
    arms: dict[ArmName, Arm] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lead:
    """How far one accuracy on test is ahead of another, with its paired 95 % interval."""

    difference: Difference
    low: Difference
    high: Difference

    def __post_init__(self) -> None:
        _check_interval("difference", self.difference, self.low, self.high)

    @property
    def includes_zero(self) -> bool:
        return self.low <= 0 <= self.high

    def __str__(self) -> str:
        middle, low, high = (f"{100 * v:+z.1f}" for v in (self.difference, self.low, self.high))
        return f"{middle} points (95 % interval {low} to {high})"


@dataclass(frozen=True, slots=True)
class Row:
    """An arm's accuracy on test, averaged over seeds, with its 95 % interval.

    `against` says how far it is ahead of other arms.
    """

    arm: RowName
    accuracy: Share
    low: Share
    high: Share
    per_seed: tuple[Share, ...]
    against: dict[RowName, Lead] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_interval("accuracy", self.accuracy, self.low, self.high)


def _check_interval(name: str, value: float, low: float, high: float) -> None:
    if not low - ROUNDED <= value <= high + ROUNDED:
        raise ValueError(f"{name} {value:g} is outside of its interval, {low:g} to {high:g}.")


@dataclass(frozen=True, slots=True)
class Scores:
    """The test split, scored once: how many sentences it has, and a row for each arm."""

    n: PositiveCount
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """What a model costs; `latency_note` says at which batch, length and threads."""

    n_parameters: PositiveCount
    n_encoder_parameters: PositiveCount
    latency_ms: Positive
    latency_origin: Origin
    latency_note: str

    def __post_init__(self) -> None:
        if self.n_encoder_parameters > self.n_parameters:
            raise ValueError(
                f"n_encoder_parameters {self.n_encoder_parameters} is beyond n_parameters "
                f"{self.n_parameters}."
            )

    def __str__(self) -> str:
        return (
            f"{self.n_parameters:,} parameters, {self.n_encoder_parameters:,} of them in the "
            f"encoder, {self.latency_ms:.2f} ms ({self.latency_origin}; {self.latency_note})"
        )


@dataclass(frozen=True, slots=True)
class Models:
    source: Model
    student: Model


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a new process said of the saved model; without problems it opened as it was saved."""

    note: str
    problems: tuple[str, ...]

    def __post_init__(self) -> None:
        _make_printable(self, "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole run, as far as it went."""

    AGAIN: ClassVar[str] = (
        "start a new run, or move the file away: trainings in seed-N/ are kept for the same request"
    )
    schema: Literal[2] = 2
    request: Request
    provenance: Provenance
    data: Data | None = None
    labeller: LabellerScores | None = None
    runs: tuple[Seed, ...] = ()
    test: Scores | None = None
    models: Models | None = None
    checkpoint: Checkpoint | None = None

    @property
    def begun(self) -> bool:
        """True once there is a training to show."""
        arms = (arm for run in self.runs for arm in run.arms.values())
        return any(attempt.fits for arm in arms for attempt in arm.rounds)

    @property
    def leads(self) -> dict[RowName, Lead]:
        """How far Agora is ahead of each other arm on test; empty before that was scored."""
        agora = self.row("agora")
        return agora.against if agora else {}

    @property
    def majority(self) -> str:
        """Say what accuracies on dev are to be read against; empty where it was not counted."""
        if self.data is None or (share := self.data.majority_share) is None:
            return ""
        return f"Always naming the most frequent class is right on {100 * share:.1f} % of dev."

    def row(self, arm: RowName) -> Row | None:
        """Return an arm's row on test; None where it was not scored."""
        return next((row for row in self.test.rows if row.arm == arm), None) if self.test else None

    def arms(self, seed: int | None = None) -> dict[ArmName, Arm]:
        """Return a seed's arms, by default the first one's; none where there are none."""
        return next((run.arms for run in self.runs if seed in (None, run.seed)), {})

    def __str__(self) -> str:
        """The result as text: every arm on test, what the models cost, the checkpoint."""
        lines = []
        if self.test:
            lines.append(f"accuracy on test ({self.test.n} texts), with a 95 % interval")
            for row in self.test.rows:
                interval = f"({row.low:.1%} to {row.high:.1%})"
                lines.append(f"  {NAMES[row.arm]:<22} {row.accuracy:.1%}  {interval}")
            for other, lead in self.leads.items():
                lines.append(f"Agora against {NAMES[other]}: {lead}")
            lines += [self.majority] if self.majority else []
        if self.models:
            source, student = self.models.source, self.models.student
            lines += [
                f"Source {self.request.source.architecture}: {source}",
                f"Student {self.request.architecture}: {student}",
            ]
        if self.checkpoint:
            lines.append(f"the checkpoint {self.checkpoint.note}")
        return "\n".join(lines) or "nothing is scored yet"


def recorded_reports() -> dict[str, Path]:
    """Return the reports that ship with the app, by name."""
    return {path.stem: path for path in sorted(RECORDED.glob("agora-*.json"))}
