"""Our training settings against transformers.Trainer's defaults: same model, data and steps.

Run: python benchmarks/training.py [steps] [rounds]. Prints seconds a step and the ratio, round by
round in one run, and each side's loss on dev so that speed is not bought with quality.
Trainer's defaults: fp32, its default optimizer settings, batches in random order, padded to the
longest text allowed, the library's default attention.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from datasets import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

from bort_engine.data.tasks import MAX_LENGTH, load_task
from bort_engine.encoder.build import load_source, load_tokenizer
from bort_engine.encoder.sources import sources
from bort_engine.training.teacher import cross_entropy
from bort_engine.training.trainer import Recipe, encode, predict, train

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SOURCE = sources["minilm-l6"]


def fresh_model():
    set_seed(0)
    return load_source(SOURCE, num_labels=2)


def ours(rows, tokenizer):
    recipe, model = Recipe(steps=STEPS, batch_size=64, learning_rate=1e-4), fresh_model()
    start = perf_counter()
    train(model, rows, tokenizer, recipe)
    return model, perf_counter() - start


def defaults(rows, tokenizer):
    padded = tokenizer.pad(
        [{key: row[key] for key in ("input_ids", "attention_mask")} for row in rows],
        padding="max_length",
        max_length=MAX_LENGTH,
    )
    padded = Dataset.from_dict(dict(padded) | {"labels": [row["labels"] for row in rows]})
    model = fresh_model()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=STEPS,
            per_device_train_batch_size=64,
            learning_rate=1e-4,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=padded)
        trainer.remove_callback(PrinterCallback)
        start = perf_counter()
        trainer.train()
        seconds = perf_counter() - start
    return model.eval(), seconds


def main() -> None:
    splits, tokenizer = load_task("rotten-tomatoes"), load_tokenizer(SOURCE)
    data = {name: encode(rows["text"], tokenizer, rows["label"]) for name, rows in splits.items()}
    hard = 20 * np.eye(2)[np.array(splits["validation"]["label"])]
    ratios = []
    for turn in range(ROUNDS):
        mine, my_seconds = ours(data["train"], tokenizer)
        theirs, their_seconds = defaults(data["train"], tokenizer)
        losses = [
            cross_entropy(hard, predict(model, data["validation"], tokenizer))
            for model in (mine, theirs)
        ]
        ratios.append(their_seconds / my_seconds)
        print(
            f"round {turn + 1}: ours {my_seconds / STEPS:.3f} s a step, defaults "
            f"{their_seconds / STEPS:.3f} s a step, ratio {ratios[-1]:.1f}; dev loss "
            f"{losses[0]:.3f} and {losses[1]:.3f} nats",
            flush=True,
        )
    print(
        f"median ratio {median(ratios):.1f} over {ROUNDS} rounds of {STEPS} steps of 64 sentences"
    )


main()
