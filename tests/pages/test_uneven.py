"""Shapes whose layers differ on Explore, through Streamlit's AppTest: shown, saved, measured."""

from dataclasses import replace
from functools import cache

import pytest
import streamlit as st

from bort_engine.runs import jobs
from bort_engine.search import errors as oracles
from bort_engine.search import front as extract
from bort_engine.search import layer_result as module
from bort_engine.search.evaluate import BriefTraining
from bort_engine.search.layer_result import LayersFront
from tests.app import button, calm, labels, opened, words
from tests.conftest import synthetic_front
from tests.show.test_uneven import BEST, FAST, GUESS, made_up

pytestmark = pytest.mark.usefixtures("quiet")


@cache
def elastic():
    front = synthetic_front(0.1)
    training = BriefTraining(steps=700, learning_rate=4e-4)
    provenance = replace(front.provenance, training=training)
    return replace(front, oracle="elastic", provenance=provenance)


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """A recorded front of slices, and no record of layers yet; return where that would ship."""
    monkeypatch.setattr(oracles, "recorded_tasks", lambda: [("minilm-l6", "rotten-tomatoes")])
    monkeypatch.setattr(extract, "front", lambda *_, **__: elastic())
    monkeypatch.setattr(module, "RECORDED", tmp_path)
    return module.shipped("minilm-l6", "rotten-tomatoes", 0)


def card(at) -> str:
    return at.subheader[-1].value


def test_they_are_not_read_until_they_are_asked_for(shown, monkeypatch):
    monkeypatch.setattr(LayersFront, "load", lambda *_: pytest.fail("it was read"))
    made_up(elastic()).save(shown)
    at = opened()
    assert calm(at) and not at.toggle(key="differ").value
    st.cache_data.clear()
    monkeypatch.setattr(extract, "front", lambda *_, **__: replace(elastic(), oracle="brief"))
    at = opened(differ="true")  # brief trainings are no slices
    assert calm(at) and "differ" not in [toggle.key for toggle in at.toggle]


def test_a_shape_that_does_better_is_named_shown_and_saved(shown, run_root, wait, monkeypatch):
    monkeypatch.setenv("FAKE_STEPS", "1")
    made_up(elastic()).save(shown)
    at = opened(differ="true")
    take = at.header[0].value
    assert calm(at) and "**Layers that differ do better within this budget**" in words(at)
    uniform = card(at)
    button(at, "Show this one").click().run()
    assert at.query_params["uneven"] == str(BEST) and card(at) == "Layers that differ"
    assert at.header[0].value == take  # what is recommended stays so
    assert "| 1 | 6 | 800 |" in words(at) and "zeroed units to 5,12,384,800" in words(at)
    assert [m.delta for m in at.metric][3] == "-0.5 points" and len(at.metric) == 4
    button(at, "Save this as a checkpoint").click().run()
    (run,) = jobs.runs(command="cut")
    options = dict(zip(run.request.arguments[1::2], run.request.arguments[2::2], strict=True))
    expected = {"--architecture": str(BEST), "--steps": "700", "--polish": "0", "--seed": "0"}
    assert options == expected | {"--task": "rotten-tomatoes"}
    wait(lambda: run.status().over)
    button(at, f"Back to {uniform}").click().run()
    assert card(at) == uniform and "uneven" not in at.query_params


def test_a_row_of_their_table_leads_to_the_card_and_a_named_budget_away(shown):
    made_up(elastic()).save(shown)
    at = opened(differ="true", uneven=str(FAST))
    at.session_state["points"] = True
    at.run()
    table = next(frame.value for frame in at.dataframe if "H:AxI,..." in frame.value)
    assert table["H:AxI,..."].tolist() == [str(FAST), str(BEST)]
    assert str(FAST) in words(at) and card(at) == "Layers that differ"
    button(at, "Phone").click().run()
    assert calm(at) and "uneven" not in at.query_params and card(at) != "Layers that differ"


@pytest.mark.parametrize("text", [str(GUESS), "![](http://x)"])
def test_any_other_shape_in_the_address_is_one_line(shown, text):
    made_up(elastic()).save(shown)
    at = opened(differ="true", uneven=text)
    (line,) = (c.value for c in at.caption if "is none of the shapes" in c.value)
    assert not at.exception and "![](" not in line and card(at) != "Layers that differ"


def test_where_none_is_on_record_it_is_measured_here_and_then_shown(
    shown, run_root, wait, monkeypatch
):
    monkeypatch.setenv("FAKE_STEPS", "1")
    at = opened(differ="true")
    assert calm(at) and "None is on record here. About " in words(at)
    button(at, "Measure shapes whose layers differ").click().run()
    (run,) = jobs.runs(command="layers")
    options = dict(zip(run.request.arguments[1::2], run.request.arguments[2::2], strict=True))
    at_front = elastic().latency
    assert options == {
        "--task": "rotten-tomatoes",
        "--seed": "0",
        "--steps": "700",
        "--batch-size": str(at_front.batch_size),
        "--sequence-length": str(at_front.sequence_length),
        "--threads": str(at_front.threads),
    }
    wait(lambda: run.status().over)
    made_up(elastic()).save(run.folder / "layers.json")
    at.run()
    assert calm(at) and "Layers that differ do better" in words(at)
    assert "Measure shapes whose layers differ" not in labels(at)


def test_what_cannot_be_compared_is_said_in_a_line(shown, monkeypatch):
    record = made_up(elastic())
    latency = replace(record.latency, device="Another :red[CPU]")
    replace(record, latency=latency).save(shown)
    at = opened(differ="true")
    (line,) = (c.value for c in at.caption if "cannot stand on one axis" in c.value)
    assert calm(at) and "Another \\:red\\[CPU\\]" in line
    int8 = replace(elastic(), latency=replace(elastic().latency, runtime="onnx-int8"))
    monkeypatch.setattr(extract, "front", lambda *_, **__: int8)
    at.selectbox(key="runtime").set_value("onnx-int8").run()
    assert calm(at) and "timed in PyTorch fp32 only" in words(at)
