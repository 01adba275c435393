"""A race in words: every sentence held to scores worked out by hand, flattering or not."""

import html
import math
from dataclasses import replace
from io import StringIO

import pandas as pd
import pytest

from bort_engine.search.scores import Race
from bort_engine.show import race as race_report
from bort_engine.show.race import standing
from tests.fake_engine import synthetic_race

A, B, C, D = range(4)


@pytest.fixture(scope="module")
def race() -> Race:
    return synthetic_race()


def said(race: Race) -> dict[str, str]:
    found = race_report.verdict(race)
    return {one.head: one.text.replace("\N{NO-BREAK SPACE}", " ") for one in found}


def test_the_verdict_of_a_tie_says_that_it_is_one(race):
    # Ours and TPE end with the whole front, random search with it in one seed of two; the other
    # lacks B, and so has 0.131 of 0.5162.
    assert said(race) == {
        "In short": "after 3 trainings each, the FPTAS is level with TPE in hypervolume and is "
        "level with TPE in achieved epsilon.",
        "Hypervolume, as a share of the truth's": "after 3 trainings the FPTAS is level with TPE "
        "in the lead at 100.00 %.",
        "Achieved epsilon, lower is better": "after 3 trainings the FPTAS is level with TPE in "
        "the lead at 0.000.",
        "Trainings until the achieved epsilon is below 0.2": "the FPTAS 3, TPE 3, random search "
        "not within the budget; the FPTAS needs least, and so does TPE.",
        "Trainings until the achieved epsilon is below 0.1": "the FPTAS 3, TPE 3, random search "
        "not within the budget; the FPTAS needs least, and so does TPE.",
        "Seed by seed, in hypervolume": "at the end the FPTAS is ahead of random search in 1 of 2 "
        "seeds (level in 1), level with TPE in 2 of 2 seeds.",
        "Seed by seed, in achieved epsilon": "at the end the FPTAS is ahead of random search in 1 "
        "of 2 seeds (level in 1), level with TPE in 2 of 2 seeds.",
        "By recorded seconds": "after 7 s of training, the most that every search spent, in "
        "hypervolume, the FPTAS is level with TPE in the lead at 100.00 %; in achieved epsilon, "
        "the FPTAS is level with TPE in the lead at 0.000.",
        "Recorded seconds until the achieved epsilon is below 0.2": "the FPTAS 7, TPE 7, random "
        "search not within the budget; the FPTAS needs least, and so does TPE.",
        "Recorded seconds until the achieved epsilon is below 0.1": "the FPTAS 7, TPE 7, random "
        "search not within the budget; the FPTAS needs least, and so does TPE.",
        "What it speaks for": "one source, one task, a space of 4 architectures, all measured; 2 "
        "seeds of each sampler on the errors of 1 training seed. The FPTAS draws nothing at "
        "random, so its quartiles span the training seeds alone. Seconds are those of the "
        "trainings; what the searches themselves take to think is left out.",
    }


def test_where_ours_is_behind_the_verdict_says_so_as_plainly(race):
    # Ours trains D, A, C and never B, which C stands in for at twice its size.
    behind = said(replace(race, traces=race.traces | {"fptas": ((D, A, C),)}))
    assert behind["In short"] == (
        "after 3 trainings each, the FPTAS does not lead in hypervolume (TPE does) and does not "
        "lead in achieved epsilon (TPE does)."
    )
    assert behind["Achieved epsilon, lower is better"] == (
        "after 3 trainings TPE leads with 0.000 and the FPTAS is behind with 1.000, number 3 of 3."
    )
    assert behind["Trainings until the achieved epsilon is below 0.2"] == (
        "TPE 3, the FPTAS and random search not within the budget; the FPTAS does not need least: "
        "TPE does."
    )
    assert behind["Seed by seed, in achieved epsilon"] == (
        "at the end the FPTAS is level with random search in 1 of 2 seeds (behind in 1), behind "
        "TPE in 2 of 2 seeds."
    )
    assert "TPE leads with 0.000 and the FPTAS is behind" in behind["By recorded seconds"]


