"""Stands in for `python -m bort_engine` where a test needs a job and not its result.

fake_engine.py front|agora|race SOURCE ... --out FOLDER; the environment says how it goes:
FAKE_STEPS how many candidates (or training steps), FAKE_PAUSE seconds each, FAKE_FRONT a front.json
to hand over, FAKE_RACE a race.json, FAKE_END "fail", "kill", "deaf" (hears no stop), "usage" (ends
before any work) or nothing. What `agora` and `race` report is made up, and says so.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from bort_engine.runs import jobs

SETS = [[1e-4, 0.01, 0.1, 64, 0], [5e-5, 0.01, 0.1, 64, 0], [5e-5, 0.1, 0.1, 64, 0]]
# Accuracies on the seen half of dev, and on the half held back, by arm, round and set.
ACCURACIES = {
    "agora": (((0.74, 0.71, 0.70), (0.74, 0.70, 0.71)), ((0.79,), (0.76,))),
    "plain": (((0.73, 0.72, 0.70), (0.73, 0.71, 0.71)), ((0.74,), (0.74,))),
    "copied": (((0.74, 0.71, 0.70), (0.74, 0.70, 0.71)), ((0.80,), (0.74,))),
    "random": (((0.74, 0.71, 0.70), (0.74, 0.70, 0.71)), ((0.77,), (0.76,))),
}
TEST = {"labeller": 0.791, "agora": 0.77, "plain": 0.74, "copied": 0.743, "random": 0.757}
NAMES = {
    "labeller": "Source, fine-tuned",
    "agora": "Agora",
    "plain": "Plain fine-tuning",
    "copied": "Dev mistakes copied",
    "random": "Random pool texts",
}


def mistake(index: int) -> dict[str, Any]:
    text = f"synthetic sentence {index}: a film that is *not* as bad as it sounds, at $5 a seat"
    return {"text": text, "label": "fresh", "guess": "rotten"}


def near(index: int) -> dict[str, Any]:
    points = [
        {
            "text": f"synthetic point {index}.{k}: a film that is better than it sounds",
            "label": "fresh",
            "confidence": (0.97, 0.91, 0.88, 0.55)[k],
            "kept": k < 3,
        }
        for k in range(4)
    ]
    return {"near": mistake(index), "points": points}


def synthetic_arm(name: str) -> dict[str, Any]:
    """Two rounds: in the first all three sets, of which the two worst leave."""
    rounds, own, n_train = [], name == "agora", 1000
    for number, (seen, held) in enumerate(ACCURACIES[name], 1):
        made = [near(k) for k in range(26)] if number > 1 and own else []
        n_train = 1078 if number > 1 and name != "plain" else 1000
        rounds.append(
            {
                "number": number,
                "attempt": 1,
                "counts": True,
                "n_train": n_train,
                "theta": SETS[: len(seen)],
                "accuracies": list(seen),
                "held": list(held),
                "losses": [0.45, 0.48, 0.5][: len(seen)],
                "seconds": [12.1, 12.0, 12.2][: len(seen)],
                "mistakes": [mistake(k) for k in range(round(100 * (1 - max(seen))) * own)],
                "made": made,
                "pruned": [[SETS[2], SETS[1]], [SETS[0]]][number - 1] if own else [],
                "prefix": 1 if own and number == 1 else 0,
            }
        )
    seen, held = (pair[0] for pair in ACCURACIES[name][-1])
    return {
        "rounds": rounds,
        "best": {"number": 2, "attempt": 1, "theta": SETS[0], "dev_seen": seen, "dev_held": held},
        "steps": 1200,
        "seconds_training": 210.0,
        "seconds_generating": 0.0 if name == "plain" else 9.0,
        "n_points": n_train - 1000,
    }


def synthetic_report(**request: Any) -> dict[str, Any]:
    """A whole report of round, made-up numbers; 100 sentences in each half of dev, 400 in test."""
    rows: list[dict[str, Any]] = [
        {
            "name": NAMES[arm],
            "arm": arm,
            "accuracy": accuracy,
            "low": round(accuracy - 0.04, 3),
            "high": round(accuracy + 0.04, 3),
            "per_seed": [accuracy],
        }
        for arm, accuracy in TEST.items()
    ]
    agora = next(row for row in rows if row["arm"] == "agora")
    for arm, accuracy in TEST.items():
        lead = TEST["agora"] - accuracy
        low, high = round(lead - 0.02, 3), round(lead + 0.02, 3)
        if arm != "agora":
            agora[f"against_{arm}"] = {"difference": round(lead, 3), "low": low, "high": high}
    return {
        "schema": 1,
        "request": {
            "source": "minilm-l6",
            "task": "rotten-tomatoes",
            "architecture": "3,12,384,768",
            "labelled": 1000,
            "tau": "pool",
            "m": 4,
            "theta": SETS,
            "theta_names": ["learning rate", "weight decay", "warm-up share", "batch size", "seed"],
            "start": "general",
            "controls": ["plain", "copied", "random"],
            "seeds": [0],
            "epsilon": 0.2,
        }
        | request,
        "provenance": {
            "machine": "Synthetic CPU",
            "versions": "synthetic: made up for the tests",
            "made_on": "2000-01-01",
        },
        "data": {
            "n_train": 1000,
            "n_pool": 9000,
            "n_dev_seen": 100,
            "n_dev_held": 100,
            "n_test": 400,
            "labels": ["rotten", "fresh"],
        },
        "labeller": {"dev_seen": 0.79, "dev_held": 0.80, "seconds": 41.0},
        "runs": [{"seed": 0, "arms": {arm: synthetic_arm(arm) for arm in ACCURACIES}}],
        "test": {"n": 400, "rows": rows},
        "models": [
            {
                "name": "Source",
                "architecture": "6,12,384,1536",
                "n_parameters": 22_700_000,
                "n_encoder_parameters": 10_600_000,
                "latency_ms": 12.0,
                "latency_how": "measured",
                "latency_note": "batch 1, 128 tokens, 2 threads",
            },
            {
                "name": "Student",
                "architecture": "3,12,384,768",
                "n_parameters": 15_600_000,
                "n_encoder_parameters": 3_550_000,
                "latency_ms": 4.8,
                "latency_how": "measured",
                "latency_note": "batch 1, 128 tokens, 2 threads",
            },
        ],
        "checkpoint": {
            "folder": "model",
            "ok": True,
            "said": "opens in a new process as BertTokenizer, BertForSequenceClassification; its "
            "outputs differ by at most 0.0e+00",
            "problems": [],
        },
    }


def synthetic_race(**change: Any) -> Any:
    """Return a race whose every score can be worked out by hand.

    |   | million parameters | ms | error | s |                       |
    | A | 1                  | 1  | 0.8   | 1 | on the front          |
    | B | 2                  | 2  | 0.4   | 2 | on the front          |
    | C | 4                  | 4  | 0.2   | 4 | on the front, largest |
    | D | 4                  | 4  | 0.4   | 3 | beaten by B and by C  |
    """
    from bort_engine.encoder.latency import LatencyReport
    from bort_engine.encoder.space import Architecture
    from bort_engine.runs.provenance import Provenance
    from bort_engine.search.evaluate import BriefTraining
    from bort_engine.search.result import Costs
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
        "provenance": RaceProvenance(
            made=Provenance("Synthetic CPU", "made up for the tests", "2000-01-01"),
            space="default",
            training_seeds=(0,),
            training=BriefTraining(),
            teacher=TeacherReport(0.05, 0.14, 0.45, 1000, 1000, 1.0),
            note="made up",
            seconds=1.0,
        ),
    }
    return Race(**values | change)


def snapshots(whole: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """The report after each training, with the training's stage and detail."""
    now = deepcopy(whole) | {"runs": [], "test": None, "models": [], "checkpoint": None}
    arms: dict[str, Any] = {}
    now["runs"] = [{"seed": 0, "arms": arms}]
    for arm, full in whole["runs"][0]["arms"].items():
        arms[arm] = full | {"rounds": [], "best": None}
        for played in full["rounds"]:
            fitted = len(played["theta"])
            arms[arm]["rounds"].append(played)
            for k in range(1, fitted + 1):
                lists = ("theta", "accuracies", "held", "losses", "seconds")
                arms[arm]["rounds"][-1] = played | {key: played[key][:k] for key in lists}
                if k < fitted:
                    arms[arm]["rounds"][-1] |= {"pruned": [], "prefix": 0, "mistakes": []}
                stage = f"{NAMES[arm]}, round {played['number']}"
                yield now, stage, f"set {k}: learning rate {played['theta'][k - 1][0]}"
        arms[arm] = full
    yield deepcopy(whole), "scoring the test split once", ""


