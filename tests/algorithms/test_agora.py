"""Agora by hand on a line of numbers, by a script of accuracies, and what must hold in any run."""

import math
import random
import weakref
from itertools import groupby

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bort_engine.algorithms.agora import Mistake, NewPoints, Round, RoundId, agora, prune

thorough = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])

# Numbers on a line, by hand. 7 and above are True. f puts its threshold half-way between the
# largest False and the smallest True it was given, and then misplaces it by theta's last element.
LINE = [(x, x >= 7) for x in range(10)]
ENDS = [(0, False), (9, True)]


class Line:
    """f, S and tau on the line; tau makes x and x + 1 near x. Remembers what they were given."""

    def __init__(self, says=lambda x: x >= 7):
        self.says = says
        self.fitted, self.labelled = [], []

    def fit(self, theta, train, at):
        self.fitted.append((theta, list(train)))
        largest_false = max(x for x, y in train if not y)
        smallest_true = min(x for x, y in train if y)
        return (largest_false + smallest_true) / 2 + theta[-1]

    def label(self, xs, at):
        self.labelled.append((at, list(xs)))
        return (self.says(x) for x in xs)

    def run(self, theta, **options):
        functions = {
            "fit": self.fit,
            "predict": lambda threshold, xs: (x >= threshold for x in xs),
            "label": self.label,
            "tau": lambda mistakes, m, at: ([mistake.x, mistake.x + 1] for mistake in mistakes),
        }
        return agora(theta, ENDS, LINE, m=2, **(functions | options))


def test_three_rounds_on_the_line_by_hand():
    # S puts its threshold at 8, so it is wrong on 7, and right on 9 of 10.
    #
    #    round  D is     midpoint  (c, -4)   (a, 0)    (b, -3)   (a, -2)   pruned
    #    1      0 | 9    4.5       1-6: .4   56: .8    2-6: .5   3-6: .6   (c, -4) shares nothing
    #    2      0-7 | 9  8                   7: .9     56: .8    6: .9     (b, -3) shares nothing
    #    3      0-7 | 8  7.5                 7: .9               6: .9     (a, -2), later of equals,
    #                                                                      with (a, 0), by the a
    #
    # Round 2 was given 5, 6 near 5 and 6, 7 near 6, all False to S; round 3 7 and 8 near 7, to S
    # False and True. Nothing is made near the mistake of round 3. Round 3's (a, 0) is returned.
    a0, a2, b, c = ("a", 0), ("a", -2), ("b", -3), ("c", -4)
    line = Line(says=lambda x: x >= 8)
    outcome = line.run([c, a0, b, a2])
    five, six, seven = (Mistake(x, x, y, not y) for x, y in LINE[5:8])
    near = (NewPoints(five, (5, 6), (False, False)), NewPoints(six, (6, 7), (False, False)))
    near_seven = (NewPoints(seven, (7, 8), (False, True)),)
    assert outcome.rounds == (
        Round(RoundId(1, 1), (), 2, (c, a0, b, a2), (0.4, 0.8, 0.5, 0.6), (five, six), (c,), 0),
        Round(RoundId(2, 1), near, 6, (a0, b, a2), (0.9, 0.8, 0.9), (seven,), (b,), 0),
        Round(RoundId(3, 1), near_seven, 8, (a0, a2), (0.9, 0.9), (seven,), (a2, a0), 1),
    )
    assert (outcome.theta, outcome.accuracy, outcome.model) == (a0, 0.9, 7.5)
    assert outcome.labeller_accuracy == 0.9
    second = [*ENDS, (5, False), (6, False), (6, False), (7, False)]
    third = [*second, (7, False), (8, True)]
    assert line.fitted == (
        [(theta, ENDS) for theta in (c, a0, b, a2)]
        + [(theta, second) for theta in (a0, b, a2)]
        + [(theta, third) for theta in (a0, a2)]
    )
    assert line.labelled == [
        (RoundId(0, 1), list(range(10))),
        (RoundId(2, 1), [5, 6, 6, 7]),
        (RoundId(3, 1), [7, 8]),
    ]


