"""The command line for a model so small that its timings are noise, and that learns at a high rate.

A process of `tests/training/test_together.py` runs it.
"""

import sys

from bort_engine.__main__ import main
from bort_engine.search import candidates
from bort_engine.training import teacher

candidates.MOST_OFF, teacher.LEARNING_RATE_OF_FEW = 99, 1e-2
sys.exit(main())
