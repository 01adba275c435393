"""Figures, tables and words of a front, held to facts counted by hand."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest

from bort_engine.encoder.space import Architecture
from bort_engine.runs.text import literal
from bort_engine.search.result import Front, Point, mark_pareto
from bort_engine.show import front as figures
from bort_engine.show.front import Axes
from bort_engine.show.theme import millions


def small_point(text: str, size: int, ms: float, error: float, dev: float, **more) -> Point:
    return Point(Architecture.parse(text), size, size // 2, size, ms, error, dev, **more)


@pytest.fixture(scope="module")
def small(front: Front) -> Front:
    """Five points whose relations can be read off.

    | D,A,H,I | size | ms | error | dev  |                                     |
    | 6,2,8,8 |  8 M |  8 |  0.40 | 0.10 | the largest, T                      |
    | 4,2,8,8 |  6 M |  6 |  0.44 | 0.15 | on the front, best W                |
    | 3,2,8,8 |  6 M |  7 |  0.48 | 0.20 | beaten by 4,2,8,8 on all but size   |
    | 2,2,8,8 |  4 M |  4 |  0.50 | 0.25 | on the front                        |
    | 1,2,8,8 |  2 M |  2 |  0.69 | 0.50 | on the front, but a mere guess      |
    """
    points = mark_pareto(
        [
            small_point("6,2,8,8", 8_000_000, 8.0, 0.40, 0.10),
            small_point("4,2,8,8", 6_000_000, 6.0, 0.44, 0.15, w=0.5),
            small_point("3,2,8,8", 6_000_000, 7.0, 0.48, 0.20),
            small_point("2,2,8,8", 4_000_000, 4.0, 0.50, 0.25, w=0.4),
            small_point("1,2,8,8", 2_000_000, 2.0, 0.69, 0.50, at_chance=True),
        ]
    )
    maximum, best = Architecture.parse("6,2,8,8"), Architecture.parse("4,2,8,8")
    return replace(front, points=points, maximum=maximum, best=best, epsilon=0.5)


def keys(points) -> list[str]:
    return [str(p.architecture) for p in points]


def test_every_point_is_drawn_once_and_classes_differ_in_colour_and_symbol(small):
    drawn = {layer.name: keys(layer.points) for layer in figures.layers(small)}
    assert drawn == {
        "Beaten by another": ["3,2,8,8"],
        "No better than guessing": ["1,2,8,8"],
        "On the front": ["6,2,8,8", "4,2,8,8", "2,2,8,8"],
    }
    every = figures.layers(small) + figures.marks(small)
    assert len({layer.symbol for layer in every}) == len(every)
    assert len({layer.colour for layer in every}) == len(every)


def test_marks_name_the_source_the_optimum_and_the_knee(small):
    rings = {layer.name: keys(layer.points) for layer in figures.marks(small)}
    assert rings["Largest"] == ["6,2,8,8"] and rings["Best W"] == ["4,2,8,8"]
    assert rings["Knee"] == keys([small.knee])
    assert "Bort" not in rings


def test_what_points_are_compared_with_has_its_right_name(small, front):
    assert figures.reference(small) == "the largest of the space, 6,2,8,8"
    assert figures.reference(front) == "the source, 6,12,384,1536"
    assert "Source" in {layer.name for layer in figures.marks(front)}


def test_an_optimum_at_chance_is_not_marked_and_not_what_is_shown_first(small):
    hopeless = replace(small, best=Architecture.parse("1,2,8,8"))
    assert "Best W" not in {layer.name for layer in figures.marks(hopeless)}
    assert figures.recommended(small).architecture == small.best
    assert figures.recommended(hopeless) == hopeless.knee
    only = replace(hopeless, points=mark_pareto(replace(p, at_chance=True) for p in small.points))
    assert figures.recommended(only) == only.source_point


def trace(figure, name: str):
    return next(t for t in figure.data if t.name == name)


def test_the_scatter_shows_what_its_axes_say(small):
    figure = figures.scatter(small, Axes())
    on = trace(figure, "On the front")
    assert list(on.x) == [8, 6, 4] and list(on.y) == [8, 6, 4]
    assert list(on.marker.color) == [10, 15, 25]  # % wrong on dev
    assert [row[0] for row in on.customdata] == ["6,2,8,8", "4,2,8,8", "2,2,8,8"]
    assert figure.layout.xaxis.title.text == "Parameters (millions)"
    assert figure.layout.yaxis.title.text == "Latency (ms, batch 1, 128 tokens)"
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"

    encoder = figures.scatter(small, Axes("Size / error", effective=True))
    assert list(trace(encoder, "On the front").x) == [4, 3, 2]
    assert list(trace(encoder, "On the front").y) == [10, 15, 25]
    assert list(trace(encoder, "On the front").marker.color) == [8, 6, 4]
    assert encoder.layout.yaxis.title.text == "Wrong answers on dev (%)"

    nats = figures.scatter(small, Axes("Latency / error", surrogate=True))
    assert list(trace(nats, "On the front").y) == [0.40, 0.44, 0.50]
    assert nats.layout.yaxis.title.text == "Surrogate error ê (nats)"


def test_a_figure_depends_on_the_front_and_the_axes_alone(front):
    """A changed figure would lose the selection."""
    for draw in (figures.scatter, figures.volume):
        assert draw(front, Axes()).to_json() == draw(front, Axes()).to_json()


def test_the_cells_are_powers_of_one_plus_epsilon(small):
    xs, ys = figures.cell_lines(small)
    columns = sorted({x for x, y in zip(xs, ys, strict=True) if x is not None})
    ratios = [b / a for a, b in pairwise(columns)]
    assert ratios == pytest.approx([1.5] * len(ratios))
    assert columns[0] <= 2 < columns[1] and columns[-2] <= 8 < columns[-1]
    power = math.log(columns[0] * 1e6) / math.log(1.5)
    assert power == pytest.approx(round(power))
    assert "Cells (steps of 50 %)" in [t.name for t in figures.scatter(small, Axes()).data]


def test_the_band_is_the_staircase_divided_by_one_plus_epsilon(small):
    figure = figures.scatter(small, Axes("Size / error", surrogate=True))
    band = trace(figure, "Where the untrained can lie (epsilon 0.5)")
    assert list(band.x) == pytest.approx([2 / 1.5, 4 / 1.5, 6 / 1.5, 8 / 1.5, 8 / 1.5, 8])
    assert list(band.y) == pytest.approx(
        [0.69 / 1.5, 0.50 / 1.5, 0.44 / 1.5, 0.40 / 1.5, 0.40 / 1.5, 0.40 / 1.5]
    )
    dev = figures.scatter(small, Axes("Size / error"))
    assert not [t for t in dev.data if t.name and "untrained" in t.name]  # no promise about dev


def test_the_staircase_keeps_the_least_at_each_step():
    points = [(3.0, 5.0), (1.0, 9.0), (2.0, 9.5), (4.0, 6.0), (5.0, 1.0)]
    assert figures.staircase(points) == [(1.0, 9.0), (3.0, 5.0), (5.0, 1.0), (5.0, 1.0)]


def test_predicted_points_never_look_measured(front, predicted_front):
    measured = {layer.symbol for layer in figures.layers(front)}
    drawn = figures.layers(predicted_front)
    assert not {layer.symbol for layer in drawn} & measured
    assert all("predicted" in layer.name for layer in drawn)
    figure = figures.scatter(predicted_front, Axes(surrogate=True))
    bar = trace(figure, "Front (error predicted)").marker.colorbar.title.text
    assert bar == "Predicted error (%, from published GLUE scores)"
    assert figures.badge(predicted_front) == "Predicted"
    assert "nothing was trained" in figures.origin(predicted_front)
    fitted = replace(predicted_front, provenance={"surface": {"leave_one_out": 0.0644}})
    assert "BERTs, 6.4 % off where one is left out; nothing" in figures.origin(fitted)
    assert "ê (nats)" not in figures.table(predicted_front)
    assert "measured" not in figures.why(predicted_front, predicted_front.pareto[0])


def test_bort_is_marked_among_the_predicted(predicted_front):
    bort = replace(predicted_front.pareto[0], architecture=figures.BORT)
    others = tuple(p for p in predicted_front.points if p.architecture != figures.BORT)
    marked = figures.marks(replace(predicted_front, points=(*others, bort)))
    assert ["4,8,1024,768"] in [keys(layer.points) for layer in marked if layer.name == "Bort"]


def test_the_volume_shows_the_same_points(small):
    figure = figures.volume(small, Axes())
    on = trace(figure, "On the front")
    assert (list(on.x), list(on.y), list(on.z)) == ([8, 6, 4], [8, 6, 4], [10, 15, 25])
    assert figure.layout.scene.zaxis.title.text == "Wrong answers on dev (%)"


@pytest.mark.parametrize(
    ("event", "found"),
    [
        ({"selection": {"points": [{"customdata": ["3,12,384,768"]}]}}, "3,12,384,768"),
        ({"selection": {"points": [{"customdata": "3,12,384,768"}]}}, "3,12,384,768"),
        ({"selection": {"points": []}}, None),
        ({"selection": {"points": [{}]}}, None),
        ({"selection": {"points": [{"customdata": ["<img src=x>"]}]}}, None),
        ({"selection": {"points": [{"customdata": ["3,7,384,768"]}]}}, None),
        ({"selection": {"points": [{"customdata": []}]}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_selection_is_read_with_suspicion(event, found):
    assert figures.chosen(event) == (Architecture.parse(found) if found else None)


def test_an_unknown_view_is_refused():
    with pytest.raises(ValueError, match=r"view is 'up'; allowed: Size / latency, Size / error"):
        Axes("up")


def test_the_card_compares_with_the_source(small):
    point = small[Architecture.parse("2,2,8,8")]
    assert [(f.label, f.text, f.delta) for f in figures.facts(small, point)] == [
        ("Parameters, exact", "4.0 M", "-50 %"),
        ("Encoder only, exact", "2.0 M", "-50 %"),
        ("Latency, predicted", "4.00 ms", "-50 %"),
        ("Right on dev", "75.0 %", "-15.0 points"),
    ]
    assert [f.delta for f in figures.facts(small, small.source_point)] == [None] * 4
    assert figures.shape(point) == "2 layers, 2 heads, hidden size 8, intermediate size 8"
    assert figures.names(small, point) in ([], ["Knee"])


def test_why_says_what_a_point_beats(small):
    on = figures.why(small, small[Architecture.parse("4,2,8,8")])
    assert "25 % smaller and 25 % faster than 6,2,8,8" in on
    assert "12.0 % lower in error ê than 2,2,8,8" in on  # 1 - 0.44 / 0.50
    off = figures.why(small, small[Architecture.parse("3,2,8,8")])
    assert off == "Not on the front: 4,2,8,8 is 14 % faster and 8.3 % lower in error ê."
    assert "never recommended" in figures.why(small, small[Architecture.parse("1,2,8,8")])


def test_why_has_an_answer_for_every_point(front, predicted_front):
    for each in (front, predicted_front):
        for point in each.points:
            assert figures.why(each, point).endswith(".")


def test_the_table_starts_with_the_front_and_flags_the_rest(small):
    table = figures.table(small)
    assert list(table["D,A,H,I"]) == ["2,2,8,8", "4,2,8,8", "6,2,8,8", "1,2,8,8", "3,2,8,8"]
    notes = dict(zip(table["D,A,H,I"], table["Note"], strict=True))
    assert notes["1,2,8,8"] == "No better than guessing"
    assert notes["3,2,8,8"] == "Not on the front"
    assert "Largest" in notes["6,2,8,8"] and "Best W" in notes["4,2,8,8"]
    assert set(figures.FORMATS) >= set(table.columns) - {"D,A,H,I", "Note"}


def test_budgets_start_with_everything_in_reach(small, front, predicted_front):
    found = figures.budgets(small)
    assert (found["latency"].low, found["latency"].high) == (4.0, 8.0)  # the guess is left out
    assert (found["size"].low, found["size"].high) == (4.0, 8.0)
    assert (found["lost"].low, found["lost"].high, found["lost"].start) == (0.0, 15.0, 7.6)
    for each in (small, front, predicted_front):
        able = [p for p in each.pareto if not p.at_chance]
        most = figures.budgets(each)
        assert all(p.latency_ms <= most["latency"].high for p in able)
        assert all(p.n_parameters <= most["size"].high * 1e6 for p in able)
        fit = each.cheapest("latency", most["latency"].low + most["latency"].step)
        assert fit is not None and not fit.at_chance


def test_a_front_of_one_point_can_be_shown(small):
    one = replace(small, points=(replace(small.source_point, pareto=True),), best=small.maximum)
    for view in figures.VIEWS:
        json.loads(figures.scatter(one, Axes(view, surrogate=True)).to_json())
    json.loads(figures.volume(one, Axes()).to_json())
    assert all(r.low < r.high and r.low <= r.start <= r.high for r in figures.budgets(one).values())
    assert figures.why(one, one.points[0]).startswith("On the front")
    assert len(figures.table(one)) == 1
    assert "1 points on the front" in figures.summary(one)


def test_names_from_a_file_are_no_markup():
    assert literal("![x](http://a) :red[b] $c$ <i>") == (
        r"\!\[x\](http\://a) \:red\[b\] \$c\$ \<i\>"
    )


def test_a_front_where_all_are_at_chance_can_be_shown(small):
    points = mark_pareto(replace(p, at_chance=True) for p in small.points)
    hopeless = replace(small, points=points)
    assert {layer.name for layer in figures.layers(hopeless)} == {"No better than guessing"}
    assert figures.recommended(hopeless) == hopeless.source_point
    assert figures.summary(hopeless) == "No point of minilm-l6 is better than guessing"
    assert figures.budgets(hopeless)["latency"].low == 2.0
    for view in figures.VIEWS:
        json.loads(figures.scatter(hopeless, Axes(view, surrogate=True)).to_json())
    json.loads(figures.volume(hopeless, Axes()).to_json())


def test_the_words_carry_origin_and_unit(front):
    said = figures.origin(front)
    assert "Recorded on Synthetic CPU, 2000-01-01" in said
    assert "Synthetic CPU, recorded 2000-01-01;" in said
    assert "batch 1, 128 tokens, 2 threads" in said and "3.1 % median error" in said
    assert figures.origin(replace(front, provenance={}, origin="measured")).startswith(
        "Measured on"
    )
    promise = figures.promise(front)
    assert f"**{front.n_evaluated}** of them were trained" in promise
    assert f"{front.guarantee['order_pairs']} pairs" in promise
    assert figures.promise(replace(front, guarantee={}))
    assert millions(999_999) == "1000 k" and millions(22_713_216) == "22.7 M"
    with pytest.raises(KeyError):
        figures.measure(front, "beauty")
