"""Whole models timed in turns: what comes out, what is refused, what is said of a busy machine."""

from dataclasses import replace

import pytest

from bort_engine.encoder import stopwatch as module
from bort_engine.encoder.stopwatch import Times, stopwatch
from bort_engine.encoder.timing import LatencySettings
from bort_engine.runs import records
from bort_engine.runs.events import Cancelled
from tests.encoder.test_latency import TINY

SETTINGS = LatencySettings(1, 8, 1)
SMALLER = replace(TINY.architecture, num_hidden_layers=1)
BOTH = f"{TINY.architecture} {SMALLER}"


def test_shapes_are_timed_and_kept_in_the_order_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "getloadavg", lambda: (0.1, 0, 0))
    stages = []
    times = stopwatch(
        TINY,
        architectures=f"{BOTH} {SMALLER}",  # once each
        settings=SETTINGS,
        rounds=3,
        out=tmp_path,
        on_progress=lambda event: stages.append(event["total"]),
    )
    assert [row.architecture for row in times.rows] == [TINY.architecture, SMALLER]
    assert all(0 < row.low <= row.median <= row.high for row in times.rows)
    assert set(stages) == {6} and len(stages) == 7  # the start, and 3 rounds of 2
    assert records.read(tmp_path / "stopwatch.json", Times) == times
    assert "in pytorch, batch 1, 8 tokens" in str(times) and "other programs" not in str(times)


def test_a_busy_machine_is_told(monkeypatch):
    monkeypatch.setattr(module.os, "getloadavg", lambda: (2.3, 0, 0))
    times = stopwatch(TINY, architectures=str(SMALLER), settings=SETTINGS, rounds=1)
    assert times.is_busy and "other programs were at work (load 2.3)" in str(times)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"architectures": " "}, "0 architectures are given; allowed: 1 to 32."),
        ({"architectures": "1,2"}, "'1,2'"),
        ({"architectures": BOTH, "rounds": 0}, "rounds is 0; allowed: 1 to 10000."),
        (
            {"architectures": BOTH, "settings": LatencySettings(1, 512)},
            "sequence_length is 512; tiny allows 1 to 16.",
        ),
    ],
)
def test_a_mistake_is_one_line(options, line):
    with pytest.raises(ValueError, match=line):
        stopwatch(replace(TINY, max_position_embeddings=16), **options)


def test_it_can_be_stopped():
    with pytest.raises(Cancelled):
        stopwatch(TINY, architectures=BOTH, settings=SETTINGS, rounds=2, stop=lambda: True)
