"""A calibration that a busy machine spoiled is taken again, once, and then refused."""

from dataclasses import replace

import pytest

from bort_engine.encoder.latency import Calibration, HeldOut
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import SearchSpace
from bort_engine.search import candidates
from tests.conftest import synthetic_calibration

SOURCE = sources["minilm-l6"]
SPACE = SearchSpace.parse("D=1-6 A=12 H=384 I=1536", SOURCE)


def calibration(off: float) -> Calibration:
    """Return one whose predictions are so far off what was measured, in the median."""
    rows = tuple(HeldOut("1,12,384,1536", 1.0, 0.1, 1.0 + error) for error in (0.01, off, 3.0))
    return replace(synthetic_calibration(SOURCE, SPACE), held_out=rows)


def test_a_spoiled_calibration_is_taken_again_once_and_never_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("BORT_CACHE", str(tmp_path))
    monkeypatch.setattr(candidates, "MOST_OFF", 0.15)
    times = iter([0.63, 0.12, 1.75, 0.2, 0.02])
    monkeypatch.setattr(candidates, "calibrate", lambda *_, **__: calibration(next(times)))
    first = candidates.calibration_for(SOURCE, SPACE)
    assert first.report().median_relative_error == pytest.approx(0.12)
    assert candidates.calibration_for(SOURCE, SPACE) == first  # as kept
    with pytest.raises(ValueError, match=r"175% and 20% off .* at most 15% is allowed"):
        candidates.calibration_for(SOURCE, SPACE, recalibrate=True)
    (path,) = (tmp_path / "calibrations").iterdir()
    candidates.records.write(path, calibration(1.75))  # of an earlier version
    again = candidates.calibration_for(SOURCE, SPACE)
    assert again.report().median_relative_error == pytest.approx(0.02) and next(times, 0) == 0
