"""Explore in every state, through Streamlit's AppTest; slow work is faked."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st

from bort_engine.data import uploads
from bort_engine.encoder.own import own_models
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.stopwatch import Timed, Times
from bort_engine.encoder.timing import LatencySettings
from bort_engine.runs import jobs, records
from bort_engine.runs.events import silent
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.work import Process
from bort_engine.search import errors as oracles
from bort_engine.search import front as extract
from bort_engine.search.compare import Comparison, Text
from bort_engine.search.errors import searched
from bort_engine.search.evaluate import (
    BriefTraining,
    Evaluation,
    EvaluationTable,
    Header,
    Setup,
)
from bort_engine.show.budget import Budget
from tests.app import (
    button,
    calm,
    close_and_reopen,
    labels,
    opened,
    press_and_wait,
    started,
    words,
)
from tests.conftest import TEACHER, synthetic_front
from tests.encoder.test_sources import write_weights

pytestmark = pytest.mark.usefixtures("quiet")
ROOT = Path(__file__).parents[2]
front_at = cache(synthetic_front)
FRONT = front_at(0.1)
assert FRONT.knee and FRONT.recommended == FRONT.source_point


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """Put a synthetic engine behind Explore; return what it was asked for."""
    calls: list[tuple] = []

    def front(source, task="", epsilon=0.1, **options):
        assert options.pop("on_progress") is silent  # a server's terminal shows no bars
        calls.append((source, task, epsilon, options))
        return front_at(epsilon, predicted=options.get("oracle") == "glue")

    monkeypatch.setattr(oracles, "recorded_tasks", lambda: [("minilm-l6", "rotten-tomatoes")])
    monkeypatch.setattr(extract, "front", front)
    return calls


def card(at) -> str:
    """The architecture on the card."""
    return at.subheader[-1].value


def points_table(at) -> pd.DataFrame:
    """All points: the table that is read once it is unfolded."""
    at.session_state["points"] = True
    return next(frame.value for frame in at.run().dataframe if "D,A,H,I" in frame.value)


def test_opening_shows_the_recorded_front_at_once(calls):
    at = opened()
    options = {"errors": "recorded", "settings": None}
    assert calm(at) and calls == [("minilm-l6", "rotten-tomatoes", 0.1, options)]
    assert "Recorded on Synthetic CPU, 2000-01-01" in words(at)
    assert card(at) == str(FRONT.knee.architecture)
    assert not at.dataframe and len(points_table(at)) == len(FRONT.points)
    assert len(at.metric) == 4 and all(m.delta for m in at.metric)


def test_the_first_page_reads_no_library_that_it_does_not_need():
    names = "('pandas', 'scipy.special', 'scipy.stats', 'torch')"
    script = f"""
