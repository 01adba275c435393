"""Stands in for `python -m bort_engine` where a test needs a job and not its result.

fake_engine.py front|agora|race|cut|export|table SOURCE ... --out FOLDER; the environment says how
it goes: FAKE_STEPS how many candidates (or training steps), FAKE_PAUSE seconds each, FAKE_FRONT a
front.json to hand over, FAKE_RACE a race.json, FAKE_EXPORT a folder with an ONNX model, FAKE_END
"fail", "kill", "deaf" (hears no stop), "usage" (ends before any work) or nothing. What `agora`,
`race`, `cut` and `export` report is made up, and says so; `table` hands over what ships.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.finetune import report as agora
from bort_engine.finetune.plan import Config, Plan, Request
from bort_engine.runs import jobs, records
from bort_engine.runs.provenance import Provenance

# A learning rate, a weight decay, a warm-up share, a batch size and a seed each.
CONFIGS = ((1e-4, 0.01, 0.1, 64, 0), (5e-5, 0.01, 0.1, 64, 0), (5e-5, 0.1, 0.1, 64, 0))
# Accuracies on the seen half of dev, and on the half held back, by arm, round and config.
ACCURACIES = {
    "agora": (((0.74, 0.71, 0.70), (0.74, 0.70, 0.71)), ((0.79,), (0.76,))),
    "plain": (((0.73, 0.72, 0.70), (0.73, 0.71, 0.71)), ((0.74,), (0.74,))),
    "copied": (((0.74, 0.71, 0.70), (0.74, 0.70, 0.71)), ((0.80,), (0.74,))),
    "random": (((0.74, 0.71, 0.70), (0.74, 0.70, 0.71)), ((0.77,), (0.76,))),
}
TEST = {"agora": 0.77, "labeller": 0.791, "plain": 0.74, "copied": 0.743, "random": 0.757}


def mistake(index: int) -> agora.Mistake:
    text = f"synthetic sentence {index}: a film that is *not* as bad as it sounds, at $5 a seat"
    return agora.Mistake(text, "fresh", "rotten")


def near(index: int) -> agora.NewPoints:
    labels = (("fresh", 0.97), ("fresh", 0.91), ("fresh", 0.88), (None, None))
    points = (
        agora.NewPoint(f"synthetic point {index}.{k}: a film that is better than that", *label)
        for k, label in enumerate(labels)
    )
    return agora.NewPoints(mistake(index), tuple(points))


def synthetic_arm(name: str) -> agora.Arm:
    """Two rounds: in the first all three configs, of which the two worst leave."""
    configs = tuple(map(Config._make, CONFIGS))
    rounds = []
    for number, (seen, held) in enumerate(ACCURACIES[name], 1):
        measured = zip(configs, seen, held, (0.45, 0.48, 0.5), (12.1, 12.0, 12.2), strict=False)
        fits = tuple(agora.Fit(*values) for values in measured)
        n_train = 1078 if number > 1 and name != "plain" else 1000
        known = {}
        if name == "agora":
            known = {
                "mistakes": tuple(map(mistake, range(round(100 * (1 - max(seen)))))),
                "new_points": tuple(map(near, range(26))) if number > 1 else (),
                "pruned": (configs[:0:-1], configs[:1])[number - 1],
                "prefix": 2 - number,
            }
        rounds.append(agora.Round(number, 1, n_train, fits, **known))
    return agora.Arm(
        tuple(rounds),
        best=rounds[-1].fits[0],
        best_round=2,
        steps=1200,
        n_points=rounds[-1].n_train - 1000,
        seconds_training=210.0,
        seconds_generating=0.0 if name == "plain" else 9.0,
    )


def synthetic_record() -> agora.Report:
    """A whole report of round, made-up numbers; 100 sentences in each half of dev, 400 in test."""
    configs = tuple(map(Config._make, CONFIGS))
    controls = ("plain", "copied", "random")
    plan = Plan(labelled=1000, tau="pool", points=4, initialisation="general", controls=controls)
    shape, source = Architecture(3, 12, 384, 768), sources["minilm-l6"]
    rows = []
    for arm, accuracy in TEST.items():
        low, high = round(accuracy - 0.04, 3), round(accuracy + 0.04, 3)
        rows.append(agora.Row(arm, accuracy, low, high, (accuracy,)))
    gaps = {arm: TEST["agora"] - TEST[arm] for arm in TEST if arm != "agora"}
    leads = {
        arm: agora.Lead(*(round(gap + d, 3) for d in (0, -0.02, 0.02))) for arm, gap in gaps.items()
    }
    rows[0] = replace(rows[0], against=leads)
    note = "batch 1, 128 tokens, 2 threads"
    return agora.Report(
        request=Request(source, "rotten-tomatoes", shape, plan, 0.2, configs),
        provenance=Provenance("Synthetic CPU", "made up for the tests", "2000-01-01", ""),
        data=agora.Data(1000, 9000, 100, 100, ("rotten", "fresh"), 0.55),
        labeller=agora.LabellerScores(0.79, 0.80, 41.0),
        runs=(agora.Seed(0, {arm: synthetic_arm(arm) for arm in ACCURACIES}),),
        test=agora.Scores(400, tuple(rows)),
        models=agora.Models(
            agora.Model(22_700_000, 10_600_000, 12.0, "measured", note),
            agora.Model(15_600_000, 3_550_000, 4.8, "measured", note),
        ),
        checkpoint=agora.Checkpoint(
            "opens in a new process as BertTokenizer, BertForSequenceClassification; its "
            "outputs differ by at most 0.0e+00",
            (),
        ),
    )


def synthetic_report() -> dict[str, Any]:
    """The synthetic report as it stands in its file."""
    return records.dump(synthetic_record())


def synthetic_race(**change: Any) -> Any:
    """Return a race whose every score can be worked out by hand.

    |   | million parameters | ms | error | s |                       |
    | A | 1                  | 1  | 0.8   | 1 | on the front          |
    | B | 2                  | 2  | 0.4   | 2 | on the front          |
    | C | 4                  | 4  | 0.2   | 4 | on the front, largest |
    | D | 4                  | 4  | 0.4   | 3 | beaten by B and by C  |
    """
    from bort_engine.encoder.latency import LatencyReport
    from bort_engine.search.evaluate import BriefTraining
    from bort_engine.search.result import Costs
    from bort_engine.search.scale import Scale
    from bort_engine.search.scores import Race, RaceProvenance
    from bort_engine.training.teacher import TeacherReport

    a, b, c, d = range(4)
    costs = ((1, 1, 1.0), (2, 2, 2.0), (4, 4, 4.0), (3, 4, 4.0))
    points = tuple(
        Costs(Architecture(depth, 2, 96, 192), m * 10**6, m * 10**5, m * 10**7, ms)
        for depth, m, ms in costs
    )
    values: dict[str, Any] = {
        "source": "minilm-l6",
        "task": "rotten-tomatoes",
        "origin": "recorded",
        "oracle": "brief",
        "size": "total",
        "budget": 3,
        "points": points,
        "errors": ((0.8, 0.4, 0.2, 0.4),),
        "seconds": ((1.0, 2.0, 4.0, 3.0),),
        "traces": {
            "fptas": ((c, a, b),),
            "random": ((d, c, a), (a, b, c)),
            "tpe": ((b, a, c), (b, c, a)),
        },
        "finished": ({1.0: 2, 0.5: 3},),
        "latency": LatencyReport(
            1, 128, 2, "Synthetic CPU", 0.01, 0.02, 0.99, 8, "recorded", "2000-01-01", "torch 0"
        ),
        "scale": Scale(0.0),  # r is the error itself
        "provenance": RaceProvenance(
            made=Provenance("Synthetic CPU", "made up for the tests", "2000-01-01"),
            space="default",
            training_seeds=(0,),
            training=BriefTraining(steps=30),
            teacher=TeacherReport(0.05, 0.14, 0.45, 1000, 1000, 1.0),
            note="made up",
            seconds=1.0,
        ),
    }
    return Race(**values | change)


def snapshots(whole: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """The report after each training, with the training's stage and detail."""
    arms: dict[str, Any] = {}
    runs = [{"seed": 0, "arms": arms}]
    now = whole | {"runs": runs, "test": None, "models": None, "checkpoint": None}
    undecided = {"pruned": [], "prefix": 0, "mistakes": []}
    for arm, full in whole["runs"][0]["arms"].items():
        arms[arm] = full | {"rounds": [], "best": None, "best_round": 0}
        for attempt in full["rounds"]:
            arms[arm]["rounds"].append(attempt)
            for k, fit in enumerate(attempt["fits"], 1):
                settled = {} if k == len(attempt["fits"]) else undecided
                arms[arm]["rounds"][-1] = attempt | {"fits": attempt["fits"][:k]} | settled
                stage = f"{agora.NAMES[arm]}, round {attempt['number']}"
                yield deepcopy(now), stage, f"config {k}: learning rate {fit['config'][0]}"
        arms[arm] = full
    yield deepcopy(whole), "scoring the test split once", ""


