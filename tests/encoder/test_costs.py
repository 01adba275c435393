"""Costs against published counts, the real transformers models, and a machine of known speed."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bort_engine.encoder import latency
from bort_engine.encoder.costs import PartCounts, n_operations, n_parameters
from bort_engine.encoder.latency import (
    Calibration,
    LatencySettings,
    calibrate,
    calibration_path,
    recorded_calibration,
)
from bort_engine.encoder.sources import FAMILIES, Source, sources
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.runs.provenance import n_threads

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
BORT = sources["bort"]
TINY = Source("tiny", "bert", Architecture(4, 2, 64, 64), vocab_size=100)
TINY_SPACE = SearchSpace((1, 4), (2,), (32, 64), (64,))

# Counted from the released checkpoints; Bort from its released shape.
PUBLISHED = {
    "bert-base-uncased": 109_482_240,
    "bert-base-cased": 108_310_272,
    "bert-large-uncased": 335_141_888,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "distilbert-base-uncased": 66_362_880,
    "tinybert-4": 14_350_248,
    "bert-tiny": 4_385_920,
    "bert-mini": 11_170_560,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
    "minilm-l6": 22_713_216,
    "bort": 75_106_304,
}


# Parameters and operations


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_equal_the_published_model_to_the_last_unit(name):
    source = sources[name]
    assert n_parameters(source.architecture, source).total == PUBLISHED[name]


def test_parts_of_bert_large_and_bort_are_those_of_the_released_shapes():
    large = sources["bert-large-uncased"]
    assert n_parameters(large.architecture, large) == PartCounts(
        embeddings=31_782_912, encoder=302_309_376, head=1_049_600
    )
    assert n_parameters(BORT.architecture, BORT) == PartCounts(
        embeddings=51_997_696, encoder=23_108_608, head=0
    )


def test_bort_with_hidden_and_intermediate_swapped_counts_the_articles_56_million():
    swapped = replace(BORT, architecture=Architecture(4, 8, 768, 1024), pooler=True, mlm_head=True)
    assert n_parameters(swapped.architecture, swapped).total == 55_991_641


def test_parameters_of_a_model_small_enough_to_count_by_hand():
    source = Source("hand", "bert", Architecture(2, 1, 2, 3), 5, 4, 1)
    assert n_parameters(source.architecture, source) == PartCounts(
        embeddings=(5 + 4 + 1) * 2 + 4,  # three tables of width 2, and a norm's 2 + 2
        encoder=2 * (4 * (2 * 2 + 2) + (2 * 3 + 3) + (3 * 2 + 2) + 2 * 4),  # QKVO, up, down, norms
        head=2 * 2 + 2,
    )


def test_operations_of_a_model_small_enough_to_count_by_hand():
    source = Source("hand", "bert", Architecture(2, 1, 2, 3), 5, 4, 1)
    # 7 tokens: four 2x2 products and 2x3, 3x2 a token; scores and their use are 7 x 7 x 2 each
    layer = 7 * (4 * 2 * 2 + 2 * 2 * 3) + 2 * 7 * 7 * 2
    assert n_operations(source.architecture, source, 7) == PartCounts(0, 2 * layer, 2 * 2)


@pytest.mark.parametrize("length", [0, -1])
def test_operations_of_no_sequence_are_refused(length):
    with pytest.raises(ValueError, match=rf"sequence_length is {length}; it must be at least 1"):
        n_operations(BORT.architecture, BORT, length)


@unhurried
@given(*[st.integers(0, 2**40)] * 3)
def test_parts_sum_to_the_total(embeddings, encoder, head):
    assert PartCounts(embeddings, encoder, head).total == embeddings + encoder + head


def random_sources(n: int) -> Iterator[Source]:
    rng = random.Random(0)
    for index in range(n):
        family = FAMILIES[index % 3]
        heads = rng.randint(1, 4)
        shape = Architecture(
            rng.randint(1, 5), heads, heads * 2 * rng.randint(1, 12), rng.randint(1, 90)
        )
        yield Source(
            f"{index} {family}",
            family,
            shape,
            vocab_size=rng.randint(5, 300),
            max_position_embeddings=rng.randint(16, 40),
            type_vocab_size=0 if family == "distilbert" else rng.randint(1, 3),
            pooler=family != "distilbert" and rng.random() < 0.5,
        )


def real_model(source: Source, masked: bool = False):
    """Build the source in transformers, without memory; attention written out, to be counted."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

    config = AutoConfig.for_model(source.model_type, **source.config(), attn_implementation="eager")
    choice = {} if source.model_type == "distilbert" else {"add_pooling_layer": source.pooler}
    with torch.device("meta"):
        if masked:
            return AutoModelForMaskedLM.from_config(config)
        return AutoModel.from_config(config, **choice)


