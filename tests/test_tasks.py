"""The task on the real data: clean, split by film, and its test split out of reach."""

import pytest

from bort_engine.tasks import TASKS, _rotten_tomatoes, find_task, load_task


def test_an_unknown_task_names_the_known_ones():
    with pytest.raises(ValueError, match=r"task 'nope' is not known; allowed: rotten-tomatoes"):
        find_task("nope")


def test_splits_hold_every_clean_sentence_once(embedded):
    splits = _rotten_tomatoes(TASKS["rotten-tomatoes"], lambda event: None)
    sizes = {name: len(rows) for name, rows in splits.items()}
    assert sum(sizes.values()) == 12_659
    texts = [text for rows in splits.values() for text in rows["text"]]
    assert len(set(texts)) == len(texts)
    assert all(len(text.split()) >= 3 for text in texts)
    assert sizes["train"] / 12_659 == pytest.approx(0.8, abs=0.01)


def test_the_test_split_is_not_handed_out(embedded):
    splits = load_task("rotten-tomatoes")
    assert sorted(splits) == ["train", "validation"]
    assert splits["train"].column_names == ["text", "label"]
    assert set(splits["train"]["label"]) == {0, 1}


def test_no_film_is_in_two_splits(embedded):
    import pandas as pd

    table = pd.read_csv(embedded / "rotten_tomatoes_corpus_full.csv.bz2").dropna()
    film = dict(zip(table["text"], table["movie_name"], strict=True))
    splits = _rotten_tomatoes(TASKS["rotten-tomatoes"], lambda event: None)
    films = [{film[text] for text in splits[name]["text"]} for name in splits]
    assert sum(map(len, films)) == len(set.union(*films)) == 507
