"""Agora on the torus: its world, its labeller, its rounds, and a run's file."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from bort_engine import Cancelled
from bort_engine.__main__ import main
from bort_engine.lab import torus as game
from bort_engine.lab import torus_world
from bort_engine.lab.torus import labeller_right, refusal, torus
from bort_engine.lab.torus_run import LEARNERS, RECORDED, Torus, TorusSettings
from bort_engine.lab.torus_world import betti_numbers, draw, in_sector, is_on, label_errors
from bort_engine.runs import records


@pytest.fixture
def quick(monkeypatch) -> None:
    """Trainings and shapes that are too small to be any good, and quick."""
    for name, value in (("STEPS", 4), ("LAST_STEPS", 2), ("N_BOX", 300)):
        monkeypatch.setattr(game, name, value)
    monkeypatch.setattr(torus_world, "N_SHAPE", 40)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_distances_by_hand():
    # Outermost, in the middle of the tube, in the hole's middle, on top, and 0.25 above that.
    points = np.array([(3, 0, 0), (2, 0, 0), (0, 0, 0), (0, -2, 1), (0, -2, 1.25)])
    assert torus_world.distance(points).tolist() == [0, 1, 1, 0, 0.25]
    assert is_on(points).tolist() == [True, False, False, True, True]
    assert in_sector(points).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize("n", [200, 201])
def test_half_of_the_points_are_on_and_the_train_set_misses_a_sector(n):
    whole, train = draw(n, rng()), draw(n, rng(), sector=False)
    assert is_on(whole).sum() == is_on(train).sum() == n // 2 and len(whole) == len(train) == n
    assert not in_sector(train[is_on(train)]).any()
    assert in_sector(train[~is_on(train)]).any() and in_sector(whole[is_on(whole)]).any()
    assert (np.abs(whole) <= torus_world.BOX).all()


def test_the_labeller_says_the_same_when_asked_again():
    points = draw(1000, rng())
    wrong = label_errors(points, 0.75, seed=3)
    again = rng(1).permutation(1000)
    assert (label_errors(points[again], 0.75, 3) == wrong[again]).all()
    assert 0.2 < wrong.mean() < 0.3  # 0.25, and 3.6 standard errors to either side
    assert (label_errors(points, 0.75, 4) != wrong).any()
    assert not label_errors(points, 1.0, 3).any()


def test_shapes_whose_betti_numbers_are_known():
    spread = rng().normal(size=(3000, 3))
    sphere = 2 * spread / np.linalg.norm(spread, axis=1, keepdims=True)
    assert betti_numbers(sphere) == (1, 0, 1)
    apart = np.vstack([spread[:50] / 10, spread[50:100] / 10 + 3])
    assert betti_numbers(apart) == (2, 0, 0)
    assert betti_numbers(spread[:3]) == (0, 0, 0)
    box = torus_world.draw_evenly(6000, rng())
    assert betti_numbers(box[is_on(box)]) == (1, 2, 1)
    assert betti_numbers(box[is_on(box) & ~in_sector(box)]) == (1, 1, 0)  # bent, open at the ends


def test_a_labeller_at_two_thirds_or_below_is_refused_with_its_figure():
    weak = TorusSettings(labeller=0.6)
    right = labeller_right(weak)
    assert f"{right} of 1000 dev examples ({right / 10:.1f} %)" in refusal(weak)
    for labeller in (0.55, 0.66, 0.67, 0.7, 1.0):
        settings = TorusSettings(labeller, points=400)
        assert bool(refusal(settings)) == (3 * labeller_right(settings) <= 2 * settings.n_dev)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"labeller": 0.0}, "labeller is 0.0; allowed: a share above 0, at most 1. Try 0.75."),
        ({"points": 199}, "points is 199; allowed: 200 to 5000. Try 2000."),
        ({"learner": "oracle"}, "learner is 'oracle'; allowed: network, guesser. Try network."),
        ({"seed": 999_999, "seeds": 2}, "seed is 1000000; allowed"),
        ({"seeds": 0}, "seeds is 0; allowed: 1 to 50. Try 1."),
        ({"labeller": 0.6}, "60.8 %"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(arguments, text, capsys, tmp_path):
    with pytest.raises(ValueError, match=r".") as e:
        torus(**arguments)
    assert text in str(e.value)
    words = [f"--{name}={value}" for name, value in arguments.items()]
    assert main(["torus", *words, "--out", str(tmp_path / "run")]) == 2
    output = capsys.readouterr()
    assert text in output.err and len(output.err.strip().splitlines()) == 1 and not output.out


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_rounds_add_up(quick, tmp_path, learner):
    events = []
    run = torus(0.9, 300, learner, 5, seeds=2, out=tmp_path, on_progress=events.append)
    assert run.rounds[0].n_train == 300 and run.rounds[0].configs == LEARNERS[learner]
    for before, after in pairwise(run.rounds):
        assert after.n_train == before.n_train + after.n_new
        assert after.n_new == game.M * len(before.mistakes)
        assert after.configs == tuple(c for c in before.configs if c not in before.pruned)
        assert 0.85 < after.labels_right < 0.95
    assert all(len(row.mistakes) == round((1 - row.dev) * 150) for row in run.rounds)
    assert Torus.load(tmp_path / "torus.json") == run
    alone = torus(0.9, 300, learner, 6)
    assert replace(alone.scores[0], cpu_seconds=0) == replace(run.scores[1], cpu_seconds=0)
    assert all(event["done"] <= event["total"] for event in events)
    done = [event["done"] for event in events if event["stage"].endswith("5")]
    n_configs = len(LEARNERS[learner])
    assert done[-1] == sum(len(row.configs) for row in run.rounds) + 3 * n_configs - 1


def test_a_stop_comes_between_two_trainings(quick):
    answers = iter([False, False, False, True])
    with pytest.raises(Cancelled):
        torus(points=300, stop=lambda: next(answers))
    assert next(answers, None) is None


def test_the_command_prints_the_rounds_or_json(quick, capsys, tmp_path):
    words = ["torus", "--points", "300", "--learner", "guesser", "--out", str(tmp_path)]
    assert main(words) == 0 and "pieces, loops, hollows" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert records.parse(capsys.readouterr().out, Torus).settings.learner == "guesser"


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (["schema"], 1, "another version ('1'); delete it and run `torus`"),
        (["settings", "points"], 1, "points is 1"),
        (["rounds", 0, "configs"], [[]] * 5, "a config has not 2 elements"),
        (["rounds", 0, "accuracies"], [0.5], "5 configs, 1 accuracies"),
        (["rounds", 0, "test"], float("nan"), "rounds.0.test"),
        (["rounds", 0, "cloud"], [["<b>", 2, 3]], "rounds.0.cloud.0.0 ('<b>')"),
        (["rounds", 1, "new", 0, "near"], 10**6, "near is beyond the "),
        (["scores", 0, "seed"], 7, "the first score is not of seed 0"),
    ],
)
def test_a_damaged_file_is_one_line(path, value, text):
    plain = json.loads(RECORDED["network"].read_text())
    part = plain
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ValueError, match=r".") as e:
        records.parse(json.dumps(plain), Torus)
    assert text in str(e.value) and "\n" not in str(e.value)


def test_the_recorded_runs_show_what_the_lesson_says():
    """The network mends the torus at 3 of 4 labels right; the guesser does not learn."""
    run = Torus.load(RECORDED["network"])
    assert run.settings == TorusSettings()
    first, last = run.rounds[0], run.rounds[-1]
    assert first.betti == (1, 1, 0) and last.betti == (1, 2, 1)
    assert last.test - first.test >= 0.10
    assert [score.seed for score in run.scores] == list(range(24))
    guesser = Torus.load(RECORDED["guesser"])
    assert guesser.settings == TorusSettings(learner="guesser")
    assert all(abs(row.test - 0.5) < 0.03 and row.betti != (1, 2, 1) for row in guesser.rounds)
