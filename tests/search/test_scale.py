"""The scale of errors, by hand."""

from dataclasses import replace

import pytest

from bort_engine.search.scale import Scale
from bort_engine.training.teacher import TeacherReport

REPORT = TeacherReport(0.2, 0.10, 0.50, 1000, 1000, 1.0)


def test_r_is_nought_for_the_source_and_one_for_guessing():
    scale = Scale.of(REPORT)
    assert scale == Scale(0.10, 0.40)
    assert [scale.r(error) for error in (0.10, 0.50, 0.30, 0.06)] == pytest.approx(
        [0, 1, 0.5, -0.1]
    )
    assert scale.points(0.25) == pytest.approx(10)
    assert scale.points(scale.r(0.12)) == pytest.approx(2)  # two points below the source


def test_where_guessing_is_not_known_r_counts_points():
    scale = Scale(0.2)
    assert scale.r(0.23) == pytest.approx(0.03) and scale.points(0.03) == pytest.approx(3)


@pytest.mark.parametrize("dev_error", [0.50, 0.63])
def test_a_source_no_better_than_guessing_is_refused_in_one_line(dev_error):
    with pytest.raises(ValueError, match=rf"{dev_error:.1%} of the 1000 dev rows.* 50\.0%") as e:
        Scale.of(replace(REPORT, dev_error=dev_error))
    assert "\n" not in str(e.value)
