"""Fronts that need no training: of shipped tables, or predicted; made once for all visitors."""

from functools import partial
from pathlib import Path

import streamlit as st

from bort_engine.encoder.timing import LatencySettings, Runtime
from bort_engine.runs.events import silent
from bort_engine.search import errors as oracles
from bort_engine.search import front as extract
from bort_engine.search.result import Front, Search

PREDICTED = "glue"  # nothing is trained: errors from published scores, in Bort's own space
STEP, EPSILON = 0.05, 0.1  # of the slider, which opens on the second
EPSILONS = tuple(round(STEP * n, 2) for n in range(1, 21))


@st.cache_data(max_entries=64, show_spinner=False)
def look_up(source: str, task: str, epsilon: float, runtime: Runtime = "pytorch") -> Front:
    """Return a front that needs no training. Raises ValueError where there is none."""
    front = partial(extract.front, source, epsilon=epsilon, on_progress=silent)
    if task == PREDICTED:
        return front(search=Search(space="bort"), oracle="glue", latency="recorded")
    # PyTorch's latencies are shipped for one length each, whatever it is.
    settings = None if runtime == "pytorch" else LatencySettings(runtime=runtime)
    return front(task=task, errors="recorded", settings=settings)


@st.cache_data(max_entries=1, show_spinner=False)
def tasks(changed: tuple[tuple[Path, int], ...]) -> list[tuple[str, str]]:
    """Return the sources and tasks on record, read again only once a file changes."""
    return oracles.recorded_tasks()
