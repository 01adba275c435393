"""Columns in a task's name: they come back as they were, and mistakes are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bort_engine.data.columns import Columns, compose_name, parse_name

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(
    columns=st.builds(
        lambda names, second, kind, length: Columns(
            names[0], names[1] * second, names[2], kind, length
        ),
        st.lists(names, min_size=3, max_size=3, unique=True),
        st.booleans(),
        st.sampled_from(["class", "number"]),
        st.sampled_from([0, 8, 128, 512]),
    )
)
def test_any_columns_come_back(columns):
    assert parse_name(compose_name("nowhere/a.csv", columns)) == ("nowhere/a.csv", columns)


def test_a_name_by_hand():
    assert compose_name("a.csv", Columns()) == "a.csv"
    columns = Columns("100% text", "", "x&y=?/z", "number")
    name = "a.csv?text=100%25%20text&label=x%26y%3D%3F%2Fz&kind=number"
    assert compose_name("a.csv", columns) == name
    assert parse_name("a.csv?kind=class&second=a+b") == ("a.csv", Columns(second_column="a+b"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "a.csv?txt=a",
            r"'txt=a' in the task 'a.csv\?txt=a' is not known, no number, or given twice",
        ),
        ("a.csv?text=a&text=a", r"'text=a' in the task .* twice; .*: text=..., second=..., label="),
        ("a.csv?text", r"'text' in the task"),
        ("a.csv?", r"'' in the task"),
        ("a.csv?text=label", r"the columns are 'label', 'label'; give texts and label one each"),
        ("a.csv?second=text", r"the columns are 'text', 'text', 'label'; give"),
        ("a.csv?length=many", r"'length=many' in the task .* is not known, no number"),
        ("a.csv?length=4", r"max_length is 4; allowed: 8 to 512 tokens, or 0"),
        ("a.csv?label=", r"the columns are 'text', ''; give"),
        ("a.csv?kind=regression", r"the kind of label is 'regression'; allowed: class, number"),
    ],
)
def test_a_mistake_in_a_name_is_one_line(name, words):
    with pytest.raises(ValueError, match=words):
        parse_name(name)
