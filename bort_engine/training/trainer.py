"""One fast way to train and to predict: transformers.Trainer with the settings that pay on a CPU.

Fused AdamW, bf16 autocast where the processor has it, batches of like length, attention as plain
matrix products, and an optimizer that walks over those word embeddings only that occur in the data
(benchmarks/training.py has the ratio to Trainer's defaults).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Sampler
from torch.utils.hooks import RemovableHandle
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from bort_engine.encoder.checkpoint import os_errors
from bort_engine.runs.events import Cancelled, Stop, never
from bort_engine.training import together
from bort_engine.training.precision import precision
from bort_engine.training.recipe import Recipe

OnStep = Callable[[int, int, float], None]  # the step, how many there are, its loss
PREDICTED = 64  # rows at a time
KEEP_EVERY = 50  # steps between two states that a training can be resumed from
Rows = list[dict[str, Any]]  # `NAMES` and labels: quicker to read than a Dataset
NAMES = ("input_ids", "attention_mask")


def encode(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    labels: Any,
    second: Sequence[str] | None = None,
) -> Rows:
    """Tokenise texts, or pairs of them where there are `second` ones.

    What is longer than the tokenizer's `model_max_length` is cut.

    Args:
        labels: class numbers, numbers, or rows of probabilities to distil from.
    """
    is_pair = second is not None
    tokens = tokenizer(list(texts), list(second) if is_pair else None, truncation=True)
    # Which of the two texts a token is of; without a second one it says nothing.
    names = [*NAMES, "token_type_ids"] if is_pair and "token_type_ids" in tokens else [*NAMES]
    columns = [*(tokens[name] for name in names), np.asarray(labels).tolist()]
    return [dict(zip([*names, "labels"], row, strict=True)) for row in zip(*columns, strict=True)]


def train(
    model: PreTrainedModel,
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    *,
    seed: int = 0,
    on_step: OnStep = lambda step, total, loss: None,
    stop: Stop = never,
) -> PreTrainedModel:
    """Train in place and return the model: cross-entropy against classes or probabilities, or the
    squared difference from numbers.

    Raises:
        Cancelled: `stop()` became true; the step it was in is finished.
    """
    # "eager" is attention as plain matrix products: on a CPU, at up to 64 tokens, the backward pass
    # of the fused kernel ("sdpa") alone takes half of a step.
    model.set_attn_implementation("eager")
    watch = _Watch(on_step, stop)
    with words_in_use(model, rows) as renumbered:
        _run(model, renumbered, tokenizer, recipe, seed, watch)
    return model.eval()


def train_module(
    module: torch.nn.Module,
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    *,
    seed: int = 0,
    on_step: OnStep = lambda step, total, loss: None,
    stop: Stop = never,
    states: Path | None = None,
) -> None:
    """Train in place any module that returns {"loss": ...} of a batch, or {"logits": ...}.

    Several sets of logits, one below the other, all count against the same labels.

    Args:
        states: a folder where its state is kept, every 50 steps and on a stop, and taken up again,
            random numbers included: a training that was stopped ends as one that was not.

    Raises:
        Cancelled: `stop()` became true; the step it was in is finished.
    """
    watch = _Watch(on_step, stop)
    _run(module, rows, tokenizer, recipe, seed, watch, states)


def _run(
    model: torch.nn.Module,
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    seed: int,
    watch: _Watch,
    states: Path | None = None,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        args = _arguments(str(states or folder), recipe, seed, keep=states is not None)
        args.mixed_precision = "bf16" if args.bf16 else "no"  # not what a launcher was told
        # Of several processes: a step of a slice leaves weights out, one of a whole model none.
        args.ddp_find_unused_parameters = not isinstance(model, PreTrainedModel)
        trainer = _Trainer(
            model=model,
            args=args,
            train_dataset=rows,  # pyright: ignore[reportArgumentType]
            data_collator=_Collator(tokenizer),
            compute_loss_func=watch.loss,
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.batch_size = recipe.batch_size
        with together.unbroken(watch.stop), os_errors():  # of states that are kept
            trainer.train(resume_from_checkpoint=_last_state(states))
    if watch.stopped:
        raise Cancelled("stopped on request")


def _last_state(states: Path | None) -> str | None:
    """Return the newest state that is whole: trainer_state.json is written last.

    Of several processes each adds its own random numbers, so theirs are of no use to another
    number of them.
    """
    n, numbers = together.n_processes(), []
    names = {f"rng_state_{rank}.pth" for rank in range(n)} if n > 1 else set()
    for path in states.glob("checkpoint-*/trainer_state.json") if states else ():
        with suppress(ValueError):  # itself cut off
            json.loads(path.read_bytes())
            if {p.name for p in path.parent.glob("rng_state_*")} == names:
                numbers.append(int(path.parent.name.partition("-")[2]))
    return str(states / f"checkpoint-{max(numbers)}") if states and numbers else None


@contextmanager
def words_in_use(model: PreTrainedModel, rows: Rows) -> Iterator[Rows]:
    """Let the model hold only the word embeddings that occur in `rows`, renumbered to match.

    The others get no gradient, yet every step would walk over them all: 12 million of MiniLM's 23
    million parameters. Afterwards the whole table is back, with what was learned in its place.
    """
    whole: Any = model.get_input_embeddings()
    # `used[new]` is a token's number in the whole table, `place[old]` its row in the small one.
    # Numbers up to padding's stay: RoBERTa derives its position ids from which ids are padding's.
    padding = whole.padding_idx or 0
    used = sorted({i for row in rows for i in row["input_ids"]} | set(range(padding + 1)))
    place = {old: new for new, old in enumerate(used)}
    some = torch.nn.Embedding(len(used), whole.embedding_dim, padding_idx=whole.padding_idx)
    some.to(whole.weight.device)
    with torch.no_grad():
        some.weight.copy_(whole.weight[used])
    model.set_input_embeddings(some)
    try:
        yield [row | {"input_ids": [place[i] for i in row["input_ids"]]} for row in rows]
    finally:  # after a stop, too: the caller's model is never left with the small table
        with torch.no_grad():
            whole.weight[used] = some.weight.to(whole.weight.device)
        model.set_input_embeddings(whole)


def imitate(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    *,
    seed: int = 0,
    on_step: OnStep = lambda step, total, loss: None,
    stop: Stop = never,
) -> None:
    """Train the student encoder in place to give the teacher's last hidden states.

    The loss is the mean squared difference per unit, through a linear map from the student's width
    to the teacher's, which is learned and thrown away. The labels of `rows` are not read.

    Raises:
        Cancelled: `stop()` became true; the step it was in is finished.
    """
    pair = _Pair(student, teacher)
    train_module(pair, rows, tokenizer, recipe, seed=seed, on_step=on_step, stop=stop)
    student.eval()


class _Pair(torch.nn.Module):
    """A student beside its frozen teacher; what comes out is the distance of their states."""

    def __init__(self, student: PreTrainedModel, teacher: PreTrainedModel) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher.eval().requires_grad_(False)
        for model in (student, teacher):
            model.set_attn_implementation("eager")
        self.map = torch.nn.Linear(student.config.hidden_size, teacher.config.hidden_size)
        torch.nn.init.eye_(self.map.weight)
        torch.nn.init.zeros_(self.map.bias)

    def forward(self, input_ids: Any, attention_mask: Any, labels: Any = None) -> Any:
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        with torch.no_grad():
            target = self.teacher(**batch).last_hidden_state.float()
        states = self.map(self.student(**batch).last_hidden_state).float()
        mask = attention_mask[..., None].float()  # padding's states count nothing
        return {"loss": ((states - target) ** 2 * mask).sum() / (mask.sum() * target.shape[-1])}


def predict(
    model: PreTrainedModel,
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    on_row: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return logits (rows, classes) in the rows' order; batches are of like length.

    They are those of plain forward passes, of which the last layer computes only what they need.

    Args:
        on_row: told after each batch how many rows are done.
    """
    model.set_attn_implementation("eager")  # a tenth faster here, see `train`
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).eval()  # pyright: ignore[reportArgumentType]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    batches = (order[at : at + PREDICTED] for at in range(0, len(order), PREDICTED))
    collate, logits = _Collator(tokenizer), list[torch.Tensor]()
    # One autocast around all batches: it then casts the weights once.
    bf16 = torch.autocast(device, torch.bfloat16, enabled=precision() == "bf16")
    with torch.inference_mode(), bf16, _first_token_alone(model):
        for batch in batches:
            inputs = collate([rows[i] for i in batch])
            del inputs["labels"]
            logits.append(model(**inputs.to(device)).logits.float().cpu())
            if on_row:
                on_row(sum(map(len, logits)))
    sorted_logits = torch.cat(logits).numpy()
    in_order = np.empty_like(sorted_logits)
    in_order[order] = sorted_logits
    return in_order