def test_where_ours_leads_the_next_one_is_named(race):
    ahead = said(replace(race, traces={"fptas": ((A, B, C),), "random": ((D, C, A),) * 2}))
    assert ahead["In short"] == (
        "after 3 trainings each, the FPTAS leads in hypervolume and leads in achieved epsilon."
    )
    assert ahead["Hypervolume, as a share of the truth's"] == (
        "after 3 trainings the FPTAS leads with 100.00 %, before random search with 25.38 %."
    )
    assert ahead["Trainings until the achieved epsilon is below 0.1"] == (
        "the FPTAS 3, random search not within the budget; the FPTAS needs least."
    )
    assert ahead["Seed by seed, in hypervolume"].endswith("ahead of random search in 2 of 2 seeds.")


@pytest.mark.parametrize(
    ("medians", "score", "text"),
    [
        ({"fptas": 0.3, "tpe": 0.2, "local": 0.2}, "epsilon",
         "TPE and local search are level in the lead with 0.200 and the FPTAS is behind with "
         "0.300, number 3 of 3"),
        ({"fptas": 90.0, "tpe": 91.0, "random": 90.0}, "hypervolume",
         "TPE leads with 91.00 % and the FPTAS is behind with 90.00 %, number 2 of 3"),
        ({"fptas": 90.0, "tpe": 90.0, "random": 90.0}, "hypervolume", "all are level at 90.00 %"),
        ({"fptas": 90.0, "tpe": 80.0, "random": 80.0}, "hypervolume",
         "the FPTAS leads with 90.00 %, before TPE and random search with 80.00 %"),
    ],
)  # fmt: skip
def test_a_standing_in_words(medians, score, text):
    assert standing(medians, score).replace("\N{NO-BREAK SPACE}", " ") == text


def test_what_reads_alike_is_called_level(race, monkeypatch):
    """A lead that the shown digits do not show is none."""
    curves = {name: replace(c, hypervolume=c.hypervolume.copy()) for name, c in race.curves.items()}
    curves["tpe"].hypervolume[:, -1] -= 1e-6
    monkeypatch.setitem(race.__dict__, "curves", curves)
    assert "level with TPE in hypervolume" in said(race)["In short"]
    assert "ahead of TPE in 2 of 2 seeds" in said(race)["Seed by seed, in hypervolume"]


def test_the_looks_are_those_within_the_budget_and_its_end(race):
    assert race_report.looks(race) == [3]
    assert [race_report.looks(replace(race, budget=n)) for n in (16, 40, 64, 100)] == [
        [16],
        [16, 32, 40],
        [16, 32, 64],
        [16, 32, 64, 100],
    ]


def test_goals_that_nobody_reaches_and_seconds_that_nobody_noted(race):
    poor = {"fptas": ((D, A),), "random": ((D, C), (A, D))}
    told = said(replace(race, budget=2, traces=poor, seconds=((0.0, None, 0.0, 0.0),)))
    assert told["Trainings until the achieved epsilon is below 0.1"] == (
        "nobody gets there within the budget of 2 trainings."
    )
    assert told["By recorded seconds"] == (
        "the trainings' seconds are not on record, or too uneven to compare."
    )
    assert not any(head.startswith("Recorded seconds until") for head in told)


def test_ours_alone_is_compared_with_nothing(race):
    alone = replace(race, traces={"fptas": race.traces["fptas"]})
    assert said(alone) == {
        "In short": "only the FPTAS took part, so there is nothing to compare it with."
    }
    assert "only the FPTAS took part" in race_report.to_html(alone)


def test_a_truth_that_is_only_partly_known_says_so(race):
    part = replace(race, errors=((0.8, 0.4, 0.2, None),), traces={"fptas": ((C, A, B),)})
    assert race_report.provenance(part)["Truth"] == (
        "3 measured architectures of 4, which are taken for the truth"
    )


