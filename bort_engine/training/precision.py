"""Which precision trains faster on this processor: bf16 autocast, or plain fp32.

A processor may accept bf16 and still emulate it: with AVX-512 but neither AMX nor avx512_bf16, one
fine-tuning took 780 s in bf16 and 200 s in fp32. So a product is timed in both, once in a process.
"""

from __future__ import annotations

import os
from functools import cache
from time import perf_counter, thread_time

PRECISIONS = ("bf16", "fp32")
VARIABLE = "BORT_PRECISION"
LAUNCHER = "ACCELERATE_MIXED_PRECISION"  # `accelerate launch --mixed_precision`; "no" by default
# One linear layer of MiniLM-L6 on 256 tokens, about half a batch of these trainings.
ROWS, WIDTH, INNER = 256, 384, 1536
PROBE_S, MIN_TURNS = 0.06, 4  # the first two turns also pay for setting the kernels up


def precision() -> str:
    """Return "bf16" or "fp32": what trainings here use. BORT_PRECISION=bf16|fp32 overrides it, or
    without that, bf16 of a launcher.

    Raises:
        ValueError: it is overridden by another value.
    """
    name, choice = VARIABLE, os.environ.get(VARIABLE)
    if not choice and os.environ.get(LAUNCHER, "no") != "no":
        name, choice = LAUNCHER, os.environ[LAUNCHER]
    choice = choice or ("bf16" if fast_bf16() else "fp32")
    if choice not in PRECISIONS:
        raise ValueError(f"{name} is {choice[:80]!r}; allowed: bf16, fp32, or not set.")
    return choice


@cache
def fast_bf16() -> bool:
    """True where bf16 pays: asked of a GPU, timed on a CPU (0.1 s)."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return pays(*product_seconds())


def pays(bf16_s: float, fp32_s: float) -> bool:
    """Decide by the seconds of one product in each precision.

    Measured ratios: 0.4 with avx512_bf16; 2.2 and 4.3 where it is emulated. So the bound is not
    delicate; it is below 1 because backward passes gain less than forward ones.
    """
    return bf16_s < 0.9 * fp32_s


def product_seconds() -> tuple[float, float]:
    """Return the least seconds of a linear layer's forward pass in bf16 and in fp32.

    Under autocast, so that bf16 pays for casting its inputs as in a training. On one thread, by
    that thread's own clock: neither other processes nor waiting threads count (with four busy
    processes on two cores, wall times gave ratios from 0.2 to 1.6 for one of 0.4).
    """
    import torch

    inputs, weight = torch.ones(ROWS, WIDTH), torch.ones(INNER, WIDTH)
    least = {True: float("inf"), False: float("inf")}
    threads, end, turns = torch.get_num_threads(), perf_counter() + PROBE_S, 0
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            while turns < MIN_TURNS or perf_counter() < end:
                for bf16 in least:
                    start = thread_time()
                    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                        torch.nn.functional.linear(inputs, weight)
                    least[bf16] = min(least[bf16], thread_time() - start)
                turns += 1
    finally:
        torch.set_num_threads(threads)
    return least[True], least[False]
