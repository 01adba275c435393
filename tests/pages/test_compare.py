"""The Baselines page in every state, through Streamlit's AppTest; the engine is faked."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from bort_engine.lab import table_record
from bort_engine.lab.table_record import TaskRows
from bort_engine.runs import jobs, records
from bort_engine.runs.provenance import Provenance
from bort_engine.search import errors as oracles
from bort_engine.search.scores import Race
from bort_engine.show import race as race_report
from bort_engine.training.teacher import RECIPE_VERSION
from tests.app import button, calm, close_and_reopen, ended, opened, press_and_wait, started, words
from tests.fake_engine import synthetic_race
from tests.show.test_students import FILMS, TWEETS, made_up

pytestmark = pytest.mark.usefixtures("quiet")
COMPARE = "pages/compare.py"


@pytest.fixture
def recorded(monkeypatch, tmp_path) -> Path:
    path = synthetic_race().save(tmp_path / "recorded.json")
    monkeypatch.setattr(race_report, "RECORDED", path)
    return path


def finished(root: Path, race: Race) -> jobs.Run:
    """Return a run that ended with this race."""
    run = ended(root, "race")
    race.save(run.folder / "race.json")
    return run


def test_with_nothing_on_record_the_page_says_what_it_does():
    at = opened(COMPARE)
    assert calm(at) and not at.get("plotly_chart")
    assert "No race ships with this version" in words(at)
    assert [link.value for link in at.page_link] == ["See the fronts on Explore"]


def test_the_recorded_race_is_replayed_training_by_training(recorded):
    at = opened(COMPARE)
    assert calm(
        at
    ) and "Recorded] minilm-l6 on rotten-tomatoes: 3 evaluations each, 2 seeds" in words(at)
    assert len(at.get("plotly_chart")) == 3  # two curves, and the fronts
    assert len(at.dataframe[-1].value) == 3
    slider = at.slider(key="evaluations-3")
    assert (slider.min, slider.max, slider.value) == (1, 3, 3)
    assert "whole down to epsilon 0.5" in words(at)
    slider.set_value(1).run()
    assert "After 1 of 3 evaluations, seed 0" in words(at) and "whole down to" not in words(at)
    now = at.dataframe[0].value.set_index("Search")
    assert now.loc["FPTAS", "Just trained"] == "4,2,96,192"
    at.selectbox(key="race_seed-2").set_value(1).run()
    assert at.dataframe[0].value.set_index("Search").loc["Random search", "Seconds"] == 1
    # An epsilon leads to the evaluation after which its cover was whole; the slider leaves it.
    at.pills(key="cover-0-3").set_value(1.0).run()
    assert at.slider(key="evaluations-3").value == 2 and "down to epsilon 1." in words(at)
    at.slider(key="evaluations-3").set_value(3).run()
    assert at.pills(key="cover-0-3").value is None and not at.exception


def test_curves_over_seconds_and_what_seeds_attain(recorded):
    at = opened(COMPARE)
    at.segmented_control(key="counted").set_value("seconds")
    at.segmented_control(key="race_view").set_value("latency").run()
    assert "Recorded time (s)" in at.get("plotly_chart")[0].proto.spec
    at.segmented_control(key="part").set_value("seeds").run()
    at.segmented_control(key="rival").set_value("tpe").run()
    assert not at.exception
    assert "TPE, half of the seeds" in at.get("plotly_chart")[2].proto.spec


def test_what_is_looked_at_stands_in_the_address(recorded):
    at = opened(COMPARE, counted="seconds", race_view="latency", part="seeds", rival="tpe")
    assert calm(at) and "Recorded time (s)" in at.get("plotly_chart")[0].proto.spec
    assert "TPE, half of the seeds" in at.get("plotly_chart")[2].proto.spec
    at.segmented_control(key="part").set_value("replay").run()
    assert "part" not in at.query_params and at.query_params["rival"] == "tpe"
    assert at.segmented_control(key="race_view").value == "latency"


def test_a_race_is_started_watched_stopped_resumed_and_shown(slow, monkeypatch, tmp_path, wait):
    at = opened(COMPARE)
    at.selectbox(key="errors").set_value("measured")
    at.pills(key="samplers").set_value(["local", "random"])
    at.number_input(key="race_seeds").set_value(2)
    at.number_input(key="race_budget-2640").set_value(3).run()
    assert "At most 15 evaluations" in words(at)  # three each for ours and four searches
    run, command = started(at, "Start")
    assert command == (
        "race minilm-l6 --budget 3 --errors measured --samplers random,local --seeds 2 "
        "--task rotten-tomatoes"
    )

    wait(lambda: run.status().done >= 3 and run.status().stage == "searching")
    at.run()
    assert not at.exception and at.get("vega_lite_chart")
    assert at.header[0].value in ("Searching", "Evaluating candidates")
    press_and_wait(at, "Stop", run, wait)

    monkeypatch.setenv("FAKE_STEPS", "1")
    monkeypatch.setenv("FAKE_RACE", str(synthetic_race().save(tmp_path / "race.json")))
    press_and_wait(at, "Resume", run, wait)
    assert "the FPTAS is level with TPE" in words(at)
    close_and_reopen(at, run, "minilm-l6 on rotten-tomatoes, 3 evaluations each, 2 seeds")


@pytest.mark.parametrize(
    "change",
    [
        {"budget": 1, "traces": {"fptas": ((2,),), "random": ((3,), (0,))}, "finished": ({},)},
        {"traces": {"fptas": ((2, 0, 1),)}, "origin": "measured"},
        {"seconds": ((None,) * 4,), "size": "effective"},
    ],
    ids=["one training", "ours alone", "no seconds"],
)
def test_smaller_and_barer_races_are_shown_too(run_root, change):
    at = opened(COMPARE, run=finished(run_root, synthetic_race(**change)).id)
    assert not at.warning and len(at.get("plotly_chart")) == 3
    assert f":primary-badge[{change.get('origin', 'recorded').capitalize()}]" in words(at)
    at.segmented_control(key="counted").set_value("seconds").run()
    at.segmented_control(key="part").set_value("seeds").run()
    assert not at.exception


def test_texts_of_a_race_are_no_markup(run_root):
    evil = "<img src=x> **bold** [a](http://b) :red[c] $d$"
    provenance = replace(synthetic_race().provenance, made=Provenance(evil, "", "2000-01-01"))
    race = synthetic_race(source=evil, provenance=provenance)
    at = opened(COMPARE, run=finished(run_root, race).id)
    text = "\n".join(element.value for kind in (at.markdown, at.caption) for element in kind)
    assert calm(at) and evil not in text and "\\<img src=x\\>" in text


@pytest.mark.parametrize(("recipe", "oracle"), [(RECIPE_VERSION, "recorded"), (1, "measured")])
def test_only_a_table_of_the_whole_space_can_be_replayed(monkeypatch, tmp_path, recipe, oracle):
    header, *lines = oracles.tables()[0].read_text().splitlines(keepends=True)
    about = json.loads(header)
    about["setup"]["recipe"] = recipe
    path = tmp_path / "table.jsonl"
    path.write_text(json.dumps(about) + "\n" + "".join(lines))
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: [path])
    at = opened(COMPARE)
    assert at.selectbox(key="errors").value == oracle and not button(at, "Start").disabled
    if oracle == "measured":
        at.selectbox(key="errors").set_value("recorded").run()
        assert button(at, "Start").disabled and "no table of all 2,640" in words(at)


def test_a_race_against_nobody_is_not_started():
    at = opened(COMPARE)
    at.pills(key="samplers").set_value([]).run()
    assert button(at, "Start").disabled and "Choose at least one search" in words(at)
    at.selectbox(key="race_source").set_value("bert-base-uncased").run()
    assert not at.exception  # another space, and so another budget


def test_the_downloads_hold_what_they_say(recorded, downloads):
    opened(COMPARE)
    assert set(downloads) == {"race.csv", "race.html"}
    assert len(pd.read_csv(StringIO(downloads["race.csv"]()))) == 15
    assert downloads["race.html"]().startswith("<!doctype html>")


def test_students_stand_beside_their_teachers_task_by_task(monkeypatch, tmp_path):
    made = made_up(FILMS, TWEETS, TaskRows("newsgroups", "s", problem="label *more* rows"))
    monkeypatch.setattr(table_record, "RECORDED", records.write(tmp_path / "table.json", made))
    at = opened(COMPARE)
    assert calm(at) and "Students against their teachers" in [head.value for head in at.subheader]
    assert "on 1 of 2 tasks" in words(at) and len(at.get("plotly_chart")) == 1
    assert "Film-review sentences" in words(at) and len(at.dataframe[-1].value) == 5
    at.segmented_control(key="students_task").set_value("newsgroups").run()
    assert not at.exception and "label" in at.warning[0].value


def test_a_damaged_table_of_students_is_a_warning(monkeypatch, tmp_path):
    path = tmp_path / "table.json"
    path.write_text("{}")
    monkeypatch.setattr(table_record, "RECORDED", path)
    at = opened(COMPARE)
    assert "table.json" in at.warning[0].value and not at.exception
