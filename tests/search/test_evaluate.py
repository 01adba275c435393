"""Evaluations of the real model on real data, small; and their table, which survives a crash."""

import json
import math
from dataclasses import replace

import pytest

from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.runs import records
from bort_engine.runs.events import Cancelled
from bort_engine.runs.provenance import Provenance
from bort_engine.search.evaluate import (
    BriefTraining,
    Evaluation,
    EvaluationTable,
    Evaluator,
    Header,
    Setup,
)
from bort_engine.training.metrics import distance
from bort_engine.training.teacher import TeacherReport

SMALL = Architecture(1, 2, 96, 192)
HEADER = Header(
    Setup("s", "t"), TeacherReport(0.2, 0.1, 0.45, 1000, 1000, 1.0), Provenance("m", "v", "d")
)


def evaluation(text: str, error: float = 0.5) -> Evaluation:
    return Evaluation(Architecture.parse(text), error, 0.25, 1.0)


def test_a_table_is_read_back_and_a_cut_off_last_line_is_dropped(tmp_path):
    path = tmp_path / "run" / "evaluations.jsonl"
    table = EvaluationTable(path, HEADER)
    table.add(evaluation("1,2,96,192"))
    table.add(evaluation("2,2,96,192", 0.4))
    with path.open("a") as file:
        file.write('{"architecture": "3,2,96')  # killed while writing
    again = EvaluationTable(path, HEADER)
    assert [str(a) for a in again.evaluations] == ["1,2,96,192", "2,2,96,192"]
    again.add(evaluation("3,2,96,192", 0.3))
    table = EvaluationTable(path)
    assert table.header == HEADER
    assert table.evaluations[Architecture(3, 2, 96, 192)].error == 0.3


def test_a_table_whose_header_was_cut_off_begins_anew(tmp_path):
    path = tmp_path / "evaluations.jsonl"
    EvaluationTable(path, HEADER)
    path.write_bytes(path.read_bytes()[:500])  # as a disk that is full leaves it
    EvaluationTable(path, HEADER).add(evaluation("2,2,96,192"))
    table = EvaluationTable(path)
    assert table.header == HEADER and len(table.evaluations) == 1


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        '{"architecture": "1,2,96,192"}',
        '{"architecture": "1,5,96,192", "error": 1, "dev_error": 0.5, "seconds": 1}',
        '{"architecture": "1,2,96,192", "error": NaN, "dev_error": 0.5, "seconds": 1}',
        '{"architecture": "1,2,96,192", "error": 1, "dev_error": 7, "seconds": 1}',
        '{"architecture": "1,2,96,192", "error": true, "dev_error": 0.5, "seconds": 1}',
        '{"architecture": "2,2,96,192", "error": 0.5, "dev_error": 0.24, "seconds": 1}',
        "[" * 100_000,
    ],
)
def test_a_damaged_line_is_named_and_refused(tmp_path, line):
    path = tmp_path / "evaluations.jsonl"
    EvaluationTable(path, HEADER).add(evaluation("2,2,96,192"))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"evaluations.jsonl line 3 is damaged .*start anew"):
        EvaluationTable(path, HEADER)


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_dev", 0), ("n_dev", True), ("dev_error", 1.5), ("error", math.nan), ("seconds", 10**400)],
)
def test_a_table_with_a_teacher_that_cannot_be_is_refused(tmp_path, field, value):
    path, header = tmp_path / "evaluations.jsonl", records.dump(HEADER)
    header["teacher"][field] = value
    path.write_text(json.dumps(header) + "\n")
    with pytest.raises(ValueError, match=rf"line 1 is damaged .*teacher\.{field}.*start anew"):
        EvaluationTable(path)
    del header["teacher"]
    path.write_text(json.dumps(header) + "\n")
    with pytest.raises(ValueError, match=r"line 1 is damaged .*teacher.*required.*start anew"):
        EvaluationTable(path)


def test_a_table_of_another_version_or_set_up_is_refused(tmp_path):
    path = tmp_path / "evaluations.jsonl"
    EvaluationTable(path, HEADER).add(evaluation("2,2,96,192"))
    setup = replace(HEADER.setup, training=BriefTraining(steps=4), seed=7)
    text = r"with seed 0 and steps 30, not with seed 7 and steps 4; .* Choose another --out"
    with pytest.raises(ValueError, match=text):
        EvaluationTable(path, replace(HEADER, setup=setup))
    path.write_text('{"schema": 1, "oracle": {}, "teacher": {}}\n')
    with pytest.raises(ValueError, match=r"\.jsonl: .* another version .*start anew"):
        EvaluationTable(path, HEADER)
    path.write_text('{"schema": 2, "set')  # killed while writing the header
    with pytest.raises(ValueError, match=r"line 1 is damaged .*start anew"):
        EvaluationTable(path, HEADER)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"steps": -1}, r"steps is -1; allowed: 0 to"),
        ({"train_batch_size": 2.5}, r"train_batch_size is 2.5; allowed: 1 to 1024"),
        ({"learning_rate": -1}, r"learning_rate is -1; allowed: 0 to 1"),
    ],
)
def test_settings_out_of_range_are_named(change, text):
    with pytest.raises(ValueError, match=text):
        BriefTraining(**change)


def test_the_usual_steps_are_the_oracles():
    assert Setup("s", "t").training.steps == 30
    assert Setup("s", "t", "elastic").training.steps == 500


def test_the_source_is_its_own_perfect_student(quick_evaluator):
    T = quick_evaluator.teacher
    evaluation = quick_evaluator.evaluate(quick_evaluator.source.architecture)
    assert evaluation.error == pytest.approx(distance(T.dev_logits, T.dev_logits), abs=1e-5)


def test_a_candidate_is_measured_the_same_twice_and_worse_than_the_teacher(quick_evaluator):
    first, second = (quick_evaluator.evaluate(SMALL) for _ in range(2))
    assert first.error == pytest.approx(second.error, abs=1e-4)
    assert first.error > quick_evaluator.teacher.error
    assert 0 <= first.dev_error <= 1


def test_a_stop_ends_the_training_after_its_step(quick_evaluator):
    setup = replace(quick_evaluator.setup, training=BriefTraining(steps=1000, teacher_steps=4))
    evaluator = Evaluator(sources["minilm-l6"], setup, stop=lambda: True)
    with pytest.raises(Cancelled):
        evaluator.evaluate(SMALL)
