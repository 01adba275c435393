"""Words, tables and figures of a front, held to facts counted by hand."""

import json
import math
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from bort_engine.encoder.latency import Calibration, HeldOut
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.timing import LatencySettings
from bort_engine.search.evaluate import Setup
from bort_engine.search.result import Front, Point, mark_pareto
from bort_engine.search.scale import Scale
from bort_engine.show import front as words
from bort_engine.show import front_figures as figures
from bort_engine.show.front_figures import LOSS, Axes

BORT = sources["bort"].architecture


def small_point(text: str, m: int, ms: float, error: float, dev: float, **more) -> Point:
    n, half = m * 10**6, m * 10**6 // 2
    r = (dev - 0.10) / 0.40
    return Point(Architecture.parse(text), n, half, n, ms, error, dev, r=r, **more)


@pytest.fixture(scope="module")
def small(front: Front) -> Front:
    """Five points whose relations can be read off: millions of parameters, ms, ê, dev error.

    From the source's dev error, 10 %, it is 40 points to guessing's, 50 %.
    """
    points = mark_pareto(
        [
            small_point("6,2,8,8", 8, 8.0, 0.40, 0.10),  # the largest, T
            small_point("4,2,8,8", 6, 6.0, 0.44, 0.11, w=0.5),  # on the front, a point behind T
            small_point("3,2,8,8", 6, 7.0, 0.48, 0.20),  # beaten by 4,2,8,8 on all but size
            small_point("2,2,8,8", 4, 4.0, 0.50, 0.25, w=0.4),  # on the front
            small_point("1,2,8,8", 2, 2.0, 0.69, 0.50, at_chance=True),  # on it, a mere guess
        ]
    )
    maximum, scale = Architecture.parse("6,2,8,8"), Scale(0.10, 0.40)
    return replace(front, points=points, maximum=maximum, scale=scale, epsilon=0.5)


def point(front: Front, text: str) -> Point:
    return front[Architecture.parse(text)]


def trace(figure, name: str):
    return next(t for t in figure.data if t.name == name)


def test_every_point_is_drawn_once_and_classes_differ_in_colour_and_symbol(small):
    layers = figures.layers(small)
    assert {layer.name: [str(p.architecture) for p in layer.points] for layer in layers} == {
        "Beaten by another": ["3,2,8,8"],
        "No better than guessing": ["1,2,8,8"],
        "On the front": ["6,2,8,8", "4,2,8,8", "2,2,8,8"],
    }
    every = layers + figures.marks(small)
    assert len({layer.symbol for layer in every}) == len(every)
    assert len({layer.colour for layer in every}) == len(every)


def test_landmarks_are_what_all_is_compared_with_the_recommended_one_the_knee_and_bort(
    small, front, predicted_front
):
    named = words.landmarks(small)
    assert named.keys() == {"Largest", "Recommended", "Knee"}
    assert named["Largest"] == small.source_point and named["Knee"] == small.knee
    assert str(named["Recommended"].architecture) == "4,2,8,8"
    assert words.reference(small) == "the source, 6,12,384,1536"  # of which this is a grid
    assert (
        words.reference(predicted_front) == f"the largest of the space, {predicted_front.maximum}"
    )
    assert words.landmarks(front)["Source"] == front.source_point
    assert words.reference(front) == "the source, 6,12,384,1536"
    others = tuple(p for p in predicted_front.points if p.architecture != BORT)
    bort = replace(predicted_front.pareto[0], architecture=BORT)
    assert words.landmarks(replace(predicted_front, points=(*others, bort)))["Bort"] == bort


def calibrated(front: Front, device: str) -> Calibration:
    """Int8 latencies: 1 ms outside, half a millisecond a layer."""
    a, latency = front.maximum, front.latency
    size = (latency.batch_size, latency.sequence_length, latency.threads)
    block = str(a).partition(",")[2]
    return Calibration(
        source=front.source,
        settings=LatencySettings(*size, runtime="onnx-int8"),
        device=device,
        versions="",
        made_on="2000-01-01",
        seconds=0.0,
        outside_ms={str(a.hidden_size): 1.0},
        layer_ms={block: 0.5},
        held_out=(HeldOut(str(a), measured_ms=4.0, iqr_ms=0.0, predicted_ms=4.0),),
    )


