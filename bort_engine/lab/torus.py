"""The verb `torus`: Agora on a toy small enough to watch, points on a torus or off it ([AGORA]).

How the paper's parts are made here, on the points of torus_world:

    D      true labels, half of them on the torus, but none of these in a sector of it: what is on
           the torus there, the train set has never seen
    E      half as many, and a test set, both of the whole torus
    S      knows the truth and errs: for each point it is decided once, by the seed, whether it does
    tau    a Gaussian ball about each mistake
    f      a network of three hidden layers, or a guesser that learns nothing
    Theta  (width of the layers, learning rate); for a guesser, how often it says "on"

After each round the shape of what the best model calls on is measured, on points drawn evenly from
the whole box, not from the data. Afterwards all of Theta is trained again on what a person would
try first, the controls: dev itself with its own labels; as many points as Agora made, drawn evenly
from the box, or in tau's balls about all dev points, mistaken or not, all labelled by S.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from bort_engine.algorithms import agora as agora_rounds
from bort_engine.algorithms.agora import Mistake, Pairs, Round, RoundId
from bort_engine.lab import torus_world as world
from bort_engine.lab.torus_run import (
    CONTROLS,
    LEARNERS,
    MAX_SEEDS,
    MOST_CLOUD,
    MOST_NEW,
    Config,
    Configs,
    Control,
    ControlName,
    NewPoint,
    Position,
    SeedScore,
    Torus,
    TorusRound,
    TorusSettings,
    config_name,
)
from bort_engine.runs import records
from bort_engine.runs.events import Cancelled, Progress, Stop, check, never, silent
from bort_engine.runs.provenance import Provenance

RADIUS, M = 0.3, 16  # of tau's ball, a standard deviation in each direction; points a mistake
N_TEST, N_BOX = 4000, 12000
STEPS, LAST_STEPS, BATCH = 900, 200, 256  # a training's steps, and those at a tenth of the rate


@dataclass(frozen=True, slots=True)
class Guesser:
    """It says "on" for this share of the points, whatever they are."""

    share: float
    rng: np.random.Generator

    def predict(self, points: np.ndarray) -> np.ndarray:
        return self.rng.random(len(points)) < self.share


def fit(learner: str, config: Config, points: np.ndarray, labels: np.ndarray, seed: int) -> Any:
    """Train f on points, shape (n, 3), from the same start for a seed; return what can predict."""
    if learner == "guesser":
        rng = np.random.default_rng([seed, len(points), int(100 * config[0])])
        return Guesser(config[0], rng)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    width, rate = config
    batch: Any = min(BATCH, len(points))  # sklearn's annotation knows of "auto" only
    # sklearn counts epochs: as many as make the same number of steps, however many points there are
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


class _Game:
    """One seed's points and labeller, and what Agora asks for; `rounds` as they end."""

    def __init__(
        self, settings: TorusSettings, on_progress: Progress = silent, stop: Stop = never
    ) -> None:
        self.settings, self.on_progress, self.stop = settings, on_progress, stop
        self.train = world.draw(settings.points, self.rng(0), sector=False)
        self.dev = world.draw(settings.n_dev, self.rng(1))
        self.test = world.draw(N_TEST, self.rng(2))
        self.box = world.draw_evenly(N_BOX, self.rng(3))
        self.rounds: list[TorusRound] = []
        self._models: dict[Any, Any] = {}  # by config
        self._n_fitted = 0

    def rng(self, *purpose: int) -> np.random.Generator:
        """Return a stream of its own for each purpose, so that none shifts another."""
        return np.random.default_rng([self.settings.seed, *purpose])

    def play(self) -> float:
        """Play all rounds; return the labeller's accuracy on dev.

        Raises:
            ValueError: Agora refuses the labeller.
            Cancelled: asked to stop, before a training.
        """
        return agora_rounds.agora(
            LEARNERS[self.settings.learner],
            _with_truth(self.train),
            _with_truth(self.dev),
            fit=self.fit,
            predict=lambda model, points: model.predict(np.array(points, np.float32)).tolist(),
            label=self.label,
            tau=self.tau,
            m=M,
            on_round=self.keep,
        ).labeller_accuracy

    def fit(self, config: Any, data: Pairs, at: RoundId) -> Any:
        self.report(f"round {at.number - 1}: {config_name(config)}, {len(data)} points")
        self._models[config] = self._fit(config, *zip(*data, strict=True))
        return self._models[config]

    def _fit(self, config: Config, points: Any, labels: Any) -> Any:
        check(self.stop)
        settings = self.settings
        points, labels = np.array(points, np.float32), np.array(labels)
        self._n_fitted += 1
        return fit(settings.learner, config, points, labels, settings.seed)

    @property
    def n_new(self) -> int:
        """How many points Agora has made."""
        return self.rounds[-1].n_train - len(self.train)

    def controls(self) -> dict[ControlName, Control]:
        """Train all of Theta on points made otherwise; what is best on dev counts, as in Agora.

        Raises:
            Cancelled: asked to stop, before a training.
        """
        return {name: self._control(name) for name in CONTROLS if self.n_new}

    def _control(self, name: ControlName) -> Control:
        """Train on one control's points; dev as it is has its labels, all others get S's."""
        added = self.dev
        if name == "random":
            added = world.draw_evenly(self.n_new, self.rng(6))
        elif name == "balls":
            rng = self.rng(7)
            centres = self.dev[rng.integers(len(self.dev), size=self.n_new)]
            added = np.round(centres + rng.normal(0, RADIUS, centres.shape), 3)
        truth = world.is_on(added)
        labels = truth if name == "dev" else self.label(added.tolist(), RoundId(0, 1))
        points = np.vstack([self.train, added])
        labels = np.append(world.is_on(self.train), labels)
        best, most = None, -1.0
        for config in LEARNERS[self.settings.learner]:
            self.report(f"control {name}: {config_name(config)}, {len(points)} points")
            model = self._fit(config, points, labels)
            right = float(self._right(model, self.dev).mean())
            if right > most:
                best, most = model, right
        on_box = self.box[self._called_on(best, self.box)]
        test = float(self._right(best, self.test).mean())
        return Control(len(added), test, world.betti_numbers(on_box))

    @staticmethod
    def _called_on(model: Any, points: np.ndarray) -> np.ndarray:
        return model.predict(points.astype(np.float32)).astype(bool)

    def _right(self, model: Any, points: np.ndarray) -> np.ndarray:
        return self._called_on(model, points) == world.is_on(points)

    def label(self, points: Sequence[Any], at: RoundId) -> list[bool]:
        array = np.array(points)
        wrong = world.label_errors(array, self.settings.labeller, self.settings.seed)
        return (world.is_on(array) ^ wrong).tolist()

    def tau(
        self, mistakes: Sequence[Mistake], m: int, at: RoundId
    ) -> Iterator[tuple[Position, ...]]:
        rng = self.rng(4, at.number)
        for mistake in mistakes:
            yield _points(np.round(np.array(mistake.x) + rng.normal(0, RADIUS, (m, 3)), 3))

    def keep(self, outcome: Round) -> None:
        """Measure a round's best model, and let its models go."""
        number, best = outcome.at.number, self._models[outcome.best]
        self._models.clear()
        self.report(f"round {number - 1}: counting pieces, loops and hollows")
        on_box = self.box[self._called_on(best, self.box)]
        right = self._right(best, self.test)
        new = [
            NewPoint(point, near, label)
            for near, group in enumerate(outcome.new_points)
            for point, label in group.pairs
        ]
        truth = world.is_on(np.array([x.point for x in new])) if new else np.empty(0)
        rows = sorted(self.rng(5, number).permutation(len(new))[:MOST_NEW].tolist())
        self.rounds.append(
            TorusRound(
                configs=cast(Configs, outcome.theta),
                accuracies=outcome.accuracies,
                test=float(right.mean()),
                n_train=outcome.n_train,
                n_new=len(new),
                labels_right=float((truth == [x.labelled_on for x in new]).mean()) if new else None,
                pruned=cast(Configs, outcome.pruned),
                prefix=outcome.prefix,
                betti=world.betti_numbers(on_box),
                n_on=len(on_box),
                cloud=_points(on_box[:MOST_CLOUD]),
                mistakes=tuple(mistake.x for mistake in outcome.mistakes),
                new=tuple(new[i] for i in rows),
            )
        )

    def report(self, detail: str) -> None:
        """Say how many trainings are done, of how many there can still be."""
        n_before = sum(len(row.configs) for row in self.rounds)
        n_configs = left = len(LEARNERS[self.settings.learner])
        if self.rounds:
            left = len(self.rounds[-1].configs) - len(self.rounds[-1].pruned)
        # At least one config leaves after each round, so at most left + (left - 1) + ... + 1.
        total = n_before + left * (left + 1) // 2 + len(CONTROLS) * n_configs
        stage = f"training, seed {self.settings.seed}"
        event = {"stage": stage, "done": self._n_fitted, "total": total, "detail": detail}
        self.on_progress(event)


