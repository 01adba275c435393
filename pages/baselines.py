"""Not a page: leads the address /baselines to app.py, as fine-tune.py says."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parent.parent / "app.py"))
