"""The verb `agora`, whole, on a tiny source and a made-up task: rounds, controls, test, resume."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bort_engine import Cancelled
from bort_engine.encoder.sources import Source
from bort_engine.finetune.agora import (
    CONTROLS,
    FIELDS,
    THETAS,
    Plan,
    agora,
    in_words,
    summary,
    without_texts,
)
from bort_engine.runs import jobs
from bort_engine.training import teacher

ROOT = Path(__file__).parents[2]
SHAPE = "1,2,16,24"
SETS = ((2e-2, 0.0, 0.1, 16, 0), (2e-2, 0.0, 0.1, 16, 1), (1e-3, 0.0, 0.1, 16, 0))
GOOD = ("good", "great", "fine", "lovely", "warm", "clever", "funny", "moving", "sweet")
BAD = ("bad", "poor", "dull", "awful", "cold", "silly", "boring", "flat", "sour")
FILLER = ("the", "film", "story", "actor", "scene", "music", "plot", "end", "script", "road")
SMALL = Plan(labelled=60, m=2, candidates=2, epochs=2, teacher_steps=60, controls=CONTROLS)


def sentences(n: int, seed: int) -> list[tuple[str, str]]:
    """Reviews whose label is the majority of their good and bad words."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        label = int(rng.integers(2))
        words = [*rng.choice((BAD, GOOD)[label], 3), *rng.choice(FILLER, 6)]
        rows.append((" ".join(rng.permutation(words)), ("no", "yes")[label]))
    return rows


@pytest.fixture(scope="module")
def world(quick_cache, tmp_path_factory):
    """A task in a file, and a tiny source in a folder; its learning rates suit its size."""
    import shutil

    from transformers import AutoConfig, AutoModel, set_seed

    folder = tmp_path_factory.mktemp("world")
    model = folder / "tiny"
    set_seed(0)
    shape = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    config = AutoConfig.for_model("bert", num_hidden_layers=2, vocab_size=30522, **shape)
    AutoModel.from_config(config).save_pretrained(model)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(quick_cache / "resources" / "minilm-l6-0.1.0" / name, model)
    lines = [f"{text},{label}" for text, label in sentences(400, 0)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *lines]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "LEARNING_RATE_OF_FEW", 1e-2)
        patch.setitem(THETAS, "quick", SETS)
        patch.setitem(THETAS, "gentle", SETS)
        yield Source.load(str(model)), str(folder / "reviews.csv")


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    """One whole run; the others are compared with it."""
    out, events = tmp_path_factory.mktemp("run"), []
    report = agora(SHAPE, *world, out=out, plan=SMALL, epsilon=0.2, on_progress=events.append)
    return out, report, events


def test_every_arm_is_trained_on_as_much_for_as_long(done):
    _, report, _ = done
    arms = report["runs"][0]["arms"]
    assert set(arms) == {"agora", *CONTROLS}
    told = {name: [(r["n_train"], r["theta"]) for r in arm["rounds"]] for name, arm in arms.items()}
    assert len(told["agora"]) >= 2 and told["agora"][0][0] == 60
    assert told["copied"] == told["random"] == told["agora"]
    assert [theta for _, theta in told["plain"]] == [theta for _, theta in told["agora"]]
    assert {n for n, _ in told["plain"]} == {60}
    assert len({arm["steps"] for arm in arms.values()}) == 1 and arms["agora"]["steps"] > 0
    assert arms["agora"]["n_points"] == arms["random"]["n_points"] == arms["copied"]["n_points"]


def test_rounds_say_what_was_mistaken_made_and_pruned(done):
    _, report, _ = done
    first, second = report["runs"][0]["arms"]["agora"]["rounds"][:2]
    assert len(first["theta"]) == len(first["accuracies"]) == len(first["held"]) == 3
    assert first["made"] == [] and len(second["made"]) == len(first["mistakes"])
    assert [made["near"] for made in second["made"]] == first["mistakes"]
    assert all(len(made["points"]) <= 2 for made in second["made"])
    kept = sum(point["kept"] for made in second["made"] for point in made["points"])
    assert second["n_train"] == 60 + kept > 60
    pruned = [tuple(one) for told in (first, second) for one in told["pruned"]]
    assert set(pruned) <= set(SETS) and len(pruned) == len(set(pruned)) >= 2
    seen = report["data"]["n_dev_seen"]
    best = max(first["accuracies"])
    assert len(first["mistakes"]) == round(seen * (1 - best))


