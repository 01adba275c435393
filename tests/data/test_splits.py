"""Splits: a fixed shuffle, and no text in two of them."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bort_engine.data.splits import SPLITS, Content, Dropped, drop_repeats, shuffle_split

rows = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.sampled_from("01")))


def test_a_shuffle_by_hand():
    # numpy.random.default_rng(0).permutation(10) is 4 6 2 7 3 5 9 0 8 1.
    parts = shuffle_split("abcdefghij")
    assert parts == {"train": list("egchdfja"), "validation": ["i"], "test": ["b"]}


@given(st.tuples(rows, rows, rows))
def test_a_text_stays_once_with_its_first_label_where_it_is_not_learnt(tables):
    clean, dropped = drop_repeats(dict(zip(SPLITS, tables, strict=True)))
    counts = Counter(row[:2] for split in clean.values() for row in split)
    assert counts.keys() == {row[:2] for table in tables for row in table}
    assert set(counts.values()) <= {1}
    assert dropped.n_repeated == sum(map(len, tables)) - len(counts)
    n_labels = Counter(row[:2] for row in {row for table in tables for row in table})
    assert dropped.n_conflicting == sum(n > 1 for n in n_labels.values())
    for at, (split, table) in enumerate(zip(SPLITS, tables, strict=True)):
        later = {row[:2] for rest in tables[at + 1 :] for row in rest}
        first = {row[:2]: row for row in reversed(table) if row[:2] not in later}
        assert sorted(clean[split]) == sorted(first.values())


def test_labels_become_numbers_and_numbers_stay():
    tables = {"train": [("a", "b", "yes")], "validation": [("c", "d", "no")], "test": []}
    content = Content.of(tables, ("no", "yes"), True, Dropped())
    assert content.data["train"][:] == {"text": ["a"], "second": ["b"], "label": [1]}
    tables = {"train": [("a", "", -1.5)], "validation": [], "test": []}
    assert Content.of(tables, (), False, Dropped()).data["train"][:] == {
        "text": ["a"],
        "label": [-1.5],
    }
