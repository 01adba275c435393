"""Fine-tuning in the precision that the old rule chose and in the one that the probe chooses.

Run: python benchmarks/precision.py [steps] [rounds]. The old rule asked what the processor accepts;
the probe times a product (bort_engine.training.precision). Each row masks some of the processor's
instructions, as on an older one. Steps of MiniLM-L6 a second, batch 32, in new processes that take
turns; a row where both chose the same is timed once.
"""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
WARM_UP = 2  # steps that are not counted
MASKS = {
    "as it is": {},
    "ATen with AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "oneDNN with AVX-512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "oneDNN with AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
}


def choices() -> None:
    """Print what the old rule and the probe choose in this process, and the probe's two times."""
    import torch

    from bort_engine.training.precision import fast_bf16, product_seconds

    old = torch.backends.cpu.get_cpu_capability() != "DEFAULT" and (
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    names = [("fp32", "bf16")[bool(answer)] for answer in (old, fast_bf16())]
    print(*names, *(f"{seconds * 1000:.1f}" for seconds in product_seconds()))


def steps_per_second() -> None:
    """Print how many steps a second this process does in the precision of BORT_PRECISION."""
    from bort_engine.data.tasks import load_task
    from bort_engine.encoder.build import load_source, load_tokenizer
    from bort_engine.encoder.sources import sources
    from bort_engine.training.trainer import Recipe, encode, train, without_dropout

    source, ticks = sources["minilm-l6"], []
    texts, tokenizer = load_task("rotten-tomatoes")["train"][:2000], load_tokenizer(source)
    rows = encode(texts["text"], tokenizer, texts["label"])
    recipe = Recipe(steps=STEPS + WARM_UP, batch_size=32, learning_rate=1e-4)
    model = without_dropout(load_source(source, num_labels=2))
    train(model, rows, tokenizer, recipe, on_step=lambda *step: ticks.append(perf_counter()))
    print(STEPS / (ticks[-1] - ticks[WARM_UP - 1]))


def child(what: str, environment: dict[str, str]) -> list[str]:
    command = [sys.executable, __file__, str(STEPS), str(ROUNDS), what]
    return subprocess.check_output(command, env=os.environ | environment, text=True).split()


def main() -> None:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line has it
    print(f"{'instructions':20} product ms, bf16 / fp32   old rule -> probe, steps/s      ratio")
    for name, mask in MASKS.items():
        old, new, *products = child("choices", mask | {"BORT_PRECISION": ""})
        speeds = {precision: [] for precision in (old, new)}
        for _ in range(ROUNDS):
            for precision, values in speeds.items():
                answer = child("steps", mask | {"BORT_PRECISION": precision})
                values.append(float(answer[0]))
        before, after = median(speeds[old]), median(speeds[new])
        ms = " / ".join(products)
        print(
            f"{name:20} {ms:24}  {old} {before:5.2f} -> {new} {after:5.2f}  {after / before:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    {"choices": choices, "steps": steps_per_second}.get("".join(sys.argv[3:]), main)()
