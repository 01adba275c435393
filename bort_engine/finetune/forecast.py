"""About how long a fine-tuning takes: its stages before it begins, and its trainings once at work.

How many trainings Agora takes depends on which configs leave together, and how long they are on how
many mistakes there are: both give a range.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import permutations

from bort_engine.algorithms.agora import prune
from bort_engine.finetune.plan import Config, Request
from bort_engine.finetune.report import ArmName, Report
from bort_engine.runs.time_left import Stage
from bort_engine.training import forecast
from bort_engine.training.distil import GENERAL_BATCH, TASK_EPOCHS
from bort_engine.training.distil import STAGE as DISTILLING
from bort_engine.training.teacher import EPOCHS, MANY, student_name

TRAININGS, SAVING = "training the student", "saving and reloading"
POOL = "comparing all texts"
# Of a student with few labels. With four, dev accuracy in the second round is the same (73.7 %).
EPOCHS_OF_FEW = 3
MISTAKEN = (0.1, 0.33)  # the share of dev that a small model gets wrong, usually
FEW_CONFIGS = 6  # of more, not every order is looked at
# What a student's step takes beyond its matrix products, and what surrounds a training, seconds:
# 3,12,384,768 on 1,000 labelled film reviews, with both controls, took 10 min 25 s (AMD EPYC).
STEP_S, AROUND_S, BATCH = 0.12, 2.0, 64
SAVING_S = 25.0  # torch is loaded in a new process
N_GENERAL = 10_033  # texts, of 80 tokens in the mean with 64 read at most


def rounds(configs: Sequence[Config]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how many trainings each round has: where most configs leave together, and fewest."""
    if len(configs) > FEW_CONFIGS:
        n = len(configs)
        halves = tuple(n >> k for k in range(n.bit_length()))
        return halves, tuple(range(n, 0, -1))
    return _rounds(tuple(configs))


@cache
def _rounds(configs: tuple[Config, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if not configs:
        return (), ()
    left = set()
    for order in permutations(configs):
        pruned, _ = prune(order)
        left.add(tuple(config for config in configs if config not in pruned))
    later = [_rounds(rest) for rest in left]
    n = len(configs)
    return (
        (n, *min((fewest for fewest, _ in later), key=sum)),
        (n, *max((most for _, most in later), key=sum)),
    )


def stages(request: Request) -> list[Stage]:
    """Return the stages of a fine-tuning."""
    plan, source, shape = request.plan, request.source, request.architecture
    size = forecast.task_size(request.task)
    n_labelled = min(plan.labelled or size.n_train, size.n_train)
    n_tokens = size.n_tokens
    source_s = n_tokens * forecast.token_s(source, n_tokens)
    student_s = n_tokens * forecast.token_s(source, n_tokens, shape)
    result = forecast.fetching(source, request.task)
    if not forecast.is_kept(source, request.task, n_labelled):
        result += forecast.teacher_stages(source, size, n_labelled, plan.teacher_steps)
    if plan.initialisation == "general":
        rows = plan.general_steps * GENERAL_BATCH or N_GENERAL
        both = forecast.TRAINING * student_s + source_s
        result.append(forecast.stage(DISTILLING, rows * both * 64 / n_tokens))
    elif plan.initialisation == "task":
        rows = 2 * TASK_EPOCHS * size.n_train
        labelling = TASK_EPOCHS * size.n_train * source_s
        result.append(forecast.stage("swapping words", labelling))
        result.append(forecast.stage(DISTILLING, rows * forecast.TRAINING * student_s))
    elif plan.initialisation == "elastic" and not forecast.is_kept(
        source, request.task, n_labelled, student_name(forecast.ELASTIC_RECIPE, 0)
    ):
        result.append(forecast.elastic_stage(source, size))
    if n_labelled < size.n_train and plan.tau in ("auto", "pool"):
        result.append(forecast.stage(POOL, (size.n_train + size.n_dev) * source_s))
    epochs = plan.epochs or (EPOCHS_OF_FEW if n_labelled < MANY else EPOCHS)
    seconds = []
    for sizes, share in zip(rounds(request.configs), MISTAKEN, strict=True):
        more = plan.points * share * size.n_dev / 2  # rows, each round
        rows = sum(n * (n_labelled + k * more) for k, n in enumerate(sizes))
        trained = forecast.TRAINING * epochs * rows + sum(sizes) * size.n_dev
        overhead = STEP_S * epochs * rows / BATCH + AROUND_S * sum(sizes)
        seconds.append(trained * student_s + overhead * forecast.slowness())
    arms = plan.seeds * (1 + len(plan.controls))
    result.append(forecast.stage(TRAININGS, arms * seconds[0], arms * seconds[1]))
    scored = (arms + plan.seeds) * size.n_dev * source_s
    result.append(forecast.stage(SAVING, SAVING_S + scored))
    return result


def seconds_left(
    report: Report, name: ArmName, step: int, steps: int, pace: float | None = None
) -> tuple[float, float] | None:
    """Return the least and the most that the trainings may still take, at the pace of those done.

    Args:
        name: the arm at work, in the last seed's run; its training is at `step` of `steps`.
        pace: seconds a step of the training at work, which counts until another is done.
    """
    plan, arms = report.request.plan, report.runs[-1].arms
    every_arm = [arm for run in report.runs for arm in run.arms.values()]
    if n_steps := sum(arm.steps for arm in every_arm):
        pace = sum(arm.seconds_training for arm in every_arm) / n_steps
    if pace is None or report.data is None:
        return None
    arm = arms[name]
    later_seeds = (plan.seeds - len(report.runs)) * (1 + len(plan.controls))
    if name != "agora":
        of_arm = arms["agora"].steps
        n_arms = len(plan.controls) - plan.controls.index(name) - 1 + later_seeds
        left = of_arm - arm.steps - step + of_arm * n_arms
        return round(left * pace, 1), round(left * pace, 1)
    attempt = arm.rounds[-1]
    gone = {config for r in arm.rounds for config in r.pruned}
    remaining = [config for config in report.request.configs if config not in gone]
    counted = [r for r in arm.counted if r.mistakes]
    seconds = []
    for sizes, share in zip(rounds(remaining), MISTAKEN, strict=True):
        n_mistakes = len(counted[-1].mistakes) if counted else share * report.data.n_dev_seen
        growth = steps * plan.points * n_mistakes / attempt.n_train  # steps more, each round
        left = (len(remaining) - len(attempt.fits)) * steps - step
        left += sum(n * (steps + k * growth) for k, n in enumerate(sizes) if k)
        of_arm = arm.steps + step + left
        left += of_arm * (len(plan.controls) + later_seeds)
        seconds.append(round(left * pace, 1))
    return seconds[0], seconds[1]
