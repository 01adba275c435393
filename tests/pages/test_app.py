"""Every page in every state, through Streamlit's AppTest; the engine's slow part is faked."""

import importlib
import json
import re
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.finetune import report as agora_report
from bort_engine.runs import jobs
from tests.conftest import synthetic_front
from tests.fake_engine import snapshots, synthetic_report

ROOT = Path(__file__).parents[2]
APP = str(ROOT / "app.py")


@pytest.fixture
def asked(monkeypatch, run_root) -> list[tuple]:
    """Put a synthetic engine behind the page; return what it was asked for."""
    calls: list[tuple] = []

    def front(source, task="", epsilon=0.2, **options):
        predicted = options.get("oracle") == "glue"
        calls.append(
            (source, options | {"epsilon": epsilon}) if predicted else (source, task, epsilon)
        )
        return synthetic_front(epsilon, predicted)

    extract = importlib.import_module("bort_engine.search.front")
    oracles = importlib.import_module("bort_engine.search.errors")
    monkeypatch.setattr(oracles, "recorded_tasks", lambda: [("minilm-l6", "rotten-tomatoes")])
    monkeypatch.setattr(extract, "front", front)
    importlib.import_module("streamlit").cache_data.clear()
    monkeypatch.chdir(ROOT)
    return calls


def opened(**query: str) -> AppTest:
    at = AppTest.from_file(APP, default_timeout=30)
    for name, value in query.items():
        at.query_params[name] = value
    return at.run()


def words(at: AppTest) -> str:
    kinds = (at.markdown, at.caption, at.subheader, at.error, at.warning, at.info)
    return "\n".join(element.value for kind in kinds for element in kind)


def card(at: AppTest) -> str:
    """The architecture on the card."""
    return at.subheader[-1].value


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def test_opening_shows_the_recorded_front_at_once(asked):
    at = opened()
    assert not at.exception and not at.error and not at.warning
    assert asked == [("minilm-l6", "rotten-tomatoes", 0.2)]
    assert at.title[0].value == "Bort Explorer"
    said = words(at)
    assert "Recorded on Synthetic CPU, 2000-01-01" in said
    front = synthetic_front(0.2)
    assert card(at) == str(front.best)
    assert len(at.dataframe[0].value) == len(front.points)
    assert [m.label for m in at.metric] == [
        "Parameters, exact",
        "Encoder only, exact",
        "Latency, predicted",
        "Right on dev",
    ]
    assert all(m.delta for m in at.metric)


def test_another_epsilon_is_another_front_and_the_same_one_is_not_asked_for_twice(asked):
    at = opened()
    at.slider(key="epsilon").set_value(0.5).run()
    at.toggle(key="effective").set_value(True).run()
    assert [call[2] for call in asked] == [0.2, 0.5]
    assert len(at.dataframe[0].value) == len(synthetic_front(0.5).points)


def test_the_page_follows_epsilon_within_half_a_second(asked):
    """Everything but the engine's own search; the best of four, since machines are shared."""
    at = opened()
    times = []
    for epsilon in (0.25, 0.3, 0.35, 0.4):
        started = time.perf_counter()
        at.slider(key="epsilon").set_value(epsilon).run()
        times.append(time.perf_counter() - started)
    assert min(times) < 0.5


def test_a_point_in_the_address_is_shown(asked):
    front = synthetic_front(0.2)
    other = next(p for p in front.pareto if p.architecture != front.best)
    at = opened(point=str(other.architecture))
    assert card(at) == str(other.architecture)
    assert not at.warning and "Here is another one" not in words(at)


@pytest.mark.parametrize(
    "point", ["<script>alert(1)</script>", "1,2", "3,7,384,768", "1,1,1,1", "9" * 5000]
)
def test_any_other_text_in_the_address_leads_to_the_recommended_point(asked, point):
    at = opened(point=point)
    assert not at.exception
    assert "Here is another one." in words(at)
    assert card(at) == str(synthetic_front(0.2).best)