def test_without_a_mistake_there_is_nothing_left_to_do():
    # Thresholds 4.5, 7 and 5.5: the second is right on all, the first is the worst.
    line = Line()
    outcome = line.run([("a", 0), ("b", 2.5), ("c", 1)])
    (only,) = outcome.rounds
    assert (only.accuracies, only.mistakes, only.pruned) == ((0.8, 1.0, 0.9), (), (("a", 0),))
    assert (outcome.theta, outcome.model, outcome.accuracy) == (("b", 2.5), 7.0, 1.0)
    assert len(line.labelled) == 1


def test_where_tau_makes_nothing_s_is_not_called_and_the_data_stay():
    line = Line()
    outcome = line.run([("a", 0), ("b", 0)], tau=lambda mistakes, m, at: [[] for _ in mistakes])
    assert [points.points for points in outcome.rounds[1].new_points] == [(), ()]
    assert [at for at, _ in line.labelled] == [RoundId(0, 1)]
    assert [train for _, train in line.fitted] == [ENDS] * 3


@pytest.mark.parametrize(
    ("worst_first", "pruned", "prefix"),
    [
        ([(1, 2), (2, 2), (3, 2)], "0", 0),  # only what is rooted at the first element counts
        # (1, 2) is shared with two; (1) alone, with (1, 9, 3), is shorter, and that one stays
        ([(1, 2, 3), (1, 9, 3), (1, 2, 4), (5, 2, 3), (1, 2, 5)], "024", 2),
        ([(1, 1, 1), (1, 2, 1), (1, 2, 2)], "012", 1),  # not the two others' longer prefix
        ([(1, 2, 3), (1, 2), (1,)], "01", 2),  # lengths may differ
    ],
)
def test_pruning_by_hand_where_the_worst_is_the_root_and_stands_first(worst_first, pruned, prefix):
    assert prune(worst_first) == (tuple(worst_first[int(n)] for n in pruned), prefix)


class Model:
    """Right on the first `n_right` of dev. (A class of its own, for weak references.)"""

    def __init__(self, n_right):
        self.n_right = n_right


class Script:
    """Says how many of dev a set gets right at which attempt.

    Dev is 0 ... n - 1, all True; a point is named after its attempt and its mistake.
    """

    def __init__(self, n_right, n=10):
        self.n_right = n_right
        self.dev = [(position, True) for position in range(n)]
        self.fits, self.log = {}, []
        self.alive, self.most_alive = weakref.WeakSet(), 0

    def note(self, *call):
        assert call not in self.log, "called twice"
        self.log.append(call)

    def fit(self, theta, train, at):
        self.note("f", theta, at)
        self.fits[theta, at] = [x for x, _ in train]
        self.most_alive = max(self.most_alive, len(self.alive))
        model = Model(self.n_right(theta, at))
        self.alive.add(model)
        return model

    def label(self, xs, at):
        self.note("S", at)
        return [True for _ in xs]

    def tau(self, mistakes, m, at):
        self.note("tau", at)
        return [[f"{at.number}.{at.attempt} near {mistake.x}"] for mistake in mistakes]

    def run(self, theta, **options):
        arguments = {
            "train": [("first", True)],
            "dev": self.dev,
            "fit": self.fit,
            "predict": lambda model, xs: [x < model.n_right for x in xs],
            "label": self.label,
            "tau": self.tau,
        }
        return agora(theta, **(arguments | options))


A, B, C, D = [(letter,) for letter in "abcd"]
# One set goes a round, for they share nothing. Right of 10:
FALLING = {
    RoundId(1, 1): {A: 5, B: 6, C: 7, D: 8},  # A goes
    RoundId(2, 1): {B: 5, C: 6, D: 7},  # 8 fell to 7: again
    RoundId(2, 2): {B: 9, C: 5, D: 6},  # 9 counts: C goes
    RoundId(3, 1): {B: 8, D: 7},  # 9 fell to 8: again
    RoundId(3, 2): {B: 6, D: 7},  # 7 is worse still: the first counts, D goes
    RoundId(4, 1): {B: 7},  # 8 fell to 7, but both replays are spent
}


