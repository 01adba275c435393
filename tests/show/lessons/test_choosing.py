"""The lesson on choosing: W by hand, its maximiser on the front, guessers flagged, any state."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bort_engine.encoder.latency import Calibration, HeldOut, LatencySettings
from bort_engine.encoder.space import Architecture
from bort_engine.search.result import Point
from bort_engine.show.lessons import choosing, choosing_figures
from bort_engine.show.lessons.choosing import BATCHES, LENGTHS, Rule
from bort_engine.show.lessons.table import SOURCE, Table, tables
from pages.parts.lessons import choosing as page
from tests import made_up_record

ROOT = Path(__file__).parents[3]
SMALL = Architecture(1, 2, 96, 192)
RULES = [Rule(size, e) for size in page.SIZES.values() for e in page.ERRORS.values()]
STATES = {
    "choose_size": tuple(page.SIZES),
    "choose_error": tuple(page.ERRORS),
    "choose_length": LENGTHS,
    "choose_batch": BATCHES,
    "choose_lost": (0.0, 0.5, 5.0, 12.5, 30.0),
}


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("records")
    return [made_up_record.write(folder / f"{seed}.jsonl", seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def table(records) -> Table:
    return tables(records)[0]


# By hand.


def two(dev_error: float = 0.3) -> Table:
    """T: 100 parameters, 80 in the encoder, 10 ms; the other: 40, 20 and 4 ms; errors by hand."""
    calibration = Calibration(
        SOURCE.name,
        LatencySettings(1, 128, 2),
        "CPU",
        "torch 0",
        "2000-01-01",
        1.0,
        {"384": 4.0, "96": 2.0},
        {"12,384,1536": 1.0, "2,96,192": 2.0},
        (HeldOut(str(SMALL), 4.0, 0.1, 4.0),),
    )
    T = Point(SOURCE.architecture, 100, 80, 1000, 10.0, error=0.2, dev_error=0.1)
    small = Point(SMALL, 40, 20, 100, 4.0, error=0.5, dev_error=dev_error)
    small = replace(small, at_chance=dev_error > 0.4)
    return Table(0, (T, small), 0.2, 0.45, calibration, "by hand")


@pytest.mark.parametrize(
    ("rule", "w", "saved"),
    [
        (Rule("total", "cross-entropy"), 0.6 * 0.6 / 0.5, 0.36),  # 0.72
        (Rule("total", "excess"), 0.36 / 0.3, 0.36),  # 1.2
        (Rule("effective", "cross-entropy"), 0.75 * 0.6 / 0.5, 0.45),  # 0.9
        (Rule("effective", "excess"), 0.45 / 0.3, 0.45),  # 1.5
    ],
)
def test_w_is_what_is_saved_over_the_error_that_counts(rule, w, saved):
    found = choosing.choose(two(), rule)
    T, small = found.front.points
    assert (T.w, small.w) == (0, pytest.approx(w)) and found.front.best == SMALL
    assert found.saved == pytest.approx((0, saved))
    said = choosing.verdict(found)
    assert f"picks {SMALL}:** wrong on 30.0 % of dev, 20.0 points behind the source (guess" in said
    assert said.startswith("**As published, W") is rule.published


def test_operations_stand_in_where_no_latency_is_recorded():
    found = choosing.choose(two(), Rule(length=16))
    # D (4 L H^2 + 2 L H I + 2 L^2 H) + H^2, by hand, for 1,2,96,192 at 16 tokens.
    assert found.front[SMALL].latency_ms == 589_824 + 589_824 + 49_152 + 9_216
    assert found.latency is None and "are **not recorded**" in choosing.cost_words(found)
    assert found.original(found.front[SMALL]).latency_ms == 4.0


def test_a_recorded_calibration_of_another_batch_is_taken(monkeypatch):
    usual = two().calibration
    other = replace(usual, settings=replace(usual.settings, batch_size=8))
    asked = []

    def recorded(source, space, settings, latency):
        asked.append((settings.batch_size, settings.sequence_length, settings.threads, latency))
        return other

    monkeypatch.setattr("bort_engine.search.errors.calibration_for", recorded)
    found = choosing.choose(two(), Rule(batch=8))
    assert found.latency is other and asked == [(8, 128, 2, "recorded")]
    assert choosing.cost_words(found) == "i is the latency at batch 8, 128 tokens (recorded)."


def test_a_pick_that_guesses_is_flagged_and_only_w_makes_it():
    found = choosing.choose(two(dev_error=0.45))
    picked = choosing.picks(found, 30)
    assert picked["Best W"].at_chance and picked["Best W"] == picked["Best guesser"]
    assert picked["Knee"] == picked["In budget"] == picked["Source"] == found.front.source_point
    assert "which guesses" in choosing.verdict(found)
    notes = choosing.to_frame(found, picked)["Note"].tolist()
    assert notes == ["no better than guessing", "", "", "", "no better than guessing"]
    assert "no better than guessing" in choosing_figures.summary(found, picked)


def test_how_near_a_guesser_comes_is_said():
    table, other = two(), Architecture(1, 2, 96, 384)
    T, small = table.points
    ms = table.calibration.layer_ms | {"2,96,384": 2.0}
    guesser = replace(small, architecture=other, error=0.6, dev_error=0.45, at_chance=True)
    calibration = replace(table.calibration, layer_ms=ms)
    known = replace(table, points=(T, small, guesser), calibration=calibration)
    published = choosing.verdict(choosing.choose(known, Rule("total", "cross-entropy")))
    assert published.endswith("guess, 1,2,96,384, comes to 83 % of that W.")  # 0.5 / 0.6
    usual = choosing.verdict(choosing.choose(known))
    assert usual.endswith("comes to 75 % of that W.")  # (0.5 - 0.2) / (0.6 - 0.2)
    assert "guess," not in choosing.verdict(choosing.choose(two()))


def test_a_rule_that_does_not_exist_is_one_line():
    with pytest.raises(ValueError, match="size is 'tiny'; allowed: total, effective"):
        Rule(size="tiny")
    with pytest.raises(ValueError, match="length is 99; allowed: 16, 128, 512"):
        Rule(length=99)


# Properties.


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_maximiser_of_w_is_on_the_front_and_no_line_is_flatter(table, rule, length):
    found = choosing.choose(table, replace(rule, length=length))
    front = found.front
    best = front[front.best]
    assert best.pareto and best.w == max(p.w for p in front.points)
    for p, e, saved in zip(front.points, found.errors, found.saved, strict=True):
        assert p.w == pytest.approx(saved / max(e, 1e-3))
    picked = choosing.picks(found, 10)
    assert not picked["Knee"].at_chance and picked["In budget"].pareto


def test_a_larger_budget_never_costs_more(table):
    found = choosing.choose(table)
    costs = [choosing.picks(found, lost)["In budget"].latency_ms for lost in (0, 2, 5, 10, 30)]
    assert costs == sorted(costs, reverse=True)
    assert choosing.picks(found, 0)["In budget"] == found.front.source_point


def test_as_published_a_guesser_wins_a_table_in_which_errors_differ_little(table):
    published = choosing.choose(table, Rule("total", "cross-entropy"))
    assert published.front[published.front.best].at_chance
    usual = choosing.choose(table)
    assert not usual.front[usual.front.best].at_chance
    assert f"Best W {usual.front.best} → {published.front.best}" in choosing.changes(
        published, usual, 5
    )
    assert "The picks are those" in choosing.changes(usual, usual, 5)


def test_the_picture_shows_every_shape_once_and_the_picks(table):
    found = choosing.choose(table)
    picked = choosing.picks(found, 5)
    drawn = {t.name: t for t in choosing_figures.figure(found, picked).data}
    kinds = ("Beaten", "Guesses", "On the front")
    assert sum(len(drawn[name].x) for name in kinds) == len(choosing.numbers(found)) == 384
    assert {t.marker.symbol for name, t in drawn.items() if name in picked} == {
        symbol for symbol, _ in choosing_figures.MARKS.values()
    }
    assert tuple(choosing_figures.MARKS) == choosing.RULES


# The page.


def opened(**query: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.run()
    at.switch_page("pages/learn.py")
    for name, value in ({"lesson": page.TITLE} | query).items():
        at.query_params[name] = value
    return at.run()


def words(at: AppTest) -> str:
    return "\n".join(e.value for kind in (at.markdown, at.caption, at.warning) for e in kind)


@pytest.fixture
def shown(monkeypatch, records) -> None:
    """A quick app: made-up records only, and nothing on Explore."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("bort_engine.search.errors.recorded_tasks", list)
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: records)


