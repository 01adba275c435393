"""Still pictures of plotly figures: places, colours and words, by hand."""

import re
from xml.etree import ElementTree

import plotly.graph_objects as go
import pytest

from bort_engine.show import picture, race_figures, theme

PATH = "{http://www.w3.org/2000/svg}path"


def drawn(figure: go.Figure) -> ElementTree.Element:
    theme.laid_out(figure, 400)
    return ElementTree.fromstring(picture.to_svg(figure, "name"))


def corners(svg: ElementTree.Element, colour: str) -> list[tuple[float, float]]:
    """The corners of the first line or area of a colour, in the picture's points."""
    path = next(p for p in svg.iter(PATH) if colour in p.get("style", ""))
    numbers = [float(x) for x in re.findall(r"[-\d.]+", path.get("d", ""))]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_steps_go_along_the_old_height_on_a_logarithmic_axis():
    figure = go.Figure()
    line = {"shape": "hv", "color": "#D55E00"}
    figure.add_scatter(x=[1, 10, 100], y=[3, 2, 2], mode="lines", line=line, showlegend=False)
    figure.update_xaxes(title="Time (s)", **theme.log_axis(1, 100))
    svg = drawn(figure)
    places = corners(svg, "#d55e00")
    assert len(places) == 5
    (x0, y0), (x1, y1), (x2, y2), *_, (x4, y4) = places
    assert (y0, x1, y2) == (y1, x2, y4) and y0 < y2  # down a picture is up in its numbers
    assert x4 - x1 == pytest.approx(x1 - x0)  # decades are as wide as each other
    texts = {text for text in svg.itertext() if text.strip()}
    assert {"Time (s)", "1", "2", "5", "10", "100"} <= texts and "20" in texts


def test_an_area_lies_between_two_lines():
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 0], mode="lines", fill="none")
    area = {"fill": "tonexty", "fillcolor": theme.pale("#0000ff", 0.5)}
    figure.add_scatter(x=[0, 1], y=[1, 2], mode="lines", name="<b>$x$", **area)
    svg = drawn(figure)
    places = corners(svg, "opacity: 0.5")[:4]
    assert len({x for x, _ in places}) == 2 and len({y for _, y in places}) == 3
    assert "<b>$x$" in "".join(svg.itertext())  # text, neither markup nor mathematics


def test_every_search_has_a_mark():
    assert {symbol for _, symbol in race_figures.MARKS.values()} <= picture.MARKS.keys()
    assert len(set(picture.MARKS.values())) == len(picture.MARKS)