def scripted(table):
    return Script(lambda theta, at: table[at][theta])


def test_replays_by_hand():
    script = scripted(FALLING)
    outcome = script.run([A, B, C, D], replays=2, on_round=lambda r: script.note("end", r.at))
    assert [attempt.at for attempt in outcome.rounds] == list(FALLING)
    assert [attempt.pruned for attempt in outcome.rounds] == [(A,), (), (C,), (D,), (), (B,)]
    assert [attempt.accuracy for attempt in outcome.rounds] == [0.8, 0.7, 0.9, 0.8, 0.7, 0.7]
    assert (outcome.theta, outcome.accuracy, outcome.model.n_right) == (B, 0.7, 7)
    # What was fitted on: a dropped attempt's points are gone, whichever that is.
    second, third = ["2.2 near 8", "2.2 near 9"], ["3.1 near 9"]
    assert {at: train for (_, at), train in script.fits.items()} == {
        RoundId(1, 1): ["first"],
        RoundId(2, 1): ["first", "2.1 near 8", "2.1 near 9"],
        RoundId(2, 2): ["first", *second],
        RoundId(3, 1): ["first", *second, *third],
        RoundId(3, 2): ["first", *second, "3.2 near 9"],
        RoundId(4, 1): ["first", *second, *third, "4.1 near 8", "4.1 near 9"],
    }
    assert [attempt.n_train for attempt in outcome.rounds] == [1, 3, 3, 4, 4, 6]
    # Each round is reported before the next begins, a replayed one when it is settled.
    log = [f"{function} {at.number}.{at.attempt}" for function, *_, at in script.log]
    assert [call for call, _ in groupby(log)] == [
        *("S 0.1", "f 1.1", "end 1.1"),
        *("tau 2.1", "S 2.1", "f 2.1", "tau 2.2", "S 2.2", "f 2.2", "end 2.1", "end 2.2"),
        *("tau 3.1", "S 3.1", "f 3.1", "tau 3.2", "S 3.2", "f 3.2", "end 3.1", "end 3.2"),
        *("tau 4.1", "S 4.1", "f 4.1", "end 4.1"),
    ]


@pytest.mark.parametrize(("accuracy", "counts"), [(7, [True, True, False]), (8, [True, True])])
def test_of_equal_attempts_the_first_counts_and_what_did_not_fall_is_not_replayed(accuracy, counts):
    table = {RoundId(1, 1): {A: 8, B: 7}, RoundId(2, 1): {A: accuracy}, RoundId(2, 2): {A: 7}}
    outcome = scripted(table).run([A, B], replays=1)
    assert [attempt.counts for attempt in outcome.rounds] == counts


def test_the_last_rounds_best_model_is_returned_of_equals_the_first_sets_and_no_other_is_kept():
    script = Script(lambda theta, at: 4 + at.number)
    outcome = script.run([A, B, (*A, 1), C, D])  # D, C and B go; then the two that share a at once
    assert [attempt.pruned for attempt in outcome.rounds] == [(D,), (C,), ((*A, 1), A), (B,)]
    assert (outcome.theta, outcome.model.n_right) == (B, 8)
    assert len(script.fits) == 5 + 4 + 3 + 1 and script.most_alive <= 2
    assert list(script.alive) == [outcome.model]


# What must hold in any run.
# Theta, a seed, how many of 10 a set gets right at most (at 10, a run may end), and replays.
THETAS = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=8, unique=True)
PLANS = st.tuples(THETAS, st.integers(0, 2**32), st.sampled_from([9, 10]), st.integers(0, 3))


class Killed(Exception):
    pass


