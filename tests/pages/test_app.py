"""Explore and Fine-tune in every state, through Streamlit's AppTest; slow work is faked."""

import io
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import streamlit as st

from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.finetune import report as agora_report
from bort_engine.runs import jobs
from bort_engine.search import errors as oracles
from bort_engine.search import front as extract
from tests.app import APP, button, calm, opened, words
from tests.conftest import synthetic_front
from tests.fake_engine import snapshots, synthetic_report

ROOT = Path(__file__).parents[2]
FINETUNE = "pages/finetune.py"
front_at = cache(synthetic_front)
FRONT = front_at(0.2)


@pytest.fixture(autouse=True)
def quiet(monkeypatch, run_root, tmp_path) -> None:
    """Nothing is on record, nothing has run."""
    monkeypatch.setattr(oracles, "recorded_tasks", list)
    monkeypatch.setattr(agora_report, "RECORDED", tmp_path)
    st.cache_data.clear()


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """Put a synthetic engine behind Explore; return what it was asked for."""
    calls: list[tuple] = []

    def front(source, task="", epsilon=0.2, **options):
        calls.append((source, task, epsilon, options))
        return front_at(epsilon, predicted=options.get("oracle") == "glue")

    monkeypatch.setattr(oracles, "recorded_tasks", lambda: [("minilm-l6", "rotten-tomatoes")])
    monkeypatch.setattr(extract, "front", front)
    return calls


def card(at) -> str:
    """The architecture on the card."""
    return at.subheader[-1].value


def ended(root: Path, command: str, error: str = "", **files: str) -> jobs.Run:
    """Return a run that ended in this process, with these files (a__json is a.json)."""
    folder = root / f"{command}-by-hand"
    with suppress(RuntimeError), jobs.working(folder, command, ["minilm-l6"]) as job:
        job.report({"stage": "evaluating candidates", "done": 1, "total": 2})
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text)
        if error:
            raise RuntimeError(error)
    return jobs.Run(folder)


def test_opening_shows_the_recorded_front_at_once(calls):
    at = opened()
    assert calm(at) and calls == [("minilm-l6", "rotten-tomatoes", 0.2, {"errors": "recorded"})]
    assert "Recorded on Synthetic CPU, 2000-01-01" in words(at)
    assert card(at) == str(FRONT.best)
    assert len(at.dataframe[0].value) == len(FRONT.points)
    assert len(at.metric) == 4 and all(m.delta for m in at.metric)


def test_another_epsilon_is_another_front_and_the_same_one_is_not_asked_for_twice(calls):
    at = opened()
    at.slider(key="epsilon").set_value(0.5).run()
    at.toggle(key="effective").set_value(True).run()
    assert [call[2] for call in calls] == [0.2, 0.5]
    assert len(at.dataframe[0].value) == len(front_at(0.5).points)


def test_a_point_in_the_address_is_shown(calls):
    other = next(p for p in FRONT.pareto if p.architecture != FRONT.best)
    at = opened(point=str(other.architecture))
    assert card(at) == str(other.architecture) and "Here is another one" not in words(at)
    at = opened(point="6,12,384,1536")
    assert [m.delta for m in at.metric] == [""] * 4  # the source, against itself
    chance = next(p for p in FRONT.points if p.at_chance)
    assert "never recommended" in words(opened(point=str(chance.architecture)))


@pytest.mark.parametrize("point", ["![](http://x)", "3,7,384,768", "1,1,1,1", "9" * 5000])
def test_any_other_text_in_the_address_leads_to_the_recommended_point(calls, point):
    at = opened(point=point)
    assert not at.exception and card(at) == str(FRONT.best)
    assert "Here is another one." in words(at)
    assert not [c for c in at.caption if "![](http://x)" in c.value]  # shown, not fetched


def test_budgets_name_the_best_point_and_show_it(calls):
    at = opened()
    lost = next(s for s in at.slider if "lost" in s.label).set_value(19.0)
    next(s for s in at.slider if s.label == "At most (ms)").set_value(5.0)
    at.segmented_control(key="prefer").set_value("error").run()
    best = FRONT.cheapest("error", max_latency_ms=5.0, max_error_gain=0.19)
    assert best is not None and best.architecture != FRONT.best
    assert f"Best within these budgets: **{best.architecture}**" in words(at)
    button(at, "Show it").click().run()
    assert card(at) == str(best.architecture)
    lost.set_value(0.0).run()
    assert "No point of the front fits these budgets" in words(at)