def test_the_source_itself_has_no_deltas(asked):
    at = opened(point="6,12,384,1536")
    assert [m.delta for m in at.metric] == [""] * 4


def test_budgets_name_the_best_point_and_show_it(asked):
    at = opened()
    front = synthetic_front(0.2)
    slider = next(s for s in at.slider if s.label == "At most (ms)")
    slider.set_value(5.0)
    next(s for s in at.slider if "lost" in s.label).set_value(20.0)
    at.segmented_control(key="prefer").set_value("error").run()
    named = front.cheapest("error", max_latency_ms=5.0, max_error_gain=0.2)
    assert named is not None and named.architecture != front.best
    assert f"Best within these budgets: **{named.architecture}**" in words(at)
    button(at, "Show it").click().run()
    assert card(at) == str(named.architecture)

    next(s for s in at.slider if "lost" in s.label).set_value(0.0).run()
    assert "No point of the front fits these budgets" in words(at)


def test_a_point_at_chance_is_flagged(asked):
    chance = next(p for p in synthetic_front(0.2).points if p.at_chance)
    at = opened(point=str(chance.architecture))
    assert "No better than guessing" in words(at)
    assert "never recommended" in words(at)


def test_where_all_are_at_chance_nothing_is_recommended(asked, monkeypatch):
    front = synthetic_front(0.2)
    points = tuple(replace(p, at_chance=True) for p in front.points)
    monkeypatch.setattr(
        "bort_engine.search.front.front", lambda *a, **k: replace(front, points=points)
    )
    at = opened()
    assert not at.exception
    assert "No point here is better than guessing, so none can be recommended." in words(at)
    assert not [b for b in at.button if b.label == "Show it"]


def test_bert_large_in_borts_space_is_predicted_at_once(asked):
    at = opened(source="bert-large-uncased")
    assert not at.exception
    assert asked[0][0] == "bert-large-uncased"
    assert (asked[0][1]["error"], asked[0][1]["search"].space) == ("published", "bort")
    assert ":violet-badge[Predicted]" in words(at)
    assert at.metric[3].label == "GLUE score, predicted"


def test_a_source_without_a_record_has_an_inviting_empty_state(asked):
    at = opened(source="roberta-base")
    assert not at.exception and not asked
    assert "Nothing is on record for roberta-base" in at.info[0].value
    assert "For a first look, pick minilm-l6." in at.info[0].value
    assert not at.metric


def test_without_any_record_the_page_still_invites(asked, monkeypatch):
    monkeypatch.setattr("bort_engine.search.errors.recorded_tasks", list)
    at = opened()
    assert not at.exception
    assert at.info[0].value.endswith("to make a front on this machine.")


def test_a_record_that_cannot_be_read_is_one_line(asked, monkeypatch):
    def broken(*args, **options):
        raise ValueError("assets/recorded/x.json: damaged; check out the file again.")

    monkeypatch.setattr("bort_engine.search.front.front", broken)
    at = opened()
    assert not at.exception
    said = at.warning[0].value.replace("\\", "")
    assert said == "assets/recorded/x.json: damaged; check out the file again."


