"""Records on disk: whole or not at all; one from anywhere is a valid value, or one line."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.latency import Calibration
from bort_engine.lab.deploy_record import Deployment
from bort_engine.lab.ledger import DeployedLedger, Ledger
from bort_engine.lab.table_record import Table
from bort_engine.runs import records
from bort_engine.runs.work import Request, Status
from bort_engine.search.evaluate import Evaluation, Header
from bort_engine.search.predictor import ErrorPredictor

RECORDED = ASSETS / "recorded"
ERRORS = (RECORDED / "minilm-l6-rotten-tomatoes-elastic-seed0.jsonl").read_text().splitlines()
KINDS = {  # a record that ships, or one made here, by its kind
    Calibration: (ASSETS / "calibrations" / "minilm-l6-default.json").read_text(),
    Deployment: (RECORDED / "deploy-minilm-l6-reuters-r8.json").read_text(),
    Ledger: (RECORDED / "ledger.json").read_text(),
    DeployedLedger: (RECORDED / "ledger-deployed.json").read_text(),
    Table: (RECORDED / "table-minilm-l6.json").read_text(),
    Header: ERRORS[0],
    Evaluation: ERRORS[1],
    Request: '{"command": "front", "arguments": ["minilm-l6"]}',
    Status: '{"state": "running", "done": 1, "total": 2, "seconds_left": 3.5, "updated": 1.7e9}',
    ErrorPredictor: json.dumps(
        records.dump(
            ErrorPredictor(("size",), intercept=1, slopes=(2,), leave_one_out=0, n_points=3)
        )
    ),
}
HOSTILE = [10**400, -(10**30), math.nan, math.inf, True, False, None, "1", "\x00", [], {}, [[]], -1]


def places(plain: Any) -> list[tuple[Any, Any]]:
    """List every (container, key) of a JSON value."""
    if isinstance(plain, dict | list):
        keys = list(plain) if isinstance(plain, dict) else range(len(plain))
        return [pair for key in keys for pair in [(plain, key), *places(plain[key])]]
    return []


def numbers(record: Any) -> list[float]:
    plain = records.dump(record)
    return [c[k] for c, k in places(plain) if isinstance(c[k], int | float)]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_one_hostile_value_is_refused_in_one_line_or_is_a_value_like_others(kind, data):
    plain = json.loads(KINDS[kind])
    container, key = data.draw(st.sampled_from(places(plain)))
    if data.draw(st.integers(0, 6)):
        container[key] = data.draw(st.sampled_from(HOSTILE))
    else:
        del container[key]
    try:
        record = records.parse(json.dumps(plain), kind)
    except ValueError as e:
        assert "\n" not in str(e) and len(str(e)) < 600
        return
    assert all(abs(number) < 1e18 for number in numbers(record)) and str(record)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "NaN", '{"a":' * 50_000, "", "\ud800"])
def test_what_is_no_record_at_all_is_one_line(kind, text):
    with pytest.raises(ValueError, match=f"^damaged {kind.__name__.lower()}: ") as refusal:
        records.parse(text.encode(errors="surrogatepass"), kind)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("value", [10**400, math.nan, math.inf, -1e18])
def test_a_number_that_no_bound_holds_is_named(value):
    with pytest.raises(ValueError, match=r"damaged errorpredictor: intercept"):
        records.parse(
            {"features": [], "intercept": value, "slopes": [], "leave_one_out": 0, "n_points": 3},
            ErrorPredictor,
        )


def test_a_folder_appears_whole_or_not_at_all_and_the_first_one_stays(tmp_path):
    path = tmp_path / "deep" / "model"
    with pytest.raises(KeyboardInterrupt), records.whole_folder(path) as part:
        (part / "weights").write_text("half")
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []
    for text in ("first", "second"):
        with records.whole_folder(path) as part:
            (part / "weights").write_text(text)
    assert [file.name for file in path.parent.iterdir()] == ["model"]
    assert (path / "weights").read_text() == "first"
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(OSError, match="directory"), records.whole_folder(blocked):
        pass