def test_the_sources_int8_export_stands_beside_a_front_in_pytorch(front, small, monkeypatch):
    int8 = calibrated(front, front.latency.device)
    shipped = {"onnx-int8": int8}  # of OpenVINO none
    look_up = lambda source, space, settings: shipped.get(settings.runtime)  # noqa: E731
    monkeypatch.setattr(words, "recorded_calibration", look_up)
    twin = replace(front.source_point, latency_ms=1.0 + 6 * 0.5)
    assert words.exported(front) == {"onnx-int8": twin}
    star = figures.marks(front)[-1]
    assert (star.name, star.points) == ("Source, ONNX int8", [twin])
    drawn = trace(figures.scatter(front, figures.Axes()), star.name)
    click = {"selection": {"points": [{"customdata": drawn.customdata[0]}]}}
    assert figures.chosen(click) == "onnx-int8"  # its own front, not the source's point here
    slower = sum(p.latency_ms > 4.0 for p in front.above_chance)
    assert f"less than {slower} of the {len(front.above_chance)}" in words.deployed(front)
    assert not words.exported(small)  # its largest is not the source
    assert "“ONNX int8”" in words.deployed(front)
    shipped["openvino-int8"] = replace(int8, layer_ms=dict.fromkeys(int8.layer_ms, 0.25))
    assert "4.0 ms as ONNX int8 and 2.5 ms as OpenVINO int8" in words.deployed(front)
    assert figures.marks(front)[-1].name == "Source, OpenVINO int8"
    elsewhere = calibrated(front, "another processor")
    shipped |= dict.fromkeys(shipped, elsewhere)
    assert not words.exported(front) and words.deployed(front) == ""


def whole(small: Front) -> Front:
    """The same, with the source itself as the largest."""
    maximum = sources["minilm-l6"].architecture
    points = (replace(small.source_point, architecture=maximum), *small.points[1:])
    return replace(small, points=points, maximum=maximum)


def test_in_int8_a_point_is_held_to_the_sources_own_export(small):
    grid = replace(small, latency=replace(small.latency, runtime="onnx-int8"))
    assert not words.deployed(grid)  # its source's export was not timed
    int8 = whole(grid)
    assert not words.exported(int8)
    text = words.deployed(int8)  # 4,2,8,8: 6 ms and 6 million of 8, 11 % wrong for 10
    assert "1.3 times as fast" in text and "75%" in text and "for 1.0 points" in text
    others = tuple(p for p in int8.points if str(p.architecture) != "4,2,8,8")
    assert "no smaller architecture" in words.deployed(replace(int8, points=others))


def test_where_all_lose_more_than_a_point_the_source_is_recommended_and_has_no_ring_for_it(small):
    others = tuple(p for p in small.points if str(p.architecture) != "4,2,8,8")
    dear = replace(small, points=others)
    assert dear.recommended == dear.source_point
    assert "Recommended" not in words.landmarks(dear)


def test_a_budget_names_the_recommended_point_in_the_plot_the_table_and_on_the_card(small):
    small_one = point(small, "2,2,8,8")
    figure = figures.scatter(small, Axes(recommended=small_one))
    assert list(trace(figure, "Recommended").x) == [small_one.latency_ms] == [4]
    notes = words.table(small, small_one).set_index("D,A,H,I")["Note"]
    assert "Recommended" in notes["2,2,8,8"] and "Recommended" not in notes["4,2,8,8"]
    assert "Recommended" in words.names(small, small_one, small_one)
    none = figures.scatter(small, Axes(recommended=small.source_point))
    assert "Recommended" not in [t.name for t in none.data]