def test_where_all_are_at_chance_nothing_is_recommended(calls, monkeypatch):
    guesses = replace(FRONT, points=tuple(replace(p, at_chance=True) for p in FRONT.points))
    monkeypatch.setattr(extract, "front", lambda *_, **__: guesses)
    at = opened()
    assert not at.exception and "none can be recommended." in words(at)
    assert "Show it" not in [b.label for b in at.button]


def test_bert_large_in_borts_space_is_predicted_at_once(calls):
    at = opened(source="bert-large-uncased")
    ((source, *_, options),) = calls
    assert not at.exception and source == "bert-large-uncased"
    assert (options["oracle"], options["search"].space) == ("glue", "bort")
    assert ":violet-badge[Predicted]" in words(at)
    assert at.metric[3].label == "GLUE score, predicted"


def test_a_source_without_a_record_has_an_inviting_empty_state(calls, monkeypatch):
    at = opened(source="roberta-base")
    assert not at.exception and not calls and not at.metric
    assert "Nothing is on record for roberta-base" in at.info[0].value
    assert "For a first look, pick minilm-l6." in at.info[0].value
    monkeypatch.setattr(oracles, "recorded_tasks", list)
    assert opened().info[0].value.endswith("to make a front on this machine.")


def test_a_record_that_cannot_be_read_is_one_line(calls, monkeypatch):
    def broken(*_, **__):
        raise ValueError("assets/x.json: *damaged*")

    monkeypatch.setattr(extract, "front", broken)
    at = opened()
    assert not at.exception and at.warning[0].value == r"assets/x.json\: \*damaged\*"


def test_the_form_starts_a_run_which_is_watched_stopped_resumed_and_shown(
    calls, monkeypatch, tmp_path, wait
):
    monkeypatch.setenv("FAKE_STEPS", "400")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    at = opened()
    at.text_input(key="--space").set_value("D=1-2 A=2,12 H=96,192 I=192,384")
    at.number_input(key="--batch-size").set_value(4)
    button(at, "Extract the front").click().run()
    assert calm(at)
    run = jobs.find(at.query_params["run"])
    source, *options = run.request.arguments
    pairs = dict(zip(options[::2], options[1::2], strict=True))
    assert source == "minilm-l6" and pairs == {
        "--task": "rotten-tomatoes",
        "--epsilon": "0.2",
        "--space": "D=1-2 A=2,12 H=96,192 I=192,384",
        "--selection": "cover",
        "--lazy": "on",
        "--oracle": "brief",
        "--batch-size": "4",
        "--sequence-length": "128",
        "--steps": "30",
        "--teacher-steps": "0",
        "--seed": "0",
    }

    wait(lambda: run.status().done >= 3)
    at.run()
    assert at.subheader[0].value == "Evaluating candidates"
    assert " of 400, about " in at.progress[0].text
    assert "The source itself answers 84.0 % right on dev." in words(at)
    assert re.search(r"Now: \d+,12,384,1536\.", words(at))
    assert at.get("vega_lite_chart") and not at.metric

    button(at, "Stop").click().run()
    wait(lambda: run.status().over)
    at.run()
    assert "**This run was stopped** after" in at.info[0].value

    front_at(0.3).save(tmp_path / "front.json")
    monkeypatch.setenv("FAKE_STEPS", "1")
    monkeypatch.setenv("FAKE_FRONT", str(tmp_path / "front.json"))
    button(at, "Resume").click().run()
    assert not at.exception
    wait(lambda: run.status().over)
    at.run()
    assert len(at.dataframe[0].value) == len(front_at(0.3).points)

    button(at, "Close this run").click().run()
    assert "run" not in at.query_params
    listed = at.button(key=f"open-{run.id}")
    assert listed.label.endswith("minilm-l6 on rotten-tomatoes, epsilon 0.2, **done**")
    listed.click().run()
    assert at.query_params["run"] == run.id


