"""Reports of Agora: what is refused when one is read, and what a missing part means."""

import json
import re
from copy import deepcopy
from typing import Any

import pytest

from bort_engine.finetune.report import Report, recorded_reports
from bort_engine.runs import records
from tests.fake_engine import snapshots, synthetic_record, synthetic_report


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the synthetic report with one part replaced, its path like `test.rows.1.low`."""
    report = deepcopy(synthetic_report())
    *parents, last = path.split(".")
    part: Any = report
    for key in parents:
        part = part[int(key)] if isinstance(part, list) else part[key]
    part[int(last) if isinstance(part, list) else last] = value
    return report


@pytest.mark.parametrize(
    ("path", "value", "cause"),
    [
        ("labeller.dev_seen", 1.7, r"labeller\.dev_seen \('1\.7'\): .* less than or equal to 1"),
        ("labeller.dev_seen", True, "labeller.dev_seen .*valid number"),
        ("data.n_train", 2.5, "data.n_train .*valid integer"),
        ("runs.0.arms.agora.rounds.1.fits.0.dev_seen", float("nan"), r"fits\.0\.dev_seen"),
        ("runs.0.arms.agora.rounds.0.fits.0.config", [], r"config\.0: Field required"),
        ("runs.0.arms.agora.rounds.0.fits.0.config", [1] * 6, "at most 5 items"),
        ("runs.0.arms.agora.rounds.0.fits.0.config", [1, 0, 0, 0, 0], r"config\.3 \('0'\)"),
        ("runs.0.arms", {"magic": {}}, "runs.0.arms.magic.*'agora', 'plain'"),
        ("runs.0.arms.agora.rounds.1.new_points.0.points.0.label", None, "or neither"),
        ("request.architecture", "9,12,384,768", "does not fit in minilm-l6"),
        ("request.plan.tau", "near", "tau is 'near'; allowed"),
        ("test.rows.0.low", 0.9, r"accuracy 0\.77 is outside of its interval, 0\.9 to"),
        ("test.rows.0.against.plain.difference", 0.9, "outside of its interval"),
        ("models.student.n_encoder_parameters", 10**9, "is beyond n_parameters"),
        ("models.source.latency_ms", 10**400, "latency_ms"),
        ("title", "x", "title .*(Unexpected|not permitted|unexpected)"),
        ("schema", 1, r"written by another version \('1'\); start a new run, or move .*seed-N/"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_that_says_where(path, value, cause):
    with pytest.raises(ValueError, match=cause) as e:
        records.parse(json.dumps(changed(path, value)), Report)
    assert "\n" not in str(e.value)


def test_missing_parts_mean_not_yet():
    whole = synthetic_report()
    begun = {name: whole[name] for name in ("schema", "request", "provenance")}
    report = records.parse(begun, Report)
    assert not report.begun and report.row("agora") is None and report.arms() == {}
    assert report.leads == {} and str(report) == "nothing is scored yet"
    for snapshot, _, _ in snapshots(whole):
        assert records.parse(snapshot, Report).begun


@pytest.mark.parametrize("text", [b"\xff", b"[" * 100_000, b"null"])
def test_a_file_that_is_no_report_is_one_line(tmp_path, text):
    path = tmp_path / "report.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=r"report\.json: damaged report") as e:
        records.read(path, Report)
    assert "\n" not in str(e.value)


def test_what_is_read_is_printable_and_as_it_was_written(tmp_path):
    report = synthetic_record()
    assert records.read(records.write(tmp_path / "report.json", report), Report) == report
    path = "runs.0.arms.agora.rounds.0.mistakes.0.text"
    odd = records.parse(changed(path, "a\x00b" + "c" * 9999), Report)
    text = odd.arms()["agora"].rounds[0].mistakes[0].text
    assert text.startswith("a bc") and len(text) == 2000


def test_the_text_names_every_arm_lead_cost_and_the_checkpoint():
    lines = str(synthetic_record()).splitlines()
    assert lines[1] == "  Agora                  77.0%  (73.0% to 81.0%)"
    assert "Agora against Plain fine-tuning: +3.0 points (95 % interval +1.0 to +5.0)" in lines
    assert lines[-2].startswith("Student 3,12,384,768: 15,600,000 parameters, 3,550,000 of them")
    assert lines[10] == "Always naming the most frequent class is right on 55.0 % of dev."
    assert len(lines) == 1 + 5 + 4 + 1 + 2 + 1


@pytest.mark.parametrize("path", recorded_reports().values(), ids=lambda path: path.stem)
def test_a_shipped_report_holds_no_sentence_for_these_have_authors(path):
    report = records.read(path, Report)
    assert report.majority == "", "it was not counted when this was recorded"
    rounds = [r for run in report.runs for arm in run.arms.values() for r in arm.rounds]
    texts = [part.text for r in rounds for part in (*r.mistakes, *r.points)]
    assert texts and all(re.fullmatch(r"(dev|pool) sentence \d+", text) for text in texts)
