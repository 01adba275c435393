"""T: cached by what decides its weights, and honest about which labels it has seen."""

import os
from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from bort_engine import Cancelled
from bort_engine.encoder.sources import sources
from bort_engine.runs import records
from bort_engine.training.metrics import distance
from bort_engine.training.precision import precision
from bort_engine.training.teacher import (
    TEACHER_STAGES,
    Teacher,
    TeacherReport,
    _folder,
    _labelled,
    reading_length,
)

SOURCE = sources["minilm-l6"]


def splits(labels=(0, 1) * 100, text="text"):
    rows = {"text": [f"{text} {n}" for n in range(len(labels))], "label": list(labels)}
    data = Dataset.from_dict(rows)
    return DatasetDict(train=data, validation=data)


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


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_edited_folder_is_another_teacher_and_a_touched_one_is_not(tmp_path, name):
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / file).write_text(f"{file} as it was")
    own = replace(SOURCE, name=str(tmp_path), weights=str(tmp_path))
    before = _folder(own, "films", splits(), 0, 0, 0)
    os.utime(tmp_path / name, (1, 1))
    (tmp_path / "README.md").write_text("notes")
    assert _folder(own, "films", splits(), 0, 0, 0) == before
    (tmp_path / name).write_text(f"{name} as it is ")  # as long, at another time
    assert _folder(own, "films", splits(), 0, 0, 0) != before


def test_the_key_of_a_source_that_ships_stays(monkeypatch):
    monkeypatch.setenv("BORT_CACHE", "cache")
    assert _folder(SOURCE, "films", splits(), 0, 0, 0).name == "minilm-l6-films-4475d5dfcd"


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
    _ready, told, *steps, _again = events
    assert told["detail"] == "at most 8 tokens are read, which cuts 0.0% of the texts"
    counts = [(event["stage"], event["done"], event["total"]) for event in steps]
    training, labelling = TEACHER_STAGES
    assert counts[:2] == [(training, 1, 2), (training, 2, 2)]
    assert (
        counts[2:] == [(labelling, n, 90) for n in (64, 80, 90)] and again.report == teacher.report
    )
    assert (len(teacher.train_data), len(teacher.dev_data), len(teacher.labelled)) == (80, 10, 60)
    np.testing.assert_allclose([sum(row["labels"]) for row in teacher.train_data], 1, atol=1e-6)
    report, labels = teacher.report, teacher.dev_labels
    assert (report.n_dev, report.n_labelled, report.precision) == (10, 60, precision())
    assert report.chance_error == pytest.approx(min(labels.mean(), 1 - labels.mean()))
    assert report.dev_error == pytest.approx((teacher.dev_logits.argmax(1) != labels).mean())
    assert report.error == pytest.approx(distance(teacher.dev_logits, teacher.dev_logits))


def test_a_report_of_the_first_version_is_read():
    old = records.dump(TeacherReport(0.4, 0.2, 0.5, 10, 60, 1.5))
    assert old.pop("precision") == ""
    assert records.parse(old, TeacherReport).precision == ""


def test_a_stop_leaves_nothing_behind(source, quick_cache):
    before = set(quick_cache.rglob("*"))
    with pytest.raises(Cancelled):
        Teacher.prepare(source, "rotten-tomatoes", n_labelled=64, stop=lambda: True)
    assert set(quick_cache.rglob("*")) - before <= {quick_cache / "teachers"}


class Words:
    """A tokenizer of whole words, cut at `model_max_length`, with a mark at both ends."""

    model_max_length = 10**30

    def __call__(self, texts, second=None, truncation=False):
        rows = [[0, *range(len(text.split())), 0][: self.model_max_length] for text in texts]
        return {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}


@pytest.mark.parametrize(
    ("words", "longest", "asked", "expected"),
    [
        ([10] * 95 + [300] * 5, 512, 0, (16, 0.05)),  # 12 tokens, then up to a multiple of 8
        ([10] * 80 + [300] * 20, 512, 0, (256, 0.2)),  # at most 256 are read
        ([60] * 100, 32, 0, (32, 1.0)),  # the model has no more positions
        ([30] * 100, 32, 0, (32, 0.0)),  # 32 tokens with both marks: all of them are read
        ([10] * 80 + [300] * 20, 512, 400, (400, 0.0)),
        ([10] * 80 + [300] * 20, 512, 8, (8, 1.0)),
    ],
)
def test_as_many_tokens_are_read_as_95_percent_of_the_texts_have(words, longest, asked, expected):
    data = Dataset.from_dict({"text": ["word " * n for n in words], "label": [0] * len(words)})
    assert reading_length(data, Words(), longest, asked) == expected


def test_more_tokens_than_the_source_reads_are_refused():
    data = Dataset.from_dict({"text": ["word"], "label": [0]})
    with pytest.raises(ValueError, match="max_length is 400; this source reads at most 128"):
        reading_length(data, Words(), 128, 400)


def test_numbers_are_learnt_in_units_of_their_spread_and_pairs_are_read_as_such(
    source, quick_cache, tmp_path
):
    rows = [
        f"{'bad' if n % 2 else 'fine'} film {n},it is number {n},{100 + n % 7}" for n in range(120)
    ]
    path = tmp_path / "films.csv"
    path.write_text("\n".join(["review,note,stars", *rows]))
    name = f"{path}?text=review&second=note&label=stars&kind=number"
    teacher = Teacher.prepare(source, name, steps=2)
    report = teacher.report
    labels = np.array(teacher.splits["train"]["label"])
    assert (report.mean, report.spread) == pytest.approx((labels.mean(), labels.std()))
    assert report.kind == "number" and report.chance_error == 1
    assert teacher.dev_logits.shape == (12, 1) and report.max_length == 16
    expected = (np.array(teacher.splits["validation"]["label"]) - report.mean) / report.spread
    np.testing.assert_allclose(teacher.dev_labels, expected)
    row = teacher.train_data[0]
    assert isinstance(row["labels"], float) and set(row["token_type_ids"]) == {0, 1}
    swapped = f"{path}?text=note&second=review&label=stars&kind=number"
    assert Teacher.prepare(source, swapped, steps=2).folder != teacher.folder