def counted_flops(model, length: int) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    ids = torch.zeros(1, length, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=ids)
    return counter.get_total_flops()


@pytest.mark.parametrize("source", list(random_sources(50)), ids=str)
def test_counts_equal_the_real_transformers_model(source):
    model = real_model(source)
    parameters = sum(p.numel() for p in model.parameters())
    length = 3 + parameters % 11
    assert n_parameters(source.architecture, source).total == parameters
    assert 2 * n_operations(source.architecture, source, length).total == counted_flops(
        model, length
    )


def test_the_masked_language_model_head_equals_the_real_one():
    source = replace(TINY, pooler=False, mlm_head=True)
    model = real_model(source, masked=True)
    assert n_parameters(source.architecture, source).total == sum(
        p.numel() for p in model.parameters()
    )
    assert 2 * n_operations(source.architecture, source, 9).total == counted_flops(model, 9)


# Latency settings and calibrations


def test_settings_default_to_the_threads_this_process_may_use():
    assert LatencySettings() == LatencySettings(1, 128, n_threads())


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [
        ("batch_size", 0, 1024),
        ("batch_size", 1025, 1024),
        ("sequence_length", 513, 512),
        ("sequence_length", 12.0, 512),
        ("threads", -1, 1024),
        ("threads", True, 1024),
    ],
)
def test_a_setting_out_of_range_is_refused_with_the_range(name, value, most):
    with pytest.raises(ValueError, match=rf"{name} is {value!r}; allowed: 1 to {most}\."):
        LatencySettings(**{name: value})


def hand_made(**changes: object) -> Calibration:
    made = Calibration(
        source="tiny",
        settings=LatencySettings(1, 16, 1),
        device="a drawing board",
        versions="torch 0, transformers 0",
        made_on="2020-10-20",
        seconds=1.0,
        outside_ms={"32": 0.5, "64": 0.75},
        layer_ms={"2,32,64": 0.25, "2,64,64": 1.5},
        held_out=(
            {"architecture": "1,2,32,64", "measured_ms": 1.0, "iqr_ms": 0.1, "predicted_ms": 0.9},
            {"architecture": "4,2,32,64", "measured_ms": 2.0, "iqr_ms": 0.1, "predicted_ms": 2.1},
            {"architecture": "1,2,64,64", "measured_ms": 4.0, "iqr_ms": 0.1, "predicted_ms": 5.0},
        ),
    )
    return replace(made, **changes)


def test_a_prediction_is_the_outside_plus_depth_times_a_layer():
    assert hand_made().predict_ms(Architecture(4, 2, 32, 64)) == 0.5 + 4 * 0.25
    assert hand_made().predict_ms(Architecture(7, 2, 64, 64)) == 0.75 + 7 * 1.5


@pytest.mark.parametrize("text", ["1,1,32,64", "1,2,32,63", "1,2,128,64"])
def test_a_block_that_was_not_calibrated_is_not_predicted(text):
    with pytest.raises(ValueError, match=r"is not in the calibration of tiny; calibrate its space"):
        hand_made().predict_ms(Architecture.parse(text))
    assert not hand_made().covers([Architecture.parse(text)])


def test_a_calibration_covers_every_depth_of_its_blocks():
    assert hand_made().covers(SearchSpace((1, 9, 99), (2,), (32, 64), (64,)))


def test_the_report_is_the_held_out_error_by_hand():
    report = hand_made().report()  # off by 10 %, 5 % and 25 %; the order is kept
    assert report.median_relative_error == pytest.approx(0.10)
    assert report.worst_relative_error == pytest.approx(0.25)
    assert report.kendall_tau == pytest.approx(1.0)
    assert (report.n_held_out, report.sequence_length, report.recorded) == (3, 16, None)


def test_a_recorded_calibration_says_where_and_when_it_was_made():
    assert hand_made(recorded=True).report().recorded == "2020-10-20, torch 0, transformers 0"


def test_a_calibration_survives_being_saved_and_loaded(tmp_path):
    path = hand_made().save(tmp_path / "new" / "c.json")
    assert Calibration.load(path) == hand_made()
    assert Calibration.load(path, recorded=True) == hand_made(recorded=True)
    assert [p.name for p in path.parent.iterdir()] == ["c.json"]


HELD_OUT = asdict(hand_made())["held_out"]


