"""How long a front takes, about: its stages before it begins, and how much of a search is left."""

from __future__ import annotations

from dataclasses import dataclass

from bort_engine.data.tasks import MAX_LENGTH
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import SearchSpace
from bort_engine.encoder.timing import LatencySettings
from bort_engine.runs.time_left import Stage
from bort_engine.search.evaluate import USUAL, BriefTraining, OracleName, Setup
from bort_engine.search.result import Search
from bort_engine.training import forecast
from bort_engine.training.teacher import student_name

EVALUATING, CALIBRATING = "evaluating candidates", "calibrating latency"
REST = "checking the whole space"
# Evaluations that a lazy cover takes, times epsilon: MiniLM-L6's fine space on film reviews took 71
# to 96 at 0.05, 37 to 51 at 0.1 and 20 to 31 at 0.2 (three recorded seeds).
COVER = 4.5
OFF = 1.4  # how many times more or fewer, or longer, it may be: the seeds differ so
# How much longer one of the closer look takes, being larger, than the others in the mean: a share.
LONGER = 0.6
# Of MiniLM-L6, two cores of an AMD EPYC, two evaluations side by side: the work of one against that
# of the source on dev, and what building a slice takes; the calibration, in PyTorch and in int8.
WORK, BUILDING_S = (0.08, 0.2), 0.15
UNEVEN_WORK = 0.18  # likewise: 2,211 uneven shapes took 0.97 s each, two side by side (2026-11-27)
CALIBRATING_S, EXPORTING_S = 15.0, 300.0


@dataclass(frozen=True, slots=True)
class Evaluations:
    """About how many evaluations a search takes: its cover, then spot-checks and a closer look."""

    cover: float
    checks: int
    closer: int
    lazy: bool
    space_size: int

    @classmethod
    def of(cls, search: Search, epsilon: float, space_size: int) -> Evaluations:
        cover = COVER / epsilon
        if search.selection != "cover":
            cover = space_size / (search.interval if search.selection == "stride" else 1)
        elif not search.lazy:
            cover *= 4  # several of each cell
        lazy = search.lazy and search.selection == "cover"
        cover = min(cover, space_size)
        rest = space_size - int(cover)
        return cls(cover, min(search.spot_checks, rest), min(search.closer, rest), lazy, space_size)

    @property
    def after(self) -> int:
        """How many follow the cover."""
        return self.checks + self.closer

    def left(self, n_done: int, settled: int, total: int) -> int:
        """Return about how many are left, after so many, with so many cells and checks settled."""
        n_cells = total - self.checks
        if settled >= n_cells:
            return min(total - settled + self.closer, self.space_size - n_done)
        expected = self.cover if self.lazy or not settled else n_done * n_cells / settled
        return min(max(1, round(expected) - n_done) + self.after, self.space_size - n_done)

    def share(self, n_done: int, left: int) -> float:
        """Return the share of the search's time that is over, after so many, with so many left."""
        closer = max(0, self.closer - left)
        return (n_done + LONGER * closer) / max(1, n_done + left + LONGER * self.closer)


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
    plan = _before(source, task, size, oracle, training, settings)
    source_s = forecast.token_s(source, size.n_tokens) * size.n_tokens
    low, high = (BUILDING_S + share * size.n_dev * source_s for share in WORK)
    if oracle != "elastic":
        rows = _rows(training, oracle)
        low, high = (
            seconds + share * forecast.TRAINING * rows * source_s
            for seconds, share in zip((low, high), WORK, strict=True)
        )
    least, most = (n.cover * off + n.after for off in (1 / OFF, OFF))
    least, most = (min(n_all, len(space)) + LONGER * n.closer for n_all in (least, most))
    middle = (low + high) / 2
    plan.append(forecast.stage(EVALUATING, least * middle, most * middle))
    if search.check_all:
        plan.append(forecast.stage(REST, max(0.0, len(space) - most) * middle))
    return [stage for stage in plan if stage.name not in kept]


def layer_stages(
    source: Source, task: str, n_shapes: int, training: BriefTraining, settings: LatencySettings
) -> list[Stage]:
    """Return the stages of `layers`, which evaluates so many uneven shapes."""
    size = forecast.task_size(task)
    dev_s = size.n_dev * size.n_tokens * forecast.token_s(source, size.n_tokens)
    plan = _before(source, task, size, "elastic", training, settings)
    return [*plan, forecast.stage(EVALUATING, n_shapes * (BUILDING_S + UNEVEN_WORK * dev_s))]


def _before(
    source: Source,
    task: str,
    size: forecast.TaskSize,
    oracle: OracleName,
    training: BriefTraining,
    settings: LatencySettings,
) -> list[Stage]:
    """Return the stages before anything is evaluated."""
    plan = forecast.fetching(source, task)
    plan += forecast.teacher_stages(source, size, steps=training.teacher_steps)
    length = settings.sequence_length or MAX_LENGTH
    ms = forecast.token_s(source, length) / forecast.FORWARD_S * length / MAX_LENGTH
    if settings.runtime != "pytorch":
        plan.append(forecast.stage("exporting what is timed", EXPORTING_S * ms))
    plan.append(forecast.stage(CALIBRATING, CALIBRATING_S * ms * settings.batch_size))
    if oracle == "elastic":
        plan.append(forecast.elastic_stage(source, size, _rows(training, oracle)))
    return plan


def _rows(training: BriefTraining, oracle: OracleName) -> int:
    """Return how many rows a training reads, those read again counted again."""
    return (training.steps or USUAL[oracle == "elastic"][0]) * training.train_batch_size


def kept(source: Source, setup: Setup) -> tuple[str, ...]:
    """Return the stages whose result is likely in the cache."""
    n_train, names = forecast.task_size(setup.task).n_train, ()
    if forecast.is_kept(source, setup.task, n_train):
        names += forecast.TEACHER_STAGES
    student = student_name(setup.as_recipe(), setup.seed)
    if setup.oracle == "elastic" and forecast.is_kept(source, setup.task, n_train, student):
        names += (forecast.ELASTIC,)
    return names
