"""The record of a run of Agora on the torus: its settings, its rounds, how each seed went.

Accuracies are shares, 0 to 1. A file is not trusted: `Torus.load` returns a run or raises one
ValueError, and what is drawn of a run does not fail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

from annotated_types import Ge, Le, MaxLen, MinLen

from bort_engine.data.resources import ASSETS
from bort_engine.runs import records
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import Count, NonNegative, Share

Coordinate = Annotated[float, Ge(-100), Le(100)]
Position = tuple[Coordinate, Coordinate, Coordinate]
Betti = tuple[Count, Count, Count]  # pieces, loops, hollows
Config = tuple[Annotated[float, Ge(0), Le(1e6)], ...]

# By learner: width and learning rate of a network; how often a guesser says "on".
LEARNERS: dict[str, tuple[Config, ...]] = {
    "network": ((16, 0.01), (16, 0.003), (32, 0.01), (40, 0.01), (48, 0.01)),
    "guesser": ((0.3,), (0.4,), (0.5,), (0.6,)),
}
Configs = Annotated[tuple[Config, ...], MaxLen(5)]
RECORDED = {
    "network": ASSETS / "recorded" / "torus.json",
    "guesser": ASSETS / "recorded" / "torus-guesser.json",
}
MIN_POINTS, MAX_POINTS, MAX_SEED, MAX_SEEDS = 200, 5000, 999_999, 50
MOST_CLOUD, MOST_NEW = 600, 400  # points of a round that its record keeps
TORUS_BETTI = (1, 2, 1)
GAIN = 0.10  # of test accuracy that a run is meant to show
# What Agora's points are held to: what a person would do first who has the same dev points, or S.
ControlName = Literal["dev", "random", "balls"]
CONTROLS: tuple[ControlName, ...] = get_args(ControlName)


@dataclass(frozen=True, slots=True)
class TorusSettings:
    """How often the labeller is right, how many train points, who learns, and the seed.

    Raises:
        ValueError: one of them is out of range.
    """

    labeller: float = 0.75
    points: int = 2000
    learner: str = "network"
    seed: int = 0

    def __post_init__(self) -> None:
        share = type(self.labeller) in (float, int) and 0 < self.labeller <= 1
        points = type(self.points) is int and MIN_POINTS <= self.points <= MAX_POINTS
        learner = isinstance(self.learner, str) and self.learner in LEARNERS
        seed = type(self.seed) is int and 0 <= self.seed <= MAX_SEED
        for name, holds, allowed in (
            ("labeller", share, "a share above 0, at most 1. Try 0.75."),
            ("points", points, f"{MIN_POINTS} to {MAX_POINTS}. Try 2000."),
            ("learner", learner, f"{', '.join(LEARNERS)}. Try network."),
            ("seed", seed, f"0 to {MAX_SEED}. Try 0."),
        ):
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: {allowed}")

    @property
    def n_dev(self) -> int:
        return self.points // 2


@dataclass(frozen=True, slots=True)
class NewPoint:
    """A point made near a mistake of the round before (its position there), and S's label."""

    point: Position
    near: Count
    labelled_on: bool


@dataclass(frozen=True, slots=True)
class TorusRound:
    """One round.

    Attributes:
        configs: those fitted, and `accuracies` theirs on dev.
        test: the best one's accuracy on the test set, which decides nothing.
        n_train: how many points it was fitted on.
        n_new: how many of them were made for this round, near mistakes of the round before.
        labels_right: on which share of these S was right; None where none were made.
        pruned: the configs taken out after the round, the root first; they share `prefix` elements.
        betti: of what the best model calls on.
        n_on: how many points of the box that is, and `cloud` some of them.
        mistakes: the dev points that it gets wrong.
        new: some of the points made.
    """

    configs: Configs
    accuracies: tuple[Share, ...]
    test: Share
    n_train: Count
    n_new: Count
    labels_right: Share | None
    pruned: Configs
    prefix: Count
    betti: Betti
    n_on: Count
    cloud: Annotated[tuple[Position, ...], MaxLen(MOST_CLOUD)]
    mistakes: Annotated[tuple[Position, ...], MaxLen(MAX_POINTS)]
    new: Annotated[tuple[NewPoint, ...], MaxLen(MOST_NEW)]

    def __post_init__(self) -> None:
        if not 0 < len(self.configs) == len(self.accuracies):
            raise ValueError(f"{len(self.configs)} configs, {len(self.accuracies)} accuracies")

    @property
    def dev(self) -> float:
        """The best accuracy on dev."""
        return max(self.accuracies)

    @property
    def best(self) -> Config:
        return self.configs[self.accuracies.index(self.dev)]


