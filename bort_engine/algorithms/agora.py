"""Agora: train a small model by asking a larger one about points near the small one's mistakes.

Beside the paper (de Wynter 2020, [AGORA], arXiv 2010.07990, Algorithm 1). Letters as there:

    f      the untrained candidate: `fit` trains it, always from the same start
    S      the trained labeller, which must be right on more than 2/3 of E: `label`
    Theta  the hyper-parameter sets, in order; a set theta is itself an ordered tuple
    tau    makes at most m new points near a given one
    D, E   `train` and `dev`, pairs of a point x and its label y

A round, with the sets that are left: (1) train f once for each; (2) ask the best for E; (3) tau
makes points near each of its mistakes; (4) S labels them and they join D; (5) sort the sets by
accuracy; (6) remove those that share the longest common sequence, rooted at the first; (7) again,
until no set is left; the best model is returned. Where the sources are silent, our reading:

* Step 5 sorts ascending, so the root is the worst set; step 6 removes it and every set whose common
  prefix with it is the longest there is (`prune`). The best set may go with them.
* Steps 5 and 6 come first, since they need no new points: after the last round nobody would train
  on any, so none are made, nor where nothing is mistaken. So a round makes, and is fitted on, the
  points near the mistakes of the round before it.
* Step 7 returns the best model: of the last round, which was fitted on the most data. The best of
  all rounds is another reading, but among many trainings a dev set of hundreds picks by luck, and
  the first round, with the most sets, has the most of it.
* "Replay", re-doing a round, was needed in practice; how is not said. Here: if a round's best
  accuracy is lower than that of the round before it, its points are taken back, made and labelled
  anew, and it is fitted again. The better try counts (of equals the first); its points stay.

Agora looks at E by design, so accuracies on it flatter: measure the result on data of its own. The
stated bounds are quoted, not used: if every round repairs half of the mistakes on a balanced binary
task, accuracy is 1 - 2^-k after k rounds, so at most 2(1 - 2^-|Theta|) times that of a plain
training worth 1/2. What does hold: a set or more leaves each round, so there are at most |Theta|
rounds and |Theta|(|Theta| + 1)/2 trainings, replays apart.

Nothing here knows of torch or text: points, labels and models are whatever the functions agree on.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, takewhile
from typing import Any

MIN_LABELLER_ACCURACY = Fraction(2, 3)  # to be exceeded; exact, so that 2/3 itself is refused

X = Any  # a point: a text, a vector
Y = Any  # a label; S may give soft ones and E have classes, `agrees` compares them
Model = Any
HyperParameters = tuple[Hashable, ...]
Sets = Sequence[HyperParameters]
Pairs = Sequence[tuple[X, Y]]


@dataclass(frozen=True, slots=True)
class RoundId:
    """Where in the run something is done: what is asked at one `RoundId` is asked at no other.

    With it as the key (and theta, for `fit`) a killed run can be resumed from what was remembered.

    Attributes:
        number: the round, from 1; 0 is before the first, when S labels E.
        attempt: 2 if the round is replayed, else 1.
    """

    number: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """What the best model of a round gets wrong; `position` is that in E."""

    position: int
    x: X
    y: Y
    guess: Y


@dataclass(frozen=True, slots=True)
class NewPoints:
    """What tau made near a mistake, and S's label for each (None: declined, the point left out)."""

    near: Mistake
    points: tuple[X, ...]
    labels: tuple[Y | None, ...]

    @property
    def pairs(self) -> list[tuple[X, Y]]:
        labelled = zip(self.points, self.labels, strict=True)
        return [(x, y) for x, y in labelled if y is not None]


