"""The lesson of the torus: its numbers and figures, and its page in every state."""

from dataclasses import replace

import numpy as np
import pytest

from bort_engine.lab.torus import labeller_right
from bort_engine.lab.torus_run import (
    RECORDED,
    Control,
    NewPoint,
    SeedScore,
    Torus,
    TorusRound,
    TorusSettings,
)
from bort_engine.lab.torus_world import RING, TUBE
from bort_engine.runs import jobs, records
from bort_engine.runs.provenance import Provenance
from bort_engine.show.lessons import torus
from pages.parts.lessons import torus as view
from tests.show.lessons.conftest import finish, press, words

pytestmark = pytest.mark.usefixtures("run_root")
ON, OFF = (3.0, 0.0, 0.0), (0.0, 0.0, 0.0)


def small(machine: str = "made up") -> Torus:
    """Two rounds whose every number can be worked out by hand."""
    pair, cloud = ((16, 0.01), (32, 0.01)), (ON, OFF)
    new = (NewPoint((2.9, 0, 0), 1, True), NewPoint(OFF, 0, True))
    before = (pair, (0.5, 0.75), 0.5, 200, 0, None, pair[:1], 0, (1, 1, 0), 2, cloud, (OFF, ON), ())
    after = (pair[1:], (1.0,), 0.875, 202, 2, 0.5, pair[1:], 0, (1, 2, 1), 2, cloud, (), new)
    rounds = (TorusRound(*before), TorusRound(*after))
    worse, better = Control(100, 0.5, (1, 1, 0)), Control(2, 0.75, (1, 2, 1))
    controls = {"dev": better, "random": worse, "balls": worse}
    scores = (
        SeedScore(0, 0.5, 0.875, (1, 2, 1), 2, controls, 9.6),
        SeedScore(1, 0.5, 0.55, (1, 1, 1), 4, controls | {"dev": worse}, 9.0),
    )
    made = Provenance(machine, "made up for the tests", "2000-01-01")
    return Torus(TorusSettings(points=200), 0.8, rounds, scores, 20.0, "made up", made)


def test_what_is_seen_in_a_round():
    before, after = (
        {layer.name: layer.points for layer in torus.layers(small(), number)} for number in (0, 1)
    )
    called = {"Called on, rightly": (ON,), "Called on, wrongly": (OFF,)}
    assert before == called | {"Mistakes on dev": (OFF, ON)}
    assert after == called | {"New: S says on": ((2.9, 0, 0), OFF)}
    assert "mistake at 3.00, 0.00, 0.00" in torus.layers(small(), 1)[-1].texts[0]


def test_the_outline_lies_on_the_torus():
    x, y, z = (np.array(values, dtype=float) for values in torus.outline())
    across = np.hypot(np.hypot(x, y) - RING, z)
    assert np.nanmax(np.abs(across - TUBE)) < 0.002  # three digits


def test_accuracies_tables_and_figures_by_hand():
    run = small()
    assert torus.accuracies(run) == {
        "Test": [50, 87.5],
        "Dev": [75, 100],
        "Labeller, new points": [None, 50],
        "Labeller, dev": [80, 80],
    }
    shapes = torus.shape_table(run, 1)[["Pieces", "Loops", "Hollows"]]
    assert shapes.to_numpy().tolist() == [[1, 1, 0], [1, 2, 1], [1, 2, 1]]
    assert list(torus.table(run)["Best set"]) == ["width 32, learning rate 0.01"] * 2
    assert len(torus.points_table(run, 0)) == 4
    names = [trace.name for trace in torus.cloud_figure(run, 1).data]
    assert names == ["The torus", *(layer.name for layer in torus.layers(run, 1))]
    assert torus.accuracy_figure(run, 1).data[-1].x == (1,)


def test_points_made_otherwise_by_hand():
    run = small()
    agora, dev, *others = torus.controls_table(run).to_dict("records")
    by_hand = ["Agora", 3.0, pytest.approx(71.25), pytest.approx(55), 87.5, "1 of 2"]
    assert list(agora.values()) == by_hand
    assert list(dev.values())[1:] == [51.0, 62.5, 50.0, 75.0, "1 of 2"]
    assert [row["Shape of a torus"] for row in others] == ["0 of 2"] * 2
    # 87.5 % beats 75 %, 55 % beats 50 %
    assert torus.controls_summary(run).startswith("Agora is ahead on 2 of 2 over “the dev points")
    alone = replace(run, scores=(replace(run.scores[0], n_new=0, controls={}),))
    assert torus.controls_table(alone).empty and torus.controls_summary(alone) == ""


