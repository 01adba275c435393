"""A fresh server loads what Explore needs before anybody asks."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from streamlit.testing.v1 import AppTest
from pages.parts import warm

warm.AFTER_S = warm.PAUSE_S = 0.0
warm.warm_up()
before = set(sys.modules)
at = AppTest.from_file(sys.argv[1]).run(timeout=60)
assert not at.exception and at.metric
late = [name for name in sys.modules if name not in before]
print(*(name for name in late if name.startswith(("bort_engine", "pages", "plotly", "numpy"))))
print("torch" in sys.modules)
"""


def test_after_it_a_first_visit_imports_nothing_of_ours_and_torch_stays_out(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(ROOT / "app.py")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.stdout.splitlines()[-2:] == ["", "False"], run.stderr