def test_points_come_from_the_pool_and_from_nowhere_else(world, done):
    from bort_engine.data.tasks import load_task, load_test

    _, report, _ = done
    splits = load_task(world[1])
    pool = set(splits["train"]["text"])
    elsewhere = set(splits["validation"]["text"]) | set(load_test(world[1])["text"])
    rounds = report["runs"][0]["arms"]["agora"]["rounds"]
    points = [p["text"] for r in rounds for made in r["made"] for p in made["points"]]
    assert points and set(points) <= pool and not set(points) & elsewhere
    assert len(points) == len(set(points))


def test_the_result_names_every_arm_and_the_checkpoint_opens(done):
    out, report, _ = done
    rows = {row["arm"]: row for row in report["test"]["rows"]}
    assert set(rows) == {"agora", "labeller", *CONTROLS} and report["test"]["n"] == 40
    assert {"against_plain", "against_random"} <= rows["agora"].keys()
    assert report["checkpoint"]["ok"], report["checkpoint"]
    source, student = report["models"]
    assert student["n_encoder_parameters"] * 2 == source["n_encoder_parameters"]
    card = (out / "model" / "README.md").read_text()
    assert f"{rows['agora']['accuracy']:.4g}" in card and "epsilon = 0.2" in card
    assert not list(out.rglob("seed-*/*.safetensors")), "what was kept for the judge is removed"
    assert "Agora against Plain fine-tuning" in summary(report)


def test_the_report_is_plain_json_and_names_what_it_was_asked_for(done):
    out, report, _ = done
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(report))
    assert report["request"]["architecture"] == SHAPE
    assert list(report["request"]["theta_names"]) == list(FIELDS)
    assert in_words(SETS[0]).startswith("learning rate 0.02, weight decay 0, ")


def test_a_report_to_be_shipped_holds_no_sentence(world, done):
    from bort_engine.data.tasks import load_task

    _, report, _ = done
    plain = without_texts(report)
    said = json.dumps(plain)
    splits = load_task(world[1])
    assert not any(text in said for name in splits for text in splits[name]["text"])
    first, second = plain["runs"][0]["arms"]["agora"]["rounds"][:2]
    assert [made["near"] for made in second["made"]] == first["mistakes"]
    assert plain["test"] == json.loads(json.dumps(report["test"]))


def test_progress_names_the_arm_the_round_and_the_loss(done):
    _, _, events = done
    stages = {event["stage"] for event in events}
    assert {"Agora, round 1", "making points", "scoring the test split once"} <= stages
    trained = [event for event in events if event.get("arm") == "agora" and event["done"]]
    assert all(0 < event["loss"] < 5 for event in trained)


def test_a_stopped_run_goes_on_and_ends_like_one_that_was_not(world, done, tmp_path):
    events: list[dict] = []

    def stop():  # in the second round's second training, when points can no longer be made anew
        return any(
            event["stage"] == "Agora, round 2" and event["detail"].startswith("set 2")
            for event in events
        )

    alone = replace(SMALL, controls=())
    with pytest.raises(Cancelled):
        agora(SHAPE, *world, out=tmp_path, plan=alone, on_progress=events.append, stop=stop)
    assert len(list(tmp_path.rglob("seed-0/[0-9a-f]*.json"))) == 4  # three, and one of round two
    again = agora(SHAPE, *world, out=tmp_path, plan=alone)
    first, second = (plain["runs"][0]["arms"]["agora"] for plain in (done[1], again))
    assert without_seconds(second) == without_seconds(first)


def without_seconds(plain):
    """Drop what differs from one run to the next: times."""
    timed = ("seconds", "latency_ms", "said", "seconds_training", "seconds_generating")
    if isinstance(plain, dict):
        return {k: without_seconds(v) for k, v in plain.items() if k not in timed}
    return [without_seconds(v) for v in plain] if isinstance(plain, list) else plain


