"""Latency: predictions by hand, hostile files, and calibrations of a machine of known speed."""

import json
import math
from dataclasses import asdict, replace
from functools import partial

import pytest
import torch

from bort_engine.encoder import latency, turns
from bort_engine.encoder.latency import Calibration, HeldOut, LatencyReport, calibrate
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.encoder.timing import LatencySettings, TimedShape
from bort_engine.encoder.turns import measure_ms
from bort_engine.runs import records
from bort_engine.runs.provenance import n_threads
from tests.encoder.test_export import needs_openvino

TINY = Source("tiny", "bert", Architecture(4, 2, 64, 64), vocab_size=100)
TINY_SPACE = SearchSpace((1, 4), (2,), (32, 64), (64,))
HAND = Calibration(
    source="tiny",
    settings=LatencySettings(1, 16, 1),
    device="a drawing board",
    versions="torch 0, transformers 0",
    made_on="2020-10-20",
    seconds=1.0,
    outside_ms={"32": 0.5, "64": 0.75},
    layer_ms={"2,32,64": 0.25, "2,64,64": 1.5},
    held_out=(
        HeldOut("1,2,32,64", measured_ms=1.0, iqr_ms=0.1, predicted_ms=0.9),
        HeldOut("4,2,32,64", measured_ms=2.0, iqr_ms=0.1, predicted_ms=2.1),
        HeldOut("1,2,64,64", measured_ms=4.0, iqr_ms=0.1, predicted_ms=5.0),
    ),
)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("batch_size", 0, "1 to 1024"),
        ("sequence_length", 513, "0 to 512"),
        ("threads", True, "1 to 1024"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_the_range(name, value, allowed):
    with pytest.raises(ValueError, match=rf"{name} is {value!r}; allowed: {allowed}\."):
        LatencySettings(**{name: value})
    assert LatencySettings().of_length(64) == LatencySettings(1, 64, n_threads())
    with pytest.raises(ValueError, match=r"'tvm'; allowed: pytorch, onnx-int8, openvino-int8\."):
        LatencySettings(runtime="tvm")
    assert LatencySettings(1, 16).of_length(64) == LatencySettings(1, 16)


def test_a_prediction_is_the_outside_plus_depth_times_a_layer():
    assert HAND.predict_ms(Architecture(4, 2, 32, 64)) == 0.5 + 4 * 0.25
    assert HAND.predict_ms(Architecture(7, 2, 64, 64)) == 0.75 + 7 * 1.5
    assert HAND.covers(SearchSpace((1, 9, 99), (2,), (32, 64), (64,)))


@pytest.mark.parametrize("text", ["1,1,32,64", "1,2,32,63", "1,2,128,64"])
def test_a_block_that_was_not_calibrated_is_not_predicted(text):
    with pytest.raises(ValueError, match=r"is not in the calibration of tiny; calibrate its space"):
        HAND.predict_ms(Architecture.parse(text))
    assert not HAND.covers([Architecture.parse(text)])


def test_between_two_calibrated_sizes_of_the_neurons_a_layer_is_interpolated():
    layer_ms = {"2,32,64": 0.25, "2,32,128": 0.75, "2,64,96": 1.5}
    calibration = replace(HAND, layer_ms=layer_ms)
    assert calibration.predict_ms(Architecture(4, 2, 32, 80)) == pytest.approx(0.5 + 4 * 0.375)
    assert calibration.covers([Architecture(1, 2, 32, 127), Architecture(1, 2, 64, 96)])
    for beyond in ((1, 2, 32, 129), (1, 2, 64, 97), (1, 4, 32, 80)):
        assert not calibration.covers([Architecture(*beyond)])
    bare = replace(HAND, outside_ms={"64": 0.75})
    assert not bare.covers([Architecture(1, 2, 32, 64)])
    with pytest.raises(ValueError, match=r"is not in the calibration of tiny; calibrate its space"):
        bare.predict_ms(Architecture(1, 2, 32, 64))


def test_the_report_is_the_held_out_error_by_hand():
    report = HAND.report()  # off by 10 %, 5 % and 25 %; the order is kept
    assert report.median_relative_error == pytest.approx(0.10)
    assert report.worst_relative_error == pytest.approx(0.25)
    assert report.kendall_tau == pytest.approx(1.0)
    assert (report.n_held_out, report.sequence_length, report.origin) == (3, 16, "measured")
    assert (report.made_on, report.versions) == ("2020-10-20", "torch 0, transformers 0")
    assert records.parse(records.dump(report), LatencyReport) == report


ROW = asdict(HAND.held_out[0])


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"outside_ms": {"32": math.nan}}, "outside_ms.32"),
        ({"held_out": [ROW | {"measured_ms": math.inf}]}, "held_out.0.measured_ms"),
        ({"held_out": []}, "held_out"),
        ({"settings": {"batch_size": 0}}, "settings: .*allowed: 1 to 1024"),
        ({"schema": 1}, "written by another version"),
    ],
    ids=str,
)
def test_a_hostile_calibration_is_refused_by_the_field(tmp_path, change, cause):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(records.dump(HAND) | change))
    with pytest.raises(ValueError, match=rf"c\.json: .*{cause}.*; delete it") as refusal:
        records.read(path, Calibration)
    assert "\n" not in str(refusal.value)