def test_the_form_starts_a_run_which_is_watched_stopped_resumed_and_shown(
    asked, monkeypatch, tmp_path, wait
):
    monkeypatch.setenv("FAKE_STEPS", "400")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    at = opened()
    at.text_input(key="space").set_value("D=1-2 A=2,12 H=96,192 I=192,384")
    at.number_input(key="batch").set_value(4)
    button(at, "Extract the front").click().run()
    assert not at.exception and not at.error
    run = jobs.find(at.query_params["run"])
    options = run.request["arguments"]
    assert options[:5] == ["minilm-l6", "--task", "rotten-tomatoes", "--epsilon", "0.2"]
    assert options[options.index("--space") + 1] == "D=1-2 A=2,12 H=96,192 I=192,384"
    assert options[options.index("--batch-size") + 1] == "4"
    assert options[options.index("--lazy") + 1] == "on"

    wait(lambda: run.status().done >= 3)
    at.run()
    assert at.subheader[0].value == "Evaluating candidates"
    assert " of 400, about " in at.progress[0].text
    assert "The source itself answers 84.0 % right on dev." in words(at)
    assert re.search(r"Now: \d+,12,384,1536\.", words(at))
    assert at.get("vega_lite_chart")
    assert not at.metric

    button(at, "Stop").click().run()
    wait(lambda: run.status().over)
    at.run()
    assert "**This run was stopped** after" in at.info[0].value
    assert "What was measured is kept" in at.info[0].value

    synthetic_front(0.3).save(tmp_path / "front.json")
    monkeypatch.setenv("FAKE_STEPS", "1")
    monkeypatch.setenv("FAKE_FRONT", str(tmp_path / "front.json"))
    button(at, "Resume").click().run()
    assert not at.exception
    wait(lambda: run.status().over)
    at.run()
    assert len(at.dataframe[0].value) == len(synthetic_front(0.3).points)
    assert "epsilon 0.3" in words(at)

    button(at, "Close this run").click().run()
    assert "run" not in at.query_params
    listed = at.button(key=f"open-{run.id}")
    assert listed.label.endswith("minilm-l6 on rotten-tomatoes, epsilon 0.2, **done**")
    listed.click().run()
    assert at.query_params["run"] == run.id


@pytest.mark.parametrize("arguments", [[], ["--epsilon"], ["nowhere", "--task", "$x$"]])
def test_runs_made_by_other_hands_are_listed_and_watched(asked, run_root, wait, arguments):
    folder = run_root / "by-hand"
    with jobs.working(folder, "front", arguments) as job:
        job.report({"stage": "evaluating candidates", "done": 1, "total": 2, "architecture": "x"})
        at = opened(run="by-hand")
        assert not at.exception and at.progress
        assert "another source on " in at.button(key="open-by-hand").label


def test_a_failed_run_says_why_and_shows_its_log(asked, monkeypatch, wait):
    monkeypatch.setenv("FAKE_END", "kill")
    run = jobs.start("front", ["minilm-l6"])
    wait(lambda: run.status().over)
    at = opened(run=run.id)
    assert not at.exception
    assert at.error[0].value.startswith("**This run failed.** The process ended without a word.")
    assert at.code[0].value == "about to run out of memory"
    assert button(at, "Resume")


@pytest.mark.parametrize("run", ["../../etc", "%00", "no-such-run", "x" * 200, "A B"])
def test_a_run_that_is_not_there_is_one_line_and_a_way_back(asked, run):
    at = opened(run=run)
    assert not at.exception
    assert "is not an id" in at.warning[0].value or "there is no run" in at.warning[0].value
    button(at, "Close this run").click().run()
    assert at.metric


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', '{"schema": 1, "points": [7]}', "[]"])
def test_a_damaged_front_of_a_finished_run_is_one_line(asked, wait, text):
    run = jobs.start("front", ["minilm-l6"])
    wait(lambda: run.status().over)
    (run.folder / "front.json").write_text(text)
    at = opened(run=run.id)
    assert not at.exception
    assert at.warning and str(run.folder / "front.json") in words(at).replace("\\", "")


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("D=1 A=5 H=96 I=192", "the grid is empty"),
        ("D=1 A=2 H=4096 I=192", "hidden_size 4096 is beyond minilm-l6's 384"),
        ("--out=/etc", "is not known; allowed: 'default', 'bort', or a grid"),
        ("", "is not known; allowed: 'default', 'bort', or a grid"),
    ],
)
def test_a_space_that_cannot_be_searched_starts_nothing(asked, run_root, space, said):
    at = opened()
    at.text_input(key="space").set_value(space)
    button(at, "Extract the front").click().run()
    assert not at.exception
    assert said in at.error[0].value.replace("\\", "")
    assert "run" not in at.query_params and not run_root.exists()


