"""The simulated schedule: makespans by hand, and evaluations as the search asks for them."""

from math import inf

import pytest

from benchmarks.scaling import Unit, batches, longest_way, makespan
from bort_engine import front

# a 3 -> b 2 --> d 1
#        c 4 -/
DIAMOND = {
    "a": Unit("x", 3),
    "b": Unit("x", 2, ("a",)),
    "c": Unit("y", 4),
    "d": Unit("x", 1, ("b", "c")),
}
# The long one first: 5 beside 1 and 1, not after them.
LONG_LAST = {"a": Unit("x", 1), "b": Unit("x", 1), "c": Unit("x", 5)}


@pytest.mark.parametrize(
    ("plan", "workers", "seconds"),
    [
        (DIAMOND, 1, 10),
        (DIAMOND, 2, 6),
        (DIAMOND, inf, 6),
        (LONG_LAST, 2, 5),
        ({str(n): Unit("x", 2) for n in range(3)}, 2, 4),
    ],
)
def test_a_schedule_takes_as_long_as_by_hand(plan, workers, seconds):
    assert makespan(plan, workers) == seconds


def test_the_longest_way_is_as_long_as_the_schedule_of_any_number_of_workers():
    assert longest_way(DIAMOND) == [DIAMOND["a"], DIAMOND["b"], DIAMOND["d"]]


def test_evaluations_come_as_the_search_asks_for_them():
    result = front("minilm-l6", errors="recorded", seed=2)
    assert sum(map(len, batches(2))) == len(result.points)
    assert batches(2)[-1] and max(map(len, batches(2))) == 30  # the random checks, all at once
