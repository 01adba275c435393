"""Trainings that several processes share: the steps of one, and who goes on after them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from bort_engine.__main__ import main
from bort_engine.search.evaluate import BriefTraining, Evaluator, Setup
from bort_engine.training import teacher, together
from bort_engine.training.trainer import _last_state
from tests.finetune.test_agora import sentences
from tests.training.test_trainer import FAMILIES, tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture
def launched(monkeypatch) -> Callable[..., None]:
    """Pretend to be one of several processes."""

    def set_to(rank: int, size: int, n_pieces: int = 1) -> None:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(size))
        monkeypatch.setenv(together.ACCUMULATION, str(n_pieces))

    return set_to


def test_a_batch_is_cut_evenly_and_a_small_one_repeated():
    assert together.pieces([5, 3, 8, 1], 2) == [[5, 3], [8, 1]]
    assert together.pieces([5, 3, 8, 1, 9], 2) == [[5, 3, 8], [1, 9]]
    assert together.pieces([5, 3], 3) == [[5, 3], [5, 3], [5, 3]]


def test_each_row_of_a_batch_is_one_processes(launched):
    batches, shares = [[*range(12)], [*range(12, 24)], [*range(24, 31)]], []
    for rank in range(2):
        launched(rank, 2, n_pieces=3)
        shares.append([*together.Pieces(batches)])
        assert len(shares[-1]) == len(together.Pieces(batches)) == 9
    for step, batch in enumerate(batches):
        mine, others = ([i for piece in s[3 * step : 3 * step + 3] for i in piece] for s in shares)
        assert sorted(mine + others) == batch and mine and others


def test_processes_that_cannot_share_a_batch_are_refused_by_the_first_one(launched, capsys):
    front = ["front", "minilm-l6", "--train-batch-size", "24"]
    for rank, told in (0, "batches of 32 and 24 can be cut into 1, 2, 4, 8 equal pieces."), (1, ""):
        launched(rank, 3)
        assert main(front) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == bool(told)
    launched(0, 2)
    assert main(["cut", "minilm-l6", "--architecture", "5,12,384,1536"]) == 2
    assert "cut is for one. Allowed for several: front, layers." in capsys.readouterr().err


def test_a_number_of_pieces_is_a_number(monkeypatch):
    monkeypatch.setenv(together.ACCUMULATION, "0")
    with pytest.raises(ValueError, match=r"ACCUMULATION_STEPS is '0'; allowed: 1, 2, 3, "):
        together.n_pieces()


def test_a_state_is_taken_up_by_as_many_processes_as_left_it(launched, tmp_path):
    state = tmp_path / "checkpoint-50"
    state.mkdir()
    (state / "trainer_state.json").write_text("{}")
    for rank in range(2):
        (state / f"rng_state_{rank}.pth").touch()
    assert _last_state(tmp_path) is None
    launched(1, 2)
    assert _last_state(tmp_path) == str(state)
    launched(1, 3)
    assert _last_state(tmp_path) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_reaches_all_weights_of_a_whole_model(embedded, family):
    model = tiny(family)
    tokenizer = AutoTokenizer.from_pretrained(embedded.parent / "minilm-l6-0.1.0")
    batch = tokenizer(["a good film", "bad"], padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    model(**batch).logits.sum().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> str:
    """Rows of which neither an epoch nor its last batch can be cut into two equal parts."""
    path = tmp_path_factory.mktemp("task") / "reviews.csv"
    lines = [f"{text},{label}" for text, label in sentences(301, 0)]
    path.write_text("\n".join(["text,label", *lines]))
    return str(path)


@pytest.fixture
def cache(quick_cache, tmp_path, monkeypatch) -> Callable[[str], Path]:
    """Turn to a cache of this name, without a teacher."""
    resources = (quick_cache / "resources").resolve()

    def turn(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "resources").symlink_to(resources)
        monkeypatch.setenv("BORT_CACHE", str(folder))
        return folder

    return turn


def trained(source, task) -> dict[str, torch.Tensor]:
    """Return the weights of T and of the elastic student, trained where they are not there yet."""
    training = BriefTraining(steps=8, train_batch_size=16, teacher_steps=60)
    evaluator = Evaluator(source, Setup(source.name, task, "elastic", training))
    models = {"T": evaluator.teacher.model, "student": evaluator.student.model}
    return {f"{m}.{n}": w for m, model in models.items() for n, w in model.state_dict().items()}


@pytest.mark.timeout(600)  # on a machine that is very busy
def test_processes_and_pieces_make_the_steps_of_one(source, task, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("BORT_PRECISION", "fp32")
    monkeypatch.setattr(teacher, "LEARNING_RATE_OF_FEW", 1e-2)
    cache("one")
    expected = trained(source, task)
    cache("pieces")
    with monkeypatch.context() as patch:
        patch.setenv(together.ACCUMULATION, "3")
        pieces = trained(source, task)
    # By the command line, whose first process goes on with the front.
    folder = cache("two")
    command = f"front {source.name} --task {task} --steps 8 --train-batch-size 16"
    command += " --teacher-steps 60 --spot-checks 1 --epsilon 1 --json"
    command = [*command.split(), "--space", "D=1-2 A=2 H=16 I=24", "--out", str(tmp_path / "run")]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, str(Path(__file__).with_name("launched.py")), *command],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert [row["role"] for row in json.loads(done.stdout)["points"]]
    (written,) = folder.glob("teachers/*/elastic-*/report.json")
    before = written.stat().st_mtime_ns
    processes = trained(source, task)  # as they wrote it
    assert written.stat().st_mtime_ns == before
    untrained = load_file(Path(source.name) / "model.safetensors")
    name = "bert.encoder.layer.0.output.dense.weight"
    assert (expected[f"T.{name}"] - untrained[name]).abs().max() > 0.03
    assert (expected[f"student.{name}"] - expected[f"T.{name}"]).abs().max() > 5e-4
    # Sums in another order. A softmax does not depend on the keys' biases: their gradients are what
    # rounding leaves, which AdamW makes as large as any others.
    for name, weight in expected.items():
        if name.endswith("key.bias"):
            continue
        torch.testing.assert_close(pieces[name], weight, atol=1e-4, rtol=0, msg=name)
        torch.testing.assert_close(processes[name], weight, atol=1e-4, rtol=0, msg=name)
