"""How long a run still takes, on a clock made up here."""

import numpy as np
import pytest

from bort_engine.runs.time_left import Stage, TimeLeft, about

PLAN = [Stage("fetch", 10, 10, False), Stage("train", 100, 100), Stage("search", 40, 80)]


def event(stage, done=0, total=10, **more):
    return {"stage": stage, "done": done, "total": total, **more}


def test_without_a_plan_what_is_left_follows_from_the_stage_s_pace_by_hand():
    left = TimeLeft()
    assert left.note(event("a"), 100.0) is None
    assert left.note(event("a", 4), 108.0) == (12.0, 12.0, 0.4)
    assert left.note(event("a", 10), 120.0) is None  # not 0 s: what comes next is not known
    assert left.note(event("b", 5), 121.0) is None


def test_a_plan_is_corrected_by_what_was_measured_by_hand():
    left = TimeLeft()
    assert left.note(event("getting ready", plan=PLAN), 0.0) == (150, 190, 0)
    assert left.note(event("fetch"), 0.0)[:2] == (150, 190)
    # The download took 47 s: that says nothing of the processor.
    low, high, share = left.note(event("train"), 47.0)
    assert (low, high) == (140, 180) and share == 47 / (47 + 160)
    # Half of the training in 97 s, so it takes twice as long as planned, and so will the search.
    low, high, _ = left.note(event("train", 5), 47 + 97.0)
    k = (194 + 3) / (100 + 3)
    assert (low, high) == (97 + 40 * k, 97 + 80 * k)
    # Later, an event of neither.
    assert left.note(event("saving", 1, 1), 184.0)[:2] == (57 + 40 * k, 57 + 80 * k)
    low, high, _ = left.note(event("search", 0), 241.0)
    assert (low, high) == (40 * k, 80 * k) and left.number == 3


def test_what_is_in_the_cache_is_passed_over_and_the_bar_never_falls():
    left = TimeLeft()
    left.note(event("ready", plan=PLAN), 0.0)
    assert left.note(event("search"), 2.0)[:2] == (40, 80)
    shares = [
        left.note(event("search", done, total), now).share
        for done, total, now in ((5, 10, 20.0), (6, 30, 22.0), (29, 30, 60.0))
    ]
    assert shares == sorted(shares)


def test_a_stage_that_knows_better_says_so_with_a_range():
    left = TimeLeft()
    left.note(event("ready", plan=[Stage("search", 40, 80)]), 0.0)
    known = event("round 1", 5, part="search", seconds_left=30.0, most_seconds_left=90.0)
    assert left.note(known, 10.0)[:2] == (30, 90)


def test_the_estimate_is_within_a_factor_of_one_and_a_half_after_a_tenth_of_any_run():
    """Machines up to six times slower than planned, or twice as fast, and stages off by a fifth."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        n, speed = int(rng.integers(1, 6)), float(np.exp(rng.uniform(np.log(0.5), np.log(6))))
        planned = rng.uniform(20, 300, n)
        taken = planned * speed * rng.uniform(0.8, 1.2, n)
        left, now = TimeLeft(), 0.0
        plan = [Stage(f"s{k}", s * 0.9, s * 1.1) for k, s in enumerate(planned)]
        left.note(event("ready", plan=plan), 0.0)
        for k, seconds in enumerate(taken):
            for done in range(101):
                told = left.note(event(f"s{k}", done, 100), now + seconds * done / 100)
                over, true = now + seconds * done / 100, taken.sum()
                if 0.1 * true < over < 0.9 * true:
                    ratio = ((told.low + told.high) / 2) / (true - over)
                    assert 1 / 1.5 < ratio < 1.5, (speed, over / true)
            now += seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [((0,), "1 s"), ((40,), "40 s"), ((45, 50), "48 s"), ((10, 40), "10 to 40 s"),
     ((400,), "7 min"), ((200, 350), "3 to 6 min"), ((20, 300), "1 to 5 min"), ((5400,), "1.5 h"),
     ((9000, 21600), "2.5 to 6.0 h"), ((90000,), "25 h")],
)  # fmt: skip
def test_times_are_said_as_people_say_them(seconds, text):
    assert about(*seconds) == text