def test_a_full_disk_when_starting_is_one_line(asked, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jobs, "_write_json", full)
    at = opened()
    button(at, "Extract the front").click().run()
    assert not at.exception
    assert "No space left on device" in at.error[0].value


def test_the_downloads_hold_what_they_say(asked, monkeypatch):
    files = {}
    import streamlit as st

    def note(label, data, name, kind, **options):
        files[name] = data()

    monkeypatch.setattr(st, "download_button", note)
    opened(point="6,12,384,1536")
    assert set(files) == {"config.json", "front.csv", "front.json"}
    config = json.loads(files["config.json"])
    again = Source.from_config(config, "downloaded", None)
    assert again.architecture == Architecture.parse("6,12,384,1536")
    assert files["front.csv"].startswith("architecture,n_parameters,")
    assert json.loads(files["front.json"])["source"] == "minilm-l6"


def test_a_point_is_taken_to_the_fine_tune_page(asked):
    chosen = str(next(p for p in synthetic_front(0.2).pareto).architecture)
    at = opened(point=chosen)
    button(at, "Fine-tune this").click().run()
    assert not at.exception
    assert at.query_params["point"] == at.text_input(key="architecture").value == chosen
    assert at.selectbox(key="parent").value == "minilm-l6"
    assert "Chosen from a front at epsilon 0.2." in words(at)


def test_a_point_that_does_not_fit_its_source_cannot_be_fine_tuned(asked, monkeypatch):
    front = replace(synthetic_front(0.2), source="bert-tiny")
    monkeypatch.setattr("bort_engine.search.front.front", lambda *a, **k: front)
    assert not [b for b in opened().button if b.label == "Fine-tune this"]


# The Fine-tune page.


@pytest.fixture
def quiet(asked, monkeypatch) -> None:
    """An Explore page with nothing on record, so that passing through it costs little."""
    monkeypatch.setattr("bort_engine.search.errors.recorded_tasks", list)


def fine_tune(**query: str) -> AppTest:
    """Open the page as from an address."""
    at = AppTest.from_file(APP, default_timeout=30)
    at.run()
    at.switch_page("pages/finetune.py")
    for name, value in query.items():
        at.query_params[name] = value
    return at.run()


def played(plain: object, wait) -> jobs.Run:
    """Return a run that ended with this report."""
    run = jobs.start("agora", ["minilm-l6", "--architecture", "3,12,384,768"])
    wait(lambda: run.status().over)
    (run.folder / "report.json").write_text(plain if isinstance(plain, str) else json.dumps(plain))
    return run


def test_with_nothing_to_show_the_page_says_what_it_does(quiet, monkeypatch, tmp_path):
    monkeypatch.setattr(agora_report, "RECORDED", tmp_path)
    at = fine_tune()
    assert not at.exception and not at.error and not at.warning
    assert at.text_input(key="architecture").value == "3,12,384,768"
    assert "about 11 minutes on two cores for 1,000 labelled sentences" in words(at)
    assert [link.value for link in at.page_link] == ["Choose a point on Explore"]
    assert not button(at, "Start").disabled
    assert "Look at a recorded run" not in [b.label for b in at.button]