def test_the_scatter_shows_what_its_axes_say(small):
    figure = figures.scatter(small, Axes("Size / latency"))
    on = trace(figure, "On the front")
    assert list(on.x) == [8, 6, 4] and list(on.y) == [8, 6, 4]
    assert list(on.marker.color) == [10, 11, 25]  # % wrong on dev
    assert [row[0] for row in on.customdata] == ["6,2,8,8", "4,2,8,8", "2,2,8,8"]
    assert figure.layout.xaxis.title.text == "Parameters (millions)"
    assert figure.layout.yaxis.title.text == "Latency (ms, PyTorch fp32, batch 1, 128 tokens)"

    encoder = trace(figures.scatter(small, Axes("Size / error", effective=True)), "On the front")
    assert list(encoder.x) == [4, 3, 2] and list(encoder.y) == [10, 11, 25]
    assert list(encoder.marker.color) == [8, 6, 4]


def test_the_first_view_draws_what_is_lost_against_the_latency(small):
    chosen = point(small, "2,2,8,8")
    simple = {"TF-IDF": 0.20, "far off": 0.60}
    figure = figures.scatter(small, Axes(), simple, chosen)
    on = trace(figure, "On the front")
    assert (list(on.x), list(on.y)) == ([8, 6, 4], pytest.approx([0, 1, 15]))
    large, _, half = on.marker.size  # 8 and 4 million parameters: twice the area, but for a rim
    assert (large - 6) / (half - 6) == pytest.approx(math.sqrt(2))
    line = next(t for t in figure.data if t.mode == "lines")
    assert (list(line.x), list(line.y)) == ([4, 6, 8], pytest.approx([15, 1, 0]))
    assert not [t for t in figure.data if t.name == "No better than guessing"]
    top, bottom = figure.layout.yaxis.range[::-1]
    assert top < 0 and bottom > 15  # nothing lost stands above
    (across,) = figure.layout.shapes  # what loses more than all that is drawn has no line
    assert across.y0 == pytest.approx(10)
    ring = trace(figure, "Chosen")
    assert (list(ring.x), list(ring.text)) == ([4], ["Chosen"])
    named = trace(figures.scatter(small, Axes(), chosen=small.recommended), "Chosen")
    assert list(named.text) == [""]  # it has a name already
    assert "50 % of size and time, 20.0 points" in figure.layout.annotations[-1].text  # half of 40


def test_the_line_joins_what_nothing_here_beats_in_both(front):
    figure = figures.scatter(front, Axes(LOSS))
    line = next(t for t in figure.data if t.mode == "lines")
    assert list(line.x) == sorted(line.x) and list(line.y) == sorted(line.y, reverse=True)


def test_two_points_stand_side_by_side(small):
    table = words.pair(small, small.source_point, point(small, "2,2,8,8"))
    assert list(table.columns) == ["", "6,2,8,8", "2,2,8,8", "2,2,8,8 against 6,2,8,8"]
    assert table.iloc[:, 3].tolist() == ["-50 %", "-50 %", "-50 %", "-15.0 points"]
    back = words.pair(small, point(small, "2,2,8,8"), small.source_point)
    assert back.iloc[:, 3].tolist() == ["+100 %", "+100 %", "+100 %", "+15.0 points"]


def test_the_volume_shows_the_same_points(small):
    on = trace(figures.volume(small, Axes()), "On the front")
    assert (list(on.x), list(on.y), list(on.z)) == ([8, 6, 4], [8, 6, 4], [10, 11, 25])


def test_every_ring_has_a_symbol_that_3d_knows():
    for symbol, _ in figures.RINGS.values():
        go.scatter3d.Marker(symbol=figures.SOLID.get(symbol, symbol))


def test_names_of_one_point_stand_apart(small):
    assert len(set(map(figures.PLACES.get, ("Recommended", "Knee", "Source")))) == 3