import sys
from tests.app import opened
assert len(opened().metric) == 4
print([name for name in {names} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_a_front_for_int8_is_asked_for_with_its_runtime(calls):
    at = opened()
    at.selectbox(key="runtime").set_value("onnx-int8").run()
    assert calm(at)
    assert [call[3].get("settings") for call in calls] == [
        None,
        LatencySettings(runtime="onnx-int8"),
    ]


def test_another_epsilon_is_another_front_and_the_same_one_is_not_asked_for_twice(calls):
    at = opened()
    at.slider(key="epsilon").set_value(0.5).run()
    at.toggle(key="promise").set_value(True).run()
    at.segmented_control(key="view").set_value("costs").run()
    at.toggle(key="effective").set_value(True).run()
    assert [call[2] for call in calls] == [0.1, 0.5]
    assert len(points_table(at)) == len(front_at(0.5).points)


def test_a_point_in_the_address_is_shown(calls):
    other = next(p for p in FRONT.pareto if p.architecture != FRONT.knee.architecture)
    at = opened(point=str(other.architecture))
    assert card(at) == str(other.architecture) and "Here is another one" not in words(at)
    at = opened(point="6,12,384,1536")
    assert [m.delta for m in at.metric] == [""] * 4  # the source, against itself
    chance = next(p for p in FRONT.points if p.at_chance)
    assert "never recommended" in words(opened(point=str(chance.architecture)))


@pytest.mark.parametrize("point", ["![](http://x)", "1,1,1,1"])
def test_any_other_text_in_the_address_leads_to_the_recommended_point(calls, point):
    at = opened(point=point)
    assert not at.exception and card(at) == str(FRONT.knee.architecture)
    assert "Here is another one." in words(at)
    assert not [c for c in at.caption if "![](http://x)" in c.value]  # shown, not fetched


IMAGE = "![x](http://evil.example/x.png) <img src=x> &lt; :red[x]\n- www.evil.example"


@pytest.mark.parametrize("state", ["running", "failed", "cancelled"])
def test_what_a_run_folder_says_is_shown_and_not_rendered(calls, run_root, state):
    folder = run_root / "front-1"
    records.write(folder / "request.json", jobs.Request("front", (IMAGE, "--task", IMAGE)))
    status = jobs.Status(state, IMAGE, IMAGE, 1, 2, message=IMAGE, process=Process.current())
    records.write(folder / "status.json", status)
    event = {"stage": "x", "architecture": "1,2,96,192", "dev_error": 10**400}
    (folder / "metrics.jsonl").write_text(json.dumps(event) + "\n")
    for name in ("front-1", IMAGE):
        at = opened(run=name)
        assert not at.exception
        kinds = (at.markdown, at.caption, at.header, at.subheader, at.error, at.warning, at.info)
        texts = [element.value for kind in kinds for element in kind]
        texts += [label for element in at.button for label in (element.label, element.help or "")]
        shown = [text for text in texts if "evil.example" in text]
        assert shown and not [t for t in shown if re.search(r"(?<!\\)[!\[<&]|\n-", t)], shown


def test_budgets_lead_to_a_point_and_name_what_comes_nearest(calls):
    at = opened()
    at.number_input(key="lose").set_value(19.0)
    at.number_input(key="ms").set_value(5.0)
    at.segmented_control(key="prefer").set_value("error").run()
    best = FRONT.cheapest("error", max_latency_ms=5.0, max_error_gain=0.19)
    assert best is not None and best.architecture != FRONT.knee.architecture
    assert f"Take {best.architecture}" in words(at) and card(at) == str(best.architecture)
    at.query_params["point"] = str(FRONT.knee.architecture)
    at.run()
    assert card(at) == str(FRONT.knee.architecture)
    button(at, "Show it").click().run()
    assert card(at) == str(best.architecture)
    at.number_input(key="lose").set_value(0.0).run()
    at.number_input(key="ms").set_value(1.0).run()
    assert "Nothing here meets all of that" in words(at) and "which misses by" in words(at)
    del at.query_params["point"]
    at.run()
    nearest = Budget("error", 0.0, 1.0).nearest(FRONT)
    assert nearest.architecture not in (FRONT.knee.architecture, FRONT.maximum)
    assert card(at) == str(nearest.architecture)  # of which the title speaks
    button(at, "Laptop").click().run()
    assert at.number_input(key="lose").value == 1.0 and at.number_input(key="ms").value is None
    assert at.segmented_control(key="prefer").value == "latency"
    button(at, "Phone").click().run()
    assert at.segmented_control(key="prefer").value == "size"
    button(at, "Server").click().run()
    assert at.segmented_control(key="prefer").value == "error"
    server = Budget("error", None, at.number_input(key="ms").value).best(FRONT)
    assert f"Take {server.architecture}" in words(at)
    assert at.number_input(key="ms").value == round(FRONT.source_point.latency_ms / 2, 2)


def test_two_points_are_held_against_each_other(calls, run_root, wait, monkeypatch):
    monkeypatch.setenv("FAKE_STEPS", "1")
    at = opened()
    button(at, "Pin it").click().run()
    pinned = str(FRONT.knee.architecture)
    assert at.query_params["beside"] == pinned and "Choose another point" in words(at)
    known = (FRONT.knee.architecture, FRONT.maximum)
    other = str(next(p.architecture for p in FRONT.pareto if p.architecture not in known))
    at.query_params["point"] = other
    at.run()
    assert f"{pinned} or {other}?" in words(at)
    assert any(f"{other} against {pinned}" in frame.value for frame in at.dataframe)
    button(at, "Time them here").click().run()
    (run,) = jobs.runs(command="stopwatch")
    options = dict(zip(run.request.arguments[1::2], run.request.arguments[2::2], strict=True))
    assert options["--architectures"] == f"{FRONT.maximum} {pinned} {other}"
    assert options["--sequence-length"] == str(FRONT.latency.sequence_length)
    wait(lambda: run.status().over)
    shapes = [Architecture.parse(text) for text in options["--architectures"].split()]
    rows = tuple(Timed(a, 1.0 * n, 2.0 * n, 3.0 * n) for n, a in enumerate(shapes, 1))
    made = Provenance("Synthetic CPU", "made up", "2000-01-01")
    times = Times("minilm-l6", LatencySettings(1, 128, 2), rows, made, load=3.0)
    records.write(run.folder / "stopwatch.json", times)
    at.run()
    assert not at.exception and "load 3.0" in at.warning[0].value
    table = next(t.value for t in at.dataframe if "Against the first" in t.value)
    assert table["Against the first"].tolist() == [1.0, 2.0, 3.0]
    button(at, "Close this run").click().run()
    button(at, "Unpin").click().run()
    assert calm(at) and "beside" not in at.query_params
    at = opened(beside="9,9,9,9")
    assert not at.exception and "9,9,9,9" in at.warning[0].value
    button(at, "Unpin").click().run()
    assert calm(at) and "beside" not in at.query_params


def test_two_points_are_asked_where_they_disagree(calls, run_root, wait, monkeypatch):
    monkeypatch.setenv("FAKE_STEPS", "1")
    elastic = replace(FRONT, oracle="elastic")
    monkeypatch.setattr(extract, "front", lambda *_, **__: elastic)
    first, second = FRONT.knee.architecture, FRONT.maximum
    at = opened(beside=str(first), point=str(second))
    ask = button(at, "Where they disagree")
    assert "trained here first" in ask.help  # nothing is in the cache
    ask.click().run()
    (run,) = jobs.runs(command="compare")
    options = dict(zip(run.request.arguments[1::2], run.request.arguments[2::2], strict=True))
    assert options["--architectures"] == f"{first} {second}" and "--architecture" not in options
    wait(lambda: run.status().over)
    texts = (Text(("fine :red[film]",), "fresh", ("rotten", "fresh")),)
    made = Provenance("Synthetic CPU", "made up", "2000-01-01")
    result = Comparison(
        "minilm-l6", "rotten-tomatoes", (first, second), 70, 0, 12, 18, texts, 0, made
    )
    records.write(run.folder / "compare.json", result)
    at.run()
    assert calm(at) and "Of 100 dev texts both answer 70 rightly and 18 wrongly" in words(at)
    assert f"only {second} on 12" in words(at) and "1 of these 12" in words(at)
    (table,) = (t.value for t in at.dataframe if "Right" in t.value)
    assert table.iloc[0].tolist() == ["fine :red[film]", "fresh", "rotten", "fresh", str(second)]
    button(at, "Close this run").click().run()
    assert "compare_run" not in at.query_params


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
    assert "GLUE points (predicted)" in words(at)
    assert at.metric[3].label == "GLUE score, predicted"


def test_a_task_in_the_address_is_chosen_and_a_change_is_kept_there(calls):
    at = opened(task="newsgroups")
    assert not at.exception and at.selectbox(key="task").value == "newsgroups"
    at.selectbox(key="task").set_value("rotten-tomatoes").run()
    assert at.query_params["task"] == "rotten-tomatoes" and at.metric
    assert opened(task="no such").selectbox(key="task").value == "rotten-tomatoes"


def test_choices_stand_in_the_address_by_short_names(calls):
    at = opened(view="costs", prefer="size", runtime="onnx-int8")
    assert calm(at) and "settings" in calls[0][3]
    assert at.segmented_control(key="view").value == "costs"
    at.segmented_control(key="view").set_value("3d")
    at.segmented_control(key="prefer").set_value("latency").run()  # the default is left out
    assert at.query_params["view"] == "3d" and "prefer" not in at.query_params
    assert at.query_params["runtime"] == "onnx-int8"


@pytest.mark.parametrize("name", ["view", "prefer", "runtime", "source", "task"])
def test_a_name_in_the_address_that_is_not_there_is_one_line(calls, name):
    at = opened(**{name: "![](http://x)"})
    (line,) = (c.value for c in at.caption if "in the address" in c.value)
    assert not at.exception and line.startswith(f"{name} is ") and "![](" not in line
    assert at.metric and calls[0][:2] == ("minilm-l6", "rotten-tomatoes")


def test_explore_is_as_it_was_left_when_one_comes_back(calls):
    chosen = str(FRONT.pareto[0].architecture)
    at = opened(point=chosen, view="costs")
    at.query_params.clear()
    at.switch_page("pages/learn.py").run()
    at.query_params.clear()
    at.switch_page("pages/explore.py").run()
    assert card(at) == at.query_params["point"] == chosen
    assert at.segmented_control(key="view").value == "costs"
    del at.query_params["point"]
    at.run()
    assert card(at) == str(FRONT.knee.architecture)  # what was left on the page stays left


def test_a_run_is_drawn_again_with_the_latencies_of_another_runtime(
    run_root, monkeypatch, tmp_path, wait
):
    FRONT.save(tmp_path / "front.json")
    monkeypatch.setenv("FAKE_STEPS", "1")
    monkeypatch.setenv("FAKE_FRONT", str(tmp_path / "front.json"))
    run = jobs.start("front", ["minilm-l6", "--task", "rotten-tomatoes"])
    wait(lambda: run.status().over)
    at = opened(run=run.id)
    int8 = replace(FRONT, latency=replace(FRONT.latency, runtime="onnx-int8"))
    int8.save(tmp_path / "front.json")
    press_and_wait(at, "As ONNX int8", run, wait)
    assert run.request.arguments[-2:] == ("--runtime", "onnx-int8")
    assert "As PyTorch fp32" in [b.label for b in at.button]
    assert "ONNX int8, batch 1" in words(at)  # behind the badge


def test_a_source_without_a_record_has_an_inviting_empty_state(calls, monkeypatch):
    at = opened(source="roberta-base")
    assert not at.exception and not calls and not at.metric
    assert "Nothing is on record for roberta-base" in at.info[0].value
    assert "For a first look: minilm-l6 on “Film-review" in at.info[0].value
    monkeypatch.setattr(oracles, "recorded_tasks", list)
    st.cache_data.clear()
    text = opened().info[0].value
    assert "to make a front on this machine" in text and "For a first look" not in text
    assert re.search(r"About .* min here", text)


def test_a_record_that_cannot_be_read_is_one_line(calls, monkeypatch):
    def broken(*_, **__):
        raise ValueError("assets/x.json: *damaged*")

    monkeypatch.setattr(extract, "front", broken)
    at = opened()
    assert not at.exception and at.warning[0].value == r"assets/x.json\: \*damaged\*"


def test_the_form_starts_a_run_which_is_watched_stopped_resumed_and_shown(
    calls, slow, monkeypatch, tmp_path, wait
):
    at = opened()
    at.text_input(key="--space").set_value("D=1-2 A=2,12 H=96,192 I=192,384")
    at.number_input(key="--batch-size").set_value(4)
    run, command = started(at, "Extract the front")
    assert command == (
        "front minilm-l6 --batch-size 4 --epsilon 0.1 --lazy on --oracle elastic "
        "--runtime pytorch --seed 0 --selection cover --sequence-length 0 "
        "--space D=1-2 A=2,12 H=96,192 I=192,384 "
        "--steps 0 --task rotten-tomatoes --teacher-steps 0"
    )

    wait(lambda: run.status().done >= 3)
    at.run()
    assert at.header[0].value == "Evaluating candidates"
    assert " of 400, about " in at.progress[0].text
    assert "The source itself answers 84.0 % right on dev." in words(at)
    assert re.search(r"Now: \d+,12,384,1536\.", words(at))
    assert at.get("vega_lite_chart") and not at.metric
    press_and_wait(at, "Stop", run, wait)

    front_at(0.3).save(tmp_path / "front.json")
    monkeypatch.setenv("FAKE_STEPS", "1")
    monkeypatch.setenv("FAKE_FRONT", str(tmp_path / "front.json"))
    press_and_wait(at, "Resume", run, wait)
    assert len(points_table(at)) == len(front_at(0.3).points)
    close_and_reopen(at, run, "minilm-l6 on rotten-tomatoes, epsilon 0.1")


def test_the_rest_of_a_space_is_measured_while_its_front_stays(
    run_root, slow, monkeypatch, tmp_path, wait
):
    check = replace(FRONT.guarantee, n_evaluated=FRONT.space_size - 50)
    elastic = replace(FRONT, oracle="elastic", origin="measured", guarantee=check)
    elastic.save(tmp_path / "front.json")
    monkeypatch.setenv("FAKE_STEPS", "1")
    monkeypatch.setenv("FAKE_FRONT", str(tmp_path / "front.json"))
    run = jobs.start("front", ["minilm-l6", "--task", "rotten-tomatoes", "--epsilon", "0.2"])
    wait(lambda: run.status().over)
    setup = Setup("minilm-l6", "rotten-tomatoes", "elastic")
    header = Header(setup, TEACHER, Provenance("made up", "", ""))
    table = EvaluationTable(run.folder / "evaluations.jsonl", header)
    table.add(Evaluation(FRONT.maximum, 0.2, 0.1, 30.0))
    monkeypatch.setenv("FAKE_STEPS", "400")
    at = opened(run=run.id)
    label = "Measure the 50 others too, about 25 min"
    at.session_state["promised"] = True
    assert calm(at.run()) and card(at)
    assert {"As ONNX int8", "As OpenVINO int8"} <= {b.label for b in at.button}
    assert "As PyTorch fp32" not in [b.label for b in at.button]
    button(at, label).click().run()
    assert run.request.arguments[-2:] == ("--check-all", "on")
    wait(lambda: run.status().done >= 2)
    at.run()
    assert not at.exception and at.progress and len(points_table(at)) == len(FRONT.points)
    assert label not in [b.label for b in at.button]
    press_and_wait(at, "Stop", run, wait)
    assert "This run was stopped" in words(at)
    assert len(points_table(at)) == len(FRONT.points)  # what was there is still there


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(["--epsilon"], "another source"), (["nowhere", "--task", "$x$"], "nowhere")],
)
def test_runs_made_by_other_hands_are_listed_and_watched(run_root, arguments, name):
    with jobs.working(run_root / "by-hand", "front", arguments) as job:
        job.report({"stage": "evaluating candidates", "done": 1, "total": 2, "architecture": "x"})
        at = opened(run="by-hand")
        assert not at.exception and at.progress
        assert f"{name} on " in at.button(key="open-by-hand").label