@pytest.mark.parametrize("arguments", [["--epsilon"], ["nowhere", "--task", "$x$"]])
def test_runs_made_by_other_hands_are_listed_and_watched(run_root, arguments):
    with jobs.working(run_root / "by-hand", "front", arguments) as job:
        job.report({"stage": "evaluating candidates", "done": 1, "total": 2, "architecture": "x"})
        at = opened(run="by-hand")
        assert not at.exception and at.progress
        assert "another source on " in at.button(key="open-by-hand").label


def test_a_failed_run_says_why_and_shows_its_log(run_root):
    run = ended(run_root, "front", error="no *memory*", log__txt="about to run out of memory\n")
    at = opened(run=run.id)
    assert not at.exception and button(at, "Resume")
    assert at.error[0].value.startswith(r"**This run failed.** no \*memory\*")
    assert at.code[0].value == "about to run out of memory"


@pytest.mark.parametrize("page", ["", FINETUNE])
@pytest.mark.parametrize("run", ["../../etc", "no-such-run"])
def test_a_run_that_is_not_there_is_one_line_and_a_way_back(calls, page, run):
    at = opened(page, run=run)
    assert not at.exception and len(at.warning) == 1
    assert "is not an id" in words(at) or "there is no run" in words(at)
    button(at, "Close this run").click().run()
    assert at.metric if page == "" else "What happens here" in words(at)


def test_a_run_of_another_page_is_not_taken_for_one_of_this(run_root):
    front, training = ended(run_root, "front"), ended(run_root, "agora")
    assert "is not of this page" in opened(FINETUNE, run=front.id).warning[0].value
    assert "is not of this page" in opened(run=training.id).warning[0].value


@pytest.mark.parametrize("text", ["{", '{"schema": 1, "points": [7]}', None])
def test_a_damaged_or_missing_front_of_a_finished_run_is_one_line(run_root, text):
    run = ended(run_root, "front", **({} if text is None else {"front__json": text}))
    at = opened(run=run.id)
    assert not at.exception and str(run.folder / "front.json") in words(at)


@pytest.mark.parametrize(
    ("space", "cause"),
    [
        ("D=1 A=5 H=96 I=192", "the grid is empty"),
        ("D=1 A=2 H=4096 I=192", "hidden_size 4096 is beyond minilm-l6's 384"),
        ("--out=/etc", "is not known; allowed: 'default', 'bort', or a grid"),
    ],
)
def test_a_space_that_cannot_be_searched_starts_nothing(run_root, space, cause):
    at = opened()
    at.text_input(key="--space").set_value(space)
    button(at, "Extract the front").click().run()
    assert not at.exception and at.error and cause in words(at)
    assert "run" not in at.query_params and not run_root.exists()


def test_a_full_disk_when_starting_is_one_line(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jobs, "start", full)
    at = opened()
    button(at, "Extract the front").click().run()
    assert not at.exception and "No space left on device" in at.error[0].value


@pytest.fixture
def downloads(monkeypatch) -> dict:
    """What makes the files that a page offers, by name."""
    files = {}

    def note(label, data, name, kind, **options):
        files[name] = data

    monkeypatch.setattr(st, "download_button", note)
    return files


def test_the_downloads_hold_what_they_say(calls, downloads):
    opened(point="6,12,384,1536")
    assert set(downloads) == {"config.json", "front.csv", "front.json"}
    source = Source.from_config(json.loads(downloads["config.json"]()), "downloaded", None)
    assert source.architecture == Architecture.parse("6,12,384,1536")
    assert downloads["front.csv"]().startswith("architecture,n_parameters,")
    assert json.loads(downloads["front.json"]())["source"] == "minilm-l6"


def test_a_point_is_taken_to_the_fine_tune_page_if_it_fits_its_source(calls, monkeypatch):
    chosen = str(FRONT.pareto[0].architecture)
    at = opened(point=chosen)
    button(at, "Fine-tune this").click().run()
    assert not at.exception
    assert at.query_params["point"] == at.text_input(key="architecture").value == chosen
    assert at.selectbox(key="parent").value == "minilm-l6"
    assert "Chosen from a front at epsilon 0.2." in words(at)
    st.cache_data.clear()
    monkeypatch.setattr(extract, "front", lambda *_, **__: replace(FRONT, source="bert-tiny"))
    assert "Fine-tune this" not in [b.label for b in opened().button]


