"""The oracle on the real model and data, small; and its record, which survives what happens."""

import json

import pytest

from bort_engine import Cancelled
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.search.evaluate import Evaluation, Oracle, OracleSettings, Record
from bort_engine.training.teacher import cross_entropy

SMALL = Architecture(1, 2, 96, 192)
ORACLE = {"oracle": {"source": "s", "steps": 3}}


def evaluation(text: str, error: float = 0.5) -> Evaluation:
    return Evaluation(Architecture.parse(text), error, 0.25, 1.0)


def test_a_record_is_read_back_and_a_cut_off_last_line_is_dropped(tmp_path):
    path = tmp_path / "run" / "evaluations.jsonl"
    record = Record(path, ORACLE)
    record.add(evaluation("1,2,96,192"))
    record.add(evaluation("2,2,96,192", 0.4))
    with path.open("a") as file:
        file.write('{"architecture": "3,2,96')  # killed while writing
    again = Record(path, ORACLE)
    assert [str(a) for a in again.evaluations] == ["1,2,96,192", "2,2,96,192"]
    again.add(evaluation("3,2,96,192", 0.3))
    assert Record(path, ORACLE).evaluations[Architecture(3, 2, 96, 192)].error == 0.3


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        '{"architecture": "1,2,96,192"}',
        '{"architecture": "1,5,96,192", "error": 1, "dev_error": 0.5, "seconds": 1}',
        '{"architecture": "1,2,96,192", "error": NaN, "dev_error": 0.5, "seconds": 1}',
        '{"architecture": "1,2,96,192", "error": -1, "dev_error": 0.5, "seconds": 1}',
        '{"architecture": "1,2,96,192", "error": 1, "dev_error": 7, "seconds": 1}',
        '{"architecture": "1,2,96,192", "error": "x", "dev_error": 0.5, "seconds": 1}',
        '{"architecture": 3, "error": 1, "dev_error": 0.5, "seconds": 1}',
    ],
)
def test_a_damaged_line_is_named_and_refused(tmp_path, line):
    path = tmp_path / "evaluations.jsonl"
    Record(path, ORACLE).add(evaluation("2,2,96,192"))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"evaluations.jsonl line 3 is damaged"):
        Record(path, ORACLE)


def test_errors_of_other_settings_are_not_mixed(tmp_path):
    path = tmp_path / "evaluations.jsonl"
    Record(path, ORACLE).add(evaluation("2,2,96,192"))
    with pytest.raises(ValueError, match=r"cannot be mixed. Choose another --out"):
        Record(path, {"oracle": {"source": "s", "steps": 4}})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"steps": 0}, r"steps is 0; allowed: 1 to"),
        ({"seed": -1}, r"seed is -1; allowed: 0 to"),
        ({"initial": "magic"}, r"initial is 'magic'; allowed: inherit, scratch"),
    ],
)
def test_settings_out_of_range_are_named(change, text):
    with pytest.raises(ValueError, match=text):
        OracleSettings("minilm-l6", "rotten-tomatoes", **change)


def test_the_source_is_its_own_perfect_student(quick_oracle):
    T = quick_oracle.teacher
    found = quick_oracle.evaluate(quick_oracle.source.architecture)
    assert found.error == pytest.approx(cross_entropy(T.dev_logits, T.dev_logits), abs=1e-5)
    assert found.error >= 0 and found.seconds < 5


def test_a_candidate_is_measured_the_same_twice_and_worse_than_the_teacher(quick_oracle):
    first, second = (quick_oracle.evaluate(SMALL) for _ in range(2))
    assert first.error == pytest.approx(second.error, abs=1e-4)
    assert first.error > quick_oracle.teacher.error
    assert 0 <= first.dev_error <= 1


def test_a_stop_ends_the_training_after_its_step(quick_oracle):
    settings = OracleSettings("minilm-l6", "rotten-tomatoes", steps=1000, teacher_steps=4)
    oracle = Oracle(sources["minilm-l6"], settings, stop=lambda: True)
    with pytest.raises(Cancelled):
        oracle.evaluate(SMALL)


def test_the_header_says_what_made_the_errors(tmp_path):
    Record(tmp_path / "e.jsonl", ORACLE)
    assert json.loads((tmp_path / "e.jsonl").read_text()) == {"schema": 1} | ORACLE