def _with_truth(points: np.ndarray) -> list[tuple[Position, bool]]:
    return list(zip(_points(points), world.is_on(points).tolist(), strict=True))


def _points(array: np.ndarray) -> tuple[Position, ...]:
    return tuple(map(tuple, array.tolist()))


def labeller_right(settings: TorusSettings) -> int:
    """Return on how many of the `settings.n_dev` dev points S is right."""
    wrong = world.label_errors(_Game(settings).dev, settings.labeller, settings.seed)
    return int((~wrong).sum())


def refusal(settings: TorusSettings) -> str:
    """Return the line with which Agora refuses a labeller, before any training; else nothing."""
    try:
        with suppress(Cancelled):  # accepted, it stops before the first training
            _Game(settings, stop=lambda: True).play()
    except ValueError as e:
        return str(e)
    return ""


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
    """Play Agora on points of a torus, with `seeds` seeds from `seed` on.

    Args:
        labeller: how often it is right, a share.
        points: with true labels, to train on.
        learner: network, or guesser.
        seed: of points, errors and trainings.
        seeds: how many, from the seed on.
        out: a folder for torus.json.

    Raises:
        ValueError: an argument is out of range, or Agora refuses the labeller (its figure is said).
        Cancelled: asked to stop, between two trainings.
    """
    settings = TorusSettings(labeller, points, learner, seed)
    if type(seeds) is not int or not 1 <= seeds <= MAX_SEEDS:
        raise ValueError(f"seeds is {seeds!r}; allowed: 1 to {MAX_SEEDS}. Try 1.")
    each = [replace(settings, seed=number) for number in range(seed, seed + seeds)]
    games = [_Game(of_seed, on_progress, stop) for of_seed in each]
    began, labeller_dev, scores = time.monotonic(), [], []
    for game in games:
        cpu = time.process_time()
        labeller_dev.append(game.play())
        cpu = round(time.process_time() - cpu, 2)
        first, last, controls = game.rounds[0], game.rounds[-1], game.controls()
        score = (game.settings.seed, first.test, last.test, last.betti, game.n_new, controls, cpu)
        scores.append(SeedScore(*score))
    run = Torus(
        settings=settings,
        labeller_dev=labeller_dev[0],
        rounds=tuple(games[0].rounds),
        scores=tuple(scores),
        seconds=round(time.monotonic() - began, 1),
        method=f"{M} points a mistake, ball {RADIUS}; {STEPS} and {LAST_STEPS} steps of {BATCH}; "
        f"shape of {world.N_SHAPE} among {N_BOX} points, from {world.BORN} to {world.ALIVE}; "
        f"{N_TEST} test points",
        provenance=Provenance.here("numpy", "scikit-learn", "ripser"),
    )
    if out is not None:
        records.write(Path(out) / "torus.json", run)
    return run
