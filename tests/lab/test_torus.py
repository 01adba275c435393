"""Agora on the torus: its world, its labeller, its rounds, and a run's file."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bort_engine import Cancelled
from bort_engine.__main__ import main
from bort_engine.lab import torus as agora_torus
from bort_engine.lab import torus_world
from bort_engine.lab.torus import labeller_right, refusal, torus
from bort_engine.lab.torus_run import LEARNERS, Asked, Torus
from bort_engine.lab.torus_world import betti, distance, draw, errs, in_sector, on
from bort_engine.show.lessons import torus_words


@pytest.fixture
def quick(monkeypatch) -> None:
    """Trainings and shapes that are too small to be any good, and quick."""
    monkeypatch.setattr(agora_torus, "STEPS", 4)
    monkeypatch.setattr(agora_torus, "LAST_STEPS", 2)
    monkeypatch.setattr(agora_torus, "N_BOX", 300)
    monkeypatch.setattr(torus_world, "N_SHAPE", 40)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_distances_by_hand():
    # Outermost, in the middle of the tube, in the hole's middle, on top, and 0.25 above that.
    points = np.array([(3, 0, 0), (2, 0, 0), (0, 0, 0), (0, -2, 1), (0, -2, 1.25)])
    assert distance(points).tolist() == [0, 1, 1, 0, 0.25]
    assert on(points).tolist() == [True, False, False, True, True]
    assert in_sector(points).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize("n", [200, 201, 1000])
def test_half_of_the_points_are_on_and_the_train_set_misses_a_sector(n):
    whole, train = draw(n, rng()), draw(n, rng(), sector=False)
    assert on(whole).sum() == on(train).sum() == n // 2 and len(whole) == len(train) == n
    assert not in_sector(train[on(train)]).any()
    assert in_sector(train[~on(train)]).any() and in_sector(whole[on(whole)]).any()
    assert (np.abs(whole) <= torus_world.BOX).all()


def test_the_labeller_says_the_same_when_asked_again():
    points = draw(1000, rng())
    wrong = errs(points, 0.75, seed=3)
    again = rng(1).permutation(1000)
    assert (errs(points[again], 0.75, 3) == wrong[again]).all()
    assert 0.2 < wrong.mean() < 0.3  # 0.25, and 3.6 standard errors to either side
    assert (errs(points, 0.75, 4) != wrong).any()
    assert not errs(points, 1.0, 3).any()


def test_shapes_whose_betti_numbers_are_known():
    spread = rng().normal(size=(3000, 3))
    sphere = 2 * spread / np.linalg.norm(spread, axis=1, keepdims=True)
    assert betti(sphere) == (1, 0, 1)
    apart = np.vstack([spread[:50] / 10, spread[50:100] / 10 + 3])
    assert betti(apart) == (2, 0, 0)
    assert betti(spread[:3]) == (0, 0, 0)
    box = torus_world.even(6000, rng())
    assert betti(box[on(box)]) == (1, 2, 1)
    assert betti(box[on(box) & ~in_sector(box)]) == (1, 1, 0)  # bent, and open at both ends


def test_a_labeller_at_two_thirds_or_below_is_refused_with_its_figure():
    weak = Asked(labeller=0.6)
    right = labeller_right(weak)
    assert refusal(weak).startswith(
        f"the labeller is right on {right} of 1000 dev examples ({right / 10:.1f} %); Agora needs "
        "more than 2/3 of them"
    )
    for labeller in (0.55, 0.65, 0.66, 0.67, 0.68, 0.7, 0.75, 1.0):
        asked = Asked(labeller, points=400)
        assert bool(refusal(asked)) == (3 * labeller_right(asked) <= 2 * asked.n_dev)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"labeller": 0.0}, "labeller is 0.0; allowed: a share above 0, at most 1. Try 0.75."),
        ({"labeller": 1.5}, "labeller is 1.5; allowed"),
        ({"labeller": float("nan")}, "labeller is nan; allowed"),
        ({"points": 199}, "points is 199; allowed: 200 to 5000. Try 2000."),
        ({"points": 5001}, "points is 5001; allowed"),
        ({"learner": "oracle"}, "learner is 'oracle'; allowed: network, guesser. Try network."),
        ({"seed": -1}, "seed is -1; allowed: 0 to 999999. Try 0."),
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
    said = capsys.readouterr()
    assert text in said.err and len(said.err.strip().splitlines()) == 1 and not said.out
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_rounds_add_up(quick, tmp_path, learner):
    events = []
    run = torus(0.9, 300, learner, 5, seeds=2, out=tmp_path, on_progress=events.append)
    assert run.rounds[0].n_train == 300 and run.rounds[0].theta == LEARNERS[learner]
    for before, after in zip(run.rounds, run.rounds[1:], strict=False):
        assert after.n_train == before.n_train + after.n_made
        assert after.n_made == agora_torus.M * len(before.mistakes)
        assert after.theta == tuple(one for one in before.theta if one not in before.pruned)
        assert 0.85 < after.labels_right < 0.95
    for one in run.rounds:
        assert len(one.mistakes) == round((1 - one.dev) * 150)
    assert Torus.load(tmp_path / "torus.json") == run
    alone = torus(0.9, 300, learner, 6)
    assert replace(alone.scores[0], cpu_seconds=0) == replace(run.scores[1], cpu_seconds=0)
    assert all(event["done"] <= event["total"] for event in events)
    assert [event["done"] for event in events if event["stage"].endswith("5")][-1] == sum(
        len(one.theta) for one in run.rounds
    )
    assert "round 0: " in events[0]["detail"]


def test_a_stop_comes_between_two_trainings(quick):
    asked = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) == 4

    with pytest.raises(Cancelled):
        torus(points=300, stop=stop)
    assert len(asked) == 4


def test_the_command_prints_the_rounds_or_json(quick, capsys, tmp_path):
    words = ["torus", "--points", "300", "--learner", "guesser", "--out", str(tmp_path)]
    assert main(words) == 0
    assert "pieces, loops, hollows" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert Torus.from_json(json.loads(capsys.readouterr().out)).asked.learner == "guesser"


@pytest.fixture(scope="module")
def recorded() -> str:
    return torus_words.FILES["network"].read_text()


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (["schema"], 2, "not a torus run of schema 1"),
        (["asked", "points"], 1, "points is 1"),
        (["rounds"], [], "there is no round"),
        (["rounds"], 3, "damaged torus run"),
        (["rounds", 0, "theta"], [[]] * 5, "a set has not 2 elements"),
        (["rounds", 0, "test"], 1.2, "an accuracy is 1.2"),
        (["rounds", 0, "test"], float("nan"), "an accuracy is nan"),
        (["rounds", 0, "betti"], [1, 2], "Betti numbers are not three"),
        (["rounds", 0, "cloud"], [[1, 2]], "not in three dimensions"),
        (["rounds", 0, "cloud"], [["<b>", 2, 3]], "cloud is <b>"),
        (["rounds", 0, "cloud"], [[1, 2, 3]] * 601, "at most 600 points"),
        (["rounds", 1, "near"], [], "not of equal number"),
        (["rounds", 1, "near", 0], 10**6, "near is 1000000"),
        (["rounds", 1, "says", 0], 1, "says is not true or false"),
        (["rounds", 1, "colour"], "red", "colour"),
        (["scores"], [], "has no score"),
        (["provenance", "machine"], 5, "no table of texts"),
        (["seconds"], 10**400, "seconds is 1000"),
    ],
)
def test_a_damaged_file_is_one_line(recorded, path, value, text):
    plain = json.loads(recorded)
    part = plain
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ValueError, match=r".") as e:
        Torus.from_json(plain)
    assert text in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_a_file_that_is_no_run_is_one_line(tmp_path, text):
    (tmp_path / "torus.json").write_text(text)
    with pytest.raises(ValueError, match=r"torus\.json"):
        Torus.load(tmp_path / "torus.json")
    with pytest.raises(ValueError, match="No such file"):
        Torus.load(tmp_path / "nothing.json")


def test_the_recorded_runs_show_what_the_lesson_says():
    """The network mends the torus at 3 of 4 labels right; the guesser does not learn."""
    run = Torus.load(torus_words.FILES["network"])
    assert run.asked == Asked()
    first, last = run.rounds[0], run.rounds[-1]
    assert first.betti == (1, 1, 0) and last.betti == (1, 2, 1)
    assert last.test - first.test >= 0.10
    assert [score.seed for score in run.scores] == list(range(24))
    guesser = Torus.load(torus_words.FILES["guesser"])
    assert guesser.asked == Asked(learner="guesser")
    assert all(abs(one.test - 0.5) < 0.03 and one.betti != (1, 2, 1) for one in guesser.rounds)
    assert all(path.stat().st_size < 400_000 for path in torus_words.FILES.values())
