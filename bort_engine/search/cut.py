"""The verb `cut`: a point of an elastic front becomes a checkpoint, as accurate as the front says.

It is cut out of the same student that the front measured, so nothing is trained, unless it is to be
polished: distilled on its own for some steps, which a front of thousands of slices cannot afford.
Where layers differ, the checkpoint is padded, and an ONNX model beside it has the true widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from bort_engine.data.columns import Columns
from bort_engine.data.tasks import find_task, with_columns
from bort_engine.encoder.export import Parity, check_uneven, clear, write_uneven
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import check_slice
from bort_engine.encoder.timing import LatencySettings
from bort_engine.encoder.turns import median_ms
from bort_engine.encoder.uneven import Uneven
from bort_engine.runs import records
from bort_engine.runs.events import Progress, Stop, bar, never, step_events
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import Count, PositiveCount, Share
from bort_engine.search.evaluate import BriefTraining, Evaluator, Setup, Shape
from bort_engine.training import metrics
from bort_engine.training.precision import precision

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bort_engine.training.teacher import Teacher

STAGE = "polishing the slice"
LEARNING_RATE = 1e-4  # of the polish: a fifth of the elastic student's


@dataclass(frozen=True, slots=True)
class Recall:
    """A class, its rows on dev, and the shares of these that the two models name rightly.

    None where dev has no row of it.
    """

    label: str
    n_dev: Count
    this_model: Share | None
    source: Share | None


@dataclass(frozen=True, slots=True)
class Cut:
    """A checkpoint cut from an elastic student, and its share of wrong answers on dev.

    `front_error` is the slice's as a front measures it, `dev_error` the checkpoint's: the same
    unless it was polished for `polish` steps. `scores` are the task's usual ones of the checkpoint,
    of the source and of who always names the most frequent class, by name; `recalls` are empty of a
    task of numbers. `reloaded` is what a new process said of it. Where layers differ, `onnx` says
    how near to the checkpoint the ONNX model beside it is.
    """

    architecture: Shape
    source: str
    task: str
    folder: str
    front_error: Share
    dev_error: Share
    source_error: Share
    scores: dict[str, dict[str, float]]
    recalls: tuple[Recall, ...]
    n_dev: PositiveCount
    polish: Count
    seed: Count
    reloaded: str
    made: Provenance
    onnx: Parity | None = None
    schema: Literal[3] = 3

    AGAIN: ClassVar[str] = "delete it and run `cut` again to make one"

    def __str__(self) -> str:
        polished = f"; polished for {self.polish} steps {self.dev_error:.2%}" if self.polish else ""
        return (
            f"{self.architecture} of {self.source} on {self.task}: error {self.front_error:.2%} on "
            f"{self.n_dev} dev rows{polished} (the source: {self.source_error:.2%})\n"
            f"{self.folder} {self.reloaded}"
            + (f"\nthe true widths are in {self.onnx_folder}: {self.onnx}" if self.onnx else "")
        )

    @property
    def onnx_folder(self) -> Path:
        return Path(self.folder).with_name("onnx")


def cut(
    source: str | Source,
    task: str = "rotten-tomatoes",
    *,
    architecture: Shape,
    polish: int = 0,
    columns: Columns | None = None,
    training: BriefTraining | None = None,
    seed: int = 0,
    out: str | Path,
    on_progress: Progress = bar,
    stop: Stop = never,
) -> Cut:
    """Save a slice of the elastic student as a plain transformers checkpoint, in `model/`.

    Where layers differ, zeros stand in there for what was cut: the same outputs, but no faster. An
    ONNX model of the true widths is then written to `onnx/`.

    Args:
        source: a reference name, a local folder, or a hub id.
        task: what the student was trained on: a name, or a file or folder of your own.
        architecture: the slice, a point of a front (D,A,H,I) or of `layers` (H:AxI,...).
        polish: steps in which the slice alone is distilled from the source first; 0 for none.
        columns: which columns of your own file make the task, where they are not text and label.
        seed: of the elastic student: the front's.
        out: the folder that `model/`, `onnx/` and the record are written to.

    Raises:
        ValueError: a mistake in the arguments, in one line, or the architecture is no slice.
        Cancelled: `stop()` became true.
    """
    source = Source.load(source) if isinstance(source, str) else source
    task = with_columns(task, columns or Columns())
    if not 0 <= polish <= 100_000:
        raise ValueError(f"polish is {polish!r}; allowed: 0 to 100000.")
    if architecture == Uneven.of(source.architecture, source):
        architecture = source.architecture  # T itself, not the student's largest slice
    if isinstance(architecture, Uneven):
        architecture.check(source)
        check_uneven(Path(out) / "onnx")
    else:
        check_slice(architecture, source)
    setup = Setup(source.name, find_task(task).name, "elastic", training or BriefTraining(), seed)
    evaluator = Evaluator(source, setup, on_progress, stop)
    T = evaluator.teacher
    model = evaluator.student.cut(architecture)
    outputs, start = evaluator.outputs(model), perf_counter()
    before = after = evaluator.judge(architecture, outputs, start)
    if polish:
        from bort_engine.training.trainer import Recipe, train, without_dropout

        recipe = Recipe(steps=polish, batch_size=64, learning_rate=LEARNING_RATE)
        on_step = step_events(STAGE, on_progress)
        model = without_dropout(model)
        train(model, T.train_data, T.tokenizer, recipe, seed=seed, on_step=on_step, stop=stop)
        outputs = evaluator.outputs(model)
        after = evaluator.judge(architecture, outputs, start)
    assert before.dev_error is not None and after.dev_error is not None
    result = Cut(
        architecture,
        source.name,
        setup.task,
        str(Path(out) / "model"),
        before.dev_error,
        after.dev_error,
        T.dev_error,
        _scores(T, outputs),
        _recalls(T, outputs, find_task(setup.task).labels),
        T.report.n_dev,
        polish,
        seed,
        reloaded="",
        made=Provenance.here(precision=precision()),
    )
    if isinstance(architecture, Uneven):
        from bort_engine.encoder.build_uneven import padded

        model = padded(model, architecture, source)
    if T.report.kind == "number":
        from bort_engine.encoder.build import rescale_output

        rescale_output(model, T.report.mean, T.report.spread)
    onnx = result.onnx_folder
    if isinstance(architecture, Uneven):
        on_progress({"stage": "writing the true widths as ONNX", "done": 0, "total": 1})
        parity = write_uneven(model, T.tokenizer, architecture, source, setup.task, onnx)
        result = replace(result, onnx=parity)
    else:
        clear(onnx)  # another shape's, where the folder is given again
    result = replace(result, reloaded=_save(result, model, T.tokenizer, source))
    records.write(Path(out) / "cut.json", result)
    return result


def _scores(T: Teacher, outputs: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the usual scores of a model, of T, and of who always names the most frequent class."""
    labels = T.dev_labels
    by_name = {"this model": outputs, "source": T.dev_logits}
    if T.report.kind == "class":
        most = np.bincount(labels, minlength=outputs.shape[1]).argmax()
        by_name["always the most frequent class"] = np.eye(outputs.shape[1])[[most] * len(labels)]
    scores = {name: metrics.scores(labels, values) for name, values in by_name.items()}
    return {
        name: {what: round(value, 6) for what, value in row.items()} for name, row in scores.items()
    }