def test_the_presets_lead_to_a_guesser_and_back(shown):
    at = opened()
    assert not at.exception and not at.warning
    assert "With training seed 1 instead of 0, W picks" in words(at)
    next(b for b in at.button if b.label == "W as published").click().run()
    assert not at.exception and at.query_params["choose_size"] == "All"
    assert at.dataframe[0].value["Note"].iloc[0] == "no better than guessing"
    assert "Against this project's own rule" in words(at)
    next(b for b in at.button if b.label == "W as counted here").click().run()
    notes = at.dataframe[0].value.set_index("Rule")["Note"]
    assert notes["Best W"] == "" and notes["Best guesser"] == "no better than guessing"


def test_any_state_of_the_widgets_is_shown(shown):
    at, dice = opened(), random.Random(0)
    for _ in range(20):
        for key, options in STATES.items():
            at.session_state[key] = dice.choice(options)
        at.run()
        assert not at.exception and len(at.get("plotly_chart")) == 1
        latency = (at.session_state["choose_length"], at.session_state["choose_batch"]) == (128, 1)
        assert ("not recorded" in words(at)) is not latency


def test_a_link_restores_its_state(shown):
    values = {"choose_size": "All", "choose_length": "16", "choose_batch": "8"}
    at = opened(**values, choose_lost="12.5")
    assert {key: str(at.session_state[key]) for key in values} == values
    assert at.slider(key="choose_lost").value == 12.5
    assert "the operations at 16 tokens" in words(at)


@pytest.mark.parametrize("nonsense", ["", "-1", "1e999", "<b>", "../..", "x" * 3000])
def test_nonsense_in_the_address_is_left_out(shown, nonsense):
    at = opened(**dict.fromkeys(STATES, nonsense))
    assert not at.exception and len(at.get("plotly_chart")) == 1


def test_without_a_whole_table_the_page_says_what_is_missing(shown, monkeypatch):
    monkeypatch.setattr("bort_engine.search.errors.tables", list)
    at = opened()
    assert not at.exception and not at.get("plotly_chart")
    assert len(at.warning) == 1 and "no table of all 384 architectures" in at.warning[0].value