def test_the_cells_are_powers_of_one_plus_epsilon_around_all_points(small):
    figure = figures.scatter(small, Axes("Size / latency", promise=True))
    for axis, unit in ((figure.layout.xaxis, 1e6), (figure.layout.yaxis, 1)):
        borders = axis.minor.tickvals
        assert borders[0] <= 2 < borders[1] and borders[-2] <= 8 < borders[-1]
        powers = [math.log(border * unit) / math.log(1.5) for border in borders]
        assert powers == pytest.approx([round(powers[0]) + k for k in range(len(powers))])
    assert trace(figure, "Cells (steps of 50 %)")
    encoder = figures.scatter(
        small, Axes("Size / latency", True, True)
    )  # the search minimised the total size
    assert encoder.layout.xaxis.minor.tickvals is None


def test_the_band_is_epsilon_smaller_and_as_many_points_lower_than_the_staircase(small):
    figure = figures.scatter(small, Axes("Size / error", promise=True))
    band = trace(figure, "Where others can lie")
    assert list(band.x) == pytest.approx([2 / 1.5, 4 / 1.5, 6 / 1.5, 8 / 1.5, 8])
    assert list(band.y) == pytest.approx([30, 5, -9, -10, -10])  # half of 40 points lower


def test_predicted_points_never_look_measured(front, predicted_front):
    drawn = figures.layers(predicted_front)
    assert not {layer.symbol for layer in drawn} & {layer.symbol for layer in figures.layers(front)}
    assert all("predicted" in layer.name for layer in drawn)
    figure = figures.scatter(predicted_front, Axes("Size / latency"))
    bar = trace(figure, "Front (error predicted)").marker.colorbar.title.text
    assert bar == "Predicted error (%, from published GLUE scores)"
    assert words.badge(predicted_front) == "Predicted"
    check = replace(predicted_front.guarantee, n_uncovered=1600)
    broken = replace(predicted_front, guarantee=check)
    assert words.badge(broken) == "Predicted, promise broken for 1,600"
    assert "nothing was trained" in words.origin(predicted_front)
    assert "measured" not in words.why(predicted_front, predicted_front.pareto[0])


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"selection": {"points": [{"customdata": ["3,12,384,768"]}]}}, "3,12,384,768"),
        ({"selection": {"points": [{"customdata": "3,12,384,768"}]}}, "3,12,384,768"),
        ({"selection": {"points": []}}, None),
        ({"selection": {"points": [{"customdata": ["<img src=x>"]}]}}, None),
        (None, None),
    ],
)
def test_a_selection_is_read_with_suspicion(event, text):
    assert figures.chosen(event) == (Architecture.parse(text) if text else None)


def test_the_card_compares_with_the_source(front):
    source = front.source_point
    half = replace(
        source,
        n_parameters=source.n_parameters // 2,
        n_encoder_parameters=source.n_encoder_parameters // 4,
        latency_ms=source.latency_ms / 2,
        dev_error=source.shown_error + 0.15,
    )
    deltas = [fact.delta for fact in words.facts(front, half)]
    assert deltas == ["-50 %", "-75 %", "-50 %", "-15.0 points"]
    assert [fact.delta for fact in words.facts(front, source)] == [None] * 4
    assert words.against(front, half) == "the source, 6,12,384,1536"
    assert not words.against(front, source)


def test_the_card_of_a_grid_compares_with_the_source_outside_it_but_for_its_latency(small):
    half = point(small, "2,2,8,8")  # of 22,713,216 parameters, 10,646,784 of them the encoder's
    assert [(f.label, f.text, f.delta) for f in words.facts(small, half)] == [
        ("Parameters, exact", "4.0 M", "-82 %"),
        ("Encoder only, exact", "2.0 M", "-81 %"),
        ("Latency, predicted", "4.00 ms", None),
        ("Right on dev", "75.0 %", "-15.0 points"),
    ]
    largest = [fact.delta for fact in words.facts(small, small.source_point)]
    assert largest == ["-65 %", "-62 %", None, "+0.0 points"]
    assert words.against(small, half).startswith("the source, 6,12,384,1536, which is outside")
    assert words.shape(half) == "2 layers, 2 heads, hidden size 8, intermediate size 8"


