"""Files that a browser hands over: kept once, named safely, deleted alone."""

import pytest

from bort_engine.data import uploads
from bort_engine.data.columns import Columns
from bort_engine.data.tasks import find_task

CSV = "review,stars\n" + "".join(f"film {n},{n % 2}\n" for n in range(100))
MINE = Columns("review", label_column="stars")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BORT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_file_is_kept_once_and_becomes_a_task_when_its_columns_are_named():
    kept = uploads.keep("films.csv", CSV.encode())
    assert kept.path.read_text() == CSV and kept.columns is None
    assert uploads.keep("other name.csv", CSV.encode()) == kept  # the same content
    assert uploads.uploads() == [kept]
    with pytest.raises(ValueError, match=r"has the columns 'review', 'stars'"):
        uploads.choose(kept, Columns())
    chosen = uploads.choose(kept, MINE)
    assert uploads.uploads() == [chosen]
    assert find_task(chosen.task).labels == ("0", "1")
    uploads.forget(chosen)
    assert uploads.uploads() == []


@pytest.mark.parametrize(
    ("name", "kept_as"),
    [("../../etc/pa ss*.csv", "pa_ss_.csv"), ("a" * 300 + ".csv", "a" * 76 + ".csv")],
)
def test_a_name_leads_nowhere_else(cache, name, kept_as):
    path = uploads.keep(name, CSV.encode()).path
    assert path.name == kept_as and path.parents[1] == cache / "texts"


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("model.pkl", b"x", r"model\.pkl has none of the endings \.csv"),
        ("films.csv", b"", r"films\.csv has 0\.0 MB; allowed: more than none"),
    ],
)
def test_what_cannot_be_read_is_not_kept(cache, name, content, text):
    with pytest.raises(ValueError, match=text):
        uploads.keep(name, content)
    assert not (cache / "texts").exists()


def test_only_a_kept_file_is_deleted(tmp_path):
    other = tmp_path / "mine" / "films.csv"
    other.parent.mkdir()
    other.write_text(CSV)
    uploads.forget(uploads.Upload(other))
    assert other.exists()


def test_a_folder_that_holds_something_else_is_passed_over(cache):
    kept = uploads.keep("films.csv", CSV.encode())
    uploads.choose(kept, MINE)
    (kept.path.parent / "columns.json").write_text("{")
    (cache / "texts" / "empty").mkdir()
    assert uploads.uploads() == [kept]  # its columns have to be named again
