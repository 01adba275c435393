"""How far a run's own estimate of the time left was off: python benchmarks/time_left.py [RUN | ...]

Given a run folder, its events are replayed with their own times. Else `front` is run, with these
arguments (by default minilm-l6 at epsilon 0.1), in a new folder, with a cache of its own where
BORT_CACHE names one. Nothing else should run beside it.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bort_engine.runs.time_left import TimeLeft, about

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)


def trace(folder: Path) -> list[tuple[float, float, float]]:
    """Return (elapsed, low, high) at each event, in seconds; what was planned at first is at 0."""
    rows, left, began = [], TimeLeft(), None
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        event = json.loads(line)
        began = event["time"] if began is None else began
        if told := left.note(event, event["time"]):
            rows.append((event["time"] - began, told.low, told.high))
    return rows


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 and Path(sys.argv[1]).is_dir() else None
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="time-left-")) / "run"
        command = [sys.executable, "-m", "bort_engine", "front", *(sys.argv[1:] or ["minilm-l6"])]
        subprocess.run([*command, "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    rows = trace(folder)
    end = rows[-1][0]
    print(f"{folder}: {about(end)} ({end:.0f} s); planned {about(*rows[0][1:])}")
    for share in SHARES:
        elapsed, low, high = next(row for row in rows if row[0] >= share * end)
        left = max(1e-9, end - elapsed)
        print(
            f"at {share:4.0%}: {left:6.0f} s were left; said {low:6.0f} to {high:6.0f}, the middle "
            f"{(low + high) / 2 / left:.2f} times as much"
        )


if __name__ == "__main__":
    main()