def test_why_says_what_a_point_beats(small):
    on = words.why(small, point(small, "4,2,8,8"))
    assert "25 % smaller and 25 % faster than 6,2,8,8" in on
    assert "14.0 points more accurate than 2,2,8,8" in on
    off = words.why(small, point(small, "3,2,8,8"))
    assert off.startswith("Not on the front: 4,2,8,8 is 14 % faster and 9.0 points more accurate")
    assert "never recommended" in words.why(small, point(small, "1,2,8,8"))
    flagged = replace(small.source_point, pareto=False)  # as a file from elsewhere may say
    alone = replace(small, points=(flagged,))
    assert words.why(alone, flagged) == "Not on the front."


def test_why_judges_by_the_size_that_the_search_minimised(small):
    # The encoder of 4,2,8,8 is the smaller one of two, though its embeddings make it larger.
    a = replace(point(small, "4,2,8,8"), n_parameters=9_000_000, n_encoder_parameters=1_000_000)
    b = replace(point(small, "3,2,8,8"), n_parameters=5_000_000, n_encoder_parameters=2_000_000)
    points = mark_pareto([small.source_point, a, b], "effective")
    effective = replace(small, points=points, size="effective")
    off = words.why(effective, effective[b.architecture])
    assert "4,2,8,8 is 50 % smaller and 14 % faster and 9.0 points more accurate" in off


def test_why_has_an_answer_for_every_point(front, predicted_front):
    for each in (front, predicted_front):
        assert all(words.why(each, p).endswith(".") for p in each.points)


def test_the_table_starts_with_the_front_and_flags_the_rest(small):
    table = words.table(small)
    assert list(table["D,A,H,I"]) == ["2,2,8,8", "4,2,8,8", "6,2,8,8", "1,2,8,8", "3,2,8,8"]
    notes = dict(zip(table["D,A,H,I"], table["Note"], strict=True))
    assert notes["1,2,8,8"] == "No better than guessing"
    assert notes["3,2,8,8"] == "Not on the front"
    assert "Largest" in notes["6,2,8,8"] and "Recommended" in notes["4,2,8,8"]
    assert set(words.FORMATS) >= set(table.columns) - {"D,A,H,I", "Note"}


def test_a_front_of_one_point_or_of_guesses_only_can_be_shown(small):
    alone = replace(small, points=(replace(small.source_point, pareto=True),))
    points = mark_pareto(replace(p, at_chance=True) for p in small.points)
    hopeless = replace(small, points=points)
    for each in (alone, hopeless):
        for view in figures.VIEWS:
            json.loads(figures.scatter(each, Axes(view)).to_json())
        json.loads(figures.volume(each, Axes()).to_json())
        assert each.recommended == each.source_point
    assert words.why(alone, alone.points[0]).startswith("On the front")
    assert "1 point on the front" in words.summary(alone)
    assert words.summary(hopeless) == "No point of minilm-l6 is better than guessing"


def test_the_words_carry_origin_and_unit(front):
    origin = words.origin(front)
    assert "Recorded on Synthetic CPU, 2000-01-01" in origin
    assert "batch 1, 128 tokens, 2 threads" in origin and "3.1 % median error" in origin
    alone = replace(front, origin="measured", latency=replace(front.latency, threads=1))
    assert words.origin(alone).startswith("Measured on") and ", 1 thread, " in words.origin(alone)
    assert "elastic" in words.origin(replace(front, oracle="elastic"))
    assert f"**{front.n_evaluated}** of them" in words.promise(front)
    title = words.title(replace(front, task="![x](http://a)"))
    assert title == r"minilm-l6 on \!\[x\](http\://a), epsilon 0.5"


def test_a_point_of_an_elastic_front_comes_with_the_command_that_saves_it(small):
    half = point(small, "2,2,8,8")
    assert words.cut_command(small, half) == ""  # made by brief trainings
    training = Setup("x", "y", "elastic").training
    made = replace(small.provenance, training=replace(training, steps=5))
    elastic = replace(small, oracle="elastic", task="my file.csv", provenance=made)
    assert words.cut_command(elastic, half) == (
        "python -m bort_engine cut minilm-l6 --architecture 2,2,8,8 --task 'my file.csv' --seed 0 "
        "--steps 5"
    )