def _recalls(T: Teacher, outputs: np.ndarray, classes: Sequence[str]) -> tuple[Recall, ...]:
    """Return what a model and T find of each class, in the order of the outputs."""
    if T.report.kind == "number":
        return ()
    n_dev = np.bincount(T.dev_labels, minlength=len(classes)).tolist()
    found = (metrics.recalls(T.dev_labels, logits) for logits in (outputs, T.dev_logits))
    return tuple(Recall(*row) for row in zip(classes, n_dev, *found, strict=True))


def _save(
    cut: Cut, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: Source
) -> str:
    """Save the checkpoint with its card, and open it again in a new process."""
    from bort_engine.encoder.checkpoint import write
    from bort_engine.encoder.model_card import Card, Latency, Metric, TrueWidths
    from bort_engine.encoder.reload import check_reload

    task, folder = find_task(cut.task), Path(cut.folder)
    settings = LatencySettings(sequence_length=tokenizer.model_max_length)
    shape = cut.architecture
    plain = shape.padded(source) if isinstance(shape, Uneven) else shape
    ms = median_ms(list(dict.fromkeys((plain, shape))), source, settings)
    card = Card(
        architecture=plain,
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
        metrics=(
            *(
                Metric(f"{what}, {name}", "dev", value, f"{cut.n_dev} rows")
                for name, row in cut.scores.items()
                for what, value in row.items()
            ),
            *(
                Metric(f"recall of {of.label}, {name}", "dev", value, f"{of.n_dev} rows")
                for of in cut.recalls
                for name, value in (("this model", of.this_model), ("source", of.source))
                if value is not None
            ),
        ),
        limits=("The architecture was chosen by the same dev sentences, which flatters a little.",),
        latency=Latency(ms[plain], settings, cut.made.machine, "measured"),
        licence="apache-2.0" if source.weights == "embedded" else None,
        true_widths=TrueWidths(shape, ms[shape], str(cut.onnx))
        if isinstance(shape, Uneven)
        else None,
    )
    return str(check_reload({folder: write(model, tokenizer, folder, card)})[folder])
