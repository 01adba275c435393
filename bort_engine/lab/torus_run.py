"""A run of Agora on the torus as a checked value: what was asked, its rounds, how each seed went.

Accuracies are shares, 0 to 1. A file is not trusted: `Torus.load` returns a run or raises one
ValueError, and what is drawn of a run does not fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bort_engine.runs.records import read_json, write_json

RECORDED = Path(__file__).parents[2] / "assets" / "recorded"
Set = tuple[Any, ...]
LEARNERS: dict[str, tuple[Set, ...]] = {
    "network": ((16, 0.01), (16, 0.003), (32, 0.01), (40, 0.01), (48, 0.01)),
    "guesser": ((0.3,), (0.4,), (0.5,), (0.6,)),
}  # Theta by learner: width and learning rate of a network; how often a guesser says "on"
MIN_POINTS, MAX_POINTS, MAX_SEED, MAX_SEEDS = 200, 5000, 999_999, 50
BETTI = (1, 2, 1)  # pieces, loops and hollows of a torus
GAIN = 0.10  # of test accuracy that a run is meant to show
MOST_KEPT = {"cloud": 600, "made": 400, "mistakes": MAX_POINTS}  # points of a round in the file
SCHEMA = 1
MOST_BYTES = 8 * 2**20

Point = tuple[float, float, float]
Points = tuple[Point, ...]
Betti = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is played: how often S is right, how many train points, who learns, and the luck.

    Raises:
        ValueError: one of them is out of range.
    """

    labeller: float = 0.75
    points: int = 2000
    learner: str = "network"
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.labeller) not in (float, int) or not 0 < self.labeller <= 1:
            raise ValueError(
                f"labeller is {self.labeller!r}; allowed: a share above 0, at most 1. Try 0.75."
            )
        if type(self.points) is not int or not MIN_POINTS <= self.points <= MAX_POINTS:
            raise ValueError(
                f"points is {self.points!r}; allowed: {MIN_POINTS} to {MAX_POINTS}. Try 2000."
            )
        if not isinstance(self.learner, str) or self.learner not in LEARNERS:
            raise ValueError(
                f"learner is {self.learner!r}; allowed: {', '.join(LEARNERS)}. Try network."
            )
        if type(self.seed) is not int or not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"seed is {self.seed!r}; allowed: 0 to {MAX_SEED}. Try 0.")

    @property
    def n_dev(self) -> int:
        return self.points // 2


@dataclass(frozen=True, slots=True)
class Played:
    """One round.

    Attributes:
        theta: the sets fitted, and `accuracies` theirs on dev.
        test: the best one's on the test set, which decides nothing.
        n_train: how many points it was fitted on.
        n_made: how many of them were made for this round, near mistakes of the round before.
        labels_right: on which share of these S was right; None where none were made.
        pruned: the sets taken out after the round, the root first; they share `prefix` elements.
        betti: of what the best one calls on.
        n_on: how many points of the box that is, and `cloud` some of them.
        mistakes: the dev points that it gets wrong.
        made: some of the points made; `near` which mistake of the round before, by position, and
            whether S `says` they are on.
    """

    theta: tuple[Set, ...]
    accuracies: tuple[float, ...]
    test: float
    n_train: int
    n_made: int
    labels_right: float | None
    pruned: tuple[Set, ...]
    prefix: int
    betti: Betti
    n_on: int
    cloud: Points
    mistakes: Points
    made: Points
    near: tuple[int, ...]
    says: tuple[bool, ...]

    @property
    def dev(self) -> float:
        return max(self.accuracies)

    @property
    def best(self) -> Set:
        return self.theta[self.accuracies.index(self.dev)]


@dataclass(frozen=True, slots=True)
class Score:
    """How one seed went: test accuracy before and after, the shape at the end, processor time."""

    seed: int
    before: float
    after: float
    betti: Betti
    cpu_seconds: float

    @property
    def gained(self) -> bool:
        return self.after - self.before >= GAIN

    @property
    def closed(self) -> bool:
        return self.betti == BETTI