def test_another_source_comes_with_another_architecture_and_no_epsilon(quiet):
    at = fine_tune(point="1,2,96,192", chosen_at="0.2")
    assert at.text_input(key="architecture").value == "1,2,96,192"
    at.selectbox(key="parent").set_value("bert-base-uncased").run()
    assert at.text_input(key="architecture").value == "6,12,768,1536"
    assert "point" not in at.query_params and "chosen_at" not in at.query_params


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("<script>alert(1)</script>", "is not of the form D,A,H,I"),
        ("3,7,384,768", "num_attention_heads 7 does not divide hidden_size 384"),
        ("9,12,384,768", "num_hidden_layers 9 is beyond minilm-l6's 6"),
        ("3,12,384,9999", "intermediate_size 9999 is beyond minilm-l6's 1536"),
        ("9" * 5000, "is not of the form D,A,H,I"),
    ],
)
def test_an_architecture_that_cannot_be_used_says_why(quiet, run_root, point, said):
    at = fine_tune(point=point, chosen_at="<b>")
    assert not at.exception
    assert said in words(at).replace("\\", "")
    assert button(at, "Start").disabled and not run_root.exists()


def test_a_training_is_started_watched_stopped_resumed_and_shown(quiet, monkeypatch, wait):
    monkeypatch.setenv("FAKE_STEPS", "60")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    at = fine_tune(point="2,12,384,768", chosen_at="0.3")
    at.number_input(key="labelled").set_value(500)
    at.multiselect(key="controls").set_value(["random", "plain"])
    button(at, "Start").click().run()
    assert not at.exception and not at.error
    run = jobs.find(at.query_params["run"])
    options = run.request["arguments"]
    expected = "minilm-l6 --architecture 2,12,384,768 --task rotten-tomatoes --labelled 500"
    assert " ".join(options).startswith(expected)
    pairs = dict(zip(options[1::2], options[2::2], strict=True))
    assert pairs["--controls"] == "plain,random" and pairs["--epsilon"] == "0.3"
    assert (pairs["--tau"], pairs["--points"], pairs["--theta"]) == ("auto", "8", "auto")

    wait(lambda: "round 2" in run.status().stage)
    wait(lambda: run.status().done >= 3)
    at.run()
    assert not at.exception
    assert at.subheader[0].value == "Agora, round 2"
    assert " of 60, about " in at.progress[0].text
    assert "Now: set 1\\: learning rate 0.0001." in words(at)
    assert len(at.get("vega_lite_chart")) == 1 and len(at.get("plotly_chart")) == 3
    assert "learning rate 5e-5, weight decay 0.1** — the worst set" in words(at)
    assert "You can close this page" in words(at)

    button(at, "Stop").click().run()
    wait(lambda: run.status().over)
    at.run()
    assert "**This run was stopped** after" in at.info[0].value
    assert "What was trained is kept" in at.info[0].value
    assert len(at.get("plotly_chart")) == 3

    monkeypatch.setenv("FAKE_STEPS", "1")
    monkeypatch.setenv("FAKE_PAUSE", "0")
    button(at, "Resume").click().run()
    wait(lambda: run.status().over)
    at.run()
    assert not at.exception and not at.error and not at.warning
    assert at.metric[0].label == "Right on test"
    assert "A gain over plain fine-tuning is **shown**" in words(at)
    assert "as many random pool texts is **not shown**" in words(at)
    assert "**Saved and opened again:**" in words(at)
    assert len(at.get("plotly_chart")) == 4

    button(at, "Close this run").click().run()
    assert "run" not in at.query_params
    listed = at.button(key=f"open-{run.id}")
    assert listed.label.endswith("2,12,384,768 from minilm-l6 on rotten-tomatoes, **done**")
    listed.click().run()
    assert at.query_params["run"] == run.id and at.metric


def test_every_report_on_the_way_can_be_shown(quiet, wait):
    run = played(synthetic_report(), wait)
    at = fine_tune(run=run.id)
    for report, stage, _ in list(deepcopy(one) for one in snapshots(synthetic_report()))[::3]:
        (run.folder / "report.json").write_text(json.dumps(report))
        at.run()
        assert not at.exception and not [w.value for w in at.warning], stage


