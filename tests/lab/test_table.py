"""The verb `table`: a small real one, its intervals by hand, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from bort_engine.encoder.space import Architecture
from bort_engine.lab import table_models
from bort_engine.lab.table import on_test, table
from bort_engine.lab.table_models import Job, Unit, make_row
from bort_engine.lab.table_record import BY_STUDENT, ONCE, OnTest, Row, Table, TaskRows
from bort_engine.runs import records
from bort_engine.runs.events import Cancelled, never, silent
from bort_engine.runs.provenance import Provenance
from bort_engine.search.evaluate import BriefTraining
from tests.conftest import without_clocks

SHAPE = Architecture(1, 12, 96, 192)


def test_errors_on_test_and_what_is_lost_to_the_source_by_hand():
    labels = np.array([0, 0, 1, 1] * 50)
    source = np.eye(2)[labels]  # all right
    guess = np.eye(2)[np.zeros(200, dtype=int)]  # half of them
    of_source, of_guess = on_test(labels, [source, guess], 0)
    assert (of_source.error, of_source.low, of_source.high) == (0, 0, 0)
    assert of_guess.error == of_guess.loss == 0.5
    # A binomial of 200 at 1/2 has a standard error of 0.0354.
    assert of_guess.low == pytest.approx(0.5 - 1.96 * 0.0354, abs=0.015)
    assert of_guess.high == pytest.approx(0.5 + 1.96 * 0.0354, abs=0.015)
    assert of_guess.scores["balanced accuracy"] == 0.5


def test_a_loss_is_paired():
    """Two models that differ on 10 of 1,000 texts: far narrower than their own intervals."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=1000)
    answers = np.where(rng.random(1000) < 0.8, labels, 1 - labels)
    other = answers.copy()
    other[np.flatnonzero(answers == labels)[:10]] ^= 1
    _, of_other = on_test(labels, [np.eye(2)[answers], np.eye(2)[other]], 0)
    assert of_other.loss == pytest.approx(0.01)
    assert of_other.loss_high - of_other.loss_low < (of_other.high - of_other.low) / 3


def test_numbers_are_held_to_their_correlation():
    labels = np.linspace(-1, 1, 100)
    exact, none = on_test(labels, [labels[:, None], np.zeros((100, 1))], 0)
    assert (exact.error, none.error, none.loss) == (0, 1, 1)


def result_of(loss):
    return OnTest(0.2 + loss, 0.1, 0.3, loss, -0.1, 0.1, {"accuracy": 0.8 - loss})


def row(name, seed, loss, architecture=SHAPE):
    return Row(name, seed, architecture, 0.2, None, {}, 1_000_000, 1.0, 2.0, result_of(loss))


MADE = Provenance("Synthetic CPU", "made up for the tests", "2000-01-01")
SOURCE = Architecture(6, 12, 384, 1536)
ROWS = (row("source", 0, 0.0, SOURCE), row("student", 0, 0.004), row("student", 1, 0.018))
ONE = TaskRows("one", "s", n_labelled=100, n_dev=10, n_test=20, max_length=64, rows=ROWS)
TWO = TaskRows(
    "two", "s", n_test=20, rows=(row("source", 0, 0.0, SOURCE), row("student", 0, 0.009))
)
SAME = TaskRows("same", "s", n_test=20, rows=(row("source", 0, 0.0), row("student", 0, 0.0)))


def test_a_task_is_reached_at_a_point_in_the_mean_of_the_seeds(tmp_path):
    made = Table(
        "minilm-l6", "minilm-l3", 2, 0.2, 300, (ONE, TWO, SAME, TaskRows("three", "s")), MADE
    )
    assert ONE.loss("student") == pytest.approx(0.011)
    assert made.reached("student") == ["two"]
    assert made.reached("quarter") == []
    text = str(made)
    assert "student: at most a point behind the source on 1 of 3" in text
    assert "on 1 the student is the source itself" in text
    assert "+1.8 points" in text
    path = records.write(tmp_path / "table.json", made)
    assert records.read(path, Table) == made