def report(job: jobs.Job, pause: float, step: str, **event: Any) -> None:
    """Report a step and take this long for it, unless the job is stopped."""
    job.report(event)
    if job.stop.wait(pause):
        raise RuntimeError(f"Stopped after this {step}.")


def play_agora(job: jobs.Job, folder: Path, steps: int, pause: float) -> None:
    """Report training after training; a run that goes on does so after the last one reported, and
    at full speed."""
    counter = folder / "trainings"
    n_done = int(counter.read_text()) if counter.exists() else 0
    pause = 0 if n_done else pause
    trainings = list(enumerate(snapshots(synthetic_report()), 1))
    for number, (snapshot, stage, detail) in trainings[n_done:]:
        for done in range(1, steps + 1):
            numbers = {"done": done, "total": steps, "loss": 0.7 - 0.3 * done / steps, "seed": 0}
            report(job, pause, "step", stage=stage, detail=detail, arm="agora", **numbers)
        records.write_bytes(folder / "report.json", json.dumps(snapshot).encode())
        counter.write_text(str(number))
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(bytes(1000))
    (model / "README.md").write_text("# A synthetic model card\n")


def play_front(job: jobs.Job, folder: Path, steps: int, pause: float) -> None:
    job.report({"stage": "fine-tuning the source", "done": 1, "total": 1})
    for done in range(1, steps + 1):
        k = (done - 1) % 6
        trained = {"architecture": f"{6 - k},12,384,1536", "error": 0.65 - 0.05 * k}
        trained |= {"dev_error": 0.16 + 0.01 * k, "seconds": pause}
        stage = "evaluating candidates"
        report(job, pause, "candidate", stage=stage, done=done, total=steps, **trained)