def play_agora(job: jobs.Job, folder: Path, steps: int, pause: float) -> None:
    """Report training after training; a run that goes on does so after the last one reported."""
    counter = folder / "trainings"
    n_done = int(counter.read_text()) if counter.exists() else 0
    for number, (report, stage, detail) in enumerate(snapshots(synthetic_report()), 1):
        if number <= n_done:
            continue
        for done in range(1, steps + 1):
            loss = 0.7 - 0.3 * done / steps
            job.report(
                {"stage": stage, "detail": detail, "done": done, "total": steps, "loss": loss}
                | {"arm": "agora", "seed": 0}
            )
            if job.stop.wait(pause):
                raise RuntimeError("Stopped after this step.")
        part = folder / ".report.part"
        part.write_text(json.dumps(report))
        part.replace(folder / "report.json")
        counter.write_text(str(number))
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(bytes(1000))
    (model / "README.md").write_text("# A synthetic model card\n")


def play_front(job: jobs.Job, folder: Path, steps: int, pause: float) -> None:
    job.report({"stage": "fine-tuning the source", "done": 1, "total": 1})
    for done in range(1, steps + 1):
        architecture = f"{6 - (done - 1) % 6},12,384,1536"
        job.report(
            {
                "stage": "evaluating candidates",
                "done": done,
                "total": steps,
                "architecture": architecture,
                "error": 0.65 - 0.05 * ((done - 1) % 6),
                "dev_error": 0.16 + 0.01 * ((done - 1) % 6),
                "seconds": pause,
            }
        )
        if job.stop.wait(pause):
            raise RuntimeError("Stopped after this candidate.")


def play_race(job: jobs.Job, folder: Path, steps: int, pause: float) -> None:
    for done in range(1, steps + 1):
        trained = {"architecture": f"{done},12,384,1536", "error": 0.7 - 0.01 * done}
        job.report({"stage": "evaluating candidates", "done": 0, "total": 0} | trained)
        detail = f"TPE, seed {done - 1}"
        job.report({"stage": "searching", "done": done, "total": steps, "detail": detail})
        if job.stop.wait(pause):
            raise RuntimeError("Stopped after this search.")
    if "FAKE_RACE" in os.environ:
        shutil.copy(os.environ["FAKE_RACE"], folder / "race.json")


def main() -> None:
    end = os.environ.get("FAKE_END", "")
    if end == "usage":
        sys.exit("fake_engine: error: unknown source 'nowhere'; allowed: minilm-l6.")
    command, arguments = sys.argv[1], sys.argv[2:]
    folder = Path(arguments[arguments.index("--out") + 1])
    steps, pause = int(os.environ.get("FAKE_STEPS", 3)), float(os.environ.get("FAKE_PAUSE", 0))
    with jobs.working(folder, command, arguments) as job:
        play = {"agora": play_agora, "race": play_race}.get(command, play_front)
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