def _first_token_alone(model: PreTrainedModel) -> RemovableHandle:
    """Until it is closed, let only the first token through the last layer's feed-forward part.

    The heads of all three families read nothing else. The norm after the attention is the last
    layer's first one: what comes after it takes one token at a time.
    """
    encoder: Any = next(m for m in model.modules() if hasattr(m, "layer"))
    norm = next(m for m in encoder.layer[-1].modules() if isinstance(m, torch.nn.LayerNorm))
    return norm.register_forward_hook(lambda *passed: passed[-1][:, :1])


def without_dropout(model: PreTrainedModel) -> PreTrainedModel:
    """Switch dropout off for good: short trainings hardly overfit, and on a CPU drawing the masks
    takes a third of a step."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


class _Trainer(Trainer):
    batch_size: int  # of all processes and pieces

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler:
        rows: Any = train_dataset or self.train_dataset
        lengths = [len(row["input_ids"]) for row in rows]
        return _LikeLengths(lengths, self.batch_size, self.args.seed)

    def get_train_dataloader(self) -> DataLoader:
        if together.n_in_all() == 1:
            return super().get_train_dataloader()
        # accelerate's own way would fill the last batch of an epoch up with rows of the first.
        batches = BatchSampler(self._get_train_sampler(), self.batch_size, drop_last=False)
        rows: Any = self.train_dataset
        return DataLoader(
            rows, batch_sampler=together.Pieces(batches), collate_fn=self.data_collator
        )


class _LikeLengths(Sampler):
    """Rows of like length side by side, so that a batch needs little padding.

    Trainer's own group_by_length serves every 50 batches longest first: a training of 30 steps
    would then see long texts only. Here the batches come in random order.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size = np.array(lengths), batch_size
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        jitter = self.rng.uniform(0.8, 1.25, len(self.lengths))  # no two epochs alike
        order = np.argsort(self.lengths * jitter)
        n_whole = len(order) // self.batch_size * self.batch_size
        # What does not fill a batch is drawn at random and comes last, or the longest always would.
        rest = self.rng.permutation(order)[: len(order) - n_whole]
        batches = order[~np.isin(order, rest)].reshape(-1, self.batch_size)
        yield from self.rng.permutation(batches).ravel().tolist()  # shuffles batches, not rows
        yield from rest.tolist()


