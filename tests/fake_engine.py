"""Stands in for `python -m bort_engine` where a test needs a job and not its result.

fake_engine.py front SOURCE ... --out FOLDER; the environment says how it goes:
FAKE_STEPS how many candidates, FAKE_PAUSE seconds each, FAKE_FRONT a front.json to hand over,
FAKE_END "fail", "kill", "deaf" (hears no stop), "usage" (ends before any work) or nothing.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

from bort_engine import jobs


def main() -> None:
    end = os.environ.get("FAKE_END", "")
    if end == "usage":
        sys.exit("fake_engine: error: unknown source 'nowhere'; allowed: minilm-l6.")
    command, arguments = sys.argv[1], sys.argv[2:]
    folder = Path(arguments[arguments.index("--out") + 1])
    steps, pause = int(os.environ.get("FAKE_STEPS", 3)), float(os.environ.get("FAKE_PAUSE", 0))
    with jobs.working(folder, command, arguments) as job:
        job.report({"stage": "fine-tuning the source", "done": 1, "total": 1})
        for done in range(1, steps + 1):
            architecture = f"{6 - (done - 1) % 6},12,384,1536"
            job.report(
                {
                    "stage": "evaluating candidates",
                    "done": done,
                    "total": steps,
                    "architecture": architecture,
                    "error": 0.7 - 0.05 * done,
                    "dev_error": 0.15 + 0.01 * done,
                    "seconds": pause,
                }
            )
            if job.stop.wait(pause):
                raise RuntimeError("Stopped after this candidate.")
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
