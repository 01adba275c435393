"""T and the elastic student, trained by the processes that `accelerate launch` or torchrun started.

Each process computes its part of every batch, on a GPU of its own where there are GPUs, and the
gradients are averaged before each step: N processes make the steps of one, up to the order of sums.
All of them read the same data and draw the same random numbers. The first one alone writes and
tells of the work, and goes on when the trainings are over, where the others end.

With ACCELERATE_GRADIENT_ACCUMULATION_STEPS each part is cut again, and its pieces computed one
after another: a step then takes less memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bort_engine.runs.events import Cancelled, Stop, never
from bort_engine.runs.text import one_line
from bort_engine.training.precision import VARIABLE, precision

if TYPE_CHECKING:
    from torch.utils.data import BatchSampler

RANK, SIZE = "RANK", "WORLD_SIZE"  # which process this is, and of how many
ACCUMULATION = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"
LAUNCHED = (RANK, SIZE, "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# The others wait while the first one labels all texts. Where one dies, its launcher ends them all.
PATIENCE = timedelta(days=1)


def n_processes() -> int:
    """Return how many processes were launched to train together; 1 without a launcher."""
    return int(os.environ.get(SIZE, 1)) if RANK in os.environ else 1


def is_first() -> bool:
    """Is this the process that writes, tells of the work and goes on after the trainings?"""
    return n_processes() == 1 or os.environ[RANK] == "0"


def n_pieces() -> int:
    """Return in how many pieces each process computes its part of a batch.

    Raises:
        ValueError: the variable is no number of at least 1.
    """
    text = os.environ.get(ACCUMULATION, "1")
    if not text.isdecimal() or not int(text):
        raise ValueError(f"{ACCUMULATION} is {text[:80]!r}; allowed: 1, 2, 3, ..., or not set.")
    return int(text)


def has_begun() -> bool:
    """Have the processes met?"""
    if "torch" not in sys.modules:
        return False
    from torch.distributed import is_initialized

    return is_initialized()


def n_in_all() -> int:
    """Return into how many pieces each batch is cut; 1 without a launcher."""
    return n_processes() * n_pieces()


def check(*batch_sizes: int) -> None:
    """Raise a ValueError unless batches of these sizes can be cut into equal pieces."""
    n, common = n_in_all(), gcd(*batch_sizes)
    if common % n:
        allowed = ", ".join(str(k) for k in range(1, common + 1) if common % k == 0)
        sizes = " and ".join(map(str, dict.fromkeys(batch_sizes)))
        raise ValueError(
            f"{n_processes()} processes with {n_pieces()} pieces each make {n}; batches of {sizes} "
            f"can be cut into {allowed} equal pieces. Launch another number of processes."
        )


class Pieces:
    """The pieces of each batch that this process computes: a batch sampler."""

    def __init__(self, batches: BatchSampler) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches) * n_pieces()

    def __iter__(self) -> Iterator[list[int]]:
        first = 0 if is_first() else int(os.environ[RANK])
        for batch in self.batches:
            yield from pieces(batch, n_in_all())[first :: n_processes()]


def pieces(batch: Sequence[int], n: int) -> list[list[int]]:
    """Cut a batch into n pieces; the last one of an epoch may be too small, and is then repeated.

    Their losses count by their rows, so either way the mean is that of the batch.
    """
    if len(batch) < n:
        return [list(batch)] * n
    return [piece.tolist() for piece in np.array_split(batch, n)]


def made(folder: Path, make: Callable[[], None]) -> None:
    """Make a folder that is not there yet: `make` trains in all processes, and writes in the first.

    Raises:
        ValueError: this process does not see the first one's folder.
    """
    if n_processes() == 1:
        if not folder.is_dir():
            make()
        return
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    with unbroken():
        _join()
        (is_there,) = broadcast_object_list([folder.is_dir()])
    if not is_there:
        make()
    with unbroken():
        PartialState().wait_for_everyone()
    if not folder.is_dir():
        raise ValueError(
            f"{folder} was written by the first process and is not here; all machines must share "
            "one cache. Set BORT_CACHE to a folder that they share."
        )


def _join() -> None:
    """Meet the other processes, once; all take the precision of the first."""
    if not has_begun():
        import torch
        from accelerate import PartialState
        from accelerate.utils import broadcast_object_list

        PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
        (os.environ[VARIABLE],) = broadcast_object_list([precision()])


def part() -> None:
    """Go on alone, if this is the first of several processes; end here if it is another one."""
    if n_processes() == 1:
        return
    import torch
    from accelerate.state import AcceleratorState

    torch.distributed.destroy_process_group()
    if not is_first():
        raise SystemExit(0)
    AcceleratorState._reset_state(reset_partial_state=True)
    for name in LAUNCHED:  # later trainings, and those of workers, are of one process
        os.environ.pop(name, None)


@contextmanager
def unbroken(stop: Stop = never) -> Iterator[None]:
    """Where other processes end, or this one fails as torch does, raise an error of one line.

    Raises:
        Cancelled: `stop()` is true: whoever asked for it has asked the others, too.
        ChildProcessError: it is not.
    """
    try:
        yield
    except RuntimeError as e:
        if n_processes() == 1:
            raise
        if stop():
            raise Cancelled("stopped on request") from e
        raise ChildProcessError(
            f"process {os.environ[RANK]} of {n_processes()} could not go on with the others "
            f"({one_line(e)[:120]}); what was written is kept. Start again to go on."
        ) from e
