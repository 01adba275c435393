"""Tasks of the hub, through the real loader and a local folder in the hub's layout."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bort_engine.data import hub
from bort_engine.data.columns import Columns
from bort_engine.data.tasks import find_task, load_task, load_test

CARD = """---
configs:
- config_name: {config}
  data_files:
{files}
---
"""


def write(folder, repository, config, tables):
    """Write parquet files and the card that names them, as a data set on the hub has them."""
    home = folder / repository
    (home / config).mkdir(parents=True)
    for split, table in tables.items():
        pq.write_table(table, home / config / f"{split}-00000-of-00001.parquet")
    files = "\n".join(
        f"  - split: {split}\n    path: {config}/{split}-*.parquet" for split in tables
    )
    (home / "README.md").write_text(CARD.format(config=config, files=files))


def mrpc(n: int, label: int | None = None) -> pa.Table:
    return pa.table(
        {
            "sentence1": [f"one {k}" for k in range(n)],
            "sentence2": [f"other {k} of {n}" for k in range(n)],
            "label": [k % 2 if label is None else label for k in range(n)],
        }
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The library looks for a folder of a data set's name first; its cache is elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path


def test_glue_s_kept_back_labels_make_its_dev_set_the_locked_test(here):
    tables = {"train": mrpc(100), "validation": mrpc(20), "test": mrpc(30, label=-1)}
    write(here, "nyu-mll/glue", "mrpc", tables)
    task = find_task("hub:nyu-mll/glue/mrpc")
    assert (task.labels, task.is_pair, task.kind) == (("0", "1"), True, "class")
    assert "published validation split is test" in task.note
    splits = load_task("hub:nyu-mll/glue/mrpc")
    assert [len(splits["train"]), len(splits["validation"])] == [90, 10]
    assert splits["train"].column_names == ["text", "second", "label"]
    test = load_test("hub:nyu-mll/glue/mrpc")
    assert list(test["second"]) == [f"other {k} of 20" for k in range(20)]
    assert list(test["label"]) == [k % 2 for k in range(20)]


def test_numbers_are_numbers_and_own_columns_are_named(here):
    table = pa.table(
        {"review": [f"film {k}" for k in range(60)], "stars": [k / 2 for k in range(60)]}
    )
    write(
        here,
        "someone/films",
        "default",
        {"train": table, "validation": table.slice(0, 5), "test": table.slice(5, 9)},
    )
    with pytest.raises(
        ValueError, match=r"no column 'text'; it has review, stars. Name them: hub:"
    ):
        find_task("hub:someone/films")
    name = "hub:someone/films?text=review&label=stars&kind=number"
    assert find_task(name).kind == "number"
    # in several splits a text stays where it must not be learnt from
    assert len(load_task(name)["train"]) == 60 - 14 and list(load_test(name)["label"])[:2] == [
        2.5,
        3,
    ]


def test_race_becomes_pairs_of_an_article_and_an_answer(here):
    table = pa.table(
        {
            "article": ["It rained."] * 2,
            "question": ["It was _ .", "What fell?"],
            "options": [["dry", "wet", "hot", "old"], ["snow", "hail", "rain", "ash"]],
            "answer": ["B", "C"],
        }
    )
    splits = ("train", "validation", "test")
    write(here, "ehovy/race", "middle", dict.fromkeys(splits, table))
    rows, how = hub.load(
        "hub:ehovy/race/middle", hub.columns_of("hub:ehovy/race/middle", Columns())
    )
    assert how == "split as published" and len(rows["train"]) == 8
    assert rows["train"][1] == ("It rained.", "It was wet .", "right")
    assert rows["train"][6] == ("It rained.", "What fell? rain", "right")
    assert [label for *_, label in rows["train"]].count("right") == 2


def test_what_is_cut_of_a_long_split_is_said(here, monkeypatch):
    monkeypatch.setattr(hub, "MOST_ROWS", 3)
    table = pa.table({"sentence": list("abcdef"), "label": [0, 1] * 3})
    write(here, "nyu-mll/glue", "sst2", {"train": table, "validation": table[:2]})
    rows, how = hub.load("hub:nyu-mll/glue/sst2", Columns("sentence"))
    assert len(rows["train"]) + len(rows["validation"]) == 3
    assert how.endswith("; the first 3 rows of 6 of train")


def test_where_the_hub_does_not_answer_it_is_one_line_at_once(monkeypatch):
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://127.0.0.1:9")
    with pytest.raises(
        ValueError, match=r"the hub at https://127\.0\.0\.1:9 cannot be reached"
    ) as e:
        find_task("hub:nyu-mll/glue/wnli")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["hub:glue", "hub:a/b/c/d", "hub:"])
def test_another_form_of_name_is_refused(name):
    with pytest.raises(ValueError, match=r"not of the form hub:OWNER/NAME"):
        find_task(name)