def play_race(job: jobs.Job, folder: Path, steps: int, pause: float) -> None:
    for done in range(1, steps + 1):
        trained = {"architecture": f"{done},12,384,1536", "error": 0.7 - 0.01 * done}
        trained["dev_error"] = 0.3
        job.report({"stage": "evaluating candidates", "done": 0, "total": 0} | trained)
        detail = f"TPE, seed {done - 1}"
        report(job, pause, "search", stage="searching", done=done, total=steps, detail=detail)
    if "FAKE_RACE" in os.environ:
        shutil.copy(os.environ["FAKE_RACE"], folder / "race.json")


def play_cut(job: jobs.Job, folder: Path, steps: int, pause: float) -> None:
    """Report the steps of a polish, and hand over a made-up checkpoint."""
    from bort_engine.search.cut import Cut, Recall

    for done in range(1, steps + 1):
        report(job, pause, "step", stage="polishing the slice", done=done, total=steps)
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "README.md").write_text("# A synthetic model card\n")
    made = Provenance("Synthetic CPU", "made up for the tests", "2000-01-01", "")
    scores = {"this model": {"accuracy": 0.8}}
    recalls = (
        Recall("rotten", 900, 0.85, 0.9),
        Recall("fresh", 100, 0.35, 0.2),
        Recall("unseen", 0, None, None),
    )
    shape = Architecture.parse(sys.argv[sys.argv.index("--architecture") + 1])
    source = "minilm-l6"
    errors = (0.21, 0.2, 0.17)
    cut = Cut(
        shape, source, "rotten-tomatoes", str(model), *errors, scores, recalls, 1000, 0, 0, "opens",
        made,
    )  # fmt: skip
    records.write(folder / "cut.json", cut)


def play_export(job: jobs.Job, folder: Path, steps: int, pause: float) -> None:
    """Report three steps, and hand over a model; what is said of it is made up."""
    from bort_engine.encoder.export import Export, Parity

    for done in range(steps):
        report(job, pause, "step", stage="exporting", done=done, total=steps, detail="writing")
    model, format = folder / "model", sys.argv[sys.argv.index("--format") + 1]
    shutil.copytree(os.environ["FAKE_EXPORT"], model, dirs_exist_ok=True)
    parity = Parity("dev texts of rotten-tomatoes", 100, 0.235, 0.99)
    made = Provenance("Synthetic CPU", "made up for the tests", "2000-01-01")
    sizes = {"model.onnx": 20_000_000, "run.py": 1500}
    export = Export(
        format, sys.argv[2], str(model), sizes, 80_000_000, parity, "avx512_vnni", "made up", made
    )
    records.write(model / "export.json", export)


def play_table(job: jobs.Job, folder: Path, steps: int, pause: float) -> None:
    """Report a task, and hand over the recorded table's, with the smaller model that was asked."""
    from bort_engine.lab import table_record

    report(job, pause, "step", stage="making the models", done=1, total=9, detail="student")
    asked = dict(zip(sys.argv[3::2], sys.argv[4::2], strict=False))
    table = records.read(table_record.RECORDED, table_record.Table)
    tasks = tuple(t for t in table.tasks if t.task == asked["--tasks"])
    made = replace(table.made, machine="Synthetic CPU")
    table = replace(table, smaller=asked["--smaller"], tasks=tasks, made=made)
    records.write(folder / "table.json", table)


def main() -> None:
    end = os.environ.get("FAKE_END", "")
    if end == "usage":
        sys.exit("fake_engine: error: unknown source 'nowhere'; allowed: minilm-l6.")
    command, arguments = sys.argv[1], sys.argv[2:]
    folder = Path(arguments[arguments.index("--out") + 1])
    steps, pause = int(os.environ.get("FAKE_STEPS", 3)), float(os.environ.get("FAKE_PAUSE", 0))
    with jobs.working(folder, command, arguments) as job:
        others = {"agora": play_agora, "race": play_race, "cut": play_cut, "export": play_export}
        others |= {"table": play_table}
        play = others.get(command, play_front)
        play(job, folder, steps, pause)
        if end == "deaf":
            job.report({"stage": "hearing nothing", "done": 0, "total": 1})
            time.sleep(60)
        if end == "fail":
            raise ValueError("the weights of minilm-l6 could not be read; run `fetch` again.")
        if end == "kill":
            print("about to run out of memory", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if "FAKE_FRONT" in os.environ:
            shutil.copy(os.environ["FAKE_FRONT"], folder / "front.json")


if __name__ == "__main__":
    main()
