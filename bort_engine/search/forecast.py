"""About how long a front takes: its stages before it begins, and how much of its search is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bort_engine.data.tasks import MAX_LENGTH
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import SearchSpace
from bort_engine.encoder.timing import LatencySettings
from bort_engine.runs.time_left import Stage
from bort_engine.search.evaluate import USUAL, BriefTraining, OracleName
from bort_engine.search.result import Search
from bort_engine.training import forecast

EVALUATING, CALIBRATING = "evaluating candidates", "calibrating latency"
REST = "checking the whole space"
# How many evaluations a lazy cover takes, without its spot-checks: the fewest and the most by
# epsilon, of MiniLM-L6's fine space on film reviews (three recorded seeds; at 0.1 a run in fp32
# took 166).
EPSILONS = (0.05, 0.1, 0.2, 0.5)
FEWEST, MOST = (266, 69, 48, 2), (291, 166, 61, 10)
# The share of cells that are settled after a share of the evaluations, medians of those seeds at
# epsilon 0.05 to 0.2: slow at first, since the first ones prove little.
SETTLED = (0.0, 0.08, 0.22, 0.42, 0.63, 0.76, 0.82, 1.0)
EVALUATED = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 1.0)
# The share of the time that a share of the evaluations takes, likewise: large shapes come first.
COUNTED = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
SPENT = (0.0, 0.15, 0.28, 0.37, 0.56, 0.73, 0.91, 1.0)
OFF = 1.4  # how many times more or fewer may be left: the seeds differ so
# Of MiniLM-L6, two cores of an AMD EPYC: an evaluation's work against that of the source on dev,
# and what building a slice takes; the calibration, in PyTorch and in int8.
WORK, BUILDING_S = (0.3, 0.6), 0.15
CALIBRATING_S, EXPORTING_S = 15.0, 300.0


@dataclass(frozen=True, slots=True)
class Evaluations:
    """How many evaluations a search takes, from `fewest` to `most`, then `checks` more."""

    fewest: float
    most: float
    checks: int
    lazy: bool
    space_size: int

    @classmethod
    def of(cls, search: Search, epsilon: float, space_size: int) -> Evaluations:
        checks = min(search.spot_checks, space_size)
        if search.selection != "cover":
            n = space_size / (search.interval if search.selection == "stride" else 1)
            return cls(n, n, min(checks, space_size - int(n)), False, space_size)
        at = np.log(epsilon)
        low, high = (float(np.interp(at, np.log(EPSILONS), counts)) for counts in (FEWEST, MOST))
        if not search.lazy:  # between a few of each cell and all there are
            low, high = 2 * low, space_size
        return cls(min(low, space_size), min(high, space_size), checks, search.lazy, space_size)

    def left(self, n_done: int, settled: int, total: int) -> int:
        """Return about how many are left, after so many, with so many cells and checks settled."""
        n_cells = total - self.checks
        if settled >= n_cells > 0:
            return max(0, total - settled)
        share = settled / max(1, n_cells)
        done = float(np.interp(share, SETTLED, EVALUATED)) if self.lazy else share
        expected = (self.fewest + self.most) / 2
        trust = min(1.0, done / 0.3)
        if done:
            expected = expected ** (1 - trust) * (n_done / done) ** trust
        left = max(1, round(expected) - n_done) + self.checks
        return max(0, min(left, self.space_size - n_done))

    def share(self, n_done: int, left: int) -> float:
        """Return the share of the search's time that is over."""
        share = n_done / max(1, n_done + left)
        return float(np.interp(share, COUNTED, SPENT)) if self.lazy else share


def stages(
    source: Source,
    task: str,
    epsilon: float,
    oracle: OracleName,
    space: SearchSpace,
    search: Search,
    training: BriefTraining,
    settings: LatencySettings,
    *,
    kept: tuple[str, ...] = (),
) -> list[Stage]:
    """Return the stages of a front that is measured here.

    Args:
        settings: their length may be 0, the task's.
        kept: names of stages whose result is in the cache.
    """
    size, n = forecast.task_size(task), Evaluations.of(search, epsilon, len(space))
    steps = training.steps or USUAL[oracle == "elastic"][0]
    rows = steps * training.train_batch_size
    source_s = forecast.token_s(source, size.n_tokens) * size.n_tokens
    plan = forecast.fetching(source, task)
    plan += forecast.teacher_stages(source, size, steps=training.teacher_steps)
    length, exported = settings.sequence_length or MAX_LENGTH, settings.runtime != "pytorch"
    ms = forecast.token_s(source, length) / forecast.FORWARD_S * length / MAX_LENGTH
    plan.append(forecast.stage(CALIBRATING, CALIBRATING_S * ms * settings.batch_size))
    if exported:
        plan.insert(-1, forecast.stage("exporting what is timed", EXPORTING_S * ms))
    if oracle == "elastic":
        plan.append(forecast.elastic_stage(source, size, rows))
    low, high = (BUILDING_S + share * size.n_dev * source_s for share in WORK)
    if oracle != "elastic":
        low, high = (
            seconds + share * forecast.TRAINING * rows * source_s
            for seconds, share in zip((low, high), WORK, strict=True)
        )
    least, most = n.fewest + n.checks, min(n.most + n.checks, len(space))
    middle = (low + high) / 2
    plan.append(forecast.stage(EVALUATING, least * middle, most * middle))
    if search.check_all:
        plan.append(forecast.stage(REST, max(0, len(space) - most) * middle))
    return [stage for stage in plan if stage.name not in kept]


def kept(source: Source, task: str, oracle: OracleName) -> tuple[str, ...]:
    """Return the stages whose result is likely in the cache, for a form."""
    n_train = forecast.task_size(task).n_train
    names: tuple[str, ...] = ()
    if forecast.is_kept(source, task, n_train):
        names += forecast.TEACHER_STAGES
    if oracle == "elastic" and forecast.is_kept(source, task, n_train, "elastic-*"):
        names += (forecast.ELASTIC,)
    return names
