"""The verb `ledger`: Bort, BERT-base and BERT-large timed in turns, in one run on one machine.

No weights are needed: how long a forward pass takes depends on the shape, not on the values, so
they are drawn at random. The shape whose hidden and intermediate sizes are swapped, which fits the
sizes that were published for Bort, is timed beside the one that was released.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Le, MaxLen, MinLen

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.latency import LatencySettings
from bort_engine.encoder.sources import Source, sources
from bort_engine.runs import records
from bort_engine.runs.checks import check_whole
from bort_engine.runs.events import Progress, Stop, check, never, silent
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import NonNegative, Positive

LENGTHS = (16, 128, 512)
REPEATS = 15
MOST_LENGTHS, MOST_REPEATS = 16, 1000
RECORDED = ASSETS / "recorded" / "ledger.json"
DEPLOYED = ASSETS / "recorded" / "ledger-deployed.json"
BORT, LARGE, BASE = (sources[n] for n in ("bort", "bert-large-uncased", "bert-base-uncased"))
_H, _I = BORT.architecture.hidden_size, BORT.architecture.intermediate_size
SWAPPED = replace(
    BORT,
    name="bort-swapped",
    architecture=replace(BORT.architecture, hidden_size=_I, intermediate_size=_H),
)
MODELS: dict[str, Source] = {source.name: source for source in (BORT, SWAPPED, BASE, LARGE)}

# Milliseconds, one a round; and those by length in tokens.
Times = Annotated[tuple[Positive, ...], MinLen(1), MaxLen(MOST_REPEATS)]
ByLength = Annotated[dict[Annotated[int, Ge(1), Le(512)], Times], MinLen(1), MaxLen(MOST_LENGTHS)]
# A runtime and its precision.
Deployment = Literal["pytorch-fp32", "pytorch-bf16", "onnx-int8", "openvino-int8"]
DEFAULT: Deployment = "pytorch-fp32"


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its quartiles, over `n` rounds."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        low, median, high = np.percentile(values, (25, 50, 75)).tolist()
        return cls(median, low, high, len(values))

    @classmethod
    def of_ratios(cls, slow: Sequence[float], fast: Sequence[float]) -> Spread:
        """Return how many times as long the first take as the second, round by round.

        What slows the whole machine for a moment slows both.
        """
        return cls.of([a / b for a, b in zip(slow, fast, strict=True)])


@dataclass(frozen=True, slots=True)
class Ledger:
    """Milliseconds of one forward pass, batch 1, fp32: `times_ms[model][length]`, one a round.

    Round k's times of a length were taken right after each other, whichever the model.
    """

    AGAIN: ClassVar[str] = "delete it and run `ledger` again to make one"

    schema: Literal[2] = field(default=2, kw_only=True)
    times_ms: dict[str, ByLength]
    threads: Annotated[int, Ge(1), Le(1024)]
    provenance: Provenance
    seconds: NonNegative

    def __post_init__(self) -> None:
        if self.times_ms.keys() != MODELS.keys():
            raise ValueError(f"it does not time the four models {', '.join(MODELS)}")
        for name, by_length in self.times_ms.items():
            if tuple(sorted(by_length)) != self.lengths:
                raise ValueError(f"{name} was timed at {sorted(by_length)}, not {self.lengths}")
            if any(len(times) != self.rounds for times in by_length.values()):
                raise ValueError(f"{name} was not timed in all of {self.rounds} rounds")

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(sorted(self.times_ms[BORT.name]))

    @property
    def rounds(self) -> int:
        return len(self.times_ms[BORT.name][self.lengths[0]])

    def ms(self, model: str, length: int) -> Spread:
        """Return a model's time at a length, in milliseconds."""
        return Spread.of(self.times_ms[model][length])

    def ratio(self, slow: str, fast: str, length: int) -> Spread:
        """Return how many times as long the first takes as the second."""
        return Spread.of_ratios(self.times_ms[slow][length], self.times_ms[fast][length])

    @classmethod
    def load(cls, path: str | Path) -> Ledger:
        """Read a ledger. Raises ValueError where there is no such file, or it is damaged."""
        return records.read(path, cls)

    def __str__(self) -> str:
        head = (
            f"milliseconds of a forward pass: batch 1, fp32, random weights, threads: "
            f"{self.threads}, medians of {self.rounds} rounds; {self.provenance}"
        )
        lines = ["tokens" + "".join(f"{name:>20}" for name in MODELS) + "     base    large"]
        for length in self.lengths:
            times = "".join(f"{self.ms(name, length).median:>20.2f}" for name in MODELS)
            ratios = (self.ratio(slow.name, BORT.name, length).median for slow in (BASE, LARGE))
            lines.append(f"{length:>6}{times}" + "".join(f"{ratio:>8.2f}x" for ratio in ratios))
        foot = "last two columns: how many times as long as bort the base and the large BERT take"
        return "\n".join([head, *lines, foot])