def test_the_rounds_of_a_control_and_the_texts_of_a_round_can_be_looked_at(quiet, wait):
    at = fine_tune(run=played(synthetic_report(), wait).id)
    texts = at.dataframe[-1].value
    assert list(texts["Kept"][:4]) == ["yes", "yes", "yes", "no"]
    assert texts["Failing dev text"][4].startswith("synthetic sentence 1:")
    at.segmented_control(key="shown_round").set_value(2).run()
    assert "no later round has ended" in words(at)
    at.segmented_control(key="shown_arm").set_value("random").run()
    assert not at.exception
    assert "A control repeats each of Agora's trainings" in words(at)
    assert "Mistakes left" in at.dataframe[-1].value.columns


def test_two_seeds_can_be_told_apart(quiet, wait):
    report = synthetic_report()
    report["runs"].append({"seed": 7, "arms": {"agora": report["runs"][0]["arms"]["agora"]}})
    at = fine_tune(run=played(report, wait).id)
    at.selectbox(key="shown_seed").set_value(7).run()
    assert not at.exception
    assert not [c for c in at.segmented_control if c.key == "shown_arm"]


def test_a_failed_training_says_why_and_keeps_its_rounds(quiet, monkeypatch, wait):
    monkeypatch.setenv("FAKE_END", "fail")
    run = jobs.start("agora", ["minilm-l6"])
    wait(lambda: run.status().over)
    at = fine_tune(run=run.id)
    assert not at.exception
    assert at.error[0].value.startswith("**This run failed.** the weights of minilm-l6 could not")
    assert button(at, "Resume") and len(at.get("plotly_chart")) == 3


def test_a_training_in_line_says_that_it_waits(quiet, run_root, wait):
    with jobs.working(run_root / "first", "front", ["minilm-l6"]):
        run = jobs.start("agora", ["minilm-l6", "--architecture", "3,12,384,768"])
        wait(lambda: run.status().stage == "waiting in line")
        at = fine_tune(run=run.id)
        assert not at.exception
        assert at.subheader[0].value == "Waiting in line"
        assert at.progress[0].text.startswith("Another run is at work here")
        assert "Each round will appear below" in words(at)
        run.cancel()
        wait(lambda: run.status().over)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be shown"),
        ("{", "cannot be shown"),
        ("[]", "it is not a JSON object"),
        ('{"schema": 2}', "schema is 2; only 1 is known"),
        ('{"schema": 1, "labeller": {"dev_seen": 1.7}}', "labeller.dev_seen is 1.7"),
        ("[" * 100_000, "cannot be shown"),
    ],
)
@pytest.mark.parametrize("end", ["", "fail"])
def test_a_damaged_report_is_one_line(quiet, monkeypatch, wait, text, said, end):
    monkeypatch.setenv("FAKE_END", end)
    at = fine_tune(run=played(text, wait).id)
    assert not at.exception
    assert said in at.warning[0].value.replace("\\", "")
    assert button(at, "Close this run")


def test_a_finished_training_without_a_report_is_one_line(quiet, wait):
    run = played("", wait)
    (run.folder / "report.json").unlink()
    at = fine_tune(run=run.id)
    assert not at.exception and "report.json is missing" in at.warning[0].value


@pytest.mark.parametrize("run", ["../../etc", "%00", "no-such-run", "x" * 200, "A B"])
def test_a_training_that_is_not_there_is_one_line_and_a_way_back(quiet, run):
    at = fine_tune(run=run)
    assert not at.exception and len(at.warning) == 1
    button(at, "Close this run").click().run()
    assert "What happens here" in words(at)


def test_a_run_of_another_page_is_not_taken_for_one_of_this(quiet, wait):
    front, training = jobs.start("front", ["minilm-l6"]), jobs.start("agora", ["minilm-l6"])
    wait(lambda: front.status().over and training.status().over)
    assert "is not of this page" in fine_tune(run=front.id).warning[0].value
    assert "is not of this page" in opened(run=training.id).warning[0].value


