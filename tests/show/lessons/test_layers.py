"""The lesson on layers that differ: sums and comparisons by hand, a made-up record, its page."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from bort_engine.encoder.uneven import Uneven, draw
from bort_engine.runs.provenance import Provenance
from bort_engine.search.layer_losses import LayerLosses, costs_of
from bort_engine.search.layer_result import Audited, Effort, LayersFront, UnevenPoint
from bort_engine.search.scale import Scale
from bort_engine.show.lessons import exercises, layers, layers_figures, questions
from bort_engine.show.lessons.table import SOURCE, Table
from bort_engine.training.teacher import TeacherReport
from tests.search.test_layers import LATENCY, lost
from tests.show.lessons.conftest import press, words

WHOLE, SMALL = "384:" + ",".join(["12x1536"] * 6), "192:-,6x768,-,-,-,12x0"
TINY = "192:-,-,-,-,-,1x8"


@pytest.fixture(scope="module")
def record() -> LayersFront:
    """Losses that do add up; three measured shapes, in 11, 5 and 1 ms; errors by hand."""
    rng = random.Random(0)
    shapes = [draw(SOURCE, rng.choice([192, 384]), rng) for _ in range(300)]
    losses = LayerLosses.fit({shape: lost(shape) for shape in shapes}, SOURCE.architecture)
    floor = 0.2
    rows = (
        (WHOLE, 22_713_216, 11.0, -4.0, floor, 0.17, "source"),
        (SMALL, 7_000_000, 5.0, -2.0, floor - 0.01 + math.exp(-1.5), 0.19, "search"),
        (TINY, 6_000_000, 1.0, -1.0, floor - 0.01 + math.exp(-0.9), 0.30, "local search"),
    )
    points = [
        UnevenPoint(Uneven.parse(a), p, i, loss, error, dev, (dev - 0.17) / 0.28, by, pareto=True)
        for a, p, i, loss, error, dev, by in rows
    ]
    return LayersFront(
        source="minilm-l6",
        task="rotten-tomatoes",
        epsilon=0.2,
        effort=Effort(20, 3, 1, 0, 1),
        n_found=1,
        n_states=2,
        search_seconds=0.1,
        points=tuple(points),
        audit=tuple(Audited(s, lost(s), lost(s) + 0.1) for s in shapes[:6]),
        losses=losses,
        latency=LATENCY,
        scale=Scale(0.17, 0.28),
        teacher=TeacherReport(floor, 0.17, 0.45, 1000, 1000, 1.0),
        made=Provenance("<b>CPU", "made up", "2000-01-01"),
        seed=0,
        seconds=1.0,
    )


def test_what_is_found_covers_random_shapes_and_its_question_is_on_the_states(record):
    result = layers.searched(record, 0.2)
    costs = layers.found_frame(result).to_numpy()[:, 1:].astype(float)
    rng = random.Random(3)
    drawn = [draw(SOURCE, hidden, rng) for hidden in (192, 384) * 20]
    for x in costs_of(drawn, record.losses, LATENCY, SOURCE):
        bound = np.array([1.2 * x.n_parameters, 1.2 * x.latency_ms, x.loss + 1e-6])
        assert (costs <= bound).all(axis=1).any()
    asked = questions.layers(result)
    assert 10**asked.answer.answer == pytest.approx(result.n_states) and result.n_states > 1
    assert r"\<b\>CPU" in asked.origin[1]
    assert "at most 20 %" in layers.promise(result)


def test_counts_are_powers_of_ten(record):
    assert layers.scientific(record.n_shapes) == "5.0 · 10²⁰"  # 2 x 2509^6
    assert layers.scientific(2509) == "2.5 · 10³"


def test_what_a_layer_loses_is_what_was_put_in(record):
    frame = layers.lost_by_layer(record, 384).set_index(["Layer", "Kept", "Number"])["Lost"]
    assert len(frame) == 6 * (13 + 13 + 1)
    for layer in range(1, 7):  # 0.1 for each missing head, 0.001 for each missing neuron
        assert frame[layer, "heads", 12] == frame[layer, "neurons", 1536] == 0
        assert frame[layer, "heads", 6] == pytest.approx(0.6, abs=0.05)
        assert frame[layer, "neurons", 768] == pytest.approx(0.768, abs=0.05)
        assert frame[layer, "layer", 0] == pytest.approx(1.2 + 1.536, abs=0.1)


def test_uniform_shapes_are_measured_by_the_same_ruler(record, table: Table):
    points = layers.uniform(record, table)
    assert {p.architecture.hidden_size for p in points} == {192, 384}
    assert {p.architecture.num_attention_heads for p in points} == {12}
    by_name = {str(p.architecture): p for p in points}
    whole = by_name["6,12,384,1536"]
    assert whole.latency_ms == pytest.approx(0.3 + 6 * (0.1 + 12 * 0.05 + 0.1 + 1536 * 0.0007))
    small = by_name["1,12,192,192"]
    assert small.latency_ms == pytest.approx(0.2 + 0.1 + 12 * 0.02 + 0.1 + 192 * 0.0003)
    costs = np.array([(p.n_parameters, p.latency_ms, p.dev_error) for p in points])
    for p, cost in zip(points, costs, strict=True):
        beaten = ((costs <= cost).all(axis=1) & (costs < cost).any(axis=1)).any()
        assert p.pareto != beaten


def test_a_budget_takes_the_fastest_within_it_of_either_kind(record):
    source, small, tiny = record.points
    assert layers.chosen(record, 1) is source and layers.chosen(record, 2) is small
    assert layers.chosen(record, 13) is tiny
    a = SOURCE.architecture
    rivals = [layers.UniformPoint(a, 1, ms, dev, True) for ms, dev in ((4.0, 0.18), (0.9, 0.5))]
    assert layers.compare(record, rivals) == [
        (lost, 11.0 if lost == 1 else 5.0, 4.0) for lost in layers.BUDGETS
    ]
    assert "**for 0**, and slower for 5;" in layers.against_uniform(record, rivals)
    for ms, ahead in ((4.9, 0), (5.2, 0), (9.0, 4)):  # 5 ms, but 11 of the least budget
        slow = [replace(rival, latency_ms=ms) for rival in rivals]
        assert f"**for {ahead}**, and slower for 1;" in layers.against_uniform(record, slow)


def test_sums_are_held_against_what_was_measured(record):
    assert layers.gap(record, "search") == pytest.approx(-0.5)
    said = layers.audit(record)
    assert "summed and measured losses is 1.00" in said
    assert "none of them learned from, the sums are off by -0.10 in the mean" in said
    assert layers.audit_frame(record)["From"].tolist() == ["random"] * 6 + [
        "search",
        "local search",
    ]


def test_a_shape_is_told_with_the_command_that_makes_it(record):
    source, small, _ = record.points
    said = layers.drawn(small, record)
    assert "2.2 times as fast" in said and "(+2.0 points)" in said
    assert "summed -2.00, measured -1.50" in said
    assert layers.command(small, record).endswith(f"--architecture '{SMALL}'")
    assert "The source itself, 11.00 ms" in layers.drawn(source, record)


def test_the_pictures_show_every_shape_and_say_so(record, table):
    small = record.points[1]
    rivals = layers.uniform(record, table)
    chart, alt = layers_figures.errors(record, rivals, small)
    drawn = {t.name: len(t.x) for t in chart.data}
    on_front = sum(p.pareto for p in rivals)
    assert drawn == {"Uniform front": on_front, "Uneven front": 3, "Source": 1, "Chosen": 1}
    assert f"chosen is {SMALL} at 5.00 ms and 19.0 %" in alt
    assert len(layers.measured_frame(record, rivals)) == 3 + len(rivals)
    result = layers.searched(record, 0.5)
    chart, alt = layers_figures.sums(result)
    assert len(chart.data[0].x) == len(result.found) and "5.0 · 10²⁰" in alt
    chart, alt = layers_figures.shape(small, record)
    heads, neurons = chart.data
    assert list(heads.y) == [0, 50, 0, 0, 0, 100] and list(neurons.y) == [0, 50, 0, 0, 0, 0]
    assert heads.text[0] == "" and neurons.text[5] == "0"
    assert "1 left out; 2 6 heads, 768 neurons; 3 left out" in alt
    chart, alt = layers_figures.losses(record, 192)
    assert [np.shape(t.z) for t in chart.data] == [(6, 13), (6, 13), (6, 1)]
    assert "hidden size 192" in alt
    chart, alt = layers_figures.audit(record)
    assert "1 searched, 1 locally searched and 6 random shapes" in alt


def test_six_cells_of_1_6_percent_come_to_ten(record):
    task = exercises.layers(SOURCE.architecture)
    assert task.answer.answer == pytest.approx(1.601, abs=1e-3)
    assert not task.answer.right(10 / 6)


def test_the_presets_lead_to_the_sums_and_to_what_was_measured(open_lesson, monkeypatch):
    at = open_lesson("layers")
    assert not at.warning and len(at.get("plotly_chart")) == 4
    press(at, "Measured, one point lost")
    assert at.query_params["layers_lost"] == "1"
    record = LayersFront.load(layers.RECORDED)
    chosen = layers.chosen(record, 1)
    assert str(chosen.shape) in at.code[0].value and str(chosen.shape) in words(at)
    press(at, "All there are, at epsilon 0.1")
    assert at.session_state["layers_view"] == "Summed losses"
    at.select_slider(key="layers_eps").set_value(0.5).run()
    assert "at most 50 % larger" in words(at)
    monkeypatch.setattr(layers, "chosen", lambda record, lost: record.source_point)
    at.slider(key="layers_lost").set_value(0.0).run()
    assert not at.exception and not at.code and "The source itself" in words(at)


@pytest.mark.parametrize(("text", "says"), [(None, "is missing"), ("{}", "damaged")])
def test_without_its_record_the_lesson_says_so(open_lesson, monkeypatch, tmp_path, text, says):
    path = tmp_path / "layers.json"
    if text:
        path.write_text(text)
    monkeypatch.setattr(layers, "RECORDED", path)
    at = open_lesson("layers")
    assert len(at.warning) == 1 and says in at.warning[0].value
    assert not at.get("plotly_chart")
