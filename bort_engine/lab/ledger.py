"""The verb `ledger`: Bort, BERT-base and BERT-large timed in turns, in one run on one machine.

No weights are needed: how long a forward pass takes depends on the shape, not on the values, so
they are drawn at random. The shape whose hidden and intermediate sizes are swapped, which fits the
sizes that were published for Bort, is timed beside the one that was released.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.latency import LatencySettings
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture
from bort_engine.runs.events import Cancelled, Progress, Stop, never, silent
from bort_engine.runs.provenance import device_name, versions
from bort_engine.runs.records import read_json, write_json

LENGTHS = (16, 128, 512)
REPEATS = 15
RECORDED = ASSETS / "recorded" / "ledger.json"
BORT, LARGE, BASE = (sources[n] for n in ("bort", "bert-large-uncased", "bert-base-uncased"))
_A = BORT.architecture
SWAPPED = replace(
    BORT,
    name="bort-swapped",
    architecture=Architecture(
        _A.num_hidden_layers, _A.num_attention_heads, _A.intermediate_size, _A.hidden_size
    ),
)
MODELS: dict[str, Source] = {source.name: source for source in (BORT, SWAPPED, BASE, LARGE)}

SCHEMA = 1
MOST_BYTES = 2**20
MOST_LENGTHS, MOST_REPEATS = 16, 1000
AGAIN = "run `ledger` again to make one"


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its quartiles, over `n` rounds."""

    median: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """Milliseconds of one forward pass, batch 1, fp32: `times_ms[model][length]`, one a round.

    Round k's times of a length were taken right after each other, whichever the model.
    """

    times_ms: dict[str, dict[int, tuple[float, ...]]]
    threads: int
    device: str
    versions: str
    made_on: str
    seconds: float

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(sorted(self.times_ms[BORT.name]))

    @property
    def rounds(self) -> int:
        return len(self.times_ms[BORT.name][self.lengths[0]])

    def ms(self, model: str, length: int) -> Spread:
        """Return a model's time at a length, in milliseconds."""
        return _spread(self.times_ms[model][length])

    def ratio(self, slow: str, fast: str, length: int) -> Spread:
        """Return how many times as long the first takes as the second, round by round.

        What slows the whole machine for a moment slows both.
        """
        pairs = zip(self.times_ms[slow][length], self.times_ms[fast][length], strict=True)
        return _spread([a / b for a, b in pairs])

    def to_json(self) -> dict[str, Any]:
        """Return plain values with a summary; `from_json` reads them back, but for the summary."""
        summary = [
            {"model": model, "sequence_length": length} | asdict(self.ms(model, length))
            for length in self.lengths
            for model in MODELS
        ]
        settings = {"batch_size": 1, "dtype": "float32", "weights": "random"}
        return {"schema": SCHEMA, "settings": settings, "summary_ms": summary} | asdict(self)

    @classmethod
    def from_json(cls, plain: Any) -> Ledger:
        """Rebuild a ledger; it is untrusted input, so every field is checked.

        Raises:
            ValueError: another schema, or a field is missing, unknown or out of range.
        """
        if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
            raise ValueError(f"not a ledger of schema {SCHEMA}; {AGAIN}.")
        try:
            given = {key: plain[key] for key in cls.__slots__}
            given["times_ms"] = {
                model: {int(length): tuple(times) for length, times in by_length.items()}
                for model, by_length in given["times_ms"].items()
            }
            found = cls(**given)
            found._check()
        except (KeyError, TypeError, AttributeError, ValueError) as e:
            raise ValueError(f"damaged ledger ({str(e)[:200]}); {AGAIN}.") from e
        return found

    def _check(self) -> None:
        if self.times_ms.keys() != MODELS.keys():
            raise TypeError("it does not time the four models")
        if not 0 < len(self.lengths) <= MOST_LENGTHS:
            raise TypeError(f"it has not 1 to {MOST_LENGTHS} lengths")
        if type(self.threads) is not int or self.threads < 1:
            raise TypeError(f"threads is {self.threads!r:.60}")
        for length in self.lengths:
            LatencySettings(1, length, self.threads)
        rounds = self.rounds
        for by_length in self.times_ms.values():
            if tuple(sorted(by_length)) != self.lengths:
                raise TypeError("a model was not timed at all lengths")
            for times in by_length.values():
                numbers = all(type(ms) in (int, float) and 0 < ms < 1e8 for ms in times)
                if not numbers or not 0 < len(times) == rounds <= MOST_REPEATS:
                    raise TypeError("a time is impossible, or missing")
        texts = (self.device, self.versions, self.made_on)
        if not all(isinstance(text, str) and len(text) <= 300 for text in texts):
            raise TypeError("device, versions or made_on is no short text")
        if type(self.seconds) not in (int, float) or not 0 <= self.seconds < 1e8:
            raise TypeError(f"seconds is {self.seconds!r:.60}")

    def save(self, path: str | Path) -> Path:
        """Write the ledger as JSON, whole or not at all."""
        return write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Ledger:
        """Read a ledger written by `save`.

        Raises:
            ValueError: there is no such file, or it is damaged.
        """
        return read_json(path, cls.from_json, MOST_BYTES)

    def __str__(self) -> str:
        head = (
            f"milliseconds of a forward pass: batch 1, fp32, random weights, threads: "
            f"{self.threads}, medians of {self.rounds} rounds; {self.device}, {self.versions}"
        )
        names = "".join(f"{name:>20}" for name in MODELS)
        lines = [
            f"{length:>6}"
            + "".join(f"{self.ms(name, length).median:>20.2f}" for name in MODELS)
            + "".join(
                f"{self.ratio(slow.name, BORT.name, length).median:>8.2f}x"
                for slow in (BASE, LARGE)
            )
            for length in self.lengths
        ]
        foot = "last two columns: how many times as long as bort the base and the large BERT take"
        return "\n".join([head, f"tokens{names}     base    large", *lines, foot])


