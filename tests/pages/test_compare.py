"""The Baselines page in every state, through Streamlit's AppTest; the engine is faked."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from bort_engine.encoder.sources import sources
from bort_engine.runs import jobs
from bort_engine.runs.provenance import Provenance
from bort_engine.search import errors as oracles
from bort_engine.show import race as race_report
from bort_engine.training.teacher import RECIPE_VERSION
from tests.fake_engine import synthetic_race

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quiet(monkeypatch, run_root, tmp_path) -> None:
    """An Explore page with nothing on record, so that passing through it costs little."""
    monkeypatch.setattr("bort_engine.search.errors.recorded_tasks", list)
    monkeypatch.setattr(race_report, "RECORDED", tmp_path / "nothing.json")
    monkeypatch.chdir(ROOT)


@pytest.fixture
def recorded(monkeypatch, tmp_path) -> Path:
    path = synthetic_race().save(tmp_path / "recorded.json")
    monkeypatch.setattr(race_report, "RECORDED", path)
    return path


def compare(**query: str) -> AppTest:
    """Open the page as from an address."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
    at.run()
    at.switch_page("pages/compare.py")
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception
    return at


def words(at: AppTest) -> str:
    kinds = (at.markdown, at.caption, at.subheader, at.error, at.warning, at.info)
    return "\n".join(element.value for kind in kinds for element in kind)


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def finished(monkeypatch, wait, text: str | Path, end: str = "") -> jobs.Run:
    """Return a run that ended with this file."""
    if isinstance(text, Path):
        monkeypatch.setenv("FAKE_RACE", str(text))
    monkeypatch.setenv("FAKE_END", end)
    run = jobs.start("race", ["minilm-l6", "--budget", "3", "--seeds", "2"])
    wait(lambda: run.status().over)
    if isinstance(text, str):
        (run.folder / "race.json").write_text(text)
    return run


def test_with_nothing_on_record_the_page_says_what_it_does():
    at = compare()
    assert not at.error and not at.warning and not at.get("plotly_chart")
    assert "No race ships with this version" in words(at)
    assert [link.value for link in at.page_link] == ["See the fronts on Explore"]


def test_the_recorded_race_is_replayed_training_by_training(recorded):
    at = compare()
    assert not at.error and not at.warning
    assert "Recorded] **minilm-l6 on rotten-tomatoes\\: 3 trainings each, 2 seeds" in words(at)
    assert len(at.get("plotly_chart")) == 3  # two curves, and the fronts
    assert len(at.dataframe[-1].value) == 3
    slider = at.slider(key="trainings-3")
    assert (slider.min, slider.max, slider.value) == (1, 3, 3)
    assert "whole down to epsilon 0.5" in words(at)
    slider.set_value(1).run()
    assert "After 1 of 3 trainings, seed 0" in words(at) and "whole down to" not in words(at)
    now = at.dataframe[0].value.set_index("Search")
    assert now.loc["FPTAS", "Just trained"] == "4,2,96,192"
    at.selectbox(key="race_seed-2").set_value(1).run()
    assert at.dataframe[0].value.set_index("Search").loc["Random search", "Seconds"] == 1
    # An epsilon leads to the training after which its cover was whole; the slider leaves it.
    at.pills(key="cover-0-3").set_value(1.0).run()
    assert at.slider(key="trainings-3").value == 2 and "down to epsilon 1." in words(at)
    at.slider(key="trainings-3").set_value(3).run()
    assert at.pills(key="cover-0-3").value is None and not at.exception


def test_curves_over_seconds_and_what_seeds_attain(recorded):
    at = compare()
    at.segmented_control(key="counted").set_value("seconds")
    at.segmented_control(key="race_view").set_value("Latency / error").run()
    assert "Recorded training time (s)" in at.get("plotly_chart")[0].proto.spec
    at.session_state["race_tab"] = "What seeds attain"
    at.run()
    at.segmented_control(key="rival-random-tpe").set_value("tpe").run()
    assert not at.exception
    assert "TPE, half of the seeds" in at.get("plotly_chart")[2].proto.spec


def test_a_race_is_started_watched_stopped_resumed_and_shown(monkeypatch, tmp_path, wait):
    monkeypatch.setenv("FAKE_STEPS", "400")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    at = compare()
    at.selectbox(key="errors").set_value("measured")
    at.multiselect(key="samplers").set_value(["local", "random"])
    at.number_input(key="race_seeds").set_value(2)
    at.number_input(key="race_budget-384").set_value(3).run()
    assert "At most 15 trainings" in words(at)  # three each for ours and four searches
    button(at, "Start").click().run()
    assert not at.exception and not at.error
    run = jobs.find(at.query_params["run"])
    assert run.request.command == "race"
    assert " ".join(run.request.arguments) == (
        "minilm-l6 --task rotten-tomatoes --samplers random,local --seeds 2 --budget 3 "
        "--errors measured"
    )

    wait(lambda: run.status().done >= 3 and run.status().stage == "searching")
    at.run()
    assert not at.exception and at.get("vega_lite_chart")
    assert at.subheader[0].value in ("Searching", "Evaluating candidates")
    button(at, "Stop").click().run()
    wait(lambda: run.status().over)
    at.run()
    assert "**This run was stopped** after" in at.info[0].value

    monkeypatch.setenv("FAKE_STEPS", "1")
    monkeypatch.setenv("FAKE_RACE", str(synthetic_race().save(tmp_path / "race.json")))
    button(at, "Resume").click().run()
    wait(lambda: run.status().over)
    at.run()
    assert "the FPTAS is level with TPE" in words(at)

    button(at, "Close this run").click().run()
    assert "run" not in at.query_params and "No race ships" in words(at)
    listed = at.button(key=f"open-{run.id}")
    assert "minilm-l6 on rotten-tomatoes, 3 trainings each, 2 seeds, **done**" in listed.label
    listed.click().run()
    assert at.query_params["run"] == run.id


