"""Agora on a torus: the algorithm of agora_rounds on a toy small enough to watch ([AGORA]).

The toy of the paper is points in R^3 that lie on a torus or off it (torus_world). How ours is made:

    D      true labels, half of them on the torus, but none of these in a sector of it: what is on
           the torus there, the train set has never seen
    E      half as many, and a test set, both of the whole torus
    S      knows the truth and errs: for each point it is decided once, by the seed, whether it does
    tau    a Gaussian ball about each mistake
    f      a network of three hidden layers, or a guesser that learns nothing
    Theta  (width of the layers, learning rate); for a guesser, how often it says "on"

After each round the shape of what the best model calls on is measured, on points drawn evenly from
the whole box, not from the data.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bort_engine.algorithms import agora as agora_rounds
from bort_engine.algorithms.agora import Mistake, Pairs, Round, RoundId
from bort_engine.lab.torus_run import (
    LEARNERS,
    MAX_SEEDS,
    MOST_KEPT,
    Asked,
    Played,
    Points,
    Score,
    Set,
    Torus,
)
from bort_engine.lab.torus_world import ALIVE, BORN, N_SHAPE, betti, draw, errs, even, on
from bort_engine.runs.events import Cancelled, Progress, Stop, never, silent
from bort_engine.runs.provenance import Provenance

RADIUS, M = 0.3, 16  # of tau's ball, a standard deviation in each direction; points a mistake
N_TEST, N_BOX = 4000, 12000
STEPS, LAST_STEPS, BATCH = 900, 200, 256  # a training's steps, and those at a tenth of the rate


def pairs(points: np.ndarray) -> list[tuple[tuple[float, ...], bool]]:
    """Return points with their true labels, as agora_rounds has them."""
    return list(zip(map(tuple, points.tolist()), on(points).tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Guesser:
    """It says "on" as often as it is told to, of whatever it is asked."""

    share: float
    rng: np.random.Generator

    def predict(self, points: np.ndarray) -> np.ndarray:
        return self.rng.random(len(points)) < self.share


def fit(learner: str, theta: Set, points: np.ndarray, labels: np.ndarray, seed: int) -> Any:
    """Train f on points, shape (n, 3), from the same start for a seed; return what can predict."""
    if learner == "guesser":
        return Guesser(theta[0], np.random.default_rng([seed, len(points), int(100 * theta[0])]))
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    width, rate = theta
    batch: Any = min(BATCH, len(points))  # sklearn's annotation knows of "auto" only
    epochs = [max(1, round(steps * BATCH / len(points))) for steps in (STEPS, LAST_STEPS)]
    network = MLPClassifier(
        (int(width),) * 3,
        alpha=1e-3,
        batch_size=batch,
        learning_rate_init=rate,
        max_iter=epochs[0],
        n_iter_no_change=epochs[0] + 1,  # noisy labels are not to be learnt to the end
        random_state=seed,
        warm_start=True,
    )
    with warnings.catch_warnings(), threadpool_limits(1):  # small matrices: one thread is quickest
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(points, labels)
        network.set_params(learning_rate_init=rate / 10, max_iter=epochs[1]).fit(points, labels)
    return network


class _Accepted(Exception):
    """Agora takes the labeller, and would go on to train."""


@dataclass
class _Game:
    """One seed's world, and the functions that agora_rounds asks for; `rounds` as they end."""

    asked: Asked
    on_progress: Progress = silent
    stop: Stop = never
    rounds: list[Played] = field(default_factory=list)
    _models: dict[Set, Any] = field(default_factory=dict)
    _done: int = 0

    def rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.asked.seed, *purpose])

    @cached_property
    def test(self) -> np.ndarray:
        return draw(N_TEST, self.rng(2))

    @cached_property
    def box(self) -> np.ndarray:
        return even(N_BOX, self.rng(3))

    def play(self, fit: Callable[[Set, Pairs, RoundId], Any] | None = None) -> float:
        """Play all rounds; return the labeller's accuracy on dev.

        Raises:
            ValueError: Agora refuses the labeller.
            Cancelled: asked to stop, between two trainings.
        """
        return agora_rounds.agora(
            LEARNERS[self.asked.learner],
            pairs(draw(self.asked.points, self.rng(0), sector=False)),
            pairs(draw(self.asked.n_dev, self.rng(1))),
            fit=fit or self.fit,
            predict=lambda model, points: model.predict(np.array(points, np.float32)).tolist(),
            label=self.label,
            tau=self.tau,
            m=M,
            on_round=self.note,
        ).labeller_accuracy

    def fit(self, theta: Set, data: Pairs, at: RoundId) -> Any:
        if self.stop():
            raise Cancelled("stopped")
        self.report(at.number, f"{called(theta)}, {len(data)} points")
        points, labels = np.array([x for x, _ in data], np.float32), np.array([y for _, y in data])
        self._models[theta] = fit(self.asked.learner, theta, points, labels, self.asked.seed)
        self._done += 1
        return self._models[theta]

    def label(self, points: Sequence[Any], at: RoundId) -> list[bool]:
        known = np.array(points)
        return (on(known) ^ errs(known, self.asked.labeller, self.asked.seed)).tolist()

    def tau(self, mistakes: Sequence[Mistake], m: int, at: RoundId) -> Iterator[Points]:
        rng = self.rng(4, at.number)
        for mistake in mistakes:
            ball = np.array(mistake.x) + rng.normal(0, RADIUS, (m, 3))
            yield _points(np.round(ball, 3))

    def note(self, played: Round) -> None:
        """Measure a round's best model, and let its models go."""
        number, best = played.at.number, self._models[played.best]
        self._models.clear()
        self.report(number, "counting pieces, loops and hollows")
        on_box = self.box[best.predict(self.box.astype(np.float32)).astype(bool)]
        right = best.predict(self.test.astype(np.float32)) == on(self.test)
        made = [
            (x, near, says) for near, one in enumerate(played.new_points) for x, says in one.pairs
        ]
        truly = on(np.array([x for x, _, _ in made])) if made else np.empty(0)
        kept = sorted(self.rng(5, number).permutation(len(made))[: MOST_KEPT["made"]].tolist())
        self.rounds.append(
            Played(
                theta=played.theta,
                accuracies=played.accuracies,
                test=float(right.mean()),
                n_train=played.n_train,
                n_made=len(made),
                labels_right=float((truly == [says for *_, says in made]).mean()) if made else None,
                pruned=played.pruned,
                prefix=played.prefix,
                betti=betti(on_box),
                n_on=len(on_box),
                cloud=_points(on_box[: MOST_KEPT["cloud"]]),
                mistakes=tuple(mistake.x for mistake in played.mistakes),
                made=tuple(made[i][0] for i in kept),
                near=tuple(made[i][1] for i in kept),
                says=tuple(made[i][2] for i in kept),
            )
        )

    def report(self, number: int, detail: str) -> None:
        """Say how many trainings are done, of how many there can still be."""
        before = sum(len(one.theta) for one in self.rounds)
        left = len(LEARNERS[self.asked.learner])
        if self.rounds:
            left = len(self.rounds[-1].theta) - len(self.rounds[-1].pruned)
        total = before + left * (left + 1) // 2
        stage = f"training, seed {self.asked.seed}"
        event = {"stage": stage, "done": self._done, "total": total}
        self.on_progress(event | {"detail": f"round {number - 1}: {detail}"})