class Random(Script):
    """Draws accuracies, points and what S declines, the same at the same place.

    What is in its memory is not computed again; it is killed when that holds `limit` answers.
    """

    def __init__(self, seed, most, memory=None, limit=math.inf):
        super().__init__(lambda theta, at: self.dice(theta, at).randint(0, most))
        self.seed, self.limit = seed, limit
        self.memory = {} if memory is None else memory

    def dice(self, *place):
        return random.Random(repr((self.seed, *place)))

    def recall(self, key, function, *arguments):
        if key not in self.memory:
            if len(self.memory) >= self.limit:
                raise Killed
            self.memory[key] = function(*arguments)
        return self.memory[key]

    def fit(self, theta, train, at):
        return self.recall(("f", theta, at), super().fit, theta, train, at)

    def label(self, xs, at):
        labels = self.recall(("S", at), super().label, xs, at)
        return [None if "declined" in str(x) else y for x, y in zip(xs, labels, strict=True)]

    def tau(self, mistakes, m, at):
        roll = self.dice(at)
        return [
            [f"{name} {n} {roll.choice(['', 'declined'])}" for n in range(roll.randint(0, m))]
            for (name,) in self.recall(("tau", at), super().tau, mistakes, m, at)
        ]


@thorough
@given(PLANS)
def test_the_worst_leaves_with_those_most_like_it_and_train_grows_by_what_s_labelled(plan):
    theta, seed, most, replays = plan
    script = Random(seed, most)
    outcome = script.run(theta, replays=replays)
    counting = [attempt for attempt in outcome.rounds if attempt.counts]
    assert [attempt.at.number for attempt in counting] == list(range(1, len(counting) + 1))
    remaining, train = theta, ["first"]
    for attempt in counting:
        for either in (r for r in outcome.rounds if r.at.number == attempt.at.number):
            assert list(either.theta) == remaining
            fitted_on = [*train, *(x for x, _ in either.pairs)]
            assert not any("declined" in x for x in fitted_on)
            assert all(script.fits[each, either.at] == fitted_on for each in either.theta)
            assert either.n_train == len(fitted_on)
        train = script.fits[attempt.best, attempt.at]
        root, *others = attempt.pruned
        accuracy = dict(zip(attempt.theta, attempt.accuracies, strict=True))
        assert accuracy[root] == min(attempt.accuracies)
        n = attempt.prefix
        assert all(other[:n] == root[:n] and other[n] != root[n] for other in others)
        assert bool(others) == (n > 0)
        remaining = [each for each in remaining if each not in attempt.pruned]
        assert all(kept[: max(n, 1)] != root[: max(n, 1)] for kept in remaining)
    last = counting[-1]
    assert (not last.mistakes or not remaining) and all(r.mistakes for r in counting[:-1])
    assert outcome.accuracy == max(last.accuracies) == outcome.model.n_right / 10
    assert outcome.theta == last.best and len(last.mistakes) == 10 - outcome.model.n_right
    if not replays:
        assert len(script.fits) <= len(theta) * (len(theta) + 1) // 2


@thorough
@given(PLANS, st.data())
def test_a_killed_run_resumes_from_what_it_remembered_at_each_place(plan, data):
    theta, seed, most, replays = plan
    straight = Random(seed, most)
    outcome = straight.run(theta, replays=replays)
    killed = Random(seed, most, limit=data.draw(st.integers(0, len(straight.memory) - 1)))
    with pytest.raises(Killed):
        killed.run(theta, replays=replays)
    resumed = Random(seed, most, killed.memory)
    again = resumed.run(theta, replays=replays)
    assert (again.rounds, again.theta) == (outcome.rounds, outcome.theta)
    assert killed.log + resumed.log == straight.log, "nothing was done twice"