@dataclass(frozen=True, slots=True)
class DeployedLedger:
    """BERT-large and Bort in the runtimes they can be deployed in: batch 1, random weights.

    `times_ms[runtime][model][length]` are milliseconds of one forward pass, one a round; round k's
    times of a length were taken in turns, whichever the runtime and the model.
    """

    AGAIN: ClassVar[str] = "delete it and run benchmarks/ledger_deployed.py to make one"

    schema: Literal[1] = field(default=1, kw_only=True)
    times_ms: dict[Deployment, dict[str, ByLength]]
    cpu_flags: str
    provenance: Provenance

    def __post_init__(self) -> None:
        if DEFAULT not in self.times_ms:
            raise ValueError(f"it does not time {DEFAULT}")
        rounds = {n: len(times) for n, times in self.times_ms[DEFAULT].get(BORT.name, {}).items()}
        for runtime, by_model in self.times_ms.items():
            if by_model.keys() != {LARGE.name, BORT.name}:
                raise ValueError(f"{runtime} does not time {LARGE.name} and {BORT.name}")
            for name, by_length in by_model.items():
                if {length: len(times) for length, times in by_length.items()} != rounds:
                    raise ValueError(f"{runtime} does not time {name} in the rounds of the others")

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(sorted(self.times_ms[DEFAULT][BORT.name]))

    @classmethod
    def load(cls, path: str | Path) -> DeployedLedger:
        """Read a record. Raises ValueError where there is no such file, or it is damaged."""
        return records.read(path, cls)

    def ms(self, runtime: Deployment, model: str, length: int) -> Spread:
        """Return a model's time in a runtime at a length, in milliseconds."""
        return Spread.of(self.times_ms[runtime][model][length])

    def ratio(self, slow: Deployment, fast: Deployment, length: int) -> Spread:
        """Return how many times as long BERT-large takes in the first as Bort in the second."""
        large, bort = self.times_ms[slow][LARGE.name], self.times_ms[fast][BORT.name]
        return Spread.of_ratios(large[length], bort[length])

    def gain(self, runtime: Deployment, length: int) -> Spread:
        """Return how many times as long BERT-large takes in the default runtime as in this one."""
        slow, fast = (self.times_ms[name][LARGE.name] for name in (DEFAULT, runtime))
        return Spread.of_ratios(slow[length], fast[length])

    def best(self, length: int) -> Deployment:
        """Return the runtime in which Bort's median is the lowest."""
        return min(self.times_ms, key=lambda runtime: self.ms(runtime, BORT.name, length).median)


def read_lengths(text: str) -> tuple[int, ...]:
    """Read lengths as the command line gives them: `16,128,512`. Raises ValueError."""
    if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", text):
        raise ValueError(f"lengths is {text[:60]!r}; give numbers of tokens such as 16,128,512.")
    return tuple(int(part) for part in text.split(","))