@dataclass(frozen=True, slots=True)
class Torus:
    """A finished run: the rounds of its first seed, and how every seed went.

    `rounds[0]` is before any point was made; `labeller_dev` is S's accuracy on dev.
    """

    asked: Asked
    labeller_dev: float
    rounds: tuple[Played, ...]
    scores: tuple[Score, ...]
    seconds: float
    provenance: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`; `from_json` reads them back."""
        return {"schema": SCHEMA} | asdict(self)

    @classmethod
    def from_json(cls, plain: Any) -> Torus:
        """Rebuild a run; it is untrusted input, so every field is checked.

        Raises:
            ValueError: another schema, or a field is missing, unknown or out of range.
        """
        if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
            raise ValueError(f"not a torus run of schema {SCHEMA}; run `torus` again to make one.")
        try:
            values = {key: value for key, value in plain.items() if key != "schema"}
            values["asked"] = Asked(**values["asked"])
            values["rounds"] = tuple(Played(**_tuples(one)) for one in values["rounds"])
            values["scores"] = tuple(Score(**_tuples(one)) for one in values["scores"])
            run = cls(**values)
            _check(run)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as e:
            raise ValueError(f"damaged torus run ({e}); run `torus` again to make one.") from e
        return run

    def save(self, path: str | Path) -> Path:
        """Write the run as JSON, whole or not at all."""
        return write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Torus:
        """Read a run written by `save`.

        Raises:
            ValueError: there is no such file, or it is damaged.
        """
        return read_json(path, cls.from_json, MOST_BYTES)

    def __str__(self) -> str:
        asked = self.asked
        lines = [
            f"labeller right on {100 * self.labeller_dev:.1f} % of {asked.n_dev} dev points, "
            f"{asked.points} train points, {asked.learner}, seed {asked.seed}",
            "round  trained on   dev %  test %  labels right %  pieces, loops, hollows",
        ]
        for number, one in enumerate(self.rounds):
            right = "-" if one.labels_right is None else f"{100 * one.labels_right:.1f}"
            lines.append(
                f"{number:>5} {one.n_train:>11} {100 * one.dev:>7.1f} {100 * one.test:>7.1f} "
                f"{right:>15}  {', '.join(map(str, one.betti))}"
            )
        for one in self.scores:
            lines.append(
                f"seed {one.seed}: test {100 * one.before:.1f} to {100 * one.after:.1f} %, "
                f"{', '.join(map(str, one.betti))}, {one.cpu_seconds:.1f} s of processor time"
            )
        return "\n".join(lines)


def _tuples(plain: dict[str, Any]) -> dict[str, Any]:
    lists = {name: _tuple(value) for name, value in plain.items() if isinstance(value, list)}
    return plain | lists


def _tuple(values: list[Any]) -> tuple[Any, ...]:
    return tuple(tuple(one) if isinstance(one, list) else one for one in values)


def _check(run: Torus) -> None:
    made = run.provenance
    texts = isinstance(made, dict) and all(isinstance(x, str) for x in (*made, *made.values()))
    if not texts:
        raise TypeError("provenance is no table of texts")
    theta = LEARNERS[run.asked.learner]
    if not run.rounds or len(run.rounds) > len(theta):
        raise TypeError("there is no round, or one too many")
    _numbers("labeller_dev", [run.labeller_dev], 0, 1)
    _numbers("seconds", [run.seconds], 0, 1e9)
    if not run.scores or run.scores[0].seed != run.asked.seed:
        raise TypeError("the seed that was asked for has no score")
    for score in run.scores:
        _numbers("a score", [score.before, score.after], 0, 1)
        _numbers("its seconds", [score.cpu_seconds], 0, 1e9)
        _whole("its seed", [score.seed], MAX_SEED)
        _shape(score.betti)
    for before, played in pairwise([None, *run.rounds]):
        assert played is not None, "only the first has none before it"
        _check_round(played, len(before.mistakes) if before else 0, len(theta[0]))


def _check_round(one: Played, n_mistakes: int, n_elements: int) -> None:
    """Check a round that follows one with so many mistakes, and whose sets are so long."""
    if not isinstance(one.theta, tuple) or not 0 < len(one.theta) == len(one.accuracies) <= 32:
        raise TypeError("sets and accuracies are not of equal number")
    for theta in (*one.theta, *one.pruned):
        _numbers("a set", theta, 0, 1e6)
        if len(theta) != n_elements:
            raise TypeError(f"a set has not {n_elements} elements")
    _numbers("an accuracy", [*one.accuracies, one.test], 0, 1)
    if one.labels_right is not None:
        _numbers("labels_right", [one.labels_right], 0, 1)
    _whole("a count", [one.n_train, one.n_made, one.prefix, one.n_on], 10**7)
    _shape(one.betti)
    for name, most in MOST_KEPT.items():
        points = getattr(one, name)
        if not isinstance(points, tuple) or len(points) > most:
            raise TypeError(f"{name} is no list of at most {most} points")
        for point in points:
            _numbers(name, point, -100, 100)
            if len(point) != 3:
                raise TypeError(f"{name} has a point that is not in three dimensions")
    if not len(one.made) == len(one.near) == len(one.says):
        raise TypeError("made, near and says are not of equal number")
    _whole("near", one.near, n_mistakes - 1)
    if not all(type(says) is bool for says in one.says):
        raise TypeError("says is not true or false")


def _numbers(name: str, values: Iterable[Any], least: float, most: float) -> None:
    for value in values:
        if type(value) not in (int, float) or not least <= value <= most:
            raise TypeError(f"{name} is {str(value)[:40]}, not within {least:g} and {most:g}")


def _whole(name: str, values: Iterable[Any], most: int) -> None:
    for value in values:
        if type(value) is not int or not 0 <= value <= most:
            raise TypeError(f"{name} is {str(value)[:40]}, not an integer from 0 to {most}")


def _shape(numbers: Any) -> None:
    if not isinstance(numbers, tuple) or len(numbers) != 3:
        raise TypeError("Betti numbers are not three")
    _whole("a Betti number", numbers, 10**4)
