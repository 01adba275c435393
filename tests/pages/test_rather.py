"""What else one could take, below the card on Explore: from the shipped records, or how to make."""

from dataclasses import replace

import pytest

from bort_engine.lab import deploy_record, table_record
from bort_engine.runs import jobs
from bort_engine.search import errors as oracles
from bort_engine.search import front as extract
from tests.app import button, calm, opened, words
from tests.conftest import synthetic_front

RECORDS = {table_record: "RECORDED", deploy_record: "FOLDER"}
RECORDS = [(module, name, getattr(module, name)) for module, name in RECORDS.items()]
FRONT = synthetic_front(0.1)


@pytest.fixture(autouse=True)
def recorded(quiet, monkeypatch):
    """A front is on record, and the shipped records beside it."""
    monkeypatch.setattr(oracles, "recorded_tasks", lambda: [("minilm-l6", "rotten-tomatoes")])
    monkeypatch.setattr(extract, "front", lambda *_, **__: FRONT)
    for module, name, path in RECORDS:
        monkeypatch.setattr(module, name, path)


def asked(monkeypatch, **changes):
    """Open the expander below a front's card."""
    front = replace(FRONT, **changes)
    monkeypatch.setattr(extract, "front", lambda *_, **__: front)
    at = opened()
    assert calm(at) and not at.code  # nothing is read before somebody asks
    at.session_state["rather"] = True
    return at.run()


def models(at) -> list[int]:
    """How many models each such table on the page has."""
    return [len(frame.value) for frame in at.dataframe if "Recorded" in frame.value]


def test_film_reviews_have_one_table_and_one_plot_with_exports(monkeypatch):
    at = asked(monkeypatch)
    assert calm(at) and models(at) == [39] and not at.code
    assert "in OpenVINO int8. It takes" in words(at)


def test_another_task_says_how_int8_is_made(monkeypatch):
    at = asked(monkeypatch, task="newsgroups")
    assert calm(at) and models(at) == [9]
    assert "On record is newsgroups?length=128." in words(at)
    command = "python -m bort_engine export POINT/model --format onnx-int8 --task newsgroups"
    assert at.code[-1].value == command


@pytest.mark.parametrize("changes", [{"task": "/tmp/a b.csv"}, {"source": "minilm-l3"}], ids=str)
def test_what_nothing_is_on_record_of_can_be_measured_here(monkeypatch, changes):
    at = asked(monkeypatch, **changes)
    assert calm(at) and not models(at)
    assert "Nothing is on record" in words(at)
    assert button(at, "Measure all of this here")


def test_a_run_of_ones_own_stands_for_the_record_with_the_model_that_was_named(
    monkeypatch, wait, tmp_path
):
    at = asked(monkeypatch)
    at.text_input(key="rather_smaller").set_value("/no/such").run()
    button(at, "Measure all of this here").click().run()
    assert "/no/such" in at.error[0].value and not jobs.runs()
    at.text_input(key="rather_smaller").set_value("minilm-l6").run()
    button(at, "Measure all of this here").click().run()
    (run,) = jobs.runs(command="table")
    assert run.request.arguments == (
        *("minilm-l6", "--tasks", "rotten-tomatoes"),
        *("--smaller", "minilm-l6", "--seeds", "1", "--test", "off"),
    )
    wait(lambda: run.status().over)
    at.run()
    assert calm(at) and models(at) == [39]
    tables = [frame.value for frame in at.dataframe if "Recorded" in frame.value]
    assert any("Synthetic CPU" in line for table in tables for line in table["Recorded"])
    assert any("minilm-l6, fine-tuned" in set(table["Model"]) for table in tables)
    assert button(at, "Measure all of this here")  # beside another one
    other = opened()  # whoever comes later finds the run without its address
    other.session_state["rather"] = True
    other.run()
    assert calm(other) and models(other) == [39]


def test_a_damaged_record_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(deploy_record, "FOLDER", tmp_path)
    deploy_record.path_of("minilm-l6", "rotten-tomatoes").write_text("{")
    at = asked(monkeypatch)
    assert not at.exception and "damaged deployment" in at.warning[0].value


def test_of_a_predicted_front_nothing_is_offered(monkeypatch, predicted_front):
    monkeypatch.setattr(extract, "front", lambda *_, **__: predicted_front)
    at = opened(source="bert-large-uncased")
    assert calm(at) and "rather" not in at.session_state
