"""Latency by layer: on a machine where it adds up, predictions are exact."""

import pytest

from bort_engine.encoder import turns
from bort_engine.encoder.layer_latency import calibrate_layers
from bort_engine.encoder.timing import LatencySettings
from bort_engine.encoder.uneven import Uneven
from bort_engine.runs import records
from tests.encoder.test_build import BERT


class LinearMachine:
    """10 H ms outside; an attention takes 3 ms and H a head, a feed-forward 2 ms and 0.1 a neuron.

    Of a shape that is not uneven: its layers are whole.
    """

    def __init__(self, shape, source, weights, settings):
        a = shape.architecture
        whole = ((a.num_attention_heads, a.intermediate_size),) * shape.depth
        layers = shape.uneven.layers if shape.uneven else whole
        self.ms = 10 * a.hidden_size + sum(
            (3 + a.hidden_size * h) * (h > 0) + (2 + 0.1 * n) * (n > 0) for h, n in layers
        )

    def time_ms(self, number: int = 1) -> float:
        return self.ms


def test_on_a_machine_where_parts_add_up_predictions_are_exact(monkeypatch, tmp_path):
    monkeypatch.setattr(turns, "Stack", LinearMachine)
    latency = calibrate_layers(BERT, (16, 32), LatencySettings(1, 8, 1), rounds=1)
    assert latency.outside_ms == {16: 160, 32: 320}
    assert latency.layer_ms[16] == pytest.approx((3, 16, 2, 0.1), abs=1e-4)
    assert latency.layer_ms[32] == pytest.approx((3, 32, 2, 0.1), abs=1e-4)
    report = latency.report()
    assert report.worst_relative_error < 1e-4 and report.n_held_out == 6
    shape = Uneven.parse("16:4x48,0x8,-,1x0")
    assert latency.of_layer((0, 8), 16) == pytest.approx(2.8, abs=1e-3)
    assert latency.predict_ms(shape) == pytest.approx(160 + 3 + 64 + 2 + 4.8 + 2.8 + 19, abs=1e-2)
    assert records.read(records.write(tmp_path / "latency.json", latency), type(latency)) == latency


def test_real_uneven_stacks_are_timed():
    latency = calibrate_layers(BERT, (32,), LatencySettings(1, 8, 1), rounds=1)
    assert latency.predict_ms(Uneven.parse("32:4x48,4x48,4x48,4x48")) > latency.outside_ms[32] > 0
