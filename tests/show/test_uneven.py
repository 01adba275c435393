"""Shapes whose layers differ beside a front: made-up timings and errors, compared by hand."""

from dataclasses import replace

import pytest

from bort_engine.encoder.latency import LatencyReport
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.timing import LatencySettings
from bort_engine.encoder.uneven import Uneven
from bort_engine.runs.provenance import Provenance
from bort_engine.search.evaluate import BriefTraining, Setup
from bort_engine.search.layer_losses import LayerLosses
from bort_engine.search.layer_result import Audited, Effort, LayersFront, UnevenPoint
from bort_engine.search.result import Front
from bort_engine.show import front_figures as figures
from bort_engine.show import uneven as words
from bort_engine.show.budget import Budget
from bort_engine.show.front_figures import LOSS, VIEWS, Axes
from bort_engine.show.uneven import Beside
from tests.search.test_layers import LATENCY

MINILM = sources["minilm-l6"]
WHOLE = Uneven.of(MINILM.architecture, MINILM)
FAST = Uneven.parse("192:-,4x200,-,-,-,6x0")
BEST = Uneven.parse("384:6x800,6x0,12x800,-,6x400,12x800")
GUESS = Uneven.parse("192:-,-,-,-,-,1x8")


def made_up(front: Front, seed: int = 0) -> LayersFront:
    """Return a record of the front's source, task and timings: the source and three shapes."""
    at, T = front.latency, front.provenance.teacher
    assert T
    settings = LatencySettings(at.batch_size, at.sequence_length, at.threads)
    latency = replace(LATENCY, settings=settings, device=at.device)
    rows = ((WHOLE, 0.0, "source"), (BEST, 0.005, "search"), (FAST, 0.05, "local search"))
    rows += ((GUESS, T.chance_error - T.dev_error, "search"),)
    points = [
        UnevenPoint(
            shape,
            n_parameters=20_000_000 - 5_000_000 * n,
            latency_ms=latency.predict_ms(shape),
            loss=-1.0,
            error=0.4,
            dev_error=T.dev_error + lost,
            r=lost,
            found_by=by,
            pareto=True,
        )
        for n, (shape, lost, by) in enumerate(rows)
    ]
    return LayersFront(
        source=front.source,
        task=front.task,
        epsilon=0.1,
        effort=Effort(20, 3, 1, 0, 1),
        n_found=3,
        n_states=2,
        search_seconds=0.1,
        points=tuple(points),
        audit=(Audited(FAST, -1.0, -1.1),),
        losses=LayerLosses(MINILM.architecture, 0.0, (0.0,) * 86),
        latency=latency,
        scale=front.scale,
        teacher=T,
        made=Provenance("Synthetic CPU", "made up", "2000-01-01"),
        seed=seed,
        seconds=1.0,
        training=Setup(front.source, front.task, "elastic", BriefTraining(steps=700)).training,
    )


@pytest.fixture
def record(front: Front) -> LayersFront:
    return made_up(front)


def beside(front: Front, record: LayersFront, budget: Budget, chosen: str = "") -> Beside:
    return Beside.of(front, record, MINILM, budget, chosen)


def test_latencies_are_restated_by_hidden_size_by_hand(front, record):
    """By the layers' timings a whole layer takes 1.8752 ms at 384; outside of them, 0.3 ms."""
    whole, small, slim = (Architecture(d, 12, h, 1536) for d, h in ((6, 384), (1, 384), (2, 192)))
    source, other = front.source_point, next(p for p in front.points if p != front.source_point)

    def drawn(*ms: tuple[Architecture, float]) -> Front:
        points = [replace(other, architecture=a, latency_ms=x) for a, x in ms]
        return replace(front, points=(replace(source, latency_ms=2 * (0.3 + 6 * 1.8752)), *points))

    assert source.architecture == whole
    ms = {x.shape: x.latency_ms for x in beside(drawn(), record, Budget()).shapes}
    assert ms[FAST] == pytest.approx(
        2 * LATENCY.predict_ms(FAST)
    )  # none of its hidden size: as all
    narrow = 0.2 + 2 * (0.1 + 12 * 0.02 + 0.1 + 1536 * 0.0003)
    there = drawn((small, 3 * 2.1752), (slim, narrow))
    assert beside(there, record, Budget()).restated == pytest.approx({384: 2.5, 192: 1.0})
    fewer_heads = replace(slim, num_attention_heads=6)  # which the layers' timings do not tell of
    assert beside(drawn((fewer_heads, 9.9)), record, Budget()).restated[192] == pytest.approx(2)