@dataclass(frozen=True, slots=True)
class Control:
    """What came of `n_new` points made otherwise: test accuracy, and the shape called on."""

    n_new: Count
    test: Share
    betti: Betti


@dataclass(frozen=True, slots=True)
class SeedScore:
    """How one seed went: test accuracy before and after, the shape at the end, processor time.

    Agora added `n_new` points; `controls` are there where it added any.
    """

    seed: Annotated[int, Ge(0), Le(MAX_SEED)]
    before: Share
    after: Share
    betti: Betti
    n_new: Count
    controls: dict[ControlName, Control]
    cpu_seconds: NonNegative

    @property
    def gained(self) -> bool:
        return self.after - self.before >= GAIN

    @property
    def closed(self) -> bool:
        return self.betti == TORUS_BETTI


@dataclass(frozen=True, slots=True)
class Torus:
    """A finished run: the rounds of its first seed, and how every seed went.

    `rounds[0]` is before any point was made; `labeller_dev` is S's accuracy on dev; `method` names
    the constants of the game.
    """

    AGAIN: ClassVar[str] = "delete it and run `torus` again to make one"

    schema: Literal[3] = field(default=3, kw_only=True)
    settings: TorusSettings
    labeller_dev: Share
    rounds: Annotated[tuple[TorusRound, ...], MinLen(1), MaxLen(5)]
    scores: Annotated[tuple[SeedScore, ...], MinLen(1), MaxLen(MAX_SEEDS)]
    seconds: NonNegative
    method: str
    provenance: Provenance

    def __post_init__(self) -> None:
        if self.scores[0].seed != self.settings.seed:
            raise ValueError(f"the first score is not of seed {self.settings.seed}")
        n_elements, n_mistakes = len(LEARNERS[self.settings.learner][0]), 0
        for number, row in enumerate(self.rounds):
            configs = (*row.configs, *row.pruned)
            if any(len(config) != n_elements for config in configs):
                raise ValueError(f"round {number}: a config has not {n_elements} elements")
            if any(new.near >= n_mistakes for new in row.new):
                raise ValueError(f"round {number}: near is beyond the {n_mistakes} mistakes before")
            n_mistakes = len(row.mistakes)

    @classmethod
    def load(cls, path: str | Path) -> Torus:
        """Read a run. Raises ValueError where there is no such file, or it is damaged."""
        return records.read(path, cls)

    def __str__(self) -> str:
        settings = self.settings
        lines = [
            f"labeller right on {100 * self.labeller_dev:.1f} % of {settings.n_dev} dev points, "
            f"{settings.points} train points, {settings.learner}, seed {settings.seed}",
            "round  trained on   dev %  test %  labels right %  pieces, loops, hollows",
        ]
        for number, row in enumerate(self.rounds):
            right = "-" if row.labels_right is None else f"{100 * row.labels_right:.1f}"
            lines.append(
                f"{number:>5} {row.n_train:>11} {100 * row.dev:>7.1f} {100 * row.test:>7.1f} "
                f"{right:>15}  {', '.join(map(str, row.betti))}"
            )
        for score in self.scores:
            lines.append(
                f"seed {score.seed}: test {100 * score.before:.1f} to {100 * score.after:.1f} %, "
                f"{', '.join(map(str, score.betti))}, {score.cpu_seconds:.1f} s of processor time"
            )
            lines += [
                f"  instead {control.n_new} {name}: test {100 * control.test:.1f} %, "
                f"{', '.join(map(str, control.betti))}"
                for name, control in score.controls.items()
            ]
        return "\n".join(lines)


def config_name(config: Config) -> str:
    """Name a config for a person."""
    if len(config) == 1:
        return f"“on” {100 * config[0]:.0f} % of the time"
    return f"width {config[0]:g}, learning rate {config[1]:g}"
