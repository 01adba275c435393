"""Agora against plain fine-tuning and two controls, with equal data and equal optimizer steps.

Run: python benchmarks/agora.py few [OUT]    1,000 labelled sentences, 3 seeds, on 3,12,384,768
     python benchmarks/agora.py full [OUT] [D,A,H,I]   all labels, distilled: student against T
Given the same OUT again it goes on after the last finished training. The labeller learns from the
same 1,000 sentences and nothing else; test is scored once, at the end. 30 to 60 minutes on 2 cores.
With RECORD=1 the result, less its sentences, becomes the recorded run that the app shows.
"""

import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent.parent))

from bort_engine.data.resources import ASSETS
from bort_engine.finetune.agora import Plan, agora
from bort_engine.finetune.report import NAMES, Report
from bort_engine.runs import records

SOURCE, TASK = "minilm-l6", "rotten-tomatoes"
ARCHITECTURE = sys.argv[3] if len(sys.argv) > 3 else "3,12,384,768"
PLANS = {
    "few": Plan(labelled=1000, seeds=3, epochs=4, controls=("plain", "random")),
    "full": Plan(labelled=0, initialisation="task", controls=(), epochs=0.25),
}


def main() -> None:
    kind = sys.argv[1] if len(sys.argv) > 1 else "few"
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("runs") / f"benchmark-agora-{kind}"
    shown = [""]

    def on_progress(event: dict) -> None:
        line = f"{event['stage']}: {event.get('detail', '')}"
        if line != shown[0]:
            print(f"{perf_counter() - start:6.0f} s  {line}", file=sys.stderr, flush=True)
        shown[0] = line

    start = perf_counter()
    report = agora(ARCHITECTURE, SOURCE, TASK, out=out, plan=PLANS[kind], on_progress=on_progress)
    print(f"{perf_counter() - start:.0f} s for what was not on file yet, in {out}")
    print(report.provenance)
    for run in report.runs:
        for name, arm in run.arms.items():
            rounds = [(r.n_train, r.best.dev_seen) for r in arm.rounds if r.best]
            print(
                f"seed {run.seed} {name}: {arm.steps} steps, {arm.seconds_training:.0f} s "
                f"training, {arm.seconds_generating:.0f} s making points; rows and best accuracy "
                f"on the seen half of dev by round: {rounds}"
            )
    for row in report.test.rows if report.test else ():
        print(f"{NAMES[row.arm]}: test accuracy by seed {list(row.per_seed)}")
    print(report)
    if os.environ.get("RECORD"):
        path = ASSETS / "recorded" / f"agora-{SOURCE}-{TASK}-{kind}.json"
        print(f"recorded in {records.write(path, without_texts(report))}")


def without_texts(report: Report) -> Report:
    """Return a report whose sentences, which have authors, are numbered instead."""
    numbers: dict[tuple[str, str], int] = {}

    def numbered(part: Any) -> Any:
        if isinstance(part, list):
            return [numbered(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "text" in part:
            kind = "dev" if "guess" in part else "pool"
            number = numbers.setdefault((kind, part["text"]), len(numbers) + 1)
            return part | {"text": f"{kind} sentence {number}"}
        return {name: numbered(value) for name, value in part.items()}

    return records.parse(numbered(records.dump(report)), Report)


main()
