"""Agora: train a small model by asking a larger one about points near the small one's mistakes.

Beside the paper (de Wynter 2020, [AGORA], arXiv 2010.07990, Algorithm 1). Letters as there:

    f      the untrained candidate: `fit` trains it, always from the same start
    S      the trained labeller, which must be right on more than 2/3 of E: `label`
    Theta  the hyper-parameter sets, in order; a set theta is itself an ordered tuple
    tau    makes at most m new points near a given one
    D, E   `train` and `dev`, pairs of a point x and its label y

A round, with the sets that remain: (1) train f once with each; (2) ask the best for E; (3) tau
makes points near each of its mistakes; (4) S labels them and they join D; (5) sort the sets by
accuracy; (6) remove those that share the longest common sequence, rooted at the first; (7) again,
until no set remains; the best model is returned. Where the sources are silent, our reading:

* Step 5 sorts ascending, so the root is the worst set; step 6 removes it and every set whose common
  prefix with it is the longest there is (`prune`). The best set may go with them.
* Steps 5 and 6 come first, since they need no new points: after the last round nobody would train
  on any, so none are made, nor where nothing is mistaken. So a round makes, and is fitted on, the
  points near the mistakes of the round before it.
* Step 7 returns the best model: of the last round, which was fitted on the most data. The best of
  all rounds is another reading, but among many trainings a dev set of hundreds picks by luck, and
  the first round, with the most sets, has the most of it.
* Accuracies are means over the classes that E has, told apart by `class_of`; by default all of E is
  one class. Where one class is most of E, plain ones would choose who finds little else.
* S is held to 2/3, above the 1/2 of guessing on a balanced binary task. Where 95 % of E are of one
  class, who always names it would pass by a plain accuracy, and teach f nothing.
* "Replay", re-doing a round, was needed in practice; how is not said. Here: if a round's best
  accuracy is lower than that of the round before it, its points are taken back, made and labelled
  anew, and it is fitted again. The better attempt counts (of equals the first): its points stay.

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
from functools import partial
from itertools import islice, takewhile
from statistics import mean
from typing import Any

from bort_engine.runs.events import Refused

MIN_LABELLER_ACCURACY = Fraction(2, 3)  # to be exceeded; exact, so that 2/3 itself is refused

X = Any  # a point: a text, a vector
Y = Any  # a label; S may give soft ones and E have classes, `agrees` compares them
Model = Any
HyperParameters = tuple[Hashable, ...]
Sets = Sequence[HyperParameters]
Pairs = Sequence[tuple[X, Y]]


@dataclass(frozen=True, slots=True)
class RoundId:
    """Where in the run a function is called: each is called at most once at each `RoundId`.

    With it as the key (and theta, for `fit`) a killed run can be resumed from what was remembered.
    """

    number: int  # the round, from 1; 0 is before the first, when S labels E
    attempt: int  # 2 if the round is replayed, else 1


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
    """What happened in one round, or in one of the two attempts at a replayed one.

    Attributes:
        at: the round's number, and which attempt at it this is.
        new_points: made near the mistakes of the round before, one entry for each mistake; none in
            the first round.
        n_train: the size of D that was fitted on, those points included.
        theta: the sets fitted, in the order given.
        accuracies: theirs on E, in the same order.
        mistakes: what the best of them gets wrong, in E's order.
        pruned: the sets removed after this round, the root first; none if the attempt was dropped.
        prefix: how many first elements these share; 0 where the root went alone.
    """

    at: RoundId
    new_points: tuple[NewPoints, ...]
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
    def pairs(self) -> Pairs:
        """The new points that S labelled."""
        return [pair for points in self.new_points for pair in points.pairs]

    @property
    def counts(self) -> bool:
        """False for the worse attempt at a replayed round: its points were dropped."""
        return bool(self.pruned)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The best model of the last round that counts (of equals the first set's).

    Attributes:
        theta: the set it was trained with.
        accuracy: its accuracy on E, which the run has looked at.
        labeller_accuracy: that of S on E, the mean over E's classes.
        rounds: all attempts in the order they were made.
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
    class_of: Callable[[Y], Hashable] = lambda y: None,
    replays: int = 0,
    on_round: Callable[[Round], None] = lambda attempt: None,
) -> Outcome:
    """Go through rounds until no set remains, or the best model is never wrong ([AGORA], Alg. 1).

    Args:
        theta: Theta, without repetition; the order matters among equally accurate sets, and the
            order within a set decides what is pruned together.
        fit: trains f with one set on all pairs given; called once for each set of an attempt.
        predict: one guess for each point.
        label: S, called once for dev and once for the points of an attempt. One label for each, or
            None where it declines, which on dev counts as wrong.
        tau: called once an attempt with all mistakes; for each a list of at most m points. It
            should draw differently at a second attempt.
        agrees: whether a guess (of f or S) is right, given dev's y.
        class_of: the class of dev's y; accuracies are means over classes, by default of one.
        replays: how many rounds may be done a second time, over the whole run.
        on_round: called with each attempt, in their order, once its round is settled.

    Raises:
        ValueError: an argument is empty, repeated or out of range; a function returned more or
            fewer than it was asked for.
        Refused: S's accuracy on dev is not above 2/3 (also a ValueError).
    """
    _check(theta, train, dev, m, replays)
    labels = _counted("label", label([x for x, _ in dev], RoundId(0, 1)), len(dev))
    labeller_accuracy = check_labeller(labels, [y for _, y in dev], agrees, class_of)
    grade = partial(_grade, dev, predict, agrees, class_of)
    new_points_near = partial(_new_points, tau, label, m)
    attempt_at = partial(_attempt, fit, grade, new_points_near)
    remaining, data, last, rounds = tuple(theta), tuple(train), None, []
    model: Model = None
    number = 1
    while remaining and (last is None or last.mistakes):
        # Steps 3 and 4 for the last round's mistakes, then 1 and 2; twice, if that made it worse.
        attempts = [attempt_at(RoundId(number, 1), remaining, data, last)]
        fell = last is not None and attempts[0][0].accuracy < last.accuracy
        if fell and replays:
            replays -= 1
            attempts.append(attempt_at(RoundId(number, 2), remaining, data, last))
        last, model = max(attempts, key=lambda attempt: attempt[0].accuracy)  # of equals the first
        data = (*data, *last.pairs)
        # Steps 5 and 6: the worst set leaves, with those most like it.
        pruned, prefix = prune(ranked(last))
        remaining = tuple(candidate for candidate in remaining if candidate not in pruned)
        for attempt, _ in attempts:
            counting = replace(attempt, pruned=pruned, prefix=prefix)
            rounds.append(counting if attempt is last else attempt)
            on_round(rounds[-1])
        number += 1  # step 7
    assert last is not None, "there is at least one set"
    return Outcome(model, last.best, last.accuracy, labeller_accuracy, tuple(rounds))


def _attempt(
    fit: Fit,
    grade: Callable[[Model], tuple[float, tuple[Mistake, ...]]],
    new_points_near: Callable[[Sequence[Mistake], RoundId], tuple[NewPoints, ...]],
    at: RoundId,
    remaining: Sets,
    data: Pairs,
    last: Round | None,
) -> tuple[Round, Model]:
    """Return what happened in an attempt at a round, and its best model; no other is kept."""
    # Steps 3 and 4: what S labels near the mistakes of the last round joins D. A dropped attempt
    # leaves no trace: D is made anew from what the rounds that count have added.
    new_points = new_points_near(last.mistakes, at) if last else ()
    data = (*data, *(pair for points in new_points for pair in points.pairs))
    # Steps 1 and 2: f is trained with each set; of equals the first set is the best.
    best: Model = None
    mistakes: tuple[Mistake, ...] = ()
    accuracies: list[float] = []
    for theta in remaining:
        model = fit(theta, data, at)
        accuracy, wrong = grade(model)
        if not accuracies or accuracy > max(accuracies):
            best, mistakes = model, wrong
        accuracies.append(accuracy)
        del model  # a network's memory is free before the next one is fitted
    attempt = Round(at, new_points, len(data), tuple(remaining), tuple(accuracies), mistakes)
    return attempt, best


def _grade(
    dev: Pairs,
    predict: Predict,
    agrees: Agrees,
    class_of: Callable[[Y], Hashable],
    model: Model,
) -> tuple[float, tuple[Mistake, ...]]:
    """Step 2: return a model's accuracy on E, and what it gets wrong there."""
    guesses = _counted("predict", predict(model, [x for x, _ in dev]), len(dev))
    right = [bool(agrees(guess, y)) for guess, (_, y) in zip(guesses, dev, strict=True)]
    mistakes = tuple(
        Mistake(position, *dev[position], guess)
        for position, guess in enumerate(guesses)
        if not right[position]
    )
    return float(mean_accuracy(right, [class_of(y) for _, y in dev])), mistakes


