"""A task's data in numbers, counted by hand; the test split stays shut."""

import pytest

from bort_engine.data.summary import Example, summary
from tests.data.samples import write, write_folder


def test_classes_by_hand(tmp_path):
    labels = ["a"] * 60 + ["b"] * 9 + ["c"] * 10
    train = [(f"w{n} " + "x " * (n % 3), label) for n, label in enumerate(labels)]
    rows = summary(
        write_folder(
            tmp_path,
            train=[*train, ("w0 ", "b"), ("w0 ", "a"), ("w1 x ", "c"), (" ", "a"), ("secret", "a")],
            dev=[("d", "a"), ("e", "c"), ("f", "c")],
            test=[("secret", "b"), ("hidden", "b")],
        )
    )
    assert rows.n_rows == {"train": 79, "validation": 3, "test": 2}
    assert (rows.n_empty, rows.n_repeated, rows.n_conflicting) == (1, 4, 3)
    assert rows.classes == (("a", 60), ("b", 9), ("c", 10))
    assert rows.rare_classes == ("b",)
    assert (rows.majority, rows.majority_share) == ("c", 2 / 3)
    # 27 texts have 1 word, 26 have 2 and 26 have 3.
    assert (rows.median_words, rows.p95_words, rows.quartiles) == (2, 3, ())
    assert sorted(row.label for row in rows.examples) == ["a"] * 4 + ["b"] * 3 + ["c"] * 3
    assert {(row.text, row.label) for row in rows.examples} <= set(train)
    assert len(set(rows.examples)) == 10
    assert "secret" not in str(rows) and "hidden" not in str(rows)


def test_numbers_and_pairs_by_hand(tmp_path):
    rows = [("x" * 300, f"{n} " + "y" * 300, n) for n in range(101)]
    names = ("text", "b", "label")
    name = write_folder(tmp_path, rows, [("d", "d", 1)], [("e", "e", 2)], columns=names)
    numbers = summary(f"{name}?second=b&kind=number")
    assert (numbers.classes, numbers.rare_classes, numbers.majority) == ((), (), "")
    assert numbers.quartiles == (25, 50, 75)
    assert (numbers.median_words, numbers.p95_words) == (3, 3)
    assert [row.label for row in numbers.examples] == [0, 11, 22, 33, 44, 56, 67, 78, 89, 100]
    assert numbers.examples[2] == Example("x" * 200, "22 " + "y" * 197, 22.0)


def test_ten_of_many_classes_are_ten_classes(tmp_path):
    rows = [(f"text {n}", n % 40) for n in range(500)]
    name = write(tmp_path / "a.csv", rows)
    examples = summary(name).examples
    assert len({row.label for row in examples}) == 10
    assert examples == summary(name).examples


def test_a_mistake_is_the_tasks_own():
    with pytest.raises(ValueError, match=r"task 'nope' is not known"):
        summary("nope")
