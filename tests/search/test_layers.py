"""The verb `layers` and its sums, with the real training on a small task."""

import math
import random

import numpy as np
import pytest

from bort_engine.encoder.latency import HeldOut
from bort_engine.encoder.layer_latency import LayerLatency
from bort_engine.encoder.sources import sources
from bort_engine.encoder.timing import LatencySettings
from bort_engine.encoder.uneven import Uneven, draw
from bort_engine.runs.events import Cancelled
from bort_engine.search import layers as module
from bort_engine.search.evaluate import BriefTraining
from bort_engine.search.forecast import EVALUATING
from bort_engine.search.layer_losses import (
    LayerLosses,
    costs_of,
    count,
    log_loss,
    options_of,
    search,
)
from bort_engine.search.layer_result import Effort, LayersFront
from bort_engine.search.layers import layers
from bort_engine.training.forecast import ELASTIC

MINILM = sources["minilm-l6"]
TRAINING = BriefTraining(steps=2, teacher_steps=4)
EFFORT = Effort(fit=20, audit=3, measure=3, rounds=1, improve=2)
LATENCY = LayerLatency(
    source="minilm-l6",
    settings=LatencySettings(1, 8, 1),
    device="Synthetic CPU",
    versions="torch 0",
    made_on="2000-01-01",
    seconds=0.0,
    outside_ms={192: 0.2, 384: 0.3},
    layer_ms={192: (0.1, 0.02, 0.1, 0.0003), 384: (0.1, 0.05, 0.1, 0.0007)},
    held_out=(HeldOut("384:-,-,-,-,-,12x1536", measured_ms=1.0, iqr_ms=0.1, predicted_ms=1.03),),
)


@pytest.fixture
def timed(monkeypatch):
    """Latency is not timed: its own tests do that."""
    monkeypatch.setattr(module, "calibrate_layers", lambda *_, **__: LATENCY)


@pytest.fixture(scope="module")
def losses() -> LayerLosses:
    """Fitted to shapes whose losses do add up: each missing head 0.1, each missing neuron 0.001."""
    rng = random.Random(0)
    shapes = [draw(MINILM, rng.choice([192, 384]), rng) for _ in range(300)]
    return LayerLosses.fit({shape: lost(shape) for shape in shapes}, MINILM.architecture)


def lost(shape: Uneven) -> float:
    return sum(0.1 * (12 - h) + 0.001 * (1536 - n) for h, n in shape.layers) - 4.0


def test_losses_that_add_up_are_learned_and_looked_up_by_layer(losses):
    rng = random.Random(1)
    shapes = [draw(MINILM, 384, rng) for _ in range(20)]
    sums = losses.sums(shapes)
    assert sums == pytest.approx([lost(shape) for shape in shapes], abs=0.05)
    options = options_of(MINILM.architecture)
    assert len(options) == 13 * 193
    outside, by_layer = losses.of_layers(np.array(options), 384)
    for shape, total in zip(shapes, sums, strict=True):
        rows = [options.index(layer) for layer in shape.layers]
        assert outside + sum(by_layer[k][row] for k, row in enumerate(rows)) == pytest.approx(total)


def test_what_is_found_covers_random_shapes_and_costs_what_it_says(losses):
    found, n_states = search(losses, LATENCY, MINILM, 0.2)
    assert count(MINILM.architecture, LATENCY) == 2 * 2509**6 and max(n_states) < 2000
    again = costs_of([x.shape for x in found], losses, LATENCY, MINILM)
    columns = [(x.n_parameters, x.latency_ms, x.loss) for x in found]
    assert columns == [
        pytest.approx((x.n_parameters, x.latency_ms, x.loss), abs=1e-6) for x in again
    ]
    costs, rng = np.array(columns), random.Random(2)
    for shape in (draw(MINILM, hidden, rng) for hidden in (192, 384) * 50):
        (x,) = costs_of([shape], losses, LATENCY, MINILM)
        bound = np.array([1.2 * x.n_parameters, 1.2 * x.latency_ms, x.loss + 1e-6])
        assert (costs <= bound).all(axis=1).any()


def test_the_whole_source_costs_what_it_has(losses):
    (whole,) = costs_of([Uneven.of(MINILM.architecture, MINILM)], losses, LATENCY, MINILM)
    assert whole.n_parameters == 22_713_216
    assert whole.latency_ms == pytest.approx(0.3 + 6 * (0.1 + 12 * 0.05 + 0.1 + 1536 * 0.0007))


def test_a_log_loss_by_hand():
    assert log_loss(0.40, floor=0.31) == pytest.approx(math.log(0.1))
    assert log_loss(0.30, floor=0.31) == pytest.approx(math.log(0.01))  # noise below T's own


def test_a_front_is_measured_saved_stopped_and_resumed(
    timed, quick_evaluator, small_task, tmp_path
):
    def run(workers: int, stop=lambda: False) -> LayersFront:
        return layers(
            "minilm-l6",
            small_task,
            0.5,
            effort=EFFORT,
            training=TRAINING,
            workers=workers,
            out=tmp_path,
            on_progress=events.append,
            stop=stop,
        )

    events = []
    with pytest.raises(Cancelled):
        run(1, stop=lambda: any(event.get("done") == 10 for event in events))
    before = (tmp_path / "evaluations.jsonl").read_text().splitlines()
    assert len(before) > 9
    front = run(2)
    assert (tmp_path / "evaluations.jsonl").read_text().splitlines()[: len(before)] == before
    assert LayersFront.load(tmp_path / "layers.json") == front
    assert len(front.audit) == 3 and -1 <= front.tau <= 1
    _, last = (n for n, event in enumerate(events) if "plan" in event)
    assert [stage.name for stage in events[last]["plan"]][-2:] == [ELASTIC, EVALUATING]
    shares = [event["share"] for event in events[last:] if event.get("part") == EVALUATING]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] > 0.8
    T = quick_evaluator.teacher
    assert front.source_point.dev_error == pytest.approx(T.dev_error)
    assert front.source_point.n_parameters == 22_713_216
    by = [point.found_by for point in front.points]
    assert by.count("source") == 1 and 3 <= by.count("search") <= 6
    for point in front.points:  # no other is better in everything
        assert point.pareto != any(
            q.n_parameters <= point.n_parameters
            and q.latency_ms <= point.latency_ms
            and q.r <= point.r
            and (q.n_parameters, q.latency_ms, q.r)
            != (point.n_parameters, point.latency_ms, point.r)
            for q in front.points
        )
    assert front.recommended.dev_error <= front.source_point.dev_error + 0.01 + 1e-9
    assert "shapes at epsilon 0.5" in str(front) and "recommended" in str(front)
    assert [share for share, _ in front.bias()] == sorted(share for share, _ in front.bias())


def test_mistakes_are_told_before_anything_slow():
    with pytest.raises(ValueError, match="runtime is 'onnx-int8'"):
        layers("minilm-l6", settings=LatencySettings(runtime="onnx-int8"))
    with pytest.raises(ValueError, match="epsilon"):
        layers("minilm-l6", epsilon=0)
    with pytest.raises(ValueError, match="workers is 10000; allowed: 0 to 256"):
        layers("minilm-l6", workers=10_000)
    with pytest.raises(ValueError, match="fit is 3; allowed: 20 to"):
        Effort(fit=3)
    with pytest.raises(ValueError, match="too few"):
        LayerLosses.fit({}, MINILM.architecture)
