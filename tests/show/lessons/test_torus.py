"""The lesson of the torus: its numbers and figures, and its page in every state."""

import json
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from bort_engine.lab.torus import labeller_right
from bort_engine.lab.torus_run import Asked, Played, Score, Torus
from bort_engine.lab.torus_world import RING, TUBE
from bort_engine.runs import jobs
from bort_engine.show.lessons import torus, torus_words
from pages.parts.lessons import torus as view

ROOT = Path(__file__).parents[3]
ON, OFF = (3.0, 0.0, 0.0), (0.0, 0.0, 0.0)


def small() -> Torus:
    """Two rounds whose every number can be worked out by hand."""
    first = Played(
        theta=((16, 0.01), (32, 0.01)),
        accuracies=(0.5, 0.75),
        test=0.5,
        n_train=200,
        n_made=0,
        labels_right=None,
        pruned=((16, 0.01),),
        prefix=0,
        betti=(1, 1, 0),
        n_on=2,
        cloud=(ON, OFF),
        mistakes=(OFF, ON),
        made=(),
        near=(),
        says=(),
    )
    second = replace(
        first,
        theta=((32, 0.01),),
        accuracies=(1.0,),
        test=0.875,
        n_train=202,
        n_made=2,
        labels_right=0.5,
        betti=(1, 2, 1),
        mistakes=(),
        made=((2.9, 0.0, 0.0), (0.1, 0.0, 0.0)),
        near=(1, 0),
        says=(True, True),
    )
    scores = (Score(0, 0.5, 0.875, (1, 2, 1), 9.6), Score(1, 0.5, 0.55, (1, 1, 1), 9.0))
    return Torus(Asked(points=200), 0.8, (first, second), scores, 20.0, {"machine": "made up"})


def test_what_is_seen_in_a_round():
    before, after = (
        {one.name: one.points for one in torus.layers(small(), number)} for number in (0, 1)
    )
    assert before == {
        "Called on, rightly": (ON,),
        "Called on, wrongly": (OFF,),
        "Mistakes on dev": (OFF, ON),
    }
    assert after.keys() == {"Called on, rightly", "Called on, wrongly", "New: S says on"}
    new = torus.layers(small(), 1)[-1]
    assert new.texts[0] == "new, near the mistake at 3.00, 0.00, 0.00; S says on"
    assert len({one.symbol for n in (0, 1) for one in torus.layers(small(), n)}) == 4


def test_the_outline_lies_on_the_torus():
    x, y, z = (np.array(values, dtype=float) for values in torus.outline())
    across = np.hypot(np.hypot(x, y) - RING, z)
    assert np.nanmax(np.abs(across - TUBE)) < 0.002  # three digits


def test_accuracies_and_tables_by_hand():
    run = small()
    assert torus.accuracies(run) == {
        "Test": [50, 87.5],
        "Dev": [75, 100],
        "Labeller, new points": [None, 50],
        "Labeller, dev": [80, 80],
    }
    shapes = torus.shape_table(run, 1)
    assert shapes[["Pieces", "Loops", "Hollows"]].to_numpy().tolist() == [
        [1, 1, 0],
        [1, 2, 1],
        [1, 2, 1],
    ]
    assert list(shapes[""]) == ["", "this round", "to be reached"]
    assert list(torus.table(run)["Best set"]) == ["width 32, learning rate 0.01"] * 2
    assert len(torus.points_table(run, 0)) == 4


def test_the_words_follow_from_the_numbers():
    run = small()
    assert torus_words.round_said(run, 1) == (
        "Round 1: 2 new points near 2 mistakes, 50.0 % of them labelled rightly. Right on 87.5 % "
        "of the test points; what it calls on has 1 piece, 2 loops and 1 hollow."
    )
    assert "(+37.5 points), and the shape from 1 piece, 1 loop and 0" in torus_words.verdict(run)
    assert torus_words.verdict(run).endswith("1 hollow, as a torus has.")
    assert torus_words.seeds_said(run) == (
        "It is not always so: of 2 seeds played alike (0 to 1), 1 gained at least 10 points, 1 "
        "ended with the shape of a torus, and 1 did both."
    )
    assert torus_words.seeds_said(replace(run, scores=run.scores[:1])) == ""
    assert "all of the 2 seeds" in torus_words.seeds_said(replace(run, scores=run.scores[:1] * 2))