def test_with_nothing_to_show_the_fine_tune_page_says_what_it_does():
    at = opened(FINETUNE)
    assert calm(at) and at.text_input(key="architecture").value == "3,12,384,768"
    assert "What happens here" in words(at)
    assert [link.value for link in at.page_link] == ["Choose a point on Explore"]
    assert not button(at, "Start").disabled
    assert "Look at a recorded run" not in [b.label for b in at.button]


def test_another_source_comes_with_another_architecture_and_no_epsilon():
    at = opened(FINETUNE, point="1,2,96,192", chosen_at="0.2")
    assert at.text_input(key="architecture").value == "1,2,96,192"
    at.selectbox(key="parent").set_value("bert-base-uncased").run()
    assert at.text_input(key="architecture").value == "6,12,768,1536"
    assert "point" not in at.query_params and "chosen_at" not in at.query_params


@pytest.mark.parametrize(
    ("point", "cause"),
    [
        ("<script>alert(1)</script>", "is not of the form D,A,H,I"),
        ("9,12,384,768", "num_hidden_layers 9 is beyond minilm-l6's 6"),
        ("9" * 5000, "is not of the form D,A,H,I"),
    ],
)
def test_an_architecture_that_cannot_be_used_says_why(run_root, point, cause):
    at = opened(FINETUNE, point=point, chosen_at="<b>")
    assert not at.exception and cause in words(at)
    assert button(at, "Start").disabled and not run_root.exists()


def test_a_training_is_started_watched_stopped_resumed_and_shown(monkeypatch, wait):
    monkeypatch.setenv("FAKE_STEPS", "20")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    at = opened(FINETUNE, point="2,12,384,768", chosen_at="0.3")
    at.number_input(key="labelled").set_value(500)
    at.multiselect(key="controls").set_value(["random", "plain"])
    button(at, "Start").click().run()
    assert calm(at)
    run = jobs.find(at.query_params["run"])
    source, *options = run.request.arguments
    pairs = dict(zip(options[::2], options[1::2], strict=True))
    assert (source, pairs["--architecture"]) == ("minilm-l6", "2,12,384,768")
    assert (pairs["--labelled"], pairs["--epsilon"]) == ("500", "0.3")
    assert pairs["--controls"] == "plain,random"

    wait(lambda: "round 2" in run.status().stage and run.status().done >= 3)
    at.run()
    assert not at.exception and re.search(r"round \d$", at.subheader[0].value)
    assert " of 20" in at.progress[0].text
    assert len(at.get("vega_lite_chart")) == 1 and len(at.get("plotly_chart")) == 3
    button(at, "Stop").click().run()
    wait(lambda: run.status().over)
    at.run()
    assert "**This run was stopped** after" in at.info[0].value
    assert len(at.get("plotly_chart")) == 3  # what was trained stays in view

    monkeypatch.setenv("FAKE_STEPS", "1")
    monkeypatch.setenv("FAKE_PAUSE", "0")
    button(at, "Resume").click().run()
    wait(lambda: run.status().over)
    at.run()
    assert calm(at) and len(at.get("plotly_chart")) == 4
    assert "A gain over plain fine-tuning is **shown**" in words(at)
    assert "as many random pool texts is **not shown**" in words(at)

    button(at, "Close this run").click().run()
    listed = at.button(key=f"open-{run.id}")
    assert listed.label.endswith("2,12,384,768 from minilm-l6 on rotten-tomatoes, **done**")
    listed.click().run()
    assert at.query_params["run"] == run.id and at.metric


def test_every_report_on_the_way_can_be_shown(run_root):
    run = ended(run_root, "agora")
    for report, stage, _ in list(snapshots(synthetic_report()))[::4]:
        (run.folder / "report.json").write_text(json.dumps(report))
        at = opened(FINETUNE, run=run.id)
        assert calm(at), stage