def test_the_source_and_what_guesses_are_left_out_and_the_best_fits_the_budget(front, record):
    found = beside(front, record, Budget(), str(FAST))
    assert [x.shape for x in found.shapes] == [FAST, BEST]
    assert found.best and found.best.shape == BEST and found.chosen and found.chosen.shape == FAST
    wider = beside(front, record, Budget(lose=6.0), str(GUESS))
    assert wider.best and wider.best.shape == FAST and wider.chosen is None
    assert beside(front, record, Budget("error", lose=0.1)).best is None
    # Heads of 32 units at 384: 4 * 384 + 3 parameters a unit; the rest by the neurons, and 6 H.
    n_neurons, n_heads, n_layers = 2800, 42, 5
    expected = n_heads * 32 * (4 * 384 + 3) + n_neurons * (2 * 384 + 1) + n_layers * 6 * 384
    assert found.shapes[1].n_encoder_parameters == expected


def test_the_verdict_says_by_what_they_do_better_and_changes_nothing(front, record):
    budget = Budget()
    best, text = budget.best(front), words.verdict(front, budget, beside(front, record, budget))
    (rival,) = (x for x in beside(front, record, budget).shapes if x.shape == BEST)
    assert best and rival.latency_ms < 0.9 * best.latency_ms
    assert text.startswith("**Layers that differ do better within this budget**: ")
    assert text.endswith(f": {BEST}.")
    table = words.rivals(front, budget, beside(front, record, budget))
    assert table is not None and [*table] == ["", *words.RIVALS]
    assert table.iloc[0].tolist()[1:3] == [best.latency_ms, best.n_parameters / 1e6]
    assert table.iloc[1].tolist()[:2] == [str(BEST), rival.latency_ms]
    assert table["Lost on dev (points)"].tolist() == pytest.approx([0.0, 0.5], abs=0.05)
    accurate = Budget("error", lose=None)
    text = words.verdict(front, accurate, beside(front, record, accurate))
    assert text.startswith("Layers that differ do no better here (by a point at least). ")
    strict = Budget(lose=0.6, ms=rival.latency_ms + 0.01)
    assert strict.best(front) is None
    assert words.rivals(front, strict, beside(front, record, strict)) is None
    text = words.verdict(front, strict, beside(front, record, strict))
    assert text.startswith("**A shape whose layers differ meets all of that**: ")
    none = Budget(lose=0.0, ms=0.01)
    assert words.verdict(front, none, beside(front, record, none)).startswith("No shape whose")


def test_what_was_timed_or_trained_otherwise_does_not_fit(front, record):
    assert words.unfit(front, record) == ""
    int8: LatencyReport = replace(front.latency, runtime="onnx-int8")
    assert "ONNX int8" in words.unfit(replace(front, latency=int8), record)
    elsewhere = replace(record, latency=replace(record.latency, device="Another CPU"))
    assert "on Another CPU" in words.unfit(front, elsewhere)
    T = replace(record.points[0], dev_error=0.2)
    assert "errs on 20.0 %" in words.unfit(front, replace(record, points=(T, *record.points[1:])))


def test_the_card_has_the_widths_what_is_shipped_and_the_student_s_options(front, record):
    found = beside(front, record, Budget(), str(BEST))
    x = found.chosen
    assert x
    rows = words.widths(BEST).splitlines()
    assert rows[2] == "| 1 | 6 | 800 |" and rows[5] == "| 4 | left out |  |" and len(rows) == 8
    assert "padded with zeroed units to 5,12,384,800 " in words.shipped(x, found)
    assert [fact.label for fact in words.facts(front, x)][2:] == [
        "Latency, predicted",
        "Right on dev",
    ]
    assert words.facts(front, x)[3].delta == "-0.5 points"
    assert words.cut_options(x, record) == {
        "--task": "rotten-tomatoes",
        "--architecture": str(BEST),
        "--seed": "0",
        "--steps": "700",
    }
    assert words.cut_options(x, replace(record, training=None)) == {}
    assert "so much longer" in words.origin(x, found)


@pytest.mark.parametrize("view", VIEWS)
def test_they_are_drawn_as_marks_of_their_own_within_the_axes(front, record, view):
    found = beside(front, record, Budget(), str(FAST))
    figure = figures.scatter(front, Axes(view), None, front.knee, found)
    (marks,) = (trace for trace in figure.data if trace.name == words.NAME)
    assert marks.marker.symbol == "triangle-up" and marks.showlegend
    others = {trace.marker.symbol for trace in figure.data if trace.name not in (words.NAME, "")}
    assert "triangle-up" not in others
    (ring,) = (trace for trace in figure.data if trace.name == "Chosen")
    assert ring.customdata[0][0] == str(FAST)
    event = {"selection": {"points": [{"customdata": list(ring.customdata[0])}]}}
    assert figures.chosen(event) == FAST
    assert "Layers differ" in [note.text for note in figure.layout.annotations]
    if view == LOSS:
        low, high = (10**end for end in figure.layout.xaxis.range)
        assert low < min(marks.x) and max(marks.x) < high