def called(theta: Set) -> str:
    """Name a hyper-parameter set."""
    if len(theta) == 1:
        return f"“on” {100 * theta[0]:.0f} % of the time"
    return f"width {theta[0]:g}, learning rate {theta[1]:g}"


def _points(array: np.ndarray) -> Points:
    return tuple(map(tuple, array.tolist()))


def labeller_right(asked: Asked) -> int:
    """Return on how many of the `asked.n_dev` dev points S is right."""
    dev = draw(asked.n_dev, np.random.default_rng([asked.seed, 1]))
    return int((~errs(dev, asked.labeller, asked.seed)).sum())


def refusal(asked: Asked) -> str:
    """Return the line with which Agora refuses a labeller, before any training; else nothing."""

    def accept(theta: Set, data: Pairs, at: RoundId) -> Any:
        raise _Accepted

    try:
        _Game(asked).play(accept)
    except _Accepted:
        return ""
    except ValueError as e:
        return str(e)
    raise AssertionError("something is trained, or the labeller refused")


def torus(
    labeller: float = 0.75,
    points: int = 2000,
    learner: str = "network",
    seed: int = 0,
    *,
    seeds: int = 1,
    out: str | Path | None = None,
    on_progress: Progress = silent,
    stop: Stop = never,
) -> Torus:
    """Play Agora on the torus, with `seeds` seeds from `seed` on; write `out`/torus.json.

    Raises:
        ValueError: an argument is out of range, or Agora refuses the labeller (its figure is said).
        Cancelled: asked to stop, between two trainings.
    """
    asked = Asked(labeller, points, learner, seed)
    if type(seeds) is not int or not 1 <= seeds <= MAX_SEEDS:
        raise ValueError(f"seeds is {seeds!r}; allowed: 1 to {MAX_SEEDS}. Try 1.")
    each = [replace(asked, seed=own) for own in range(seed, seed + seeds)]
    games = [_Game(own, on_progress, stop) for own in each]
    began, on_dev, scores = time.monotonic(), [], []
    for game in games:
        cpu = time.process_time()
        on_dev.append(game.play())
        first, last = game.rounds[0], game.rounds[-1]
        cpu = round(time.process_time() - cpu, 2)
        scores.append(Score(game.asked.seed, first.test, last.test, last.betti, cpu))
    run = Torus(
        asked=asked,
        labeller_dev=on_dev[0],
        rounds=tuple(games[0].rounds),
        scores=tuple(scores),
        seconds=round(time.monotonic() - began, 1),
        provenance=asdict(Provenance.here("numpy", "scikit-learn", "ripser"))
        | {
            "settings": f"{M} points a mistake, ball {RADIUS}; {STEPS} and {LAST_STEPS} steps of "
            f"{BATCH}; shape of {N_SHAPE} among {N_BOX} points, from {BORN} to {ALIVE}; "
            f"{N_TEST} test points",
        },
    )
    if out is not None:
        run.save(Path(out) / "torus.json")
    return run