@pytest.mark.parametrize("number", [0, 1])
def test_figures_say_what_they_show(number):
    run = small()
    figure = torus.cloud_figure(run, number)
    assert [trace.name for trace in figure.data][1:] == [x.name for x in torus.layers(run, number)]
    assert torus.accuracy_figure(run, number).data[-1].x == (number,)
    assert f"Round {number}: " in torus.cloud_summary(run, number)
    assert "round 1 test 87.5 %" in torus.accuracy_summary(run)


@pytest.fixture(autouse=True)
def quiet(monkeypatch, run_root) -> None:
    """An Explore page with nothing on record, so that passing through it costs little."""
    monkeypatch.setattr("bort_engine.search.errors.recorded_tasks", list)
    monkeypatch.chdir(ROOT)


def page(**query: str) -> AppTest:
    """Open the lesson as from an address."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.run()
    at.switch_page("pages/learn.py")
    for name, value in ({"lesson": view.TITLE} | query).items():
        at.query_params[name] = value
    return at.run()


def words(at: AppTest) -> str:
    kinds = (at.markdown, at.caption, at.subheader, at.error, at.warning, at.info)
    return "\n".join(element.value for kind in kinds for element in kind)


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def test_the_recorded_run_is_there_at_once_and_goes_round_by_round():
    at = page()
    assert not at.exception and not at.error and not at.warning
    run = Torus.load(torus_words.FILES["network"])
    assert ":primary-badge[Recorded]" in words(at)
    for number in range(len(run.rounds)):
        at.slider(key="torus_round").set_value(number).run()
        assert not at.exception
        assert f"{100 * run.rounds[number].test:.1f} % of the test points" in words(at)
        assert len(at.get("plotly_chart")) == 2


def test_the_address_restores_the_state():
    at = page(torus_round="2", torus_learner="guesser", torus_points="300", torus_seed="7")
    assert not at.exception and "Round 2\\: " in words(at)
    assert at.segmented_control(key="torus_learner").value == "guesser"
    assert at.number_input(key="torus_points").value == 300
    assert at.number_input(key="torus_seed").value == 7


def test_the_presets_work_and_fail_as_they_say():
    at = page()
    button(at, "A labeller too weak, a learner that guesses").click().run()
    assert not at.exception and len(at.error) == 1
    right = labeller_right(Asked(labeller=0.6))
    assert f"right on {right} of 1000 dev examples" in at.error[0].value
    assert at.button(key="torus-start").disabled and not at.get("plotly_chart")
    at.slider(key="torus_labeller").set_value(0.75).run()
    assert not at.error and "guesser, seed 0" in words(at)
    assert len(at.get("plotly_chart")) == 2
    button(at, "A labeller that errs one time in four").click().run()
    assert not at.exception and not at.error and not at.button(key="torus-start").disabled
    assert at.slider(key="torus_round").value == 3
    assert "1 piece, 2 loops and 1 hollow" in words(at)


def test_any_state_gives_a_picture_or_a_line():
    draw, at, times = random.Random(0), page(), []
    for _ in range(24):
        at.slider(key="torus_labeller").set_value(draw.randrange(55, 96, 5) / 100)
        at.segmented_control(key="torus_learner").set_value(draw.choice(["network", "guesser"]))
        at.number_input(key="torus_points").set_value(draw.randrange(200, 5001))
        at.number_input(key="torus_seed").set_value(draw.randrange(10**6))
        if at.slider and any(one.key == "torus_round" for one in at.slider):
            at.slider(key="torus_round").set_value(draw.randrange(4))
        began = time.perf_counter()
        at.run()
        times.append(time.perf_counter() - began)
        assert not at.exception and not at.warning
        assert bool(at.get("plotly_chart")) != bool(at.error)
    assert min(times) < 1  # the least of many, since machines are shared


@pytest.mark.parametrize(
    "query",
    [
        {"torus_round": "99", "torus_labeller": "2", "torus_points": "-1"},
        {"torus_round": "x", "torus_labeller": "nan", "torus_points": "", "torus_seed": "1e9"},
        {"torus_learner": "<b>", "torus_seed": "-5", "torus_round": "-1"},
        {"torus_labeller": "0.7500001", "torus_points": "2000.5", "torus_learner": "guesser"},
        {"torus_labeller": "0.6", "torus_round": "2"},
    ],
)
def test_nonsense_in_the_address_is_left_out(query):
    at = page(**query)
    assert not at.exception and not at.warning
    assert bool(at.get("plotly_chart")) != bool(at.error)


@pytest.mark.parametrize("run", ["../../etc", "%00", "no-such-run", "x" * 200, "A B"])
def test_a_run_that_is_not_there_is_one_line_and_a_way_back(run):
    at = page(torus_run=run)
    assert not at.exception and len(at.warning) == 1
    button(at, "Close this run").click().run()
    assert not at.warning and len(at.get("plotly_chart")) == 2


def test_a_run_is_started_watched_stopped_and_shown(monkeypatch, wait):
    monkeypatch.setenv("FAKE_STEPS", "400")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    at = page()
    at.slider(key="torus_labeller").set_value(0.85)
    at.number_input(key="torus_points").set_value(300).run()
    button(at, "Run it here").click().run()
    assert not at.exception and not at.error
    (run,) = jobs.runs(command="torus")
    assert " ".join(run.request["arguments"]) == (
        "--labeller 0.85 --points 300 --learner network --seed 0"
    )
    wait(lambda: run.status().done >= 3)
    at.run()
    assert not at.exception and at.progress
    button(at, "Stop").click().run()
    wait(lambda: run.status().over)
    at.run()
    assert "**This run was stopped.**" in at.info[0].value

    (run.folder / "torus.json").write_text(json.dumps(small().to_json()))
    status = json.loads((run.folder / "status.json").read_text())
    (run.folder / "status.json").write_text(json.dumps(status | {"state": "done"}))
    at.run()
    assert not at.exception and ":green-badge[Measured here]" in words(at)
    assert at.slider(key="torus_round").max == 1
    assert "labeller 0.75, 200 points" in words(at)
    assert "Your settings below are others" in words(at)
    button(at, "Close this run").click().run()
    assert "torus_run" not in at.query_params and ":primary-badge[Recorded]" in words(at)


@pytest.mark.parametrize("text", [None, "", '{"schema": 1}', "[" * 100_000])
def test_a_damaged_or_missing_result_is_one_line(wait, text):
    run = jobs.start("torus", ["--seed", "1"])
    wait(lambda: run.status().over)
    if text is not None:
        (run.folder / "torus.json").write_text(text)
    at = page(torus_run=run.id)
    assert not at.exception and len(at.warning) == 1 and "torus.json" in at.warning[0].value


def test_a_failed_run_says_why_and_texts_are_no_markup(monkeypatch, wait):
    monkeypatch.setenv("FAKE_END", "fail")
    run = jobs.start("torus", ["--seed", "1"])
    wait(lambda: run.status().over)
    at = page(torus_run=run.id)
    assert not at.exception and at.error[0].value.startswith("**This run failed.** the weights of")
    evil = replace(small(), provenance={"machine": "<img> **bold** $d$"})
    (run.folder / "torus.json").write_text(json.dumps(evil.to_json()))
    status = json.loads((run.folder / "status.json").read_text())
    (run.folder / "status.json").write_text(json.dumps(status | {"state": "done"}))
    at.run()
    assert "<img>" not in words(at) and "\\<img\\>" in words(at)


def test_a_run_of_another_kind_is_not_taken_for_one_of_this(wait):
    run = jobs.start("front", ["minilm-l6"])
    wait(lambda: run.status().over)
    at = page(torus_run=run.id)
    assert not at.exception and "is not of this page" in at.warning[0].value
