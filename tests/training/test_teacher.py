"""T: cached by what decides its weights, and honest about which labels it has seen."""

import math

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from bort_engine import Cancelled
from bort_engine.encoder.sources import sources
from bort_engine.training.teacher import Teacher, _folder, _labelled, cross_entropy

SOURCE = sources["minilm-l6"]


def splits(labels=(0, 1) * 100, text="text"):
    rows = {"text": [f"{text} {n}" for n in range(len(labels))], "label": list(labels)}
    data = Dataset.from_dict(rows)
    return DatasetDict(train=data, validation=data)


def test_cross_entropy_by_hand():
    teacher, student = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    expected = -(0.5 * math.log(0.25) + 0.5 * math.log(0.75))
    assert cross_entropy(teacher, student) == pytest.approx(expected)
    assert cross_entropy(teacher, teacher) == pytest.approx(math.log(2))


def test_its_folder_follows_what_decides_its_weights():
    plain = _folder(SOURCE, "films", splits(), 0, 0, 0)
    assert plain == _folder(SOURCE, "films", splits(), 0, 0, 5)  # the seed picks the labelled rows
    others = [
        _folder(SOURCE, "films", splits(), 5, 0, 0),
        _folder(SOURCE, "films", splits(), 0, 60, 0),
        _folder(SOURCE, "films", splits(), 0, 60, 1),
        _folder(SOURCE, "films", splits(text="other"), 0, 0, 0),
        _folder(sources["bert-base-uncased"], "films", splits(), 0, 0, 0),
    ]
    assert len({plain, *others}) == 6


def test_the_labelled_rows_are_a_seeded_sample():
    first, again, other = (_labelled(splits(), "films", 60, seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() == sorted(set(first)) != other.tolist()
    assert len(first) == 60
    assert _labelled(splits(), "films", 0, 0).tolist() == list(range(200))


@pytest.mark.parametrize("n", [1, 49, 201, -1])
def test_too_few_or_too_many_labelled_rows_are_refused(n):
    with pytest.raises(ValueError, match=rf"labelled is {n}; allowed: 0 for all 200 of films, or"):
        _labelled(splits(), "films", n, 0)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match=r"the 200 labelled rows of films are all of one class"):
        _labelled(splits([1] * 200), "films", 0, 0)


def test_the_dev_split_is_one_of_whole_films(quick_oracle):
    T = quick_oracle.teacher
    assert (len(T.train_data), len(T.dev_data), len(T.labelled)) == (10_100, 1_267, 10_100)
    assert T.report.n_dev == 1_267
    assert T.report.chance_error == pytest.approx(0.453, abs=1e-3)


def test_a_stop_leaves_nothing_behind(quick_cache):
    before = set(quick_cache.rglob("*"))
    with pytest.raises(Cancelled):
        Teacher.prepare(SOURCE, "rotten-tomatoes", n_labelled=64, stop=lambda: True)
    assert set(quick_cache.rglob("*")) - before <= {quick_cache / "teachers"}