def ledger(
    lengths: Sequence[int] = LENGTHS,
    repeats: int = REPEATS,
    threads: int = 0,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    on_progress: Progress = silent,
    stop: Stop = never,
) -> Ledger:
    """Time a forward pass of every model at every length on this machine, in turns.

    In every round and at every length all models are timed right after each other, in an order that
    is drawn anew; a pass that does not count goes before each that does. Batch 1, fp32,
    transformers' default attention, full-length input. It takes 2.3 GB of memory.

    Args:
        lengths: in tokens, 1 to 512 each.
        repeats: rounds.
        threads: 0 takes all processors there are.
        out: a folder for ledger.json.
        seed: of the order in which models are timed.

    Raises:
        ValueError: a mistake in the arguments, in one line.
        Cancelled: `stop()` became true; nothing is kept, for half a run compares nothing.
    """
    if not all(type(length) is int and 1 <= length <= 512 for length in lengths):
        raise ValueError(f"lengths are {', '.join(map(str, lengths))}; allowed: 1 to 512 each.")
    settings = [LatencySettings(1, length, threads) for length in sorted(set(lengths))]
    if not 0 < len(settings) <= MOST_LENGTHS:
        raise ValueError(f"{len(settings)} lengths were given; allowed: 1 to {MOST_LENGTHS}.")
    check_whole("repeats", repeats, 1, MOST_REPEATS)
    began, rng = perf_counter(), random.Random(seed)
    schedule = [
        (turn, setting.sequence_length, name)
        for turn in range(1, repeats + 1)
        for setting in settings
        for name in rng.sample([*MODELS], len(MODELS))
    ]
    result = Ledger(
        times_ms=_times_ms(schedule, settings[0].threads, on_progress, stop),
        threads=settings[0].threads,
        provenance=Provenance.here(),
        seconds=round(perf_counter() - began, 1),
    )
    if out:
        records.write(Path(out) / "ledger.json", result)
    return result


def _times_ms(
    schedule: Sequence[tuple[int, int, str]], threads: int, on_progress: Progress, stop: Stop
) -> dict[str, dict[int, tuple[float, ...]]]:
    """Draw the models' weights, then time the schedule's rounds, lengths and models in turn.

    Returns milliseconds by model and length, one a round.
    """
    import torch

    models: dict[str, Any] = {}
    times: dict[str, dict[int, tuple[float, ...]]] = {name: {} for name in MODELS}
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for done, (name, source) in enumerate(MODELS.items(), 1):
            check(stop)
            models[name] = random_model(source)
            event = {"stage": "drawing the models' weights", "done": done, "total": len(MODELS)}
            on_progress(event | {"detail": name})
        for done, (turn, length, name) in enumerate(schedule, 1):
            check(stop)
            ms = round(_pass_ms(models[name], length), 4)
            times[name][length] = (*times[name].get(length, ()), ms)
            event = {"stage": "timing the models in turns", "done": done, "total": len(schedule)}
            on_progress(event | {"detail": f"round {turn}: {name}, {length} tokens"})
    finally:
        torch.set_num_threads(threads_before)
    return times


def random_model(source: Source) -> Any:
    """Return transformers' own model of a source's shape; one without token types gets one row."""
    from transformers import AutoConfig, AutoModel

    timed = replace(source, type_vocab_size=max(source.type_vocab_size, 1))
    config = AutoConfig.for_model(source.model_type, **timed.config())
    return AutoModel.from_config(config, add_pooling_layer=source.pooler).eval()


def _pass_ms(model: Any, length: int) -> float:
    """Return the wall clock of one forward pass, after one that does not count."""
    import torch

    generator = torch.Generator().manual_seed(length)
    # From 3 on, since RoBERTa gives no position to id 1, which is padding.
    ids = torch.randint(3, model.config.vocab_size, (1, length), generator=generator)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.inference_mode():
        model(**inputs)
        start = perf_counter()
        model(**inputs)
        return (perf_counter() - start) * 1e3