def test_a_calibration_is_named_by_what_it_depends_on(tmp_path):
    settings = LatencySettings(2, 64, 3)
    path_of = partial(latency.calibration_path, tmp_path)
    path = path_of(TINY, TINY_SPACE, settings)
    assert path.name.startswith("tiny-b2-l64-t3-") and path.suffix == ".json"
    others = {
        path_of(replace(TINY, vocab_size=101), TINY_SPACE, settings),
        path_of(TINY, SearchSpace.of(TINY), settings),
        path_of(TINY, TINY_SPACE, LatencySettings(2, 64, 4)),
        path_of(TINY, TINY_SPACE, replace(settings, runtime="onnx-int8")),
    }
    assert len(others - {path}) == 4
    hub = replace(TINY, name="someone/tiny")  # an id with a slash stays within the folder
    assert path_of(hub, TINY_SPACE, settings).parent == path.parent == tmp_path


def test_a_recorded_calibration_is_found_by_source_settings_and_space(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "ASSETS", tmp_path)
    recorded_calibration = latency.recorded_calibration
    assert recorded_calibration(TINY, TINY_SPACE) is None
    shipped = replace(HAND, origin="recorded")
    records.write(tmp_path / "calibrations" / "tiny.json", shipped)
    assert recorded_calibration(TINY, TINY_SPACE) == shipped
    assert recorded_calibration(TINY, TINY_SPACE, LatencySettings(1, 16, 1)) == shipped
    assert recorded_calibration(TINY, TINY_SPACE, LatencySettings(1, 17, 1)) is None
    assert recorded_calibration(TINY, SearchSpace((1,), (1,), (32,), (64,))) is None
    int8 = LatencySettings(1, 0, 1, "onnx-int8")
    assert recorded_calibration(TINY, TINY_SPACE, int8) is None
    twin = replace(shipped, settings=int8.of_length(16))
    records.write(tmp_path / "calibrations" / "a-twin.json", twin)  # read before the other
    assert recorded_calibration(TINY, TINY_SPACE, int8) == twin
    assert recorded_calibration(TINY, TINY_SPACE) == shipped
    assert recorded_calibration(sources["bort"], TINY_SPACE) is None


# Calibrating


class LinearMachine:
    """Stands in for a timed stack: t_A + t_C = 10 H ms and t_B = 10 (H + I) + A ms, exactly.

    Like a shared machine it never keeps its speed: it slows down by 2 % of its first speed with
    every call, whichever stack is asked. Like a cache it forgets: a stack that was not among the
    last two to be asked takes 5,000 ms more. `hiccups` are calls that take ten times as long.
    """

    calls: list["LinearMachine"]
    hiccups: frozenset[int]

    def __init__(self, shape, source, weights, settings):
        a = shape.architecture
        layer = 10 * (a.hidden_size + a.intermediate_size) + a.num_attention_heads
        self.ms = 10 * a.hidden_size + shape.depth * layer

    def time_ms(self, number: int = 1) -> float:
        cold = 0 if self in self.calls[-2:] else 5000
        self.calls.append(self)
        slowness = (1 + 0.02 * len(self.calls)) * (10 if len(self.calls) in self.hiccups else 1)
        return (self.ms + cold) * slowness


@pytest.fixture
def machine(monkeypatch) -> type[LinearMachine]:
    monkeypatch.setattr(turns, "Stack", LinearMachine)
    monkeypatch.setattr(LinearMachine, "calls", [], raising=False)
    monkeypatch.setattr(LinearMachine, "hiccups", frozenset(), raising=False)
    return LinearMachine


LINEAR_SPACE = SearchSpace((1, 2, 4, 6), (1, 2), (32, 64), (64, 128))


@pytest.mark.parametrize("hiccups", [frozenset(), frozenset({3, 8, 21, 34, 35})], ids=len)
def test_on_a_linear_machine_predictions_are_exact_whatever_its_speed(
    machine, monkeypatch, hiccups
):
    monkeypatch.setattr(machine, "hiccups", hiccups)
    calibration = calibrate(TINY, LINEAR_SPACE, LatencySettings(1, 8, 1), rounds=5)
    assert calibration.covers(LINEAR_SPACE)
    speeds = {
        calibration.predict_ms(a) / machine(TimedShape(a, a.num_hidden_layers), None, None, None).ms
        for a in LINEAR_SPACE
    }
    assert max(speeds) / min(speeds) == pytest.approx(1, rel=1e-6)
    report = calibration.report()
    assert report.worst_relative_error < 1e-6 and report.kendall_tau == pytest.approx(1)
    if not hiccups:
        assert all(row.iqr_ms < 1e-3 for row in calibration.held_out)