@pytest.mark.parametrize(
    ("space", "cause"),
    [
        ("D=1 A=5 H=96 I=192", "the grid is empty"),
        ("D=1 A=2 H=4096 I=192", "hidden_size 4096 is beyond minilm-l6's 384"),
    ],
)
def test_a_space_that_cannot_be_searched_starts_nothing(run_root, space, cause):
    at = opened()
    at.text_input(key="--space").set_value(space)
    button(at, "Extract the front").click().run()
    assert not at.exception and at.error and cause in words(at)
    assert "run" not in at.query_params and not run_root.exists()


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
    assert at.selectbox(key="agora_task").value == at.query_params["task"] == "rotten-tomatoes"
    assert "Chosen from a front at epsilon 0.1." in words(at)
    st.cache_data.clear()
    monkeypatch.setattr(extract, "front", lambda *_, **__: replace(FRONT, source="bert-tiny"))
    assert "Fine-tune this" not in labels(opened())


def test_your_own_text_is_looked_at_and_becomes_the_task(slow):
    rows = "".join(f"film {n},{('good', 'bad')[n % 4 == 0]}\n" for n in range(100))
    upload = uploads.keep("films.csv", f"review,verdict\n{rows}film 1,bad\n".encode())
    at = opened()
    at.session_state["own"] = True
    at.run()
    assert not at.exception and not at.warning
    text = words(at)
    assert "**100 rows**: 80 train, 10 validation, 10 test" in text and "**2 classes**" in text
    assert "1 repeated texts are left out" in text and "1 texts have several labels" in text
    button(at, "Use it").click().run()
    assert at.selectbox(key="task").value == f"{upload.path}?text=review&label=verdict"
    assert "Nothing is on record" in at.info[0].value
    run, command = started(at, "Extract the front")
    run.cancel()
    assert f"--task {upload.path}?text=review&label=verdict" in command
    at.selectbox(key=f"own_kind_{upload.path.parent.name}").set_value("a number").run()
    assert "label is bad (str); allowed: a number" in words(at)  # said beside the file, in one line
    button(at, "Delete it").click().run()
    assert not at.exception and uploads.uploads() == []