def _arguments(folder: str, recipe: Recipe, seed: int, *, keep: bool = False) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        max_steps=recipe.steps or -1,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=-(-recipe.batch_size // together.n_in_all()),
        gradient_accumulation_steps=together.n_pieces(),
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_share,
        weight_decay=recipe.weight_decay,
        optim="adamw_torch_fused",
        bf16=precision() == "bf16",
        use_cpu=not torch.cuda.is_available(),
        seed=seed,
        report_to="none",
        save_strategy="steps" if keep else "no",
        save_steps=KEEP_EVERY,
        save_total_limit=1,
        logging_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )


def _loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> Any:
    logits = outputs["logits"].float()
    repeated = labels.repeat(len(logits) // len(labels), *[1] * (labels.dim() - 1))
    if logits.shape[-1] == 1:
        return torch.nn.functional.mse_loss(logits[:, 0], repeated.float())
    return torch.nn.functional.cross_entropy(logits, repeated)


class _Collator(DataCollatorWithPadding):
    """Pads the tokens to the batch's longest; class numbers stay integers, probabilities floats."""

    def __call__(self, features: list[dict[str, Any]]) -> Any:
        labels = torch.tensor([row["labels"] for row in features])
        features = [{k: v for k, v in row.items() if k != "labels"} for row in features]
        return super().__call__(features) | {"labels": labels}


class _Watch(TrainerCallback):
    """Reports each step and its loss; ends the training after the step in which `stop` is true.

    Trainer's callbacks do not see the loss, so the loss function, a method of this one, keeps it.
    """

    def __init__(self, on_step: OnStep, stop: Stop) -> None:
        self.on_step, self.stop, self.stopped = on_step, stop, False
        self.last_loss = float("nan")

    def loss(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> Any:
        loss = outputs["loss"] if "loss" in outputs else _loss(outputs, labels)
        self.last_loss = loss.item()
        if together.n_in_all() == 1:
            return loss
        # Trainer sums over pieces and counts the labels of all; a mean over processes it multiplies
        # by their number.
        return loss * (labels.numel() / num_items_in_batch)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        self.on_step(state.global_step, state.max_steps, self.last_loss)
        if self.stop():
            self.stopped = control.should_training_stop = True
            # Only all processes together make a whole state, and the others were not asked.
            control.should_save = args.save_strategy != "no" and together.n_processes() == 1
        return control
