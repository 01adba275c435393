"""Where a student starts: slices, and what imitation does to them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bort_engine import Cancelled
from bort_engine.encoder.build import Importance, inherit, load_source, load_tokenizer
from bort_engine.encoder.space import Architecture
from bort_engine.training.distil import distil_states, general_texts, initial_student
from bort_engine.training.trainer import encode, predict

SHAPE = Architecture(1, 2, 16, 24)
NARROW = Architecture(1, 2, 8, 24)


@pytest.fixture(scope="module")
def teacher(source):
    model, tokenizer = load_source(source, num_labels=2), load_tokenizer(source)
    texts = ["a good film", "a bad film", "the plot of the story"] * 20
    rows = encode(texts, tokenizer, [0] * len(texts))
    importance = Importance.measure(model, [tokenizer(texts, padding=True, return_tensors="pt")])
    soft = torch.softmax(torch.tensor(3 * predict(model, rows, tokenizer)), 1).tolist()
    rows = [row | {"labels": label} for row, label in zip(rows, soft, strict=True)]
    return SimpleNamespace(
        model=model,
        tokenizer=tokenizer,
        importance=importance,
        train_data=rows,
        splits={"train": {"text": texts}},
    )


def test_general_texts_are_ten_thousand_introductions(quick_cache):
    try:
        texts = general_texts()
    except ValueError as e:
        pytest.skip(f"the embedded texts cannot be had here: {e}")
    assert len(texts) == 10_033 and sum(len(text.split()) for text in texts) > 700_000


def test_inherit_is_the_slice_itself(source, teacher):
    found = initial_student(SHAPE, source, teacher, "inherit", seed=3)
    expected = inherit(load_source(source, 2, seed=3), SHAPE, source, teacher.importance)
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


@pytest.mark.parametrize("shape", [SHAPE, NARROW], ids=str)
def test_imitation_brings_the_states_nearer_and_is_kept_for_the_next_time(
    source, teacher, shape, monkeypatch
):
    texts = [f"the {word} of the {other}" for word in ("film", "plot") for other in "ab"] * 40
    monkeypatch.setattr("bort_engine.training.distil.general_texts", lambda on_progress: texts)
    losses = []
    options = {"on_progress": lambda event: losses.append(event["loss"]), "general_steps": 25}
    found = initial_student(shape, source, teacher, "general", **options)
    assert len(losses) == 25 and losses[-1] < 0.8 * losses[0]
    again = initial_student(shape, source, teacher, "general", **options)
    assert len(losses) == 25, "the second time nothing is trained"
    for name, value in found.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_task_imitates_the_teacher_on_the_train_split_and_on_swapped_copies(source, teacher):
    events = []
    found = initial_student(
        SHAPE, source, teacher, "task", task_epochs=10, on_progress=events.append
    )
    wanted = np.array([row["labels"] for row in teacher.train_data[:3]]).argmax(1)
    assert (predict(found, teacher.train_data[:3], teacher.tokenizer).argmax(1) == wanted).all()
    losses = [event["loss"] for event in events if event["stage"] == "distilling the student"]
    # 60 sentences and 60 with swapped words, ten times, 64 to a batch.
    assert len(losses) == -(-1200 // 64) and losses[-1] <= losses[0]


def test_a_stop_keeps_nothing_half_made(source, teacher, quick_cache, monkeypatch):
    monkeypatch.setattr(
        "bort_engine.training.distil.general_texts", lambda on_progress: ["a film"] * 64
    )
    with pytest.raises(Cancelled):
        distil_states(load_source(source, 2), source, 5, stop=lambda: True)
    with pytest.raises(
        ValueError, match=r"initialisation is 'cold'; allowed: inherit, general, task"
    ):
        initial_student(SHAPE, source, teacher, "cold")
