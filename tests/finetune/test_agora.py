"""The verb `agora`, whole, on a tiny source and a made-up task: rounds, controls, test, resume."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from bort_engine import Cancelled
from bort_engine.encoder.sources import Source
from bort_engine.finetune import controls
from bort_engine.finetune.agora import agora
from bort_engine.finetune.forecast import rounds, seconds_left
from bort_engine.finetune.plan import CONFIGS, CONTROLS, Config, Plan
from bort_engine.finetune.report import Arm, Data, Report, Round, Seed
from bort_engine.runs import records
from bort_engine.runs.events import Refused
from bort_engine.training import teacher
from tests.fake_engine import synthetic_record

SHAPE = "1,2,16,24"
QUICK = tuple(Config(rate, 0.0, 0.1, 16, seed) for rate, seed in ((2e-2, 0), (2e-2, 1), (1e-3, 0)))
GOOD = ("good", "great", "fine", "lovely", "warm", "clever", "funny", "moving", "sweet")
BAD = ("bad", "poor", "dull", "awful", "cold", "silly", "boring", "flat", "sour")
FILLER = ("the", "film", "story", "actor", "scene", "music", "plot", "end", "script", "road")
SMALL = Plan(labelled=60, points=2, candidates=2, epochs=2, teacher_steps=60, controls=CONTROLS)


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
        patch.setitem(CONFIGS, "quick", QUICK)
        patch.setitem(CONFIGS, "gentle", QUICK[1:])
        yield Source.load(str(model)), str(folder / "reviews.csv")


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    """One whole run; the others are compared with it."""
    out, events = tmp_path_factory.mktemp("run"), []
    report = agora(SHAPE, *world, out=out, plan=SMALL, epsilon=0.2, on_progress=events.append)
    return out, report, events


def test_every_arm_is_trained_on_as_much_for_as_long(done):
    _, report, _ = done
    arms = report.arms()
    assert set(arms) == {"agora", *CONTROLS}
    trained = {
        name: [(r.n_train, [fit.config for fit in r.fits]) for r in arm.rounds]
        for name, arm in arms.items()
    }
    assert len(trained["agora"]) >= 2 and trained["agora"][0][0] == 60
    assert trained["copied"] == trained["random"] == trained["agora"]
    assert trained["plain"] == [(60, configs) for _, configs in trained["agora"]]
    assert len({arm.steps for arm in arms.values()}) == 1 and arms["agora"].steps > 0
    assert arms["agora"].n_points == arms["random"].n_points == arms["copied"].n_points


def test_rounds_say_what_was_mistaken_made_and_pruned(done):
    _, report, _ = done
    first, second = report.arms()["agora"].rounds[:2]
    assert [fit.config for fit in first.fits] == list(QUICK)
    assert first.new_points == () and len(second.new_points) == len(first.mistakes)
    assert tuple(group.near for group in second.new_points) == first.mistakes
    assert all(len(group.points) <= 2 for group in second.new_points)
    assert {m.label for m in first.mistakes} <= set(report.data.labels) == {"no", "yes"}
    assert second.n_train == 60 + sum(point.kept for point in second.points) > 60
    pruned = first.pruned + second.pruned
    assert set(pruned) <= set(QUICK) and len(pruned) == len(set(pruned)) >= 2
    assert len(first.mistakes) == round(report.data.n_dev_seen * (1 - first.best.dev_seen))


def test_the_majority_is_counted_on_all_of_dev(world, done):
    from bort_engine.data.tasks import load_task

    _, report, _ = done
    share = np.mean(load_task(world[1])["validation"]["label"])
    assert report.data.majority_share == round(max(share, 1 - share), 5)


def test_points_come_from_the_pool_and_from_nowhere_else(world, done):
    from bort_engine.data.tasks import load_task, load_test

    _, report, _ = done
    splits = load_task(world[1])
    pool = set(splits["train"]["text"])
    elsewhere = set(splits["validation"]["text"]) | set(load_test(world[1])["text"])
    points = [point.text for r in report.arms()["agora"].rounds for point in r.points]
    assert points and set(points) <= pool and not set(points) & elsewhere
    assert len(points) == len(set(points))


def test_the_result_names_every_arm_and_the_checkpoint_opens(done):
    out, report, _ = done
    assert {row.arm for row in report.test.rows} == {"agora", "labeller", *CONTROLS}
    assert report.test.n == 40 and set(report.leads) == {"labeller", *CONTROLS}
    assert report.checkpoint.problems == (), report.checkpoint
    models = report.models
    assert models.student.n_encoder_parameters * 2 == models.source.n_encoder_parameters
    card = (out / "model" / "README.md").read_text()
    assert f"{report.row('agora').accuracy:.4g}" in card and "epsilon = 0.2" in card
    assert not list(out.rglob("seed-*/*.safetensors")), "what was kept for the judge is removed"
    assert records.read(out / "report.json", Report) == report
    assert str(report.request.architecture) == SHAPE and report.request.configs == QUICK


def test_progress_names_the_arm_the_round_and_the_loss(done):
    _, _, events = done
    stages = {event["stage"] for event in events}
    assert {"Agora, round 1", "making points", "scoring the test split once"} <= stages
    steps = [event for event in events if event.get("arm") == "agora" and event["done"]]
    assert steps[0]["detail"].startswith("config 1: learning rate 0.02, weight decay 0, ")
    assert all(0 < event["loss"] < 5 for event in steps)


def test_a_stopped_run_goes_on_and_ends_like_one_that_was_not(world, done, tmp_path):
    events = []

    def stop():  # in the second round's second training, when points can no longer be made anew
        return any(
            event["stage"] == "Agora, round 2" and event["detail"].startswith("config 2")
            for event in events
        )

    def end_of_training(event):  # what comes after is the same, and takes longer
        if event["stage"] == "scoring the test split once":
            raise Cancelled

    alone = replace(SMALL, controls=())
    with pytest.raises(Cancelled):
        agora(SHAPE, *world, out=tmp_path, plan=alone, on_progress=events.append, stop=stop)
    assert len(list(tmp_path.rglob("seed-0/[0-9a-f]*.json"))) == 4  # three, and one of round two
    with pytest.raises(Cancelled):
        agora(SHAPE, *world, out=tmp_path, plan=alone, on_progress=end_of_training)
    resumed = records.read(tmp_path / "report.json", Report)
    first, second = (without_seconds(report.arms()["agora"]) for report in (done[1], resumed))
    assert second == first


def without_seconds(arm: Arm) -> Arm:
    """Drop what differs from one run to the next: times."""

    def timeless(fit):
        return replace(fit, seconds=0.0)

    rounds = (replace(r, fits=tuple(map(timeless, r.fits))) for r in arm.rounds)
    no_seconds = {"seconds_training": 0.0, "seconds_generating": 0.0}
    return replace(arm, rounds=tuple(rounds), best=timeless(arm.best), **no_seconds)


def test_a_finished_run_is_not_run_again_and_another_is_not_mixed_in(world, done):
    out, report, _ = done
    assert agora(SHAPE, *world, out=out, plan=SMALL, epsilon=0.2) == report
    with pytest.raises(ValueError, match=r"another run \(it differs in epsilon, points\); choose"):
        agora(SHAPE, *world, out=out, plan=replace(SMALL, points=3), epsilon=0.3)


def test_a_report_of_another_version_says_what_to_do(world, tmp_path):
    (tmp_path / "report.json").write_text('{"schema": 1, "request": {}}')
    with pytest.raises(ValueError, match=r"another version.*start a new run, or move .*seed-N/"):
        agora(SHAPE, *world, out=tmp_path, plan=SMALL)


def test_a_weak_labeller_is_refused_with_its_figure(world, tmp_path, monkeypatch):
    weak = Plan(labelled=60, teacher_steps=1)
    monkeypatch.setattr(controls, "initial_student", None)  # what is slow is not begun
    with pytest.raises(Refused, match=r"right on \d+ of 20 dev examples.*more than 2/3"):
        agora(SHAPE, *world, out=tmp_path, plan=weak)


def test_a_labeller_that_always_names_the_most_frequent_class_is_refused(world, tmp_path):
    rows = [row for row in sentences(900, 1) if row[1] == "yes"][:340]
    rows += [row for row in sentences(900, 1) if row[1] == "no"][:60]
    skewed = tmp_path / "skewed.csv"
    skewed.write_text("\n".join(["text,label", *map(",".join, rows)]))
    weak = Plan(labelled=60, teacher_steps=1)
    with pytest.raises(ValueError, match=r"\(50\.0 % in the mean of 2 classes\).*more than 2/3"):
        agora(SHAPE, world[0], str(skewed), out=tmp_path / "run", plan=weak)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"tau": "nearby"}, r"tau is 'nearby'; allowed: auto, pool, tokens, mask"),
        ({"tau": "pool"}, r"tau is pool, but every row is labelled"),
        ({"controls": ("placebo",)}, r"control 'placebo' is not known; allowed: plain, copied, ra"),
        ({"points": 0}, r"points is 0; allowed: 1 to 100"),
        ({"confidence": 1.5}, r"confidence is 1.5; allowed: 0 to 1"),
    ],
)
def test_a_plan_knows_its_words(change, cause):
    with pytest.raises(ValueError, match=cause):
        Plan(**change)


@pytest.mark.parametrize(
    ("architecture", "epsilon", "cause"),
    [
        ("9,2,16,24", None, r"architecture 9,2,16,24 does not fit in .*tiny \(2,2,16,24\)"),
        (SHAPE, 2, r"epsilon is 2; allowed: 0.01 to 1"),
    ],
)
def test_mistakes_in_the_arguments_come_before_any_work(
    world, tmp_path, architecture, epsilon, cause
):
    with pytest.raises(ValueError, match=cause):
        agora(architecture, *world, out=tmp_path / "run", epsilon=epsilon)
    assert not (tmp_path / "run").exists()


def test_without_a_pool_tokens_are_swapped_and_a_distilled_start_is_scored_too(
    world, tmp_path, monkeypatch
):
    one_epoch = partial(controls.initial_student, task_epochs=1)
    monkeypatch.setattr(controls, "initial_student", one_epoch)
    quick = {"points": 1, "candidates": 1, "epochs": 0.2, "teacher_steps": 60, "controls": ()}
    plan = Plan(initialisation="task", **quick)
    report = agora(SHAPE, *world, out=tmp_path, plan=plan)
    assert {row.arm for row in report.test.rows} == {"agora", "labeller", "start"}
    assert set(report.leads) == {"labeller", "start"}
    for folder, words in (("model", "best in round"), ("start", "Student before Agora")):
        assert words in (tmp_path / folder / "README.md").read_text()
        assert (tmp_path / folder / "model.safetensors").is_file()
    assert report.data.n_pool == 0


def test_borts_grid_is_that_of_its_readme():
    assert len(CONFIGS["bort"]) == 5 * 3 * 4 * 4 * 2 == len(set(CONFIGS["bort"]))


def test_the_seconds_left_are_those_of_the_trainings_to_come():
    """By hand, with 3 configs on 100 sentences, a training of 10 steps, 1 second a step."""
    whole = synthetic_record()
    fit = whole.arms()["agora"].rounds[0].fits[0]
    begun = Round(1, 1, 100, (fit,))
    request = replace(whole.request, plan=replace(SMALL, points=2, controls=("plain",)))
    data = Data(100, 0, n_dev_seen=20, n_dev_held=20, labels=("no", "yes"))
    arm = Arm((begun,), steps=10, seconds_training=10.0)
    report = replace(whole, request=request, data=data, runs=(Seed(0, {"agora": arm}),))
    # QUICK's first two share three fields, its last none: if the worst is of the pair, both leave.
    assert rounds(QUICK) == ((3, 1), (3, 2))
    # In this round 6 steps of the second training and the third are left, 16. At least, one of
    # dev's 20 is mistaken in ten, so 4 sentences are added, 0.4 steps a training: 10.4 more. At
    # most, a third: 13.2 sentences, so two trainings of 11.32. Plain repeats it all, and the 14.
    low, high = 16 + 10.4, 16 + 22.64
    assert seconds_left(report, "agora", 4, 10) == (round(2 * low + 14, 1), round(2 * high + 14, 1))
    # The control has done 30 of Agora's 60 steps, and 5 of the training at work.
    agora_arm = replace(arm, steps=60, seconds_training=60.0)
    plain = replace(arm, steps=30, seconds_training=30.0)
    report = replace(report, runs=(Seed(0, {"agora": agora_arm, "plain": plain}),))
    assert seconds_left(report, "plain", 5, 10) == (25, 25)
    nothing_done = replace(report, runs=(Seed(0, {"agora": Arm((Round(1, 1, 100),))}),))
    assert seconds_left(nothing_done, "agora", 0, 10) is None
    low, high = seconds_left(nothing_done, "agora", 5, 10, pace=2.0)
    assert (low, high) == (2 * (2 * (25 + 10.4) + 5), round(2 * (2 * (25 + 22.64) + 5), 1))