@pytest.mark.parametrize(
    "change",
    [
        {"budget": 1, "traces": {"fptas": ((2,),), "random": ((3,), (0,))}, "finished": ({},)},
        {"traces": {"fptas": ((2, 0, 1),)}, "origin": "measured"},
        {"seconds": ((None,) * 4,), "size": "effective"},
    ],
    ids=["one training", "ours alone", "no seconds"],
)
def test_smaller_and_barer_races_are_shown_too(monkeypatch, tmp_path, wait, change):
    path = synthetic_race(**change).save(tmp_path / "race.json")
    at = compare(run=finished(monkeypatch, wait, path).id)
    assert not at.warning and len(at.get("plotly_chart")) == 3
    assert f":primary-badge[{change.get('origin', 'recorded').capitalize()}]" in words(at)
    at.segmented_control(key="counted").set_value("seconds").run()
    at.session_state["race_tab"] = "What seeds attain"
    at.run()
    assert not at.exception


def test_a_failed_race_says_why_and_shows_its_log(monkeypatch, wait):
    at = compare(run=finished(monkeypatch, wait, "", end="kill").id)
    assert at.error[0].value.startswith("**This run failed.**")
    assert at.code[0].value == "about to run out of memory"
    assert button(at, "Resume")


@pytest.mark.parametrize("text", [None, "", '{"schema": 1}', "[" * 100_000])
def test_a_missing_or_damaged_race_is_one_line(monkeypatch, wait, text):
    run = finished(monkeypatch, wait, "" if text is None else text)
    if text is None:
        (run.folder / "race.json").unlink()
    at = compare(run=run.id)
    assert len(at.warning) == 1 and "race.json" in at.warning[0].value
    assert button(at, "Close this run")


def test_texts_of_a_race_are_no_markup(monkeypatch, tmp_path, wait):
    evil = "<img src=x> **bold** [a](http://b) :red[c] $d$"
    provenance = replace(synthetic_race().provenance, made=Provenance(evil, "", "2000-01-01"))
    race = synthetic_race(source=evil, provenance=provenance)
    at = compare(run=finished(monkeypatch, wait, race.save(tmp_path / "race.json")).id)
    assert evil not in words(at) and "\\<img src=x\\>" in words(at)


@pytest.mark.parametrize("run", ["../../etc", "no-such-run", "x" * 200, "front"])
def test_a_race_that_is_not_there_is_one_line_and_a_way_back(run, wait):
    if run == "front":  # a run, but of another page
        other = jobs.start("front", ["minilm-l6"])
        wait(lambda: other.status().over)
        run = other.id
    at = compare(run=run, race_source="<b>")
    assert len(at.warning) == 1 and at.selectbox(key="race_source").value in sources
    button(at, "Close this run").click().run()
    assert "No race ships" in words(at)


@pytest.mark.parametrize(("recipe", "oracle"), [(RECIPE_VERSION, "recorded"), (1, "measured")])
def test_only_a_table_of_the_whole_space_can_be_replayed(monkeypatch, tmp_path, recipe, oracle):
    header, *lines = oracles.tables()[0].read_text().splitlines(keepends=True)
    about = json.loads(header)
    about["setup"]["recipe"] = recipe
    path = tmp_path / "table.jsonl"
    path.write_text(json.dumps(about) + "\n" + "".join(lines))
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: [path])
    at = compare()
    assert at.selectbox(key="errors").value == oracle and not button(at, "Start").disabled
    if oracle == "measured":
        at.selectbox(key="errors").set_value("recorded").run()
        assert button(at, "Start").disabled and "no table of all 384" in words(at)


def test_a_race_against_nobody_is_not_started():
    at = compare()
    at.multiselect(key="samplers").set_value([]).run()
    assert button(at, "Start").disabled and "Choose at least one search" in words(at)
    at.selectbox(key="race_source").set_value("bert-base-uncased").run()
    assert not at.exception  # another space, and so another budget


def test_a_full_disk_when_starting_is_one_line(monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    at = compare()
    monkeypatch.setattr(jobs, "start", full)
    button(at, "Start").click().run()
    assert not at.exception and "No space left on device" in at.error[0].value


def test_the_downloads_hold_what_they_say_and_are_made_only_then(recorded, monkeypatch):
    files = {}
    note = lambda label, make, name, *rest, **options: files.update({name: make})  # noqa: E731
    monkeypatch.setattr(st, "download_button", note)
    compare()
    assert set(files) == {"race.csv", "race.html"}
    assert len(pd.read_csv(StringIO(files["race.csv"]()))) == 15
    assert files["race.html"]().startswith("<!doctype html>")
