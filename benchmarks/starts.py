"""Where should a student start when few labels are known? Three initialisations, by dev accuracy.

Run: python benchmarks/starts.py [labelled] [task epochs] [general steps, 0: one pass].
A student of 3,12,384,768 starts from the sliced MiniLM-L6 (`inherit`), from slices that imitated
its hidden states on Wikipedia's introductions (`general`), or from slices of the labeller that
imitated its labels on all of the train split and on swapped copies (`task`). Then it is fine-tuned
on the labelled sentences, with each of Agora's default sets. Prints the mean dev accuracy before
and after, and the seconds that each took.
"""

import os
import sys
from pathlib import Path
from time import perf_counter

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent.parent))

import copy

from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.finetune.controls import EPOCHS_OF_FEW
from bort_engine.finetune.plan import CONFIGS
from bort_engine.training.distil import INITIALISATIONS, initial_student
from bort_engine.training.teacher import Teacher
from bort_engine.training.trainer import Recipe, encode, predict, train

LABELLED = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
TASK_EPOCHS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
GENERAL_STEPS = int(sys.argv[3]) if len(sys.argv) > 3 else 0
SOURCE, SHAPE = sources["minilm-l6"], Architecture(3, 12, 384, 768)


def main() -> None:
    teacher = Teacher.prepare(SOURCE, "rotten-tomatoes", n_labelled=LABELLED)
    split = teacher.splits["train"]
    labelled = [int(row) for row in teacher.labelled]
    rows = encode(
        [split["text"][row] for row in labelled],
        teacher.tokenizer,
        [split["label"][row] for row in labelled],
    )

    def accuracy(model) -> float:
        guesses = predict(model, teacher.dev_data, teacher.tokenizer).argmax(1)
        return float((guesses == teacher.dev_labels).mean())

    print(f"the labeller: {1 - teacher.dev_error:.1%} on dev", flush=True)
    for kind in INITIALISATIONS:
        begun = perf_counter()
        options = {"task_epochs": TASK_EPOCHS, "general_steps": GENERAL_STEPS}
        model = initial_student(SHAPE, SOURCE, teacher, kind, **options)
        seconds, accuracies = perf_counter() - begun, []
        for config in CONFIGS["quick"]:
            recipe = Recipe(
                epochs=EPOCHS_OF_FEW,
                batch_size=config.batch_size,
                learning_rate=config.learning_rate,
                warmup_share=config.warmup_share,
                weight_decay=config.weight_decay,
            )
            student = copy.deepcopy(model)
            train(student, rows, teacher.tokenizer, recipe, seed=config.seed)
            accuracies.append(accuracy(student))
        print(
            f"{kind}: {accuracy(model):.1%} before, {sum(accuracies) / len(accuracies):.1%} after "
            f"plain fine-tuning ({', '.join(f'{a:.1%}' for a in accuracies)}); the initialisation "
            f"took {seconds:.0f} s",
            flush=True,
        )


main()
