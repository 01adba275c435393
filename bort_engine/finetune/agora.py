"""The verb `agora`: a chosen architecture becomes a checkpoint, trained by Agora and judged.

One run: the source is fine-tuned on the labelled rows (it is labeller and teacher), the student is
initialised, Agora plays its rounds, the controls repeat every one of its trainings with other data,
the test split is scored once, and the best model is saved and opened again in a new process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bort_engine.data.columns import Columns
from bort_engine.data.tasks import find_task, with_columns
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.timing import LatencySettings
from bort_engine.encoder.turns import median_ms
from bort_engine.finetune.forecast import SAVING, stages
from bort_engine.finetune.plan import Plan, Request
from bort_engine.finetune.report import (
    NAMES,
    Checkpoint,
    Model,
    Models,
    Report,
    RowName,
    Scores,
)
from bort_engine.finetune.report_file import ReportFile
from bort_engine.runs.events import Event, Progress, Stop, bar, never

if TYPE_CHECKING:
    from bort_engine.encoder.model_card import Card
    from bort_engine.finetune.controls import SeedRun


def agora(
    architecture: Architecture | str,
    source: str | Source,
    task: str = "rotten-tomatoes",
    *,
    out: str | Path,
    plan: Plan | None = None,
    columns: Columns | None = None,
    epsilon: float | None = None,
    on_progress: Progress = bar,
    stop: Stop = never,
) -> Report:
    """Fine-tune an architecture by Agora; return the report, which also lies in `out`.

    Args:
        architecture: the student's layers, heads, hidden size and neurons, such as 3,12,384,768.
        source: a name, or the folder of a checkpoint.
        task: a name, or the path of a file or folder of your own texts.
        out: the run's folder: report.json, and at the end model/, an ordinary checkpoint. Given
            again after a stop or a crash, the run goes on after its last finished training.
        columns: which columns of your own file make the task, where they are not text and label.
        epsilon: of the front the architecture was chosen from; it is only passed on to the card.

    Raises:
        ValueError: a mistake in the arguments, or a labeller too weak for Agora, in one line.
        Cancelled: `stop()` became true; the trainings that were finished are in `out`.
    """
    task = with_columns(task, columns or Columns())
    file = ReportFile(Path(out), Request.of(architecture, source, task, plan or Plan(), epsilon))
    if file.report.checkpoint:
        return file.report
    from bort_engine.finetune.controls import SeedRun

    plan_of_stages = stages(file.report.request)
    on_progress({"stage": "getting ready", "done": 0, "total": 0, "plan": plan_of_stages})

    def of_later_seed(event: Event) -> None:  # the plan is that of the first one's labeller
        on_progress({"part": event["stage"] + ", again"} | event)

    runs = []
    for seed in file.report.request.plan.all_seeds:
        run = SeedRun.prepare(file, seed, of_later_seed if runs else on_progress, stop)
        run.train()
        runs.append(run)
    if file.report.test is None:
        on_progress({"stage": "scoring the test split once", "part": SAVING, "done": 0, "total": 1})
        file.note(test=_score(runs))
    file.note(models=_models(file.report.request, runs[0].labeller.teacher.report.max_length))
    on_progress({"stage": SAVING, "done": 0, "total": 1})
    file.note(checkpoint=_save(runs[0]))
    on_progress({"stage": SAVING, "done": 1, "total": 1})
    for weights in file.folder.glob("seed-*/*.safetensors"):  # they were kept to be judged
        weights.unlink()
    return file.report


def _score(runs: Sequence[SeedRun]) -> Scores:
    """Score every arm on the test split, the labeller too, and what was distilled on the task."""
    from bort_engine.finetune.test_split import compare_arms, score_test

    request, tokenizer = runs[0].request, runs[0].labeller.teacher.tokenizer
    arms: dict[RowName, list[Any]] = {
        name: [run.best[name]() for run in runs] for name in runs[0].best
    }
    arms["labeller"] = [run.labeller.teacher.model for run in runs]
    if request.plan.starts_trained:
        arms["start"] = [run.initial for run in runs]
    right = score_test(request.task, tokenizer, arms)
    return Scores(right["agora"].shape[1], compare_arms(right))


def _models(request: Request, length: int) -> Models:
    """Count the source and the student, and time them at this length."""
    settings, source = LatencySettings(sequence_length=length), request.source
    shapes = (source.architecture, request.architecture)
    ms = median_ms(list(dict.fromkeys(shapes)), source, settings)
    note = (
        f"batch {settings.batch_size}, {settings.sequence_length} tokens, "
        f"{settings.threads} thread{'s' * (settings.threads > 1)}, fp32"
    )

    def model(shape: Architecture) -> Model:
        size = n_parameters(shape, source)
        return Model(size.total, size.encoder, ms[shape], "measured", note)

    return Models(*map(model, shapes))


def _save(run: SeedRun) -> Checkpoint:
    """Save the first seed's best model with its card, and open it again in a new process.

    A student that had learned the task is saved as it was before Agora, too, in `start`: where
    all labels are known, Agora does not always better it, and the test rows say which is which.
    """
    from bort_engine.encoder.checkpoint import write
    from bort_engine.encoder.reload import check_reload

    length = run.labeller.teacher.report.max_length
    card = _card(run.file.report, length)
    models = {"model": (run.best["agora"](), card)}
    if run.request.plan.starts_trained:
        method = (
            f"Initialisation: {run.request.plan.initialisation}. This is the “{NAMES['start']}”: "
            f"it imitates the “{NAMES['labeller']}”."
        )
        models["start"] = run.initial, replace(card, method=method)
    tokenizer, folder = run.labeller.teacher.tokenizer, run.file.folder
    probes = {
        folder / name: write(model, tokenizer, folder / name, card)
        for name, (model, card) in models.items()
    }
    reports = check_reload(probes)  # all in one new process
    problems = tuple(problem for report in reports.values() for problem in report.problems)
    return Checkpoint(str(reports[folder / "model"]), problems)


def _card(report: Report, length: int) -> Card:
    """Describe the model of the first seed, which reads texts up to a length in tokens."""
    from bort_engine.encoder.model_card import Card, Latency, Metric

    request, data, test, models = report.request, report.data, report.test, report.models
    agora_arm = report.arms()["agora"]
    best = agora_arm.best
    assert data and test and models and best, "a model is saved after all is measured"
    plan, task = request.plan, find_task(request.task)
    over_seeds = f", mean of {plan.seeds} seeds" if plan.seeds > 1 else ""
    metrics = [
        Metric(
            f"accuracy, {NAMES[row.arm]}",
            "test",
            row.accuracy,
            f"share of {test.n} right; 95 % interval {row.low:.3f} to {row.high:.3f}{over_seeds}",
        )
        for row in test.rows
    ]
    for split, accuracy, n in (
        ("dev, the half Agora saw", best.dev_seen, data.n_dev_seen),
        ("dev, held back from Agora", best.dev_held, data.n_dev_held),
    ):
        metrics.append(Metric("accuracy, Agora", split, accuracy, f"share of {n} right"))
    return Card(
        architecture=request.architecture,
        source=request.source,
        title=task.title,
        labels=task.labels,
        data=f"{task.note}. Labelled rows used: {data.n_train}; unlabelled pool: {data.n_pool}.",
        method=f"Initialisation: {plan.initialisation}. Agora: tau {plan.tau}, {plan.points} "
        f"points a mistake, {plan.labels} labels by the source fine-tuned on the same rows; best "
        f"in round {agora_arm.best_round} with {best.config}.",
        seed=plan.seed,
        versions=report.provenance.versions,
        made_on=report.provenance.made_on,
        metrics=tuple(metrics),
        limits=(
            f"Texts are read up to {length} tokens; it was trained for nothing but this: "
            f"{task.title.lower()}.",
            "Agora looks at half of dev by design: that half flatters; the test rows do not.",
        ),
        epsilon=request.epsilon,
        latency=Latency(
            models.student.latency_ms,
            LatencySettings(sequence_length=length),
            report.provenance.machine,
            models.student.latency_origin,
        ),
        licence="apache-2.0" if request.source.weights == "embedded" else None,
    )