def mean_accuracy(right: Sequence[bool], classes: Sequence[Hashable]) -> Fraction:
    """Return the share that is right, the mean over the classes that there are."""
    by_class: dict[Hashable, list[bool]] = {}
    for is_right, of_class in zip(right, classes, strict=True):
        by_class.setdefault(of_class, []).append(is_right)
    return mean(Fraction(sum(answers), len(answers)) for answers in by_class.values())


def _new_points(
    tau: Tau, label: Label, m: int, mistakes: Sequence[Mistake], at: RoundId
) -> tuple[NewPoints, ...]:
    """Steps 3 and 4: return points near each mistake, with S's labels."""
    lists = _counted("tau", tau(mistakes, m, at), len(mistakes))
    near = [tuple(points) for points in lists]
    most = max(map(len, near))
    if most > m:
        raise ValueError(f"tau made {most} points near a mistake; make at most m = {m}.")
    # S sees all of them in one call, which for a network is a few large batches.
    flat = [x for points in near for x in points]
    # The labels come back in one row; each mistake takes as many as it has points.
    labels = iter(_counted("label", label(flat, at), len(flat)) if flat else ())
    return tuple(
        NewPoints(mistake, points, tuple(islice(labels, len(points))))
        for mistake, points in zip(mistakes, near, strict=True)
    )


