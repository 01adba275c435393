"""Fine-tune in every state, through Streamlit's AppTest; the engine is faked."""

import io
import json
import re
import zipfile
from contextlib import suppress

import pytest

from bort_engine.runs import jobs
from bort_engine.runs.events import Refused
from tests.app import (
    button,
    calm,
    close_and_reopen,
    ended,
    labels,
    opened,
    press_and_wait,
    started,
    words,
)
from tests.fake_engine import snapshots, synthetic_report

pytestmark = pytest.mark.usefixtures("quiet")
FINETUNE = "pages/finetune.py"


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
    at.pills(key="controls").set_value(["random", "plain"])
    run, command = started(at, "Start")
    assert command == (
        "agora minilm-l6 --architecture 2,12,384,768 --configs auto --controls plain,random "
        "--epsilon 0.3 --initialisation inherit --labelled 500 --points 8 --seed 0 --seeds 1 "
        "--task rotten-tomatoes --tau auto"
    )

    wait(lambda: "round 2" in run.status().stage and run.status().done >= 3)
    at.run()
    assert not at.exception and re.search(r"round \d$", at.header[0].value)
    assert " of 20" in at.progress[0].text
    assert len(at.get("vega_lite_chart")) == 1 and len(at.get("plotly_chart")) == 3
    press_and_wait(at, "Stop", run, wait)
    assert len(at.get("plotly_chart")) == 3  # what was trained stays in view

    monkeypatch.setenv("FAKE_STEPS", "1")
    press_and_wait(at, "Resume", run, wait)
    assert calm(at) and len(at.get("plotly_chart")) == 4
    assert "A gain over plain fine-tuning is **shown**" in words(at)
    assert "as many random pool texts is **not shown**" in words(at)
    assert words(at).count("Always naming the most frequent class is right on 55.0 % of dev.") == 2
    close_and_reopen(at, run, "2,12,384,768 from minilm-l6 on rotten-tomatoes")
    assert at.metric


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


def test_a_failed_training_keeps_its_rounds(run_root):
    report = json.dumps(synthetic_report())
    at = opened(FINETUNE, run=ended(run_root, "agora", "too hot", report__json=report).id)
    assert not at.exception and button(at, "Resume") and len(at.get("plotly_chart")) == 3


def test_a_labeller_that_is_too_weak_offers_what_can_help_and_no_resume(run_root, monkeypatch):
    folder, words_of = run_root / "agora-weak", ["--architecture", "2,12,384,768"]
    arguments = ["minilm-l6", *words_of, "--task", "rotten-tomatoes", "--labelled", "300"]
    with suppress(Refused), jobs.working(folder, "agora", arguments):
        raise Refused("the labeller is right on 64 of 100")
    at = opened(FINETUNE, run="agora-weak")
    assert "the labeller is right on 64 of 100" in at.error[0].value and "Resume" not in labels(at)
    button(at, "Start again with all labels").click().run()
    again = jobs.find(at.query_params["run"])
    assert again.request.arguments[-2:] == ("--labelled", "0") or "--labelled 0" in " ".join(
        again.request.arguments
    )
    at = opened(FINETUNE, run="agora-weak")
    button(at, "Distil it instead").click().run()
    assert not at.exception
    cut = jobs.find(at.query_params["cut_run"]).request
    assert cut.command == "cut" and cut.arguments[-2:] == ("--polish", "300")


def test_the_form_says_how_long_it_takes_and_how_few_labels_there_may_be():
    at = opened(FINETUNE)
    assert re.search(r"About .* min here", words(at))
    at.number_input(key="labelled").set_value(20).run()
    assert button(at, "Start").disabled and "give at least 50" in words(at)
    button(at, "Distil it instead").click().run()
    assert not at.exception
    assert "--polish 300" in " ".join(jobs.find(at.query_params["cut_run"]).request.arguments)
    at.text_input(key="architecture").set_value("7,12,384,768").run()
    assert button(at, "Start").disabled and "Distil it instead" not in labels(at)


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
