"""The lesson "Five minutes": what is read at each stop, where it leads, and any state of it."""

import json
from urllib.parse import parse_qsl

import pytest
import streamlit as st

from bort_engine.encoder.space import Architecture
from bort_engine.finetune import report as agora_report
from bort_engine.search import errors as oracles
from bort_engine.search import front as extract
from bort_engine.show import race as race_report
from bort_engine.show.lessons import tour
from tests.app import calm, opened, words
from tests.conftest import synthetic_front
from tests.fake_engine import synthetic_race, synthetic_report

LEARN = "pages/learn.py"
FRONT = synthetic_front(0.2)


@pytest.fixture(autouse=True)
def on_record(monkeypatch, run_root, tmp_path) -> None:
    """A synthetic front, run and race stand in for what ships."""
    (tmp_path / f"{tour.AGORA}.json").write_text(json.dumps(synthetic_report()))
    monkeypatch.setattr(oracles, "recorded_tasks", lambda: [("minilm-l6", "rotten-tomatoes")])
    real = extract.front  # which the lesson of the ledger asks about BERT-large
    monkeypatch.setattr(
        extract,
        "front",
        lambda source, *a, **k: FRONT if source == "minilm-l6" else real(source, *a, **k),
    )
    monkeypatch.setattr(agora_report, "RECORDED", tmp_path)
    monkeypatch.setattr(race_report, "RECORDED", synthetic_race().save(tmp_path / "race.json"))
    st.cache_resource.clear()
    st.cache_data.clear()


def test_the_numbers_are_those_on_record():
    shown = f"{len(FRONT.pareto)} of {len(FRONT.points)}"
    assert dict(tour.stop(1).numbers)["On the front, epsilon 0.2"] == shown
    third = tour.stop(3)
    assert dict(third.numbers) == {
        "Right on test, by Agora": "77.0 %",
        "Plain fine-tuning": "74.0 %",
        "Its source": "79.1 %",
    }
    assert "**3,12,384,768**, 33 % of the source's encoder" in third.text  # 3.55 M of 10.6 M
    # Agora 77.0, random 75.7: 1.3 points ahead, from -0.7 to 3.3.
    assert "a gain over it is not shown: +1.3 points" in third.text
    assert "the FPTAS is level with TPE and random search in" in tour.stop(4).text
    assert ("Evaluations each", "3") in tour.stop(4).numbers


def test_the_point_is_the_one_trained_next_where_the_front_has_it_else_the_nearest():
    chosen = tour.point(FRONT, tour.report())
    assert chosen.pareto and not chosen.at_chance
    # The run is about 3,12,384,768, which is not on this front.
    gaps = [abs(p.n_encoder_parameters - 3_550_000) for p in FRONT.pareto if not p.at_chance]
    assert abs(chosen.n_encoder_parameters - 3_550_000) == min(gaps)
    assert "trains a near relative, 3,12,384,768" in tour.stop(2).text
    assert tour.point(FRONT, None) == FRONT.recommended


def test_a_walk_leads_from_stop_to_stop_to_the_pages_and_into_a_lesson():
    at, links = opened(LEARN, path_guess="skip"), []
    assert calm(at) and at.segmented_control(key="path_step").value == "Front"
    assert at.button(key="path-Back").disabled
    for step in (2, 3, 4, 5):
        link = at.get("page_link")[0].proto
        links.append((link.page, dict(parse_qsl(link.query_string))))
        at.button(key="path-Next").click().run()
        assert calm(at) and len(at.get("plotly_chart")) == 1
        assert at.get("progress")[0].proto.text == f"Step {step} of 5"
    query = {"source": "minilm-l6", "epsilon": "0.2"}
    point = links[1][1]["point"]
    assert links == [
        ("", query),
        ("", query | {"point": point}),
        ("fine-tune", {"recorded": tour.AGORA}),
        ("baselines", {}),
    ]
    assert Architecture.parse(point) in [p.architecture for p in FRONT.pareto]
    assert at.button(key="path-Next").disabled
    next(b for b in at.button if "The ledger" in b.label).click().run()
    assert at.header[0].value == "The ledger" and not at.exception
    assert at.query_params["lesson"] == "ledger"


def test_one_comes_back_to_the_stop_where_one_left():
    at = opened(LEARN, path_guess="skip", path_step="Agora")
    at.switch_page("pages/compare.py")
    del at.query_params["path_step"]
    at.run()
    at.switch_page(LEARN).run()
    assert not at.exception and at.get("progress")[0].proto.text == "Step 3 of 5"


@pytest.mark.parametrize("step", ["<b>" + "9" * 400, ""])
def test_nonsense_in_the_address_is_the_first_stop(step):
    at = opened(LEARN, path_guess="skip", path_step=step)
    assert not at.exception and at.get("progress")[0].proto.text == "Step 1 of 5"


def test_where_nothing_is_on_record_a_stop_says_so(monkeypatch, tmp_path):
    def no_front(*_, **__):
        raise ValueError("no table")

    monkeypatch.setattr(extract, "front", no_front)
    monkeypatch.setattr(agora_report, "RECORDED", tmp_path / "none")
    monkeypatch.setattr(race_report, "RECORDED", tmp_path / "none.json")
    assert all("not on record in this version" in tour.stop(step).text for step in (1, 2, 3, 4))
    at = opened(LEARN, path_guess="skip")
    assert not at.exception and "not on record in this version" in words(at)
    assert len(at.get("page_link")) == 1 and not at.metric


def test_a_damaged_record_is_as_none(tmp_path):
    (tmp_path / f"{tour.AGORA}.json").write_text("{")
    (tmp_path / "race.json").write_text("[]")
    assert "not on record" in tour.stop(3).text and "not on record" in tour.stop(4).text
    assert tour.stop(2).query["point"] == str(FRONT.recommended.architecture)


def test_names_on_record_are_no_markup(tmp_path):
    report = synthetic_report()
    report["provenance"]["machine"] = "<b>*x*"
    (tmp_path / f"{tour.AGORA}.json").write_text(json.dumps(report))
    assert "\\<b\\>\\*x\\*" in tour.stop(3).origin


@pytest.mark.parametrize("step", range(1, 6))
def test_the_picture_marks_one_box_by_colour_and_by_sign(step):
    figure = tour.diagram(step)
    thick = [k for k, box in enumerate(figure.layout.shapes, 1) if box.line.width == 3]
    starred = [a.text for a in figure.layout.annotations if a.text and "★" in a.text]
    assert thick == [step] and len(starred) == 1
    assert starred[0].startswith(f"<b>★ {step} {tour.NAMES[step - 1]}</b>")
    assert f"You are at {step}" in tour.summary(step)