def test_the_words_follow_from_the_numbers():
    run = small()
    text = torus.cloud_summary(run, 1)
    assert "2 new points near 2 mistakes, 50.0 %" in text
    assert "87.5 % of the test points" in text and "1 piece, 2 loops and 1 hollow" in text
    assert "from 50.0 to 87.5 % (+37.5 points)" in torus.run_summary(run)
    assert "2 seeds played alike (0 to 1), 1 gained" in torus.run_summary(run)
    assert "seeds" not in torus.run_summary(replace(run, scores=run.scores[:1]))
    assert "all of the 2 seeds" in torus.run_summary(replace(run, scores=run.scores[:1] * 2))
    assert "round 1 test 87.5 %" in torus.accuracy_summary(run)


def test_the_presets_work_and_fail_as_they_say(open_lesson):
    at = open_lesson("torus")
    run = Torus.load(RECORDED["network"])
    assert ":primary-badge[Recorded]" in words(at)
    assert f"{100 * run.rounds[0].test:.1f} % of the test points" in words(at)
    press(at, view.BAD.label)
    assert len(at.error) == 1
    right = labeller_right(TorusSettings(labeller=0.6))
    assert f"right on {right} of 1000 dev examples" in at.error[0].value
    assert at.button(key="torus-start").disabled and not at.get("plotly_chart")
    at.slider(key="torus_labeller").set_value(0.75).run()
    assert not at.exception and not at.error and "guesser, seed 0" in words(at)
    press(at, view.GOOD.label)
    assert not at.error and not at.button(key="torus-start").disabled
    assert at.slider(key="torus_round").value == 3 and len(at.get("plotly_chart")) == 2
    assert f"{100 * run.rounds[3].test:.1f} % of the test points" in words(at)


def test_a_run_that_is_not_there_or_not_of_this_page_is_one_line_and_a_way_back(open_lesson, wait):
    other = jobs.start("front", ["minilm-l6"])
    wait(lambda: other.status().over)
    for run_id in ("../../etc", "no-such-run", other.id):
        at = open_lesson("torus", torus_run=run_id)
        assert len(at.warning) == 1 and not at.get("plotly_chart")
        press(at, "Close this run")
        assert not at.warning and len(at.get("plotly_chart")) == 2


def test_a_run_is_started_watched_stopped_and_shown(open_lesson, monkeypatch, wait):
    monkeypatch.setenv("FAKE_STEPS", "400")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    at = open_lesson("torus")
    at.slider(key="torus_labeller").set_value(0.85)
    at.number_input(key="torus_points").set_value(300).run()
    press(at, "Run it here")
    assert not at.error
    (run,) = jobs.runs(command="torus")
    options = "--labeller 0.85 --points 300 --learner network --seed 0"
    assert " ".join(run.request.arguments) == options
    wait(lambda: run.status().done >= 3)
    at.run()
    assert not at.exception and at.progress
    press(at, "Stop")
    wait(lambda: run.status().over)
    at.run()
    assert not at.exception and len(at.info) == 1 and not at.get("plotly_chart")

    finish(run, "torus.json", records.dump_line(small("<img> **bold** $d$")).decode())
    at.run()
    assert not at.exception and ":green-badge[Measured here]" in words(at)
    assert "<img>" not in words(at) and "\\<img\\>" in words(at)  # text of a file is no markup
    assert at.slider(key="torus_round").max == 1 and "labeller 0.75, 200 points" in words(at)
    press(at, "Close this run")
    assert "torus_run" not in at.query_params and ":primary-badge[Recorded]" in words(at)


def test_a_failed_run_and_a_damaged_or_missing_result_are_one_line(open_lesson, monkeypatch, wait):
    monkeypatch.setenv("FAKE_END", "fail")
    run = jobs.start("torus", ["--seed", "1"])
    wait(lambda: run.status().over)
    at = open_lesson("torus", torus_run=run.id)
    assert "the weights of" in at.error[0].value
    for text in (None, "", '{"schema": 1}', "[" * 100_000):
        finish(run, "torus.json", text)
        at.run()
        assert not at.exception and len(at.warning) == 1 and "torus.json" in at.warning[0].value