def test_the_rounds_of_a_control_the_texts_of_a_round_and_other_seeds_can_be_looked_at(run_root):
    report = synthetic_report()
    report["runs"].append({"seed": 7, "arms": {"agora": report["runs"][0]["arms"]["agora"]}})
    run = ended(run_root, "agora", report__json=json.dumps(report))
    at = opened(FINETUNE, run=run.id)
    texts = at.dataframe[-1].value
    assert list(texts["Kept"][:4]) == ["yes", "yes", "yes", "no"]
    assert texts["Failing dev text"][4].startswith("synthetic sentence 1:")
    at.segmented_control(key="shown_round").set_value(2).run()
    assert "no later round has ended" in words(at)
    at.segmented_control(key="shown_arm").set_value("random").run()
    assert not at.exception and "Mistakes left" in at.dataframe[-1].value.columns
    at.selectbox(key="shown_seed").set_value(7).run()
    assert not at.exception and "shown_arm" not in [c.key for c in at.segmented_control]


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 0}', None])
def test_a_damaged_or_missing_report_is_one_line(run_root, text):
    run = ended(run_root, "agora", **({} if text is None else {"report__json": text}))
    at = opened(FINETUNE, run=run.id)
    assert not at.exception and str(run.folder / "report.json") in words(at)
    assert button(at, "Close this run")


def test_a_failed_training_says_why_and_keeps_its_rounds(run_root):
    report = json.dumps(synthetic_report())
    at = opened(FINETUNE, run=ended(run_root, "agora", "too *hot*", report__json=report).id)
    assert not at.exception and button(at, "Resume") and len(at.get("plotly_chart")) == 3
    assert at.error[0].value.startswith(r"**This run failed.** too \*hot\*")


def test_a_recorded_run_is_offered_and_shown_as_recorded(tmp_path):
    (tmp_path / "agora-synthetic.json").write_text(json.dumps(synthetic_report()))
    (tmp_path / "agora-x.json").write_text("[]")
    (tmp_path / "secret.json").write_text("{}")
    at = opened(FINETUNE)
    at.button(key="record-agora-synthetic").click().run()
    assert calm(at) and at.metric and ":primary-badge[Recorded]" in words(at)
    button(at, "Close the recorded run").click().run()
    assert "What happens here" in words(at)
    for name in ("secret", "../agora-synthetic", "x" * 999, "agora-x"):
        at = opened(FINETUNE, recorded=name)
        assert not at.exception and len(at.warning) == 1


def test_a_checkpoint_is_packed_without_links_and_nothing_is_read_before_it_is_asked_for(
    run_root, downloads
):
    run = ended(run_root, "agora", report__json=json.dumps(synthetic_report()))
    model = run.folder / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors", "README.md"):
        (model / name).write_text(name)
    (model / "link").symlink_to("/etc/passwd")
    opened(FINETUNE, run=run.id)
    assert {f"{run.id}.zip", "README.md", "report.json"} <= set(downloads)
    assert downloads["README.md"]() == b"README.md"
    with downloads[f"{run.id}.zip"]() as packed:
        assert isinstance(packed, io.RawIOBase)  # of open files the button takes these only
        with zipfile.ZipFile(packed) as pack:
            names = ["model/README.md", "model/config.json", "model/model.safetensors"]
            assert pack.namelist() == names and not pack.testzip()


def test_the_process_of_the_page_never_loads_torch(tmp_path):
    """In a process of its own, with the real engine: nothing here may pull it in."""
    script = f"""
import sys
from streamlit.testing.v1 import AppTest
for query in ({{}}, {{"source": "bert-large-uncased"}}):
    at = AppTest.from_file({APP!r}, default_timeout=60)
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception and at.metric, at.exception
at.switch_page("pages/finetune.py").run()
assert not at.exception and "What happens here" in [h.value for h in at.subheader]
heavy = {{"torch", "transformers", "datasets", "optuna"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "BORT_RUNS": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_nothing_of_a_run_can_be_read_as_markup():
    """`unsafe_allow_html` appears nowhere; an exception is never shown but literally."""
    for path in [ROOT / "app.py", *(ROOT / "pages").rglob("*.py")]:
        text = path.read_text()
        assert "unsafe" not in text and "st.html" not in text
        assert not re.search(r"st\.(warning|error|info|caption|markdown)\((str\(e\)|e\b)", text)


def test_the_settings_of_the_server_are_closed():
    config = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
    assert config["server"]["address"] == "localhost"
    assert config["server"]["enableXsrfProtection"] and config["server"]["enableCORS"]
    assert not config["server"]["enableStaticServing"]
    assert config["client"]["showErrorDetails"] == "type"
    assert config["browser"]["gatherUsageStats"] is False
