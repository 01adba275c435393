"""A race in words and tables, held to scores worked out by hand, flattering or not."""

import html
import math
from dataclasses import replace

import numpy as np
import pytest

from bort_engine.runs.provenance import Provenance
from bort_engine.search.scores import Race
from bort_engine.show import race as race_report
from bort_engine.show.race import standing
from bort_engine.show.race_figures import EPSILON, HYPERVOLUME
from bort_engine.show.race_page import to_html
from tests.fake_engine import synthetic_race

A, B, C, D = range(4)
LEADING = {"fptas": ((A, B, C),), "random": ((D, C, A),) * 2}


@pytest.fixture(scope="module")
def race() -> Race:
    return synthetic_race()


def findings(race: Race, **change) -> dict[str, str]:
    verdict = race_report.verdict(replace(race, **change) if change else race)
    return {finding.head: finding.text.replace("\N{NO-BREAK SPACE}", " ") for finding in verdict}


@pytest.mark.parametrize(
    ("traces", "numbers"),
    [
        # Ours and TPE end with the whole front, random search in one seed of two.
        (
            {},
            {
                "In short": "is level with TPE and random search in hypervolume and achieved "
                "epsilon. 2 seeds of each: too few",
                "Hypervolume": "all are level: the FPTAS (100.00 %), TPE (100.00 %) and random",
                "Evaluations until the achieved epsilon is below 0.2": "the FPTAS 3, TPE 3, random "
                "search not within the budget; least: the FPTAS and TPE",
                "The FPTAS seed by seed, in hypervolume": "random search ahead in 1, level in "
                "1; against TPE level in 2",
                "By recorded seconds": "after 7 s",
                "Recorded seconds until the achieved epsilon is below 0.1": "the FPTAS 7, TPE 7",
            },
        ),
        # Ours never trains B, which C stands in for at twice its size.
        (
            {"fptas": ((D, A, C),)},
            {
                "In short": "is behind TPE in hypervolume and achieved epsilon",
                "Achieved epsilon": "TPE (0.000) and random search (0.200) are level in the "
                "lead, the FPTAS (0.400) is behind TPE",
                "Evaluations until the achieved epsilon is below 0.2": "TPE 3, the FPTAS and "
                "random search not within the budget; least: TPE",
                "The FPTAS seed by seed, in achieved epsilon": "random search level in 1, behind "
                "in 1; against TPE behind in 2",
            },
        ),
        (
            LEADING,
            {
                "In short": "leads in hypervolume and achieved epsilon",
                "Hypervolume": "FPTAS (100.00 %) leads, before random search (25.38 %)",
                "Evaluations until the achieved epsilon is below 0.1": "least: the FPTAS",
            },
        ),
    ],
    ids=["level", "behind", "ahead"],
)
def test_the_verdict_says_who_leads_by_how_much(race, traces, numbers):
    verdict = findings(race, traces=traces if traces is LEADING else race.traces | traces)
    for head, text in numbers.items():
        (sentence,) = [verdict[full] for full in verdict if full.startswith(head)]
        assert text in sentence


@pytest.mark.parametrize(
    ("scores", "score", "text"),
    [
        (
            {"fptas": 0.3, "tpe": 0.2, "local": 0.2},
            EPSILON,
            "TPE (0.200) and local search (0.200) are level in the lead, the FPTAS (0.300) is "
            "behind TPE and local search",
        ),
        ({"fptas": 90.0, "random": 90.0}, HYPERVOLUME, "all are level: the FPTAS (90.00"),
        ({"fptas": 90.0, "tpe": 80.0}, HYPERVOLUME, "the FPTAS (90.00 %) leads, before TPE (80.00"),
    ],
)
def test_a_standing_names_those_in_the_lead(scores, score, text):
    by_seed = {name: np.array([value]) for name, value in scores.items()}
    assert text in standing(by_seed, score).replace("\N{NO-BREAK SPACE}", " ")


def test_a_better_median_is_a_lead_only_if_the_seeds_bear_it_out():
    """Of 20 seeds, 15 are not chance (two-sided 4.1 %), 14 are (11.5 %)."""
    theirs = np.full(20, 96.25)

    def ours(n_better: int) -> np.ndarray:
        return np.where(np.arange(20) < n_better, 96.31, 96.0)

    for n_better, is_lead in ((11, False), (14, False), (15, True)):
        values = {"fptas": ours(n_better), "surface": theirs}
        assert standing(values, HYPERVOLUME).startswith("all are level") != is_lead
        assert race_report.ahead(-ours(n_better), -theirs) == is_lead
    assert not race_report.ahead(-theirs, -ours(15))
    # One search a training seed, of two here, is held against each of a rival's seeds.
    few = np.array([0.1, 0.3])
    assert race_report.ahead(few, np.array([0.2, 0.4, 0.2, 0.4]))
    assert not race_report.ahead(few, np.array([0.2, 0.4, 0.2, 0.3]))