def test_a_recorded_run_is_offered_and_shown_as_recorded(quiet, monkeypatch, tmp_path):
    monkeypatch.setattr(agora_report, "RECORDED", tmp_path)
    (tmp_path / "agora-synthetic.json").write_text(json.dumps(synthetic_report()))
    (tmp_path / "secret.json").write_text("{}")
    at = fine_tune()
    button(at, "Look at a recorded run").click().run()
    assert at.query_params["recorded"] == "agora-synthetic"
    assert not at.exception and not at.warning and at.metric
    assert ":primary-badge[Recorded]" in words(at)
    assert "Recorded on Synthetic CPU, 2000-01-01" in words(at)
    button(at, "Close the recorded run").click().run()
    assert "What happens here" in words(at)
    for name in ("secret", "../agora-synthetic", "agora-*", "x" * 999):
        assert "There is no recorded run" in fine_tune(recorded=name).warning[0].value


def test_a_recorded_run_that_is_damaged_is_one_line(quiet, monkeypatch, tmp_path):
    monkeypatch.setattr(agora_report, "RECORDED", tmp_path)
    (tmp_path / "agora-x.json").write_text("[]")
    at = fine_tune(recorded="agora-x")
    assert not at.exception and "it is not a JSON object" in at.warning[0].value


def test_a_checkpoint_is_packed_without_links_and_nothing_is_read_before_it_is_asked_for(
    quiet, monkeypatch, wait
):
    import io
    import zipfile

    import streamlit as st

    files = {}

    def note(label, data, name, kind, **options):
        files[name] = data

    monkeypatch.setattr(st, "download_button", note)
    run = played(synthetic_report(), wait)
    (run.folder / "model" / "link").symlink_to("/etc/passwd")
    fine_tune()
    files.clear()
    fine_tune(run=run.id)
    assert set(files) == {f"{run.id}.zip", "README.md", "report.json"}
    assert files["README.md"]() == b"# A synthetic model card\n"
    assert json.loads(files["report.json"]()) == synthetic_report()
    with files[f"{run.id}.zip"]() as packed:
        assert isinstance(packed, io.RawIOBase)  # of open files the button takes these only
        with zipfile.ZipFile(packed) as pack:
            names = ["model/README.md", "model/config.json", "model/model.safetensors"]
            assert pack.namelist() == names and not pack.testzip()
            assert all(info.compress_type == zipfile.ZIP_STORED for info in pack.infolist())


def test_the_process_of_the_page_never_loads_torch(tmp_path):
    """In a process of its own, with the real engine: nothing here may pull it in."""
    script = f"""
import sys
from streamlit.testing.v1 import AppTest
for query in ({{}}, {{"source": "bert-large-uncased"}}, {{"source": "roberta-base"}}):
    at = AppTest.from_file({APP!r}, default_timeout=60)
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception, at.exception
    assert at.metric or "bert-large-uncased" not in query.values(), at.warning
at.switch_page("pages/finetune.py").run()
assert not at.exception and "What happens here" in [h.value for h in at.subheader]
heavy = {{"torch", "transformers", "datasets", "optuna"}} & set(sys.modules)
assert not heavy, heavy
"""
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "BORT_RUNS": str(tmp_path)},
    )
    assert found.returncode == 0, found.stderr[-2000:]


def test_nothing_of_a_run_can_be_read_as_markup():
    """`unsafe_allow_html` appears nowhere: texts from disk and from the address stay texts."""
    for path in [ROOT / "app.py", *(ROOT / "pages").rglob("*.py")]:
        assert "unsafe" not in path.read_text()
        assert "st.html" not in path.read_text()


def test_the_settings_of_the_server_are_closed():
    import tomllib

    config = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
    assert config["server"]["address"] == "localhost"
    assert config["server"]["enableXsrfProtection"] and config["server"]["enableCORS"]
    assert not config["server"]["enableStaticServing"]
    assert config["client"]["showErrorDetails"] == "type"
    assert config["browser"]["gatherUsageStats"] is False
