"""The verb `cut`: a point of an elastic front becomes a checkpoint, as accurate as the front says.

It is cut out of the same student that the front measured, so nothing is trained, unless it is to be
polished: distilled on its own for some steps, which a front of thousands of slices cannot afford.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bort_engine.data.tasks import MAX_LENGTH, find_task
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture, check_slice
from bort_engine.encoder.timing import LatencySettings, measure_ms
from bort_engine.runs import records
from bort_engine.runs.events import Progress, Stop, never, silent, step_events
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import Count, PositiveCount, Share
from bort_engine.search.evaluate import BriefTraining, Evaluator, Setup
from bort_engine.training.precision import precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

STAGE = "polishing the slice"
LEARNING_RATE = 1e-4  # of the polish: a fifth of the elastic student's


@dataclass(frozen=True, slots=True)
class Cut:
    """A checkpoint cut from an elastic student, and its share of wrong answers on dev.

    `front_error` is the slice's as a front measures it, `dev_error` the checkpoint's: the same
    unless it was polished for `polish` steps. `reloaded` is what a new process said of it.
    """

    architecture: Architecture
    source: str
    task: str
    folder: str
    front_error: Share
    dev_error: Share
    source_error: Share
    n_dev: PositiveCount
    polish: Count
    seed: Count
    reloaded: str
    made: Provenance
    schema: Literal[1] = 1

    AGAIN: ClassVar[str] = "delete it and run `cut` again to make one"

    def __str__(self) -> str:
        polished = f"; polished for {self.polish} steps {self.dev_error:.2%}" if self.polish else ""
        return (
            f"{self.architecture} of {self.source} on {self.task}: {self.front_error:.2%} wrong on "
            f"{self.n_dev} dev sentences{polished} (the source: {self.source_error:.2%})\n"
            f"{self.folder} {self.reloaded}"
        )


def cut(
    source: str | Source,
    task: str = "rotten-tomatoes",
    *,
    architecture: Architecture,
    polish: int = 0,
    training: BriefTraining | None = None,
    seed: int = 0,
    out: str | Path,
    on_progress: Progress = silent,
    stop: Stop = never,
) -> Cut:
    """Save a slice of the elastic student as a plain transformers checkpoint, in `model/`.

    Args:
        source: a reference name, a local folder, or a hub id.
        task: what the student was trained on: a name, or a file or folder of your own.
        architecture: the slice, a point of a front.
        polish: steps in which the slice alone is distilled from the source first; 0 for none.
        seed: of the elastic student: the front's.
        out: the folder that `model/` and the record are written to.

    Raises:
        ValueError: a mistake in the arguments, in one line, or the architecture is no slice.
        Cancelled: `stop()` became true.
    """
    source = Source.load(source) if isinstance(source, str) else source
    if not 0 <= polish <= 100_000:
        raise ValueError(f"polish is {polish!r}; allowed: 0 to 100000.")
    check_slice(architecture, source)
    setup = Setup(source.name, find_task(task).name, "elastic", training or BriefTraining(), seed)
    evaluator = Evaluator(source, setup, on_progress, stop)
    T = evaluator.teacher
    model = evaluator.student.cut(architecture)
    before = after = evaluator.measure(architecture, model)
    if polish:
        from bort_engine.training.trainer import Recipe, train, without_dropout

        recipe = Recipe(steps=polish, batch_size=64, learning_rate=LEARNING_RATE)
        on_step = step_events(STAGE, on_progress)
        model = without_dropout(model)
        train(model, T.train_data, T.tokenizer, recipe, seed=seed, on_step=on_step, stop=stop)
        after = evaluator.measure(architecture, model)
    assert before.dev_error is not None and after.dev_error is not None
    result = Cut(
        architecture,
        source.name,
        setup.task,
        str(Path(out) / "model"),
        before.dev_error,
        after.dev_error,
        T.dev_error,
        T.report.n_dev,
        polish,
        seed,
        reloaded="",
        made=Provenance.here(precision=precision()),
    )
    result = replace(result, reloaded=_save(result, model, T.tokenizer, source))
    records.write(Path(out) / "cut.json", result)
    return result


def _save(
    cut: Cut, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: Source
) -> str:
    """Save the checkpoint with its card, and open it again in a new process."""
    from bort_engine.encoder.checkpoint import write
    from bort_engine.encoder.model_card import Card, Latency, Metric
    from bort_engine.encoder.reload import check_reload

    task, folder, settings = (
        find_task(cut.task),
        Path(cut.folder),
        LatencySettings().of_length(MAX_LENGTH),
    )
    names = {"this model": cut.dev_error, "as cut": cut.front_error, "source": cut.source_error}
    ms = measure_ms([cut.architecture], source, settings)[cut.architecture]
    card = Card(
        architecture=cut.architecture,
        source=source,
        title=task.title,
        labels=task.labels,
        data=f"{task.note}.",
        method="A slice of an elastic student, in which all slices of the fine-tuned source are "
        "trained together against its soft labels"
        + (f"; then distilled on its own for {cut.polish} steps." if cut.polish else "."),
        seed=cut.seed,
        versions=cut.made.versions,
        made_on=cut.made.made_on,
        metrics=tuple(
            Metric(f"accuracy, {name}", "dev", 1 - error, f"share of {cut.n_dev} right")
            for name, error in names.items()
        ),
        limits=("The architecture was chosen by the same dev sentences, which flatters a little.",),
        latency=Latency(ms, settings, cut.made.machine, "measured"),
        licence="apache-2.0" if source.weights == "embedded" else None,
    )
    return str(check_reload({folder: write(model, tokenizer, folder, card)})[folder])