def ranked(attempt: Round) -> list[HyperParameters]:
    """Step 5: a round's sets, the worst first; of equals the later given counts as worse."""
    accuracy = dict(zip(attempt.theta, attempt.accuracies, strict=True))
    return sorted(reversed(attempt.theta), key=accuracy.__getitem__)  # sorting keeps ties in order


def prune(worst_first: Sets) -> tuple[tuple[HyperParameters, ...], int]:
    """Step 6: return the sets to remove, the root (the worst) first, and how much they share.

    The common prefix of each other set with the root is taken; all whose prefix is the longest go
    with the root. Where none shares even the first element, the root goes alone.
    """
    # (1, 2, 3), (1, 9, 3), (1, 2, 4): the root shares one element with the second and two with the
    # third, so it goes with the third, which failed by what it has in common with the worst.
    # No other root is looked at: a longer prefix that two better sets share says nothing here.
    root, *others = worst_first
    shared = [_common_prefix(root, other) for other in others]
    longest = max(shared, default=0)
    with_root = (other for other, n in zip(others, shared, strict=True) if 0 < n == longest)
    return (root, *with_root), longest


def _common_prefix(a: HyperParameters, b: HyperParameters) -> int:
    both = zip(a, b, strict=False)  # sets may differ in length
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))


def _counted(function: str, returned: Iterable[Any], n: int) -> list[Any]:
    """Return the results as a list; refuse them unless there are n."""
    listed = list(returned)
    if len(listed) != n:
        raise ValueError(f"{function} was asked for {n} and gave {len(listed)}; give one for each.")
    return listed


def check_labeller(
    labels: Sequence[Y | None],
    truth: Sequence[Y],
    agrees: Agrees = operator.eq,
    class_of: Callable[[Y], Hashable] = lambda y: None,
) -> float:
    """Return S's accuracy on E, the mean over its classes; raise Refused unless it is above 2/3."""
    # To decline is not to be right: a labeller may not pass by answering the easy ones only.
    pairs = zip(labels, truth, strict=True)
    right = [label is not None and bool(agrees(label, y)) for label, y in pairs]
    classes = [class_of(y) for y in truth]
    accuracy, n_classes = mean_accuracy(right, classes), len(set(classes))
    if accuracy <= MIN_LABELLER_ACCURACY:
        averaged = f" in the mean of {n_classes} classes" if n_classes > 1 else ""
        raise Refused(
            f"the labeller is right on {sum(right)} of {len(right)} dev examples "
            f"({100 * float(accuracy):.1f} %{averaged}); Agora needs more than "
            f"{MIN_LABELLER_ACCURACY}: give it more labelled text, or take a stronger labeller."
        )
    return float(accuracy)


def _check(theta: Sets, train: Pairs, dev: Pairs, m: int, replays: int) -> None:
    if not theta:
        raise ValueError("Theta is empty; give at least one hyper-parameter set.")
    for candidate in theta:
        if (n := theta.count(candidate)) > 1:
            raise ValueError(f"Theta has {candidate!r} {n} times; give each set once.")
    for name, pairs in (("train", train), ("dev", dev)):
        if not pairs:
            raise ValueError(f"{name} is empty; give at least one labelled example.")
    if type(m) is not int or m < 1:
        raise ValueError(f"m is {m!r}; it must be an integer of at least 1. Try 4.")
    if type(replays) is not int or replays < 0:
        raise ValueError(f"replays is {replays!r}; it must be an integer of at least 0.")