@dataclass(frozen=True, slots=True)
class Round:
    """What happened in one round, or in one of the two tries of a replayed one.

    Attributes:
        at: the round's number, and which try of it this is.
        made: the points made near the mistakes of the round before, one entry for each mistake;
            none in the first round.
        n_train: the size of D that was fitted on, those points included.
        theta: the sets fitted, in the order given.
        accuracies: theirs on E, in the same order.
        mistakes: what the best of them gets wrong, in E's order.
        pruned: the sets taken out after this round, the root first; none if the try was dropped.
        prefix: how many first elements these share; 0 where the root went alone.
    """

    at: RoundId
    made: tuple[NewPoints, ...]
    n_train: int
    theta: tuple[HyperParameters, ...]
    accuracies: tuple[float, ...]
    mistakes: tuple[Mistake, ...]
    pruned: tuple[HyperParameters, ...] = ()
    prefix: int = 0

    @property
    def accuracy(self) -> float:
        return max(self.accuracies)

    @property
    def best(self) -> HyperParameters:
        """The most accurate set, the first given of equals."""
        return self.theta[self.accuracies.index(self.accuracy)]

    @property
    def n_added(self) -> int:
        return sum(len(made.pairs) for made in self.made)

    @property
    def counts(self) -> bool:
        """False for the worse try of a replayed round: its points and accuracies were dropped."""
        return bool(self.pruned)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The best model of the last round that counts (of equals the first set's).

    Attributes:
        theta: the set it was trained with.
        accuracy: its accuracy on E, which the run has looked at.
        labeller_accuracy: that of S on E.
        rounds: all tries in the order they were made.
    """

    model: Model
    theta: HyperParameters
    accuracy: float
    labeller_accuracy: float
    rounds: tuple[Round, ...]


Fit = Callable[[HyperParameters, Pairs, RoundId], Model]
Predict = Callable[[Model, Sequence[X]], Iterable[Y]]
Label = Callable[[Sequence[X], RoundId], Iterable[Y | None]]
Tau = Callable[[Sequence[Mistake], int, RoundId], Iterable[Iterable[X]]]
Agrees = Callable[[Any, Y], Any]


def agora(
    theta: Sets,
    train: Pairs,
    dev: Pairs,
    *,
    fit: Fit,
    predict: Predict,
    label: Label,
    tau: Tau,
    m: int = 4,
    agrees: Agrees = operator.eq,
    replays: int = 0,
    on_round: Callable[[Round], None] = lambda played: None,
) -> Outcome:
    """Play rounds until no set is left, or the best model makes no mistake ([AGORA], Alg. 1).

    Args:
        theta: Theta, without repetition; the order matters among equally accurate sets, and the
            order within a set decides what is pruned together.
        fit: trains f with one set on all pairs given; asked once for each set of a try.
        predict: one guess for each point.
        label: S, asked once for dev and once for the points of a try. One label for each, or None
            where it declines, which on dev counts as wrong.
        tau: asked once a try with all mistakes; for each a list of at most m points. It should
            draw differently at a second attempt.
        agrees: whether a guess (of f or S) is right, given dev's y.
        replays: how many rounds may be done a second time, over the whole run.
        on_round: told each try, in the order made, once its round is settled.

    Raises:
        ValueError: S is not right on more than 2/3 of dev; an argument is empty, repeated or out
            of range; a function gave more or fewer than it was asked for.
    """
    _check(theta, train, dev, m, replays)
    labeller_accuracy = _labeller_accuracy(dev, label, agrees)
    game = _Game(dev, fit, predict, label, tau, m, agrees)
    left, data, before, rounds = tuple(theta), tuple(train), None, []
    model: Model = None
    for number in range(1, len(theta) + 1):
        first, model = game.play(RoundId(number, 1), left, data, before)
        tries = [first]
        if before is not None and first.accuracy < before.accuracy and replays:
            replays -= 1
            second, other = game.play(RoundId(number, 2), left, data, before)
            tries.append(second)
            model = other if second.accuracy > first.accuracy else model
        before = max(tries, key=lambda one: one.accuracy)
        pruned, prefix = prune(ranked(before))
        for one in tries:
            rounds.append(replace(one, pruned=pruned, prefix=prefix) if one is before else one)
            on_round(rounds[-1])
        left = tuple(one for one in left if one not in pruned)
        data += tuple(pair for made in before.made for pair in made.pairs)
        if not left or not before.mistakes:
            break
    assert before is not None, "there is at least one set"
    return Outcome(model, before.best, before.accuracy, labeller_accuracy, tuple(rounds))


def ranked(played: Round) -> list[HyperParameters]:
    """Step 5: a round's sets, the worst first; of equals the later given counts as worse."""
    accuracy = dict(zip(played.theta, played.accuracies, strict=True))
    return sorted(reversed(played.theta), key=accuracy.__getitem__)


def prune(worst_first: Sets) -> tuple[tuple[HyperParameters, ...], int]:
    """Step 6: return the sets to remove, the root (the worst) first, and how much they share.

    The common prefix of each other set with the root is taken; all whose prefix is the longest go
    with the root. Where none shares even the first element, the root goes alone.
    """
    root, *others = worst_first
    shared = [_common_prefix(root, other) for other in others]
    longest = max(shared, default=0)
    with_root = (other for other, n in zip(others, shared, strict=True) if 0 < n == longest)
    return (root, *with_root), longest


def _common_prefix(a: HyperParameters, b: HyperParameters) -> int:
    both = zip(a, b, strict=False)  # sets may differ in length
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))