@pytest.mark.parametrize(
    "change",
    [
        {"outside_ms": {"32": math.nan}},
        {"outside_ms": {"32": 0.0}},
        {"layer_ms": {"2,32,64": -1.0}},
        {"layer_ms": {"2,32,64": "fast"}},
        {"layer_ms": [1.0]},
        {"layer_ms": {}, "outside_ms": {}, "held_out": []},
        {"held_out": [HELD_OUT[0] | {"measured_ms": 0.0}]},
        {"held_out": [HELD_OUT[0] | {"measured_ms": math.inf}]},
        {"held_out": [{"architecture": "1,2,32,64"}]},
        {"held_out": [3]},
        {"held_out": []},
        {"held_out": None},
        {"settings": {"batch_size": 0}},
        {"settings": {"colour": 1}},
        {"settings": None},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_hostile_calibration_is_refused_by_its_path(tmp_path, change):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(asdict(hand_made()) | change))
    assert_refused(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"source": "tiny"}', "[" * 100_000])
def test_a_truncated_calibration_is_refused_by_its_path(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_text(text)
    assert_refused(path)


def test_a_missing_or_binary_calibration_is_refused_by_its_path(tmp_path):
    assert_refused(tmp_path / "none.json")
    (tmp_path / "c.json").write_bytes(b"\xff\xfe\x00")
    assert_refused(tmp_path / "c.json")


def assert_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r"^calibration .*\.json cannot be read \(") as caught:
        Calibration.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_calibration_is_named_by_what_it_depends_on(tmp_path):
    settings = LatencySettings(2, 64, 3)
    path = calibration_path(tmp_path, TINY, TINY_SPACE, settings)
    assert path.parent == tmp_path
    assert path.name.startswith("tiny-b2-l64-t3-") and path.suffix == ".json"
    others = [
        calibration_path(tmp_path, replace(TINY, vocab_size=101), TINY_SPACE, settings),
        calibration_path(tmp_path, TINY, SearchSpace.of(TINY), settings),
        calibration_path(tmp_path, TINY, TINY_SPACE, LatencySettings(2, 64, 4)),
    ]
    assert len({path, *others}) == 4
    hub = replace(TINY, name="someone/tiny")  # an id with a slash stays within the folder
    assert calibration_path(tmp_path, hub, TINY_SPACE, settings).parent == tmp_path


def test_a_recorded_calibration_is_found_by_source_settings_and_space(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "ASSETS", tmp_path)
    assert recorded_calibration(TINY, TINY_SPACE) is None
    hand_made().save(tmp_path / "calibrations" / "tiny.json")
    found = hand_made(recorded=True)
    assert recorded_calibration(TINY, TINY_SPACE) == found
    assert recorded_calibration(TINY, TINY_SPACE, LatencySettings(1, 16, 1)) == found
    assert recorded_calibration(TINY, TINY_SPACE, LatencySettings(1, 17, 1)) is None
    assert recorded_calibration(TINY, SearchSpace((1,), (1,), (32,), (64,))) is None
    assert recorded_calibration(BORT, TINY_SPACE) is None


# Calibrating


class LinearMachine:
    """Stands in for a timed stack: t_A + t_C = 10 H ms and t_B = 10 (H + I) + A ms, exactly.

    Like a shared machine it never keeps its speed: it slows down by 2 % of its first speed with
    every call, whichever stack is asked. Like a cache it forgets: a stack that was not among the
    last two to be asked takes 5,000 ms more. `hiccups` are calls that take ten times as long.
    """

    calls: ClassVar[list[LinearMachine]] = []
    hiccups: ClassVar[frozenset[int]] = frozenset()

    def __init__(self, source, architecture, depth, weights, settings):
        a = architecture
        layer = 10 * (a.hidden_size + a.intermediate_size) + a.num_attention_heads
        self.ms = 10 * a.hidden_size + depth * layer

    def time_ms(self, number: int = 1) -> float:
        cold = 0 if self in self.calls[-2:] else 5000
        self.calls.append(self)
        slowness = (1 + 0.02 * len(self.calls)) * (10 if len(self.calls) in self.hiccups else 1)
        return (self.ms + cold) * slowness


@pytest.fixture
def linear_machine(monkeypatch) -> type[LinearMachine]:
    monkeypatch.setattr(latency, "_Stack", LinearMachine)
    monkeypatch.setattr(LinearMachine, "calls", [])
    return LinearMachine


LINEAR_SPACE = SearchSpace((1, 2, 4, 6), (1, 2), (32, 64), (64, 128))


@pytest.mark.parametrize("hiccups", [frozenset(), frozenset({3, 8, 21, 34, 35})], ids=len)
def test_on_a_linear_machine_predictions_are_exact_whatever_its_speed(
    linear_machine, monkeypatch, hiccups
):
    monkeypatch.setattr(linear_machine, "hiccups", hiccups)
    made = calibrate(TINY, LINEAR_SPACE, LatencySettings(1, 8, 1), rounds=5)
    assert made.covers(LINEAR_SPACE)
    speeds = {
        made.predict_ms(a) / linear_machine(TINY, a, a.num_hidden_layers, None, None).ms
        for a in LINEAR_SPACE
    }
    assert max(speeds) / min(speeds) == pytest.approx(1, rel=1e-6)
    report = made.report()
    assert report.worst_relative_error < 1e-6 and report.kendall_tau == pytest.approx(1)
    if not hiccups:
        assert all(row["iqr_ms"] < 1e-3 for row in made.held_out)


def test_the_held_out_are_not_of_the_depth_that_was_fitted(linear_machine):
    made = calibrate(TINY, LINEAR_SPACE, LatencySettings(1, 8, 1), rounds=1, n_held_out=99)
    depths = [Architecture.parse(row["architecture"]).num_hidden_layers for row in made.held_out]
    assert sorted(depths) == [1] * 8 + [2] * 8 + [6] * 8  # all but the fitted depth, 4
    assert made.report().n_held_out == 24


def test_the_order_changes_every_round_and_is_the_seeds(linear_machine):
    def order(seed: int) -> list[float]:
        linear_machine.calls.clear()
        calibrate(TINY, LINEAR_SPACE, rounds=2, n_held_out=3, seed=seed)
        return [stack.ms for stack in linear_machine.calls[2::4]]  # warm-up, clock, stack, clock

    first, second = order(0)[:13], order(0)[13:]
    assert sorted(first) == sorted(second) and first != second
    assert order(0) == order(0) != order(1)


def test_the_held_out_are_drawn_by_the_seed(linear_machine):
    def drawn(seed: int) -> list[str]:
        made = calibrate(TINY, LINEAR_SPACE, rounds=1, n_held_out=5, seed=seed)
        return [row["architecture"] for row in made.held_out]

    assert drawn(1) == drawn(1) and len(set(drawn(1))) == 5
    assert drawn(1) != drawn(2)


def test_progress_is_told_after_every_timing(linear_machine):
    events = []
    calibrate(TINY, LINEAR_SPACE, rounds=3, n_held_out=4, on_progress=events.append)
    total = 3 * (2 + 8 + 4)  # rounds x (widths + blocks + held out)
    assert [event["done"] for event in events] == list(range(1, total + 1))
    assert {event["total"] for event in events} == {total}


def test_a_layer_lost_in_noise_still_makes_a_calibration_that_can_be_read(
    linear_machine, monkeypatch, tmp_path
):
    monkeypatch.setattr(linear_machine, "time_ms", lambda self, number=1: 1.0)
    made = calibrate(TINY, LINEAR_SPACE, rounds=1)
    assert Calibration.load(made.save(tmp_path / "c.json")) == made


def test_a_space_of_one_architecture_has_a_report_that_can_be_written(linear_machine):
    made = calibrate(TINY, SearchSpace((2,), (1,), (32,), (64,)), rounds=1)
    assert all(map(math.isfinite, numbers(made.report())))


def numbers(report: latency.LatencyReport) -> list[float]:
    return [value for value in asdict(report).values() if isinstance(value, int | float)]


@pytest.mark.parametrize(("family", "most"), [("bert", 16), ("roberta", 14)])
def test_a_sequence_longer_than_the_sources_positions_is_refused(linear_machine, family, most):
    source = replace(TINY, model_type=family, max_position_embeddings=16)
    calibrate(source, TINY_SPACE, LatencySettings(1, most, 1), rounds=1)
    with pytest.raises(
        ValueError, match=rf"sequence_length is {most + 1}; tiny allows 1 to {most}"
    ):
        calibrate(source, TINY_SPACE, LatencySettings(1, most + 1, 1), rounds=1)


@pytest.mark.parametrize(
    "source",
    [
        TINY,
        replace(TINY, model_type="roberta", type_vocab_size=1, max_position_embeddings=10),
        replace(TINY, model_type="distilbert", type_vocab_size=0, pooler=False),
        replace(TINY, name="like bort", type_vocab_size=0, pooler=False),
    ],
    ids=["bert", "roberta", "distilbert", "bort"],
)
def test_a_real_calibration_predicts_its_space_and_restores_the_threads(source, tmp_path):
    import torch

    before, events = torch.get_num_threads(), []
    settings = LatencySettings(1, 8, 1)
    torch.set_num_threads(2)
    try:
        made = calibrate(source, TINY_SPACE, settings, rounds=2, on_progress=events.append)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert events[-1]["done"] == events[-1]["total"] == 2 * (2 + 2 + 2)
    report = made.report()
    assert all(map(math.isfinite, numbers(report)))
    assert (report.batch_size, report.sequence_length, report.threads) == (1, 8, 1)
    assert all(made.predict_ms(a) > 0 for a in TINY_SPACE)
    assert Calibration.load(made.save(tmp_path / "c.json")) == made
