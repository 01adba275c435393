"""Tasks by name and by path; files are read once."""

import os
import re

import pytest

from bort_engine.data import files
from bort_engine.data.columns import Columns
from bort_engine.data.tasks import TASKS, find_task, load_task, with_columns
from tests.data.samples import GOOD, write


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    read, calls = files._read, []
    monkeypatch.setattr(files, "_read", lambda path, c: calls.append(path.name) or read(path, c))
    name = write(tmp_path / "a.csv", GOOD)
    first = find_task(name)
    load_task(name)
    assert find_task(name) == first and calls == ["a.csv"]
    write(tmp_path / "a.csv", [*GOOD[1:], ("text 0", "yes")])
    os.utime(name, ns=(1, 1))
    second = find_task(name)
    assert second.digest != first.digest and calls == ["a.csv", "a.csv"]


def test_a_built_in_name_wins_over_a_file_and_a_relative_path_is_resolved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "rotten-tomatoes").mkdir()
    assert find_task("rotten-tomatoes") is TASKS["rotten-tomatoes"]
    write(tmp_path / "a.csv", GOOD)
    for name in ("a.csv", "./a.csv", "~/a.csv"):
        assert find_task(name).name == str((tmp_path / "a.csv").resolve())


def test_columns_are_in_the_name_and_in_the_task_that_it_finds(tmp_path):
    rows = [(text, f"and {text}", 0.5 * n) for n, (text, _) in enumerate(GOOD)]
    path = write(tmp_path / "a.jsonl", rows, ("one", "two", "a&b"))
    name = with_columns(f"{path}?text=one", Columns("text", "two", "a&b", "number"))
    assert name == f"{path}?text=one&second=two&label=a%26b&kind=number"
    task = find_task(name)
    assert (task.name, task.title, task.labels) == (name, "a.jsonl", ())
    assert (task.kind, task.is_pair) == ("number", True)
    train = load_task(name)["train"]
    assert train[0] == {"text": "text 82", "second": "and text 82", "label": 41.0}
    assert with_columns(path, Columns()) == path


def test_a_path_that_exists_is_taken_as_it_is(tmp_path):
    path = write(tmp_path / "a.csv?text=b.csv", GOOD)
    assert find_task(path).name == path
    write(tmp_path / "a.csv?text=b.csv", GOOD, ("b", "label"))
    assert find_task(f"{path}?text=b").name == f"{path}?text=b"


def test_an_embedded_task_has_its_columns(tmp_path):
    assert with_columns("rotten-tomatoes", Columns()) == "rotten-tomatoes"
    for refused in (
        lambda: with_columns("rotten-tomatoes", Columns(label_kind="number")),
        lambda: find_task("rotten-tomatoes?text=review"),
    ):
        with pytest.raises(ValueError, match=r"'rotten-tomatoes' is embedded, and its columns are"):
            refused()


@pytest.mark.parametrize("name", ["nope", "/dev/null", "", "x" * 5000, "a\0b"])
def test_what_is_not_there_is_refused(name):
    words = rf"{re.escape(repr(name[:300]))} is not known; .*-article, or the path of a file \(.csv"
    with pytest.raises(ValueError, match=words):
        find_task(name)


def test_a_length_makes_another_task_of_the_same_data():
    asked = with_columns("rated-tweets", Columns(max_length=24))
    assert asked == "rated-tweets?length=24"
    short, usual = find_task(asked), find_task("rated-tweets")
    assert (short.name, short.max_length, short.note) == (asked, 24, usual.note)