def test_your_own_model_is_looked_at_and_becomes_the_source(slow, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    config = {"model_type": "bert", "num_hidden_layers": 4, "num_attention_heads": 4}
    config |= {"hidden_size": 128, "intermediate_size": 256, "vocab_size": 1000}
    config |= {"max_position_embeddings": 64, "type_vocab_size": 2}
    (folder / "config.json").write_text(json.dumps(config))
    at = opened()
    at.session_state["own"] = True
    at.run()
    at.text_input(key="own_model_name").set_value(str(folder)).run()
    assert "has no model.safetensors: a source needs its weights" in words(at)
    write_weights(folder, config)
    at.text_input(key="own_model_name").set_value(f"{folder} ").run()
    text = words(at)
    assert "bert, 4 layers, 4 heads, hidden size 128, intermediate size 256" in text
    n_slices = len(searched("default", "elastic", Source.load(str(folder))))
    assert f"**{n_slices:,}** slices" in text and not at.exception
    button(at, "Use this model").click().run()
    assert at.selectbox(key="source").value == str(folder) and own_models() == (str(folder),)
    assert "Nothing is on record for" in at.info[0].value
    run, command = started(at, "Extract the front")
    run.cancel()
    assert command.startswith(f"front {folder} --")
    button(at, "Forget it").click().run()
    assert not at.exception and own_models() == ()


def test_a_point_becomes_a_checkpoint_on_the_page(run_root, wait, monkeypatch, tmp_path, downloads):
    training = BriefTraining(steps=500, learning_rate=4e-4)
    made = replace(FRONT.provenance, training=training, seed=3)
    front = replace(FRONT, oracle="elastic", origin="measured", provenance=made)
    front.save(tmp_path / "front.json")
    monkeypatch.setenv("FAKE_STEPS", "1")
    monkeypatch.setenv("FAKE_FRONT", str(tmp_path / "front.json"))
    run = jobs.start("front", ["minilm-l6", "--task", "rotten-tomatoes"])
    wait(lambda: run.status().over)
    at = opened(run=run.id)
    at.number_input(key="polish").set_value(200).run()
    button(at, "Save this as a checkpoint").click().run()
    (cut,) = jobs.runs(run_root, "cut")
    chosen = FRONT.knee.architecture
    words_of = f"minilm-l6 --architecture {chosen} --task rotten-tomatoes --seed 3 --polish 200"
    assert " ".join(cut.request.arguments) == words_of
    wait(lambda: cut.status().over)
    at.run()
    assert not at.exception and f"**{chosen}, saved**" in words(at)
    assert {f"{chosen}.zip".replace(",", "-"), "README.md"} <= set(downloads)
    recalls = next(t.value for t in at.dataframe if "Rows on dev" in t.value).set_index("Class")
    assert list(recalls.loc["fresh"]) == [100, 35.0, 20.0]
    assert list(recalls.loc["unseen"].isna()) == [False, True, True]
    button(at, "Close this run").click().run()
    assert "cut_run" not in at.query_params or "run" not in at.query_params
