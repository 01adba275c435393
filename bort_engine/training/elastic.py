"""The elastic student: one set of weights in which every architecture of a space is a slice.

It starts as a copy of T. Slices are nested, since each holds T's most important units, and they are
trained together by the sandwich rule (Yu and Huang 2019, "Universally Slimmable Networks and
Improved Training Techniques", section 3.1): each step trains the smallest slice, some random ones
and, at times, the largest, all against T's soft labels. Larger ones are drawn more often: drawn
evenly, the small ones pull the large ones away from T. After that, to evaluate an architecture
takes a forward pass on dev, and what was evaluated is an ordinary trained model: see `cut`.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch.func import functional_call
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from bort_engine.encoder.build import Slice, blank, inherit
from bort_engine.encoder.build_uneven import cut_uneven
from bort_engine.encoder.checkpoint import os_errors
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture, SearchSpace, check_slice
from bort_engine.encoder.uneven import Uneven
from bort_engine.runs import records
from bort_engine.runs.events import Progress, Stop, never, silent, step_events
from bort_engine.runs.records import NonNegative
from bort_engine.training import together
from bort_engine.training.forecast import ELASTIC, ELASTIC_RECIPE
from bort_engine.training.precision import precision
from bort_engine.training.teacher import Teacher
from bort_engine.training.trainer import Recipe, train_module, without_dropout, words_in_use

N_RANDOM = 2  # random slices a step, beside the smallest; each the larger one of two
LARGEST_EVERY = 2  # so many steps, on average, train the largest slice once


@dataclass(frozen=True, slots=True)
class ElasticReport:
    """How an elastic student was trained, in which precision, and how long the last part took."""

    recipe: Recipe
    seed: int
    seconds: NonNegative
    precision: str


class Elastic:
    """A trained elastic student."""

    def __init__(self, folder: Path, teacher: Teacher, source: Source) -> None:
        self.report = records.read(folder / "report.json", ElasticReport)
        self.teacher, self.source = teacher, source
        self.model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            folder / "model", use_safetensors=True
        ).eval()

    def cut(self, architecture: Architecture | Uneven) -> PreTrainedModel:
        """Return a slice as a model with T's kind of head; the source's own shape is T.

        Raises:
            ValueError: the architecture is no slice of the source.
        """
        importance = self.teacher.importance
        if isinstance(architecture, Uneven):
            return cut_uneven(self.model, architecture, self.source, importance)
        check_slice(architecture, self.source)
        if architecture == self.source.architecture:
            return copy.deepcopy(self.teacher.model)
        return inherit(self.model, architecture, self.source, importance)

    @classmethod
    def prepare(
        cls,
        source: Source,
        teacher: Teacher,
        recipe: Recipe = ELASTIC_RECIPE,
        *,
        seed: int = 0,
        on_progress: Progress = silent,
        stop: Stop = never,
    ) -> Elastic:
        """Return T's elastic student from the cache, training it at first use.

        Raises:
            Cancelled: a stop was asked for; the next call goes on from there.
        """
        folder = teacher.student_folder(recipe, seed)
        training = (source, teacher, recipe, seed, folder, on_progress, stop)
        together.made(folder, partial(_train, *training))
        return cls(folder, teacher, source)


def _train(
    source: Source,
    teacher: Teacher,
    recipe: Recipe,
    seed: int,
    folder: Path,
    on_progress: Progress,
    stop: Stop,
) -> None:
    """Train the elastic student and write it, whole or not at all; a stopped training is kept."""
    start = perf_counter()
    model = without_dropout(copy.deepcopy(teacher.model))
    # As many rows as are needed, in one epoch: to resume is then to skip the batches that were.
    data, n_rows = teacher.train_data, recipe.steps * recipe.batch_size
    rows = (data * -(-n_rows // len(data)))[:n_rows]
    states = folder.with_name(f".{folder.name}.states")
    with words_in_use(model, rows) as renumbered:
        train_module(
            _Sandwich(model, teacher, source),
            renumbered,
            teacher.tokenizer,
            recipe,
            seed=seed,
            on_step=step_events(ELASTIC, on_progress),
            stop=stop,
            states=states,
        )
    if not together.is_first():
        return
    seconds = round(perf_counter() - start, 1)
    with records.whole_folder(folder) as part:
        with os_errors():
            model.save_pretrained(part / "model")
        records.write(part / "report.json", ElasticReport(recipe, seed, seconds, precision()))
    shutil.rmtree(states, ignore_errors=True)


class _Sandwich(torch.nn.Module):
    """The elastic student; what comes out are the logits of all slices that a step trains."""

    def __init__(self, student: PreTrainedModel, teacher: Teacher, source: Source) -> None:
        super().__init__()
        student.set_attn_implementation("eager")
        self.student = student
        self._source, self._importance = source, teacher.importance
        fine = SearchSpace.fine(source)
        self._by_size = sorted(fine, key=lambda shape: n_parameters(shape, source).encoder)
        self._smallest, self._largest = self._by_size[0], self._by_size[-1]
        self._slice = cache(self._slice_of)
        self._n_done, self._chosen = 0, list[Architecture]()

    def forward(self, **batch: Any) -> Any:
        if self._n_done % together.n_pieces() == 0:  # all pieces of a batch train the same slices
            self._chosen = self._drawn()
        self._n_done += 1
        weights = dict(self.student.named_parameters())
        return {"logits": torch.cat([self._logits(a, weights, batch) for a in self._chosen])}

    def _drawn(self) -> list[Architecture]:
        # Of torch's random numbers, which a training that is resumed takes up where they were.
        drawn = torch.randint(len(self._by_size), (N_RANDOM, 2)).amax(1).tolist()
        chosen = [self._smallest, *(self._by_size[n] for n in drawn)]
        if torch.rand(()) < 1 / LARGEST_EVERY:
            chosen.append(self._largest)
        return chosen

    def _logits(
        self, shape: Architecture, weights: Mapping[str, torch.Tensor], batch: dict[str, Any]
    ) -> torch.Tensor:
        """Run a slice as a function of the whole student's weights: gradients reach them."""
        kept, model = self._slice(shape)
        cut = kept.weights(weights, dict(model.named_parameters()))
        return functional_call(model, cut, kwargs=batch).logits

    def _slice_of(self, shape: Architecture) -> tuple[Slice, PreTrainedModel]:
        """Return which units a slice holds, and a model of its shape for weights to be put in."""
        model = without_dropout(blank(self.student, shape, self._source)).train()
        model.set_attn_implementation("eager")
        for parameter in model.parameters():
            # Others are put in their place, so they need a shape and no memory: models are kept of
            # hundreds of slices, 10 GB in all.
            parameter.data = parameter.new_empty(1).expand(parameter.shape)
        return Slice.of(self._source.architecture, shape, self._importance), model