@dataclass(slots=True)
class _Game:
    """What stays the same from round to round."""

    dev: Pairs
    fit: Fit
    predict: Predict
    label: Label
    tau: Tau
    m: int
    agrees: Agrees

    def play(
        self, at: RoundId, left: Sets, data: Pairs, before: Round | None
    ) -> tuple[Round, Model]:
        """Steps 3 and 4 for the mistakes of the round before, if any, then 1 and 2.

        Return the try and its best model; no other model is kept.
        """
        made = self._make(before.mistakes, at) if before else ()
        data = (*data, *(pair for one in made for pair in one.pairs))
        best: Model = None
        fewest: tuple[Mistake, ...] | None = None
        accuracies = []
        for theta in left:
            model = self.fit(theta, data, at)
            wrong = self._mistakes(model)
            accuracies.append((len(self.dev) - len(wrong)) / len(self.dev))
            if fewest is None or len(wrong) < len(fewest):
                best, fewest = model, wrong
            del model  # before the next one is fitted
        assert fewest is not None, "there is at least one set"
        return Round(at, made, len(data), tuple(left), tuple(accuracies), fewest), best

    def _mistakes(self, model: Model) -> tuple[Mistake, ...]:
        guesses = _counted("predict", self.predict(model, [x for x, _ in self.dev]), len(self.dev))
        return tuple(
            Mistake(position, x, y, guess)
            for position, ((x, y), guess) in enumerate(zip(self.dev, guesses, strict=True))
            if not self.agrees(guess, y)
        )

    def _make(self, mistakes: Sequence[Mistake], at: RoundId) -> tuple[NewPoints, ...]:
        lists = _counted("tau", self.tau(mistakes, self.m, at), len(mistakes))
        near = [tuple(points) for points in lists]
        most = max(map(len, near))
        if most > self.m:
            raise ValueError(f"tau made {most} points near a mistake; make at most m = {self.m}.")
        flat = [x for points in near for x in points]
        labels = iter(_counted("label", self.label(flat, at), len(flat)) if flat else ())
        return tuple(
            NewPoints(mistake, points, tuple(islice(labels, len(points))))
            for mistake, points in zip(mistakes, near, strict=True)
        )


def _counted(function: str, returned: Iterable[Any], n: int) -> list[Any]:
    listed = list(returned)
    if len(listed) != n:
        raise ValueError(f"{function} was asked for {n} and gave {len(listed)}; give one for each.")
    return listed


def _labeller_accuracy(dev: Pairs, label: Label, agrees: Agrees) -> float:
    """Return the share of E that S gets right; refuse S unless it is above 2/3."""
    guesses = _counted("label", label([x for x, _ in dev], RoundId(0, 1)), len(dev))
    answers = zip(guesses, dev, strict=True)
    n_right = sum(guess is not None and bool(agrees(guess, y)) for guess, (_, y) in answers)
    if Fraction(n_right, len(dev)) <= MIN_LABELLER_ACCURACY:
        raise ValueError(
            f"the labeller is right on {n_right} of {len(dev)} dev examples "
            f"({100 * n_right / len(dev):.1f} %); Agora needs more than {MIN_LABELLER_ACCURACY} of "
            "them: give the labeller more labelled text, or take a stronger one."
        )
    return n_right / len(dev)


def _check(theta: Sets, train: Pairs, dev: Pairs, m: int, replays: int) -> None:
    if not theta:
        raise ValueError("Theta is empty; give at least one hyper-parameter set.")
    for one in theta:
        if theta.count(one) > 1:
            raise ValueError(f"Theta has {one!r} {theta.count(one)} times; give each set once.")
    for name, pairs in (("train", train), ("dev", dev)):
        if not pairs:
            raise ValueError(f"{name} is empty; give at least one labelled example.")
    if type(m) is not int or m < 1:
        raise ValueError(f"m is {m!r}; it must be an integer of at least 1. Try 4.")
    if type(replays) is not int or replays < 0:
        raise ValueError(f"replays is {replays!r}; it must be an integer of at least 0.")
