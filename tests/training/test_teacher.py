"""T: cached by what decides its weights, and honest about which labels it has seen."""

import math

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from bort_engine import Cancelled
from bort_engine.encoder.sources import sources
from bort_engine.runs import records
from bort_engine.training.precision import precision
from bort_engine.training.teacher import (
    Teacher,
    TeacherReport,
    _folder,
    _labelled,
    cross_entropy,
    divergence,
)

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
    assert divergence(teacher, student) == pytest.approx(expected - math.log(2))


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


def test_it_is_trained_once_and_its_report_says_how(source, quick_cache, tmp_path):
    path = tmp_path / "films.csv"
    rows = [f"{('bad', 'good', 'fine')[n % 3]} film {n},{n % 3 > 0}" for n in range(100)]
    path.write_text("\n".join(["text,label", *rows]))
    events = []
    options = {"steps": 2, "n_labelled": 60, "on_progress": events.append}
    teacher = Teacher.prepare(source, str(path), **options)
    again = Teacher.prepare(source, str(path), **options)
    assert len(events) == 2 and again.report == teacher.report
    assert (len(teacher.train_data), len(teacher.dev_data), len(teacher.labelled)) == (80, 10, 60)
    np.testing.assert_allclose([sum(row["labels"]) for row in teacher.train_data], 1, atol=1e-6)
    report, labels = teacher.report, teacher.dev_labels
    assert (report.n_dev, report.n_labelled, report.precision) == (10, 60, precision())
    assert report.chance_error == pytest.approx(min(labels.mean(), 1 - labels.mean()))
    assert report.dev_error == pytest.approx((teacher.dev_logits.argmax(1) != labels).mean())
    assert report.error == pytest.approx(cross_entropy(teacher.dev_logits, teacher.dev_logits))


def test_a_report_of_the_first_version_is_read():
    old = records.dump(TeacherReport(0.4, 0.2, 0.5, 10, 60, 1.5))
    assert old.pop("precision") == ""
    assert records.parse(old, TeacherReport).precision == ""


def test_a_stop_leaves_nothing_behind(source, quick_cache):
    before = set(quick_cache.rglob("*"))
    with pytest.raises(Cancelled):
        Teacher.prepare(source, "rotten-tomatoes", n_labelled=64, stop=lambda: True)
    assert set(quick_cache.rglob("*")) - before <= {quick_cache / "teachers"}