def test_repairing_half_the_mistakes_gives_the_stated_accuracies():
    # f knows what it was told and calls the rest False; tau hits the first half of the mistakes.
    # All sets are alike, so one leaves each round: what enumeration has.
    outcome = agora(
        [(number,) for number in range(6)],
        [("elsewhere", False)],
        [(x, x % 2 == 0) for x in range(128)],
        fit=lambda theta, train, at: dict(train),
        predict=lambda known, xs: [known.get(x, False) for x in xs],
        label=lambda xs, at: [x % 2 == 0 for x in xs],
        tau=lambda wrong, m, at: [[w.x] * (n < len(wrong) // 2) for n, w in enumerate(wrong)],
    )
    assert [round_.accuracy for round_ in outcome.rounds] == [1 - 2**-k for k in range(1, 7)]


@pytest.mark.parametrize("third", [1, 333])  # 2 / 3 is exact in neither as a float
def test_a_labeller_right_on_two_thirds_is_refused_untrained_and_on_one_more_accepted(third):
    def labeller(n_right):
        return script.run([A], label=lambda xs, at: [x < n_right for x in xs])

    script = Script(lambda theta, at: 0, n=3 * third)
    with pytest.raises(ValueError, match=rf"right on {2 * third} of {3 * third} .*66\.7 %.*2/3"):
        labeller(2 * third)
    assert script.fits == {}
    assert labeller(2 * third + 1).labeller_accuracy == (2 * third + 1) / (3 * third)


def test_a_labeller_is_held_to_two_thirds_of_each_class_where_classes_are_told_apart():
    # Of dev's 20 only the last is True. Who always says False is right on 19, and on half in the
    # mean of the two classes; right on one and 7 of 19, it is at (7/19 + 1) / 2 = 26/38 = 0.684.
    def accuracy(says, **options):
        script = Script(lambda theta, at: 0)
        script.dev = [(x, x == 19) for x in range(20)]
        return script.run([A], label=lambda xs, at: map(says, xs), **options).labeller_accuracy

    assert accuracy(lambda x: False) == 0.95
    with pytest.raises(ValueError, match=r"19 of 20 dev examples \(50\.0 % in the mean of 2 clas"):
        accuracy(lambda x: False, class_of=bool)
    assert accuracy(lambda x: x >= 7, class_of=bool) == 26 / 38
    with pytest.raises(ValueError, match=r"right on 8 of 20 dev examples \(40\.0 %\); Agora needs"):
        accuracy(lambda x: x >= 7)


def test_two_thirds_in_the_mean_of_classes_are_two_thirds_exactly():
    def labeller(n_right):  # of three True, and of one False
        dev = [*((x, True) for x in range(3)), (3, False)]
        script = Script(lambda theta, at: 0)
        script.dev = dev
        says = {x: y == (x < n_right or x == 3) for x, y in dev}
        return script.run([A], label=lambda xs, at: [says[x] for x in xs], class_of=bool)

    with pytest.raises(ValueError, match=r"right on 2 of 4 dev examples \(66\.7 % in the mean"):
        labeller(1)
    assert labeller(2).labeller_accuracy == 5 / 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"theta": []}, r"Theta is empty"),
        ({"theta": [A, B, A]}, r"Theta has \('a',\) 2 times"),
        ({"train": []}, r"train is empty"),
        ({"dev": []}, r"dev is empty"),
        ({"m": 2.5}, r"m is 2\.5; .* integer"),
        ({"replays": -1}, r"replays is -1; .* at least 0"),
        ({"label": lambda xs, at: [True] * 3}, r"label was asked for 10 and gave 3;"),
        # To decline is not to be right, whatever `agrees` says.
        ({"label": lambda xs, at: [None] * 10, "agrees": lambda *_: True}, r"right on 0 of 10"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_trained(wrong, message):
    script = Script(lambda theta, at: 5)
    with pytest.raises(ValueError, match=message):
        script.run(**({"theta": [A, B]} | wrong))
    assert script.fits == {}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"predict": lambda model, xs: [True] * 9}, r"predict was asked for 10 and gave 9;"),
        ({"tau": lambda mistakes, m, at: [["x"]] * 6}, r"tau was asked for 5 and gave 6;"),
        ({"tau": lambda mistakes, m, at: [["x"] * 5] * 5}, r"tau made 5 points .* at most m = 4"),
        ({"label": lambda xs, at: [True] * (len(xs) + at.number)}, r"label was .* 5 and gave 7;"),
    ],
)
def test_what_a_function_returns_must_fit_what_it_was_given(wrong, message):
    with pytest.raises(ValueError, match=message):
        Script(lambda theta, at: 5).run([A, B], **wrong)
