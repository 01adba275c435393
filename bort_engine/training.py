"""One fast way to train and to predict: transformers.Trainer with the settings that pay on a CPU.

Fused AdamW, bf16 autocast where the processor has it, batches of like length, and attention as
plain matrix products: over twice the throughput of Trainer's defaults (benchmarks/training.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils import logging as transformers_logging

from bort_engine import Cancelled
from bort_engine.tasks import MAX_LENGTH

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

Stop = Callable[[], bool]
OnStep = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how hard to train: either `steps`, or `epochs` where steps is 0."""

    steps: int = 0
    epochs: float = 2
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup_share: float = 0.1
    weight_decay: float = 0.01


def encode(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, labels: Any) -> Dataset:
    """Tokenise texts; `labels` are class numbers, or rows of probabilities to distil from."""
    tokens = tokenizer(list(texts), truncation=True, max_length=MAX_LENGTH)
    columns = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    lengths = [len(ids) for ids in columns["input_ids"]]
    return Dataset.from_dict(columns | {"labels": np.asarray(labels).tolist(), "length": lengths})


def train(
    model: PreTrainedModel,
    data: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    *,
    seed: int = 0,
    on_step: OnStep = lambda step, total: None,
    stop: Stop = lambda: False,
) -> PreTrainedModel:
    """Train in place and return the model: cross-entropy against classes or probabilities.

    Raises:
        Cancelled: `stop()` became true; the step it was in is finished.
    """
    # On a CPU the fused attention's backward pass alone takes half of a step at these lengths.
    model.set_attn_implementation("eager")
    watch = _Watch(on_step, stop)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=_arguments(folder, recipe, seed),
            train_dataset=data,
            data_collator=_Collator(tokenizer),
            compute_loss_func=_cross_entropy,
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    if watch.stopped:
        raise Cancelled("stopped on request")
    return model.eval()


def predict(
    model: PreTrainedModel, data: Dataset, tokenizer: PreTrainedTokenizerBase
) -> np.ndarray:
    """Return logits (rows, classes) in the data's order; batches are of like length."""
    order = np.argsort(data["length"], kind="stable")
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=_arguments(folder, Recipe(), 0, training=False),
            data_collator=_Collator(tokenizer),
            compute_loss_func=_cross_entropy,
        )
        trainer.remove_callback(PrinterCallback)
        rows: Any = data.select(order)
        sorted_logits: Any = trainer.predict(rows).predictions
    logits = np.empty_like(sorted_logits, dtype=np.float32)
    logits[order] = sorted_logits
    return logits


def without_dropout(model: PreTrainedModel) -> PreTrainedModel:
    """Switch dropout off for good: short trainings hardly overfit, and on a CPU drawing the masks
    takes a third of a step."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def has_fast_bf16() -> bool:
    """True where bf16 matrix products run in hardware (AMX or AVX-512 on a CPU, or a GPU)."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.backends.cpu.get_cpu_capability() != "DEFAULT" and bool(
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _arguments(folder: str, recipe: Recipe, seed: int, training: bool = True) -> TrainingArguments:
    """Trainer's settings; grouping by length would also shuffle predictions, so only to train."""
    return TrainingArguments(
        output_dir=folder,
        max_steps=recipe.steps or -1,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=64,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_share,
        weight_decay=recipe.weight_decay,
        optim="adamw_torch_fused",
        bf16=has_fast_bf16(),
        train_sampling_strategy="group_by_length" if training else "sequential",
        use_cpu=not torch.cuda.is_available(),
        seed=seed,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )


def _cross_entropy(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> Any:
    return torch.nn.functional.cross_entropy(outputs.logits.float(), labels)


class _Collator(DataCollatorWithPadding):
    """Pads the tokens to the batch's longest; class numbers stay integers, probabilities floats."""

    def __call__(self, features: list[dict[str, Any]]) -> Any:
        labels = torch.tensor([row.pop("labels") for row in features])
        return super().__call__(
            [{k: v for k, v in row.items() if k != "length"} for row in features]
        ) | {"labels": labels}


class _Watch(TrainerCallback):
    """Tells each step, and ends the training after the step in which `stop` becomes true."""

    def __init__(self, on_step: OnStep, stop: Stop) -> None:
        self.on_step, self.stop, self.stopped = on_step, stop, False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        self.on_step(state.global_step, state.max_steps)
        if self.stop():
            self.stopped = control.should_training_stop = True
        return control
