"""The elastic student: nested slices of T, trained together; a stop leaves no trace."""

import pytest
import torch

from bort_engine import Architecture, Cancelled
from bort_engine.encoder.build import Slice
from bort_engine.training.distil import initial_student
from bort_engine.training.elastic import Elastic, _Sandwich
from bort_engine.training.teacher import Teacher
from bort_engine.training.trainer import Recipe

SMALL, LARGE = Architecture(2, 2, 8, 6), Architecture(2, 2, 12, 24)  # of (2, 2, 16, 24)


@pytest.fixture(scope="module")
def teacher(source, small_task):
    return Teacher.prepare(source, small_task, steps=2)


@pytest.fixture
def batch(teacher):
    rows = [{k: row[k] for k in ("input_ids", "attention_mask")} for row in teacher.train_data[:8]]
    return dict(teacher.tokenizer.pad(rows, return_tensors="pt"))


def test_a_slice_is_part_of_every_larger_one(source, teacher):
    small, large = (Slice.of(source.architecture, a, teacher.importance) for a in (SMALL, LARGE))
    assert set(small.hidden.tolist()) < set(large.hidden.tolist())
    for name in ("attention", "logits", "neurons"):
        for inner, outer in zip(getattr(small, name), getattr(large, name), strict=True):
            assert set(inner.tolist()) < set(outer.tolist())


def test_a_step_trains_what_its_slices_hold_and_nothing_else(source, teacher, batch):
    sandwich = _Sandwich(teacher.model, teacher, source)
    sandwich._smallest = sandwich._largest = Architecture(1, 2, 8, 6)
    sandwich._by_size = [sandwich._smallest]
    sandwich(**batch)["logits"].sum().backward()
    gradients = {n: p.grad for n, p in sandwich.student.bert.encoder.layer.named_parameters()}
    lower, upper = (gradients[f"{layer}.intermediate.dense.weight"] for layer in (0, 1))
    assert lower is None  # a single layer is the top one
    rows, columns = (upper != 0).any(1), (upper != 0).any(0)
    assert set(columns.nonzero().ravel().tolist()) <= set(
        Slice.of(source.architecture, sandwich._smallest, teacher.importance).hidden.tolist()
    )
    assert (rows.sum(), columns.sum()) == (6, 8)


def test_what_is_cut_gives_the_logits_that_were_trained(source, teacher, batch):
    student = Elastic.prepare(source, teacher, Recipe(steps=2, batch_size=8))
    sandwich = _Sandwich(student.model, teacher, source)
    with torch.no_grad():
        trained = sandwich._logits(SMALL, dict(sandwich.student.named_parameters()), batch)
        torch.testing.assert_close(student.cut(SMALL)(**batch).logits, trained)
        own = student.cut(source.architecture)(**batch).logits
        torch.testing.assert_close(own, teacher.model(**batch).logits)


def test_a_training_that_was_stopped_ends_as_one_that_was_not(source, teacher):
    recipe = Recipe(steps=5, batch_size=8, learning_rate=1e-3)
    events = []
    with pytest.raises(Cancelled):
        Elastic.prepare(
            source, teacher, recipe, on_progress=events.append, stop=lambda: len(events) == 3
        )
    resumed = Elastic.prepare(source, teacher, recipe, on_progress=events.append)
    assert [event["done"] for event in events] == [1, 2, 3, 4, 5]
    assert [path.name for path in teacher.folder.glob(".elastic-*")] == []
    weights = resumed.model.state_dict()
    for folder in teacher.folder.glob("elastic-*"):
        folder.rename(folder.with_name(f"moved-{folder.name}"))
    whole = Elastic.prepare(source, teacher, recipe).model.state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(value, weights[name], msg=name)
    assert any((whole[n] != p).any() for n, p in teacher.model.state_dict().items())


def test_heads_wider_than_the_sources_are_no_slice(source, teacher):
    student = Elastic.prepare(source, teacher, Recipe(steps=2, batch_size=8))
    with pytest.raises(ValueError, match=r"2,1,16,24 is no slice of .* or wider heads\. Choose"):
        student.cut(Architecture(2, 1, 16, 24))


def test_a_student_of_agora_can_start_as_a_slice(source, teacher, monkeypatch):
    monkeypatch.setattr(Elastic.prepare.__func__, "__defaults__", (Recipe(steps=2, batch_size=8),))
    student = initial_student(SMALL, source, teacher, "elastic")
    whole = Elastic.prepare(source, teacher)
    for name, value in whole.cut(SMALL).state_dict().items():
        assert torch.equal(student.state_dict()[name], value), name