def test_a_lead_that_the_shown_digits_do_not_show_is_none(race, monkeypatch):
    curves = {name: replace(c, hypervolume=c.hypervolume.copy()) for name, c in race.curves.items()}
    curves["tpe"].hypervolume[:, -1] -= 1e-6
    monkeypatch.setitem(race.__dict__, "curves", curves)
    assert "level with TPE and random search in hypervolume" in findings(race)["In short"]
    assert "against TPE ahead in 2" in findings(race)["The FPTAS seed by seed, in hypervolume"]


def test_the_looks_are_those_within_the_budget_and_its_end():
    looks = {n: race_report.looks(n) for n in (3, 16, 40, 100)}
    assert looks == {3: [3], 16: [16], 40: [16, 32, 40], 100: [16, 32, 64, 100]}


def test_goals_that_nobody_reaches_and_seconds_that_nobody_noted(race):
    poor = {"fptas": ((D, A),), "random": ((D, C), (A, D))}
    verdict = findings(race, budget=2, traces=poor, seconds=((0.0, None, 0.0, 0.0),))
    price = verdict["Evaluations until the achieved epsilon is below 0.1"]
    assert price.startswith("nobody") and "2 evaluations" in price
    assert "not on record" in verdict["By recorded seconds"]
    assert not any(head.startswith("Recorded seconds until") for head in verdict)


def test_ours_alone_is_compared_with_nothing(race):
    alone = replace(race, traces={"fptas": race.traces["fptas"]})
    assert list(findings(alone)) == ["In short"]
    assert "only the FPTAS took part" in to_html(alone)


def test_the_tables_by_hand(race):
    table = race_report.table(race).set_index("Search")
    assert list(table["Seeds"]) == [1, 2, 2]
    assert table.loc["Random search", "Achieved epsilon"] == pytest.approx(0.2)
    assert math.isnan(table.loc["Random search", "Evaluations to 0.2"])
    assert table.loc["TPE", ["Evaluations to 0.1", "Seconds to 0.1"]].tolist() == [3, 7]
    assert list(table["Seconds in all"]) == [7, 7.5, 7]
    now = race_report.moment(race, 1, 2).set_index("Search")
    assert list(now["Just trained"]) == ["1,2,96,192", "2,2,96,192", "4,2,96,192"]
    assert list(now["Achieved epsilon"]) == pytest.approx([0.4, 0.2, 1])
    assert list(now["Of the true front"]) == [2, 2, 2]
    assert list(now["Seconds"]) == [5, 3, 6]
    frame = race_report.to_frame(race)
    assert len(frame) == 3 * 5
    row = frame[(frame.searcher == "random") & (frame.seed == 1) & (frame.evaluations == 2)].iloc[0]
    assert (row.architecture, row.seconds) == ("2,2,96,192", 3)
    assert row.achieved_epsilon == pytest.approx(0.2)


def test_covers_are_those_of_the_seed_s_table_and_within_the_budget(race):
    assert race_report.covers(race, 7) == {1.0: 2, 0.5: 3}
    shorter = replace(race, budget=2, traces={"fptas": ((C, A),)})
    assert race_report.covers(shorter, 0) == {1.0: 2}


def test_every_number_says_where_and_when_it_was_made(race):
    facts = race_report.provenance(race)
    assert "recorded on Synthetic CPU, 2000-01-01, made up for the tests" in facts["Errors"]
    assert "batch 1, 128 tokens, 2 threads, Synthetic CPU, recorded 2000" in facts["Latency"]
    latency = replace(race.latency, origin="measured", threads=1)
    here = replace(race, origin="measured", latency=latency)
    facts = race_report.provenance(here)
    assert facts["Errors"].startswith("measured") and facts["Latency"].endswith("measured")
    assert ", 1 thread, " in facts["Latency"]
    assert "10.0 points" in facts["Epsilon"] and "45.0 %" in facts["Source"]
    part = replace(race, errors=((0.8, 0.4, 0.2, None),), traces={"fptas": ((C, A, B),)})
    assert race_report.provenance(part)["Truth"].startswith("3 measured architectures of 4")


def test_the_report_stands_alone_and_nothing_in_it_is_markup(race):
    evil = "</script><img src=x onerror=alert(1)>"
    hostile = replace(
        race,
        source=evil,
        task=evil,
        provenance=replace(race.provenance, made=Provenance(evil, "", "2000-01-01")),
        latency=replace(race.latency, device=evil),
    )
    page = to_html(hostile)
    assert not [tag for tag in ("<script", "<img", "<link", 'src="') if tag in page]
    assert html.escape(evil) in page and len(page) < 1e6
    assert page.count("<figure><svg ") == 4 + 3 + 2
    assert "<td>25.38</td>" in to_html(replace(race, traces=LEADING)) and "<td>-</td>" in page