def test_the_summary_table_by_hand(race):
    table = race_report.table(race).set_index("Search")
    assert list(table["Seeds"]) == [1, 2, 2]
    assert table.loc["Random search", "Achieved epsilon"] == 0.5
    assert math.isnan(table.loc["Random search", "Trainings to 0.2"])
    assert table.loc["TPE", "Trainings to 0.1"] == 3
    assert table.loc["TPE", "Seconds to 0.1"] == 7
    assert list(table["Seconds in all"]) == [7, 7.5, 7]


def test_a_moment_of_the_race_by_hand(race):
    now = race_report.moment(race, 1, 2).set_index("Search")
    assert list(now["Just trained"]) == ["1,2,96,192", "2,2,96,192", "4,2,96,192"]
    assert list(now["Achieved epsilon"]) == [1, 1, 1]
    assert list(now["Of the true front"]) == [2, 2, 2]
    assert list(now["Seconds"]) == [5, 3, 6]


def test_the_long_table_has_a_row_for_each_training(race):
    frame = race_report.to_frame(race)
    again = pd.read_csv(StringIO(frame.to_csv(index=False)))
    assert len(again) == 3 * 5
    assert list(again.columns) == [
        "searcher",
        "seed",
        "trainings",
        "architecture",
        "seconds",
        "hypervolume",
        "achieved_epsilon",
    ]
    row = again[(again.searcher == "random") & (again.seed == 1) & (again.trainings == 2)].iloc[0]
    assert (row.architecture, row.seconds, row.achieved_epsilon) == ("2,2,96,192", 3, 1)


def test_covers_are_those_of_the_seed_s_table_and_within_the_budget(race):
    assert race_report.covers(race, 7) == {1.0: 2, 0.5: 3}
    hostile = replace(race, finished=({1.0: 2, 0.5: 9, "x": 1, 0.3: True, 0.2: "3"},))
    assert race_report.covers(hostile, 0) == {1.0: 2}
    assert race_report.covers(replace(race, finished=()), 0) == {}


def test_every_number_says_where_and_when_it_was_made(race):
    assert race_report.origin(race) == (
        "Errors recorded on Synthetic CPU, 2000-01-01; made up for the tests. Latency: batch 1, "
        "128 tokens, 2 threads, Synthetic CPU, recorded 2000-01-01, torch 0."
    )
    here = replace(race, origin="measured", latency=replace(race.latency, origin="measured"))
    assert race_report.badge(here) == "Measured"
    assert race_report.origin(here).startswith("Errors measured on Synthetic CPU, 2000-01-01;")
    assert race_report.origin(here).endswith("Synthetic CPU, measured here.")


@pytest.mark.parametrize("made", [{}, {"oracle": [], "machine": 7, "training_seeds": "x"}])
def test_missing_provenance_is_said_to_be_missing(race, made):
    bare = replace(race, provenance={"teacher": {"error": 0.05}} | made)
    assert "undated; versions unknown" in race_report.provenance(bare)["Errors"]
    assert race_report.provenance(bare)["Each training"].endswith("training seeds unknown")


def test_the_report_stands_alone_and_nothing_in_it_is_markup(race):
    evil = "</script><img src=x onerror=alert(1)>"
    hostile = replace(
        race,
        source=evil,
        task=evil,
        provenance=race.provenance | {"machine": evil, "race_seconds": evil},
        latency=replace(race.latency, device=evil, batch_size=evil),
    )
    page = race_report.to_html(hostile)
    assert evil not in page and "<img" not in page.replace(_plotly(), "")
    assert html.escape(evil) in page
    assert page.count(_plotly()[:2000]) == 1, "plotly.js is there once"
    assert "<link" not in page.replace(_plotly(), "") and 'src="http' not in page
    assert page.count("<figure>") == 4 + 3 + 2
    assert "Random search" in page and "not within the budget" in page


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()