def _spread(values: Sequence[float]) -> Spread:
    low, median, high = np.percentile(values, (25, 50, 75)).tolist()
    return Spread(median, low, high, len(values))


def read_lengths(text: str) -> tuple[int, ...]:
    """Read lengths as the command line gives them: `16,128,512`.

    Raises:
        ValueError: it is no list of numbers.
    """
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
        repeats: rounds.
        threads: 0 takes all processors there are.
        out: a folder for ledger.json.

    Raises:
        ValueError: a mistake in the arguments, in one line.
        Cancelled: `stop()` became true; nothing is kept, for half a run compares nothing.
    """
    settings = [LatencySettings(1, length, threads) for length in sorted(set(lengths))]
    if not 0 < len(settings) <= MOST_LENGTHS:
        raise ValueError(f"{len(settings)} lengths were given; allowed: 1 to {MOST_LENGTHS}.")
    if not 1 <= repeats <= MOST_REPEATS:
        raise ValueError(f"repeats is {repeats!r}; allowed: 1 to {MOST_REPEATS}.")
    start = perf_counter()
    import torch

    before, models = torch.get_num_threads(), {}
    torch.set_num_threads(settings[0].threads)
    try:
        for done, (name, source) in enumerate(MODELS.items(), 1):
            if stop():
                raise Cancelled("stopped")
            models[name] = _model(source)
            stage = {"stage": "drawing the models' weights", "done": done, "total": len(MODELS)}
            on_progress(stage | {"detail": name})
        at = [setting.sequence_length for setting in settings]
        times = _in_turns(models, at, repeats, random.Random(seed), on_progress, stop)
    finally:
        torch.set_num_threads(before)
    found = Ledger(
        times_ms=times,
        threads=settings[0].threads,
        device=device_name(),
        versions=versions(),
        made_on=date.today().isoformat(),
        seconds=round(perf_counter() - start, 1),
    )
    if out:
        found.save(Path(out) / "ledger.json")
    return found


def _model(source: Source) -> Any:
    """Return transformers' own model of a source's shape; one without token types gets one row."""
    from transformers import AutoConfig, AutoModel

    timed = replace(source, type_vocab_size=max(source.type_vocab_size, 1))
    config = AutoConfig.for_model(source.model_type, **timed.config())
    return AutoModel.from_config(config, add_pooling_layer=source.pooler).eval()


def _in_turns(
    models: dict[str, Any],
    lengths: Sequence[int],
    repeats: int,
    rng: random.Random,
    on_progress: Progress,
    stop: Stop,
) -> dict[str, dict[int, tuple[float, ...]]]:
    """Return milliseconds by model and length, one a round."""
    raw: dict[str, dict[int, list[float]]] = {name: {n: [] for n in lengths} for name in models}
    order, done = list(models), 0
    total = repeats * len(lengths) * len(models)
    for turn in range(1, repeats + 1):
        for length in lengths:
            rng.shuffle(order)
            for name in order:
                if stop():
                    raise Cancelled("stopped")
                raw[name][length].append(round(_pass_ms(models[name], length), 4))
                done += 1
                detail = f"round {turn} of {repeats}: {name}, {length} tokens"
                event = {"stage": "timing the models in turns", "done": done, "total": total}
                on_progress(event | {"detail": detail})
    return {
        name: {length: tuple(found) for length, found in by_length.items()}
        for name, by_length in raw.items()
    }


def _pass_ms(model: Any, length: int) -> float:
    """Return the wall clock of one forward pass, after one that does not count."""
    import torch

    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(3, model.config.vocab_size, (1, length), generator=generator)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.inference_mode():
        model(**inputs)
        start = perf_counter()
        model(**inputs)
        return (perf_counter() - start) * 1e3