def test_a_finished_run_is_not_run_again_and_another_is_not_mixed_in(world, done):
    out, report, _ = done
    assert agora(SHAPE, *world, out=out, plan=SMALL, epsilon=0.2) == json.loads(json.dumps(report))
    with pytest.raises(ValueError, match=r"holds another run \(it differs in m\); choose another"):
        agora(SHAPE, *world, out=out, plan=replace(SMALL, m=3), epsilon=0.2)


def test_a_weak_labeller_is_refused_with_its_figure(world, tmp_path):
    weak = Plan(labelled=60, teacher_steps=1)
    with pytest.raises(ValueError, match=r"right on \d+ of 20 dev examples.*more than 2/3"):
        agora(SHAPE, *world, out=tmp_path, plan=weak)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tau": "nearby"}, r"tau is 'nearby'; allowed: auto, pool, tokens, mask"),
        ({"theta": "all"}, r"theta is 'all'; allowed: auto, quick, gentle, bort"),
        ({"start": "cold"}, r"start is 'cold'; allowed: inherit, general, task"),
        ({"controls": ("placebo",)}, r"control 'placebo' is not known; allowed: plain, copied, ra"),
        ({"m": 0}, r"m is 0; allowed: 1 to 100"),
        ({"labelled": -1}, r"labelled is -1; allowed: 0 to"),
        ({"confidence": 1.5}, r"confidence is 1.5; allowed: 0 to 1"),
    ],
)
def test_a_plan_knows_its_words(change, said):
    with pytest.raises(ValueError, match=said):
        Plan(**change)


def test_mistakes_in_the_arguments_are_told_before_any_work(world, tmp_path):
    for architecture, task, said in (
        ("9,2,16,24", world[1], r"architecture 9,2,16,24 does not fit in .*tiny \(2,2,16,24\)"),
        (SHAPE, "films", r"films"),
        ("1,3,16,24", world[1], r"num_attention_heads 3 does not divide hidden_size 16"),
    ):
        with pytest.raises(ValueError, match=said):
            agora(architecture, world[0], task, out=tmp_path)
    with pytest.raises(ValueError, match=r"tau is pool, but every row is labelled"):
        agora(SHAPE, *world, out=tmp_path / "b", plan=Plan(tau="pool", teacher_steps=60, epochs=1))


def test_without_a_pool_tokens_are_swapped_and_a_distilled_start_is_scored_too(world, tmp_path):
    plan = Plan(start="task", m=1, candidates=1, epochs=1, teacher_steps=60, controls=())
    report = agora(SHAPE, *world, out=tmp_path, plan=plan)
    rows = {row["arm"]: row for row in report["test"]["rows"]}
    assert set(rows) == {"agora", "labeller", "start"}
    assert "against_labeller" in rows["agora"]
    for folder, said in (("model", "best in round"), ("start", "Student before Agora")):
        assert said in (tmp_path / folder / "README.md").read_text()
        assert (tmp_path / folder / "model.safetensors").is_file()
    assert report["data"]["n_pool"] == 0


def test_bort_s_grid_is_the_readme_s():
    assert len(THETAS["bort"]) == 5 * 3 * 4 * 4 * 2 == len(set(THETAS["bort"]))


def test_a_killed_process_reads_as_failed_and_leaves_no_half_checkpoint(world, tmp_path):
    source, task = world
    command = [sys.executable, "-m", "bort_engine", "agora", str(source.weights)]
    command += ["--architecture", SHAPE, "--task", task, "--labelled", "60"]
    command += ["--teacher-steps", "300"]
    command += ["--controls", "none", "--out", str(tmp_path / "killed")]
    child = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"BORT_RUNS": str(tmp_path)})
    log = tmp_path / "killed" / "metrics.jsonl"
    end = time.monotonic() + 120
    while not (log.exists() and "fine-tuning" in log.read_text()):
        assert child.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=20)
    assert not (tmp_path / "killed" / "model").exists()
    status = jobs.find("killed", tmp_path).status()
    assert status.state == "failed"