def test_the_held_out_are_not_of_the_depth_that_was_fitted(machine):
    calibration = calibrate(TINY, LINEAR_SPACE, rounds=1, n_held_out=99)
    depths = sorted(row.architecture[0] for row in calibration.held_out)
    assert depths == ["1"] * 8 + ["2"] * 8 + ["6"] * 8  # all but the fitted depth, 4


def test_the_seed_decides_what_is_held_out_and_an_order_that_changes_every_round(machine):
    def run(seed: int) -> tuple[list[str], list[float]]:
        machine.calls.clear()
        calibration = calibrate(TINY, LINEAR_SPACE, rounds=2, n_held_out=3, seed=seed)
        # Each is timed as warm-up, reference, stack, reference.
        return [row.architecture for row in calibration.held_out], [
            stack.ms for stack in machine.calls[2::4]
        ]

    held_out, order = run(0)
    assert len(set(held_out)) == 3
    assert sorted(order[:13]) == sorted(order[13:]) and order[:13] != order[13:]
    assert run(0) == (held_out, order)
    assert run(1)[0] != held_out and run(1)[1] != order


def test_progress_is_told_after_every_timing(machine):
    events = []
    calibrate(TINY, LINEAR_SPACE, rounds=3, n_held_out=4, on_progress=events.append)
    total = 3 * (2 + 8 + 4)  # rounds x (widths + blocks + held out)
    assert [event["done"] for event in events] == list(range(total + 1))
    assert {event["total"] for event in events} == {total}


@pytest.mark.parametrize("space", [LINEAR_SPACE, SearchSpace((2,), (1,), (32,), (64,))], ids=len)
def test_layers_lost_in_noise_and_a_space_of_one_make_records_that_can_be_read(
    machine, monkeypatch, space
):
    monkeypatch.setattr(machine, "time_ms", lambda self, number=1: 1.0)
    calibration = calibrate(TINY, space, rounds=1)
    assert records.parse(records.dump(calibration), Calibration) == calibration
    report = calibration.report()
    assert records.parse(records.dump(report), LatencyReport) == report


def test_a_sequence_longer_than_the_sources_positions_is_refused(machine):
    source = replace(TINY, model_type="roberta", max_position_embeddings=16)
    calibrate(source, TINY_SPACE, LatencySettings(1, 14, 1), rounds=1)
    with pytest.raises(ValueError, match="sequence_length is 15; tiny allows 1 to 14"):
        calibrate(source, TINY_SPACE, LatencySettings(1, 15, 1), rounds=1)


@pytest.mark.parametrize(
    "source",
    [
        replace(TINY, model_type="roberta", type_vocab_size=1, max_position_embeddings=10),
        replace(TINY, model_type="distilbert", type_vocab_size=0, pooler=False),
        replace(TINY, name="like bort", type_vocab_size=0, pooler=False),
    ],
    ids=["roberta", "distilbert", "bort"],
)
def test_real_models_are_timed_and_the_threads_restored(source):
    threads = torch.get_num_threads()
    settings = LatencySettings(1, 8, 1)
    torch.set_num_threads(2)
    try:
        calibration = calibrate(source, TINY_SPACE, settings, rounds=2)
        times = measure_ms([TINY.architecture], source, settings, rounds=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert times[TINY.architecture] > 0
    assert calibration.covers(TINY_SPACE)
    assert records.parse(records.dump(calibration), Calibration) == calibration


@pytest.mark.parametrize(
    "runtime", ["onnx-int8", pytest.param("openvino-int8", marks=needs_openvino)]
)
def test_int8_stacks_are_exported_and_timed_at_three_sizes_and_two_layers(runtime):
    space = SearchSpace((1, 4), (2,), (32,), (16, 32, 64, 96, 128))
    stages = []
    settings = LatencySettings(1, 8, 1, runtime)
    calibration = calibrate(
        TINY,
        space,
        settings,
        rounds=1,
        n_held_out=1,
        on_progress=lambda event: stages.append(event["stage"]),
    )
    assert sorted(calibration.layer_ms) == ["2,32,128", "2,32,16", "2,32,64"]
    assert calibration.covers(space) and calibration.report().runtime == runtime
    assert {"onnx-int8": "onnxruntime", "openvino-int8": "nncf"}[runtime] in calibration.versions
    assert len(set(stages)) == 2 and stages.count("exporting what is timed") == 1 + 3 + 1
    assert records.parse(records.dump(calibration), Calibration) == calibration


def test_a_runtime_that_is_not_installed_is_named_before_anything_slow(monkeypatch):
    monkeypatch.setattr(latency, "find_spec", lambda name: None if name == "openvino" else name)
    with pytest.raises(ValueError, match=r"to time openvino-int8 needs .*: pip install openvino$"):
        latency.check_packages("openvino-int8")
    latency.check_packages("onnx-int8")