@pytest.fixture(scope="module")
def alone(small_table, tmp_path_factory) -> tuple[Path, TaskRows, Table]:
    """A table that this process made: its folder, what was on record when it was stopped at the
    student, and the table as it was then finished."""

    def stop_at_the_student(event):
        if "student, seed 0" in event.get("detail", ""):
            raise Cancelled("stopped on request")

    out = tmp_path_factory.mktemp("alone")
    with pytest.raises(Cancelled):
        small_table(out, seeds=1, workers=1, on_progress=stop_at_the_student)
    first = records.read(next(out.glob("*/rows.json")), TaskRows)
    return out, first, small_table(out, seeds=1, workers=1)


def test_a_small_real_table_is_filled_goes_on_and_opens_test_at_the_end(
    quick_evaluator, small_table, alone
):
    out, first, result = alone
    assert [found.name for found in first.rows] == list(ONCE)
    (task,) = result.tasks
    assert [found.name for found in task.rows] == [*ONCE, *BY_STUDENT]
    assert [found.seconds for found in task.rows[: len(ONCE)]] == [
        found.seconds for found in first.rows
    ]
    assert not any(found.test for found in first.rows)
    assert all(found.test and found.latency_ms is not None for found in task.rows)
    (source,) = task.of("source")
    assert source.dev_error == pytest.approx(quick_evaluator.teacher.dev_error, abs=1e-6)
    (student,) = task.of("student")
    assert student.architecture and student.shown is not None
    with pytest.raises(ValueError, match=r"rows.json holds rows of .*polish 1.*, not .*polish 2"):
        small_table(out, seeds=1, workers=1, polish=2)
    path = next(out.glob("*/rows.json"))
    before = json.loads(path.read_text())
    assert small_table(out, seeds=1, workers=1) == result
    assert json.loads(path.read_text()) == before


@pytest.mark.timeout(900)  # two workers load torch
def test_two_workers_make_the_rows_of_one_and_lose_none_where_they_stop(
    small_table, alone, tmp_path
):
    on_record = {}

    def stop_in_the_middle(event):
        if event.get("detail", "").endswith("student, seed 0: done"):
            path = next(tmp_path.glob("*/rows.json"))
            on_record["rows"] = records.read(path, TaskRows).rows
            raise Cancelled("stopped on request")

    _, _, expected = alone
    with pytest.raises(Cancelled):
        small_table(tmp_path, seeds=1, workers=2, on_progress=stop_in_the_middle)
    assert 0 < len(on_record["rows"]) < len(without_clocks(expected))
    result = small_table(tmp_path, seeds=1, workers=2)
    assert without_clocks(result) == without_clocks(expected)
    rows = records.read(next(tmp_path.glob("*/rows.json")), TaskRows).rows
    seconds = {(row.name, row.seed): row.seconds for row in rows}
    assert all(seconds[row.name, row.seed] == row.seconds for row in on_record["rows"])


def test_a_worker_that_sees_other_files_refuses(quick_evaluator, small_task, tmp_path):
    source = quick_evaluator.source
    job = Job(source, source, small_task, 1, 0.9, 1, BriefTraining(), 1, tmp_path, "another's")
    with pytest.raises(OSError, match=r"a worker on .* or other texts or models of .*reviews.csv"):
        make_row(Unit(job, "majority", 0), silent, never)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": ("nonsense",)}, "task 'nonsense' is not known"),
        ({"tasks": ()}, "tasks is empty"),
        ({"seeds": 0}, "seeds is 0; allowed: 1 to 100"),
        ({"epsilon": 2.0}, "epsilon"),
        ({"smaller": "nonsense"}, "source 'nonsense' is not known"),
        ({"workers": -1}, "workers is -1; allowed: 0 to 256"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_made(change, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        table("minilm-l6", **({"tasks": ("rotten-tomatoes",), "out": tmp_path} | change))
    assert not list(tmp_path.iterdir())


def test_a_task_that_cannot_be_learnt_says_so_and_the_others_go_on(tmp_path, monkeypatch):
    def fail(self):
        raise ValueError("all of one class")

    monkeypatch.setattr(table_models.Models, "teacher", property(fail))
    tasks = ("rated-tweets", "rotten-tomatoes")
    result = table("minilm-l6", tasks=tasks, smaller="minilm-l6", workers=1, out=tmp_path)
    assert [task.problem for task in result.tasks] == ["all of one class"] * 2
    assert result.tested == ()
