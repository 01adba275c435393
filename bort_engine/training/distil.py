"""Where a student starts: sliced weights, healed by a larger model before any label is seen.

`inherit` slices the source; `general` then lets the slice imitate the source's last hidden states
on general text (Jiao et al. 2020, TinyBERT, section 3: hidden states through a learned linear map);
`task` slices T instead, head included, and imitates T's soft labels on the task's train split and
on copies of it with a fifth of the words swapped (as TinyBERT does, section 3.2). `elastic` cuts
the student out of the elastic one, head included, in which all slices of T are trained together.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bort_engine.algorithms.agora import Mistake, RoundId
from bort_engine.data.resources import cache_dir, general_texts
from bort_engine.data.tasks import MAX_LENGTH
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.runs.events import Cancelled, Progress, Stop, never, silent, step_events
from bort_engine.runs.records import whole_folder
from bort_engine.training.metrics import soft_labels
from bort_engine.training.teacher import RECIPE_VERSION, Teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bort_engine.training.trainer import Rows
    from bort_engine.training.word_swap import Tau

INITIALISATIONS = ("inherit", "general", "task", "elastic")
STAGE = "distilling the student"
# Ours, and above TinyBERT's rates (5e-5 and less): students here are small and see few steps.
GENERAL_BATCH, GENERAL_LEARNING_RATE = 64, 5e-4
TASK_BATCH, TASK_LEARNING_RATE, TASK_EPOCHS = 64, 3e-4, 8


def initial_student(
    architecture: Architecture,
    source: Source,
    teacher: Teacher,
    initialisation: str,
    *,
    seed: int = 0,
    general_steps: int = 0,
    task_epochs: int = TASK_EPOCHS,
    on_progress: Progress = silent,
    stop: Stop = never,
) -> PreTrainedModel:
    """Return the student before its fine-tuning, with a classification head.

    Args:
        initialisation: one of `INITIALISATIONS`.
        general_steps: of the distillation on general text; 0 for one pass over it.

    Raises:
        ValueError: the initialisation is unknown, or the architecture does not fit in the source.
        Cancelled: a stop was asked for.
    """
    from transformers import set_seed

    from bort_engine.encoder.build import inherit, load_source
    from bort_engine.encoder.checkpoint import os_errors
    from bort_engine.training.trainer import without_dropout

    if initialisation not in INITIALISATIONS:
        allowed = ", ".join(INITIALISATIONS)
        raise ValueError(f"initialisation is {initialisation!r}; allowed: {allowed}.")
    if initialisation == "task":
        model = without_dropout(inherit(teacher.model, architecture, source, teacher.importance))
        return distil_labels(model, teacher, task_epochs, seed, on_progress, stop)
    if initialisation == "elastic":
        from bort_engine.training.elastic import Elastic

        student = Elastic.prepare(source, teacher, on_progress=on_progress, stop=stop)
        return without_dropout(student.cut(architecture))
    set_seed(seed)
    n_classes = teacher.model.config.num_labels
    parent = load_source(source, num_labels=n_classes, seed=seed)
    model = without_dropout(inherit(parent, architecture, source, teacher.importance))
    if initialisation == "general":
        folder = _folder(architecture, source, teacher, general_steps)
        if not folder.is_dir():
            distil_states(model, source, general_steps, on_progress, stop)
            with whole_folder(folder) as part, os_errors():
                model.save_pretrained(part)
        _load_encoder(model, folder)
    return model


def distil_labels(
    model: PreTrainedModel,
    teacher: Teacher,
    epochs: int = TASK_EPOCHS,
    seed: int = 0,
    on_progress: Progress = silent,
    stop: Stop = never,
) -> PreTrainedModel:
    """Train in place on T's soft labels and return the model.

    Every epoch holds the train split and another copy of it with swapped words, labelled by T.
    """
    from bort_engine.training.trainer import Recipe, train
    from bort_engine.training.word_swap import tokens_tau

    rows = teacher.train_data * epochs
    tau = tokens_tau(teacher.model, teacher.tokenizer, seed)
    for copy in range(epochs):
        on_progress({"stage": "swapping words", "done": copy, "total": epochs})
        if stop():
            raise Cancelled("stopped on request")
        rows = rows + _swapped(teacher, tau, copy)
    recipe = Recipe(epochs=1, batch_size=TASK_BATCH, learning_rate=TASK_LEARNING_RATE)
    on_step = step_events(STAGE, on_progress)
    return train(model, rows, teacher.tokenizer, recipe, seed=seed, on_step=on_step, stop=stop)


def _swapped(teacher: Teacher, tau: Tau, copy: int) -> Rows:
    """Return the train split with a fifth of the words swapped, and what T then says of it."""
    from bort_engine.training.trainer import encode, predict

    texts = teacher.splits["train"]["text"]
    seeds = [Mistake(row, text, None, None) for row, text in enumerate(texts)]
    new = [text for near in tau(seeds, 1, RoundId(copy, 1)) for text in near]
    rows = encode(new, teacher.tokenizer, [0] * len(new))
    soft = soft_labels(predict(teacher.model, rows, teacher.tokenizer)).tolist()
    return [row | {"labels": label} for row, label in zip(rows, soft, strict=True)]


def distil_states(
    model: PreTrainedModel,
    source: Source,
    steps: int = 0,
    on_progress: Progress = silent,
    stop: Stop = never,
) -> PreTrainedModel:
    """Train the encoder in place to give the source's last hidden states on general text."""
    from bort_engine.encoder.build import load_source, load_tokenizer
    from bort_engine.training.trainer import Recipe, encode, imitate

    texts = general_texts(on_progress)
    tokenizer = load_tokenizer(source)
    tokenizer.model_max_length = MAX_LENGTH
    recipe = Recipe(steps, 1, GENERAL_BATCH, GENERAL_LEARNING_RATE)
    rows = encode(texts, tokenizer, [0] * len(texts))
    encoder: Any = model.base_model
    on_step = step_events(STAGE, on_progress)
    imitate(encoder, load_source(source), rows, tokenizer, recipe, on_step=on_step, stop=stop)
    return model


def _folder(architecture: Architecture, source: Source, teacher: Teacher, steps: int) -> Path:
    importance = teacher.importance  # decides which units of the source the student keeps
    units = hashlib.sha256(importance.hidden.tobytes())
    for array in (importance.attention, importance.neurons):
        units.update(array.tobytes())
    key = json.dumps([RECIPE_VERSION, repr(source), str(architecture), steps, units.hexdigest()])
    digest = hashlib.sha256(key.encode()).hexdigest()[:10]
    return cache_dir() / "starts" / f"{Path(source.name).name}-{architecture}-{digest}"


def _load_encoder(model: PreTrainedModel, folder: Path) -> None:
    """Take the encoder's weights from `folder`; the head stays as it was drawn."""
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    prefix = model.base_model_prefix + "."
    encoder = {name: value for name, value in weights.items() if name.startswith(prefix)}
    model.load_state_dict(model.state_dict() | encoder)
