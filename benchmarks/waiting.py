"""Fine-tuning alone and beside one busy process, by how long waiting OpenMP threads spin.

Run: python benchmarks/waiting.py [steps] [rounds]. Steps of MiniLM-L6 a second, batch 32, in new
processes that take turns; medians. The precision is the probe's, or that of BORT_PRECISION.
"""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

STEPS = sys.argv[1] if len(sys.argv) > 1 else "30"
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SETTINGS = {
    "libgomp's default": {},
    "GOMP_SPINCOUNT=3000": {"GOMP_SPINCOUNT": "3000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}


def steps_per_second(setting: dict[str, str]) -> float:
    script = Path(__file__).with_name("precision.py")
    bare = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, str(script), STEPS, "1", "steps"]
    return float(subprocess.check_output(command, env=bare | setting, text=True))


def main() -> None:
    speeds: dict[tuple[str, bool], list[float]] = {}
    for busy in (False, True):
        beside = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
        try:
            for _ in range(ROUNDS):
                for name, setting in SETTINGS.items():
                    speeds.setdefault((name, busy), []).append(steps_per_second(setting))
        finally:
            if beside:
                beside.kill()
    print(f"{'steps a second':25} {'alone':>6} {'beside':>7}")
    for name in SETTINGS:
        print(f"{name:25} {median(speeds[name, False]):6.2f} {median(speeds[name, True]):7.2f}")


if __name__ == "__main__":
    main()
