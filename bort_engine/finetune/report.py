"""A run of Agora as a checked value, from the report.json that it writes; and what follows from it.

The engine rewrites that file after every training, so a missing part means "not yet". What is there
is not trusted: `load` returns a `Report` or raises one ValueError; what is computed from a `Report`
does not fail. Accuracies are shares, 0 to 1; a gap is in points, hundredths of the whole.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bort_engine.runs.text import printable

if TYPE_CHECKING:
    import pandas as pd

RECORDED = Path(__file__).parents[2] / "assets" / "recorded"
MOST_BYTES = 64 * 1024 * 1024
MOST_ITEMS = 100_000  # of any list in the file
ROUNDED = 1e-4  # what rounding may do to a number and its interval
Z95 = 1.96  # standard errors in half of a 95 % interval

NAMES = {
    "agora": "Agora",
    "plain": "Plain fine-tuning",
    "copied": "Dev mistakes copied",
    "random": "Random pool texts",
    "labeller": "Source, fine-tuned",
    "start": "Student before Agora",
}

Theta = tuple[float | str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for; `labelled` is 0 for all labelled sentences."""

    source: str
    task: str
    architecture: str
    labelled: int | None
    tau: str
    m: int | None
    theta: tuple[Theta, ...]
    theta_names: tuple[str, ...]
    start: str
    controls: tuple[str, ...]
    epsilon: float | None


@dataclass(frozen=True, slots=True)
class Data:
    """How many sentences each part of the data has; None where that is not known yet."""

    n_train: int | None
    n_pool: int | None
    n_dev_seen: int | None
    n_dev_held: int | None
    n_test: int | None


@dataclass(frozen=True, slots=True)
class Labeller:
    """How often the fine-tuned source, which labels the points, is right on dev."""

    dev_seen: float | None
    dev_held: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A dev text that the best model of a round gets wrong."""

    text: str
    label: str
    guess: str


@dataclass(frozen=True, slots=True)
class Made:
    """A point made near a mistake; `label` and `confidence` are the labeller's."""

    text: str
    label: str
    confidence: float | None
    kept: bool


@dataclass(frozen=True, slots=True)
class Round:
    """One try of a round; shorter accuracies than sets mean that it is still being fitted.

    Attributes:
        held: accuracies on the half of dev that Agora does not see.
        made: for each mistake of the round before, what was made near it.
    """

    number: int
    attempt: int
    counts: bool
    n_train: int | None
    theta: tuple[Theta, ...]
    accuracies: tuple[float, ...]
    held: tuple[float, ...]
    losses: tuple[float, ...]
    seconds: tuple[float, ...]
    mistakes: tuple[Mistake, ...]
    made: tuple[tuple[Mistake, tuple[Made, ...]], ...]
    pruned: tuple[Theta, ...]
    prefix: int

    @property
    def best(self) -> int | None:
        """The position of the most accurate set so far, the first of equals."""
        return self.accuracies.index(max(self.accuracies)) if self.accuracies else None

    @property
    def points(self) -> list[Made]:
        return [point for _, points in self.made for point in points]


@dataclass(frozen=True, slots=True)
class Best:
    """The model that an arm returned: of which round, trained with what."""

    number: int
    theta: Theta
    dev_seen: float | None
    dev_held: float | None


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of training the student: Agora, or a control of equal data and equal steps."""

    rounds: tuple[Round, ...] = ()
    best: Best | None = None
    steps: int | None = None
    seconds_training: float | None = None
    seconds_generating: float | None = None
    n_points: int | None = None

    @property
    def counted(self) -> list[Round]:
        """The rounds that count, in order; of two tries that may, the later one."""
        found = {r.number: r for r in self.rounds if r.counts and r.accuracies}
        return [found[number] for number in sorted(found)]


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two accuracies on test, with its 95 % interval.

    `rough` where it was put together from the two rows' own intervals, as if they were unrelated.
    """

    difference: float
    low: float
    high: float
    rough: bool = False

    @property
    def includes_zero(self) -> bool:
        return self.low <= 0 <= self.high

    def __str__(self) -> str:
        low, high = (f"{100 * value:+.1f}" for value in (self.low, self.high))
        about = "about " if self.rough else ""
        return f"{100 * self.difference:+.1f} points (95 % interval {about}{low} to {high})"


@dataclass(frozen=True, slots=True)
class Row:
    """An arm's accuracy on test, averaged over seeds, with its 95 % interval.

    `against` says how far it is ahead of other arms, by name: paired differences.
    """

    arm: str
    accuracy: float
    low: float | None
    high: float | None
    against: Mapping[str, Difference]
    per_seed: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """What a model costs; a latency that is not said to be measured counts as predicted."""

    name: str
    architecture: str
    n_parameters: int | None
    n_encoder_parameters: int | None
    latency_ms: float | None
    measured: bool
    latency_note: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Whether the saved model opened again in a new process, and what was said about it."""

    ok: bool
    said: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run as far as it went. `runs` holds (seed, arms by name)."""

    request: Request
    provenance: Mapping[str, str]
    data: Data
    labeller: Labeller | None
    runs: tuple[tuple[int, Mapping[str, Arm]], ...]
    n_test: int | None
    rows: tuple[Row, ...]
    models: tuple[Model, ...]
    checkpoint: Checkpoint | None

    @property
    def begun(self) -> bool:
        """True once there is a round to show."""
        return any(arm.rounds for _, arms in self.runs for arm in arms.values())

    def row(self, arm: str) -> Row | None:
        return next((row for row in self.rows if row.arm == arm), None)

    def arms(self, seed: int | None = None) -> Mapping[str, Arm]:
        """Return a seed's arms, by default the first one's; none where there are none."""
        found = [arms for own, arms in self.runs if seed in (None, own)]
        return found[0] if found else {}


# Reading. Every number is checked against what it can be; every text is cut and made printable.


@dataclass(frozen=True, slots=True)
class _Part:
    """An object of the file, and the words for where it stands in it."""

    where: str
    plain: Mapping[str, Any]

    def refuse(self, key: str, value: Any, must: str) -> ValueError:
        shown = f"a {type(value).__name__}" if isinstance(value, list | dict) else str(value)[:60]
        return ValueError(f"{self.where}{key} is {shown}; it must be {must}.")

    def number(self, key: str, least: float = 0.0, most: float = 1e15) -> float | None:
        return self._number(key, self.plain.get(key), least, most)

    def share(self, key: str) -> float | None:
        return self.number(key, 0.0, 1.0)

    def _number(self, key: str, value: Any, least: float, most: float) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(key, value, "a number")
        if not least <= value <= most:
            raise self.refuse(key, value, f"within {least:g} and {most:g}")
        return float(value)

    def whole(self, key: str, least: int = 0) -> int | None:
        number = self.number(key, least, 1e12)
        if number is not None and number != int(number):
            raise self.refuse(key, number, "an integer")
        return None if number is None else int(number)

    def text(self, key: str) -> str:
        value = self.plain.get(key, "")
        if isinstance(value, dict | list):
            raise self.refuse(key, value, "text")
        return "" if value is None else printable(str(value))

    def yes(self, key: str, default: bool) -> bool:
        value = self.plain.get(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, value, "true or false")
        return value

    def entries(self, key: str) -> list[Any]:
        value = self.plain.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > MOST_ITEMS:
            raise self.refuse(key, value, f"a list of at most {MOST_ITEMS} entries")
        return value

    def numbers(self, key: str, most: float = 1e15) -> tuple[float, ...]:
        values = self.entries(key)
        found = [self._number(f"{key}[{i}]", v, 0.0, most) for i, v in enumerate(values)]
        if None in found:
            raise self.refuse(key, None, "a list of numbers without gaps")
        return tuple(value for value in found if value is not None)

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.entries(key)
        if any(isinstance(value, dict | list) for value in values):
            raise self.refuse(key, values, "a list of texts")
        return tuple(printable(str(value)) for value in values)

    def part(self, key: str) -> _Part | None:
        value = self.plain.get(key)
        return None if value is None else self._part(key, value)

    def parts(self, key: str) -> list[_Part]:
        return [self._part(f"{key}[{i}]", value) for i, value in enumerate(self.entries(key))]

    def _part(self, key: str, value: Any) -> _Part:
        if not isinstance(value, dict):
            raise self.refuse(key, value, "an object")
        return _Part(f"{self.where}{key}.", value)

    def sets(self, key: str) -> tuple[Theta, ...]:
        return tuple(self.set(f"{key}[{i}]", value) for i, value in enumerate(self.entries(key)))

    def set(self, key: str, value: Any) -> Theta:
        """Check one hyper-parameter set: a list of numbers and short texts."""
        if not isinstance(value, list) or not 0 < len(value) <= 32:
            raise self.refuse(key, value, "a list of 1 to 32 values")
        texts = [isinstance(one, str) for one in value]
        numbers = [one if text else self._number(key, one, -1e15, 1e15)
                   for one, text in zip(value, texts, strict=True)]  # fmt: skip
        return tuple(printable(n)[:60] if isinstance(n, str) else n or 0.0 for n in numbers)


def load(path: Path) -> Report:
    """Read a report.json.

    Raises:
        ValueError: it cannot be read, is too large, or says something that cannot be.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES // 2**20} MB")
        return read(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as e:
        said = " ".join(str(e).split())[:300] or type(e).__name__
        raise ValueError(f"{path}: the report cannot be shown: {said}") from e


def recorded() -> dict[str, Path]:
    """Return the reports that ship with the app, by name."""
    return {path.stem: path for path in sorted(RECORDED.glob("agora-*.json"))}


def read(plain: Any) -> Report:
    """Check a report as parsed.

    Raises:
        ValueError: a part is not what it must be; the line says which.
    """
    if not isinstance(plain, dict):
        raise ValueError("it is not a JSON object.")
    if plain.get("schema") != 1:
        raise ValueError(f"schema is {str(plain.get('schema'))[:40]}; only 1 is known.")
    root = _Part("", plain)
    data = root.part("data") or _Part("data.", {})
    made = root.part("provenance") or _Part("provenance.", {})
    labels = data.texts("labels")
    test = root.part("test")
    labeller, checkpoint = root.part("labeller"), root.part("checkpoint")
    return Report(
        request=_request(root.part("request") or _Part("request.", {})),
        provenance={key: made.text(key) for key in ("machine", "versions", "made_on")},
        data=Data(*(data.whole(name) for name in Data.__slots__)),
        labeller=labeller
        and Labeller(
            labeller.share("dev_seen"), labeller.share("dev_held"), labeller.number("seconds")
        ),
        runs=tuple(_run(part, labels) for part in root.parts("runs")),
        n_test=test.whole("n") if test else None,
        rows=tuple(map(_row, test.parts("rows"))) if test else (),
        models=tuple(map(_model, root.parts("models"))),
        checkpoint=checkpoint
        and Checkpoint(
            checkpoint.yes("ok", False), checkpoint.text("said"), checkpoint.texts("problems")
        ),
    )


def _request(part: _Part) -> Request:
    return Request(
        source=part.text("source"),
        task=part.text("task"),
        architecture=part.text("architecture"),
        labelled=part.whole("labelled"),
        tau=part.text("tau"),
        m=part.whole("m"),
        theta=part.sets("theta"),
        theta_names=part.texts("theta_names"),
        start=part.text("start"),
        controls=part.texts("controls"),
        epsilon=part.number("epsilon"),
    )


def _run(part: _Part, labels: Sequence[str]) -> tuple[int, dict[str, Arm]]:
    arms = part.part("arms") or _Part(f"{part.where}arms.", {})
    for name in arms.plain:
        _known(arms, name)
    found = {name: arms.part(name) for name in NAMES if name in arms.plain}
    return part.whole("seed") or 0, {n: _arm(arm, labels) for n, arm in found.items() if arm}


def _known(part: _Part, arm: str) -> str:
    if arm not in NAMES:
        raise part.refuse("arm", arm, f"one of {', '.join(NAMES)}")
    return arm


def _arm(part: _Part, labels: Sequence[str]) -> Arm:
    best = part.part("best")
    return Arm(
        rounds=tuple(_round(one, labels) for one in part.parts("rounds")),
        best=best
        and Best(
            best.whole("number", 1) or 1,
            best.set("theta", best.plain.get("theta")),
            best.share("dev_seen"),
            best.share("dev_held"),
        ),
        steps=part.whole("steps"),
        seconds_training=part.number("seconds_training"),
        seconds_generating=part.number("seconds_generating"),
        n_points=part.whole("n_points"),
    )


def _round(part: _Part, labels: Sequence[str]) -> Round:
    theta = part.sets("theta")
    found = {key: part.numbers(key, 1.0) for key in ("accuracies", "held")}
    found |= {key: part.numbers(key) for key in ("losses", "seconds")}
    for key, values in found.items():
        if len(values) > len(theta):
            raise part.refuse(key, len(values), f"at most {len(theta)} numbers, one for each set")
    made = []
    for one in part.parts("made"):
        near = one.part("near") or _Part(f"{one.where}near.", {})
        points = tuple(
            Made(p.text("text"), _label(p, "label", labels), p.share("confidence"),
                 p.yes("kept", True))
            for p in one.parts("points")
        )  # fmt: skip
        made.append((_mistake(near, labels), points))
    return Round(
        number=part.whole("number", 1) or 1,
        attempt=part.whole("attempt", 1) or 1,
        counts=part.yes("counts", True),
        n_train=part.whole("n_train"),
        theta=theta,
        **found,
        mistakes=tuple(_mistake(one, labels) for one in part.parts("mistakes")),
        made=tuple(made),
        pruned=part.sets("pruned"),
        prefix=part.whole("prefix") or 0,
    )


def _mistake(part: _Part, labels: Sequence[str]) -> Mistake:
    return Mistake(part.text("text"), _label(part, "label", labels), _label(part, "guess", labels))


def _label(part: _Part, key: str, labels: Sequence[str]) -> str:
    """Read a label: a word, or a position among the task's."""
    value = part.plain.get(key)
    is_position = type(value) is int and 0 <= value < len(labels)
    return labels[value] if is_position and isinstance(value, int) else part.text(key)


def _row(part: _Part) -> Row:
    accuracy = part.share("accuracy")
    if accuracy is None:
        raise part.refuse("accuracy", None, "within 0 and 1")
    low, high = part.share("low"), part.share("high")
    if low is not None and high is not None and not low - ROUNDED <= accuracy <= high + ROUNDED:
        raise part.refuse("accuracy", accuracy, f"within its interval, {low:g} to {high:g}")
    others = {name: part.part(f"against_{name}") for name in NAMES}
    return Row(
        arm=_known(part, part.text("arm")),
        accuracy=accuracy,
        low=low,
        high=high,
        against={name: _difference(other) for name, other in others.items() if other},
        per_seed=part.numbers("per_seed", 1.0),
    )


def _difference(part: _Part) -> Difference:
    low, middle, high = (part.number(key, -1.0, 1.0) for key in ("low", "difference", "high"))
    if low is None or middle is None or high is None:
        raise part.refuse("difference", middle, "given with its interval, low and high")
    if not low - ROUNDED <= middle <= high + ROUNDED:
        raise part.refuse("difference", middle, f"within its interval, {low:g} to {high:g}")
    return Difference(middle, low, high)


def _model(part: _Part) -> Model:
    total, encoder = part.whole("n_parameters"), part.whole("n_encoder_parameters")
    if total is not None and encoder is not None and encoder > total:
        raise part.refuse("n_encoder_parameters", encoder, f"at most n_parameters, {total}")
    return Model(
        name=part.text("name"),
        architecture=part.text("architecture"),
        n_parameters=total,
        n_encoder_parameters=encoder,
        latency_ms=part.number("latency_ms"),
        measured=part.text("latency_how") == "measured",
        latency_note=part.text("latency_note"),
    )


# Numbers.


@dataclass(frozen=True, slots=True)
class Leak:
    """How much better the student does on the half of dev that Agora sees.

    `gap` and `margin` are in points; the margin is 95 % of what chance alone does.
    """

    step: str
    seen: float
    other: float
    gap: float
    margin: float | None
    test: bool = False


def leakage(report: Report, arm: str = "agora", seed: int | None = None) -> list[Leak]:
    """Return a round's best set, seen half minus held-back half; then the best, seen minus test."""
    own, data = report.arms(seed).get(arm, Arm()), report.data
    found = []
    for played in own.counted:
        best = played.best
        if best is not None and best < len(played.held):
            pair = (played.accuracies[best], played.held[best])
            found.append(_leak(f"Round {played.number}", pair, data.n_dev_seen, data.n_dev_held))
    row = report.row(arm)
    if row and own.best and own.best.dev_seen is not None:
        seeds = [number for number, _ in report.runs]
        at = seeds.index(seed) if seed in seeds else 0
        test = row.per_seed[at] if len(row.per_seed) == len(seeds) else row.accuracy
        n_test = report.n_test or data.n_test
        leak = _leak("Test", (own.best.dev_seen, test), data.n_dev_seen, n_test)
        found.append(replace(leak, test=True))
    return found


def _leak(step: str, pair: tuple[float, float], n: int | None, m: int | None) -> Leak:
    p, q = pair
    margin = 100 * Z95 * math.sqrt(p * (1 - p) / n + q * (1 - q) / m) if n and m else None
    return Leak(step, p, q, 100 * (p - q), margin)


def n_mistakes(report: Report, played: Round) -> int | None:
    """Return how many of the seen half of dev a round's best set gets wrong.

    They are listed once the round is settled; before that, and for controls, accuracy tells.
    """
    if played.mistakes or not played.accuracies or not report.data.n_dev_seen:
        return len(played.mistakes) or None
    return round((1 - max(played.accuracies)) * report.data.n_dev_seen)


def against(report: Report, arm: str) -> Difference | None:
    """Return how much better Agora is than another arm on test; None where either is missing.

    It is paired where the run reports it. Else the two rows' own intervals are put together as if
    they were unrelated, which is wider.
    """
    mine, theirs = report.row("agora"), report.row(arm)
    if mine is None or theirs is None or mine is theirs:
        return None
    if arm in mine.against:
        return mine.against[arm]
    if mine.low is None or mine.high is None or theirs.low is None or theirs.high is None:
        return None
    middle = mine.accuracy - theirs.accuracy
    down = math.hypot(mine.accuracy - mine.low, theirs.high - theirs.accuracy)
    up = math.hypot(mine.high - mine.accuracy, theirs.accuracy - theirs.low)
    return Difference(middle, middle - down, middle + up, rough=True)


def losses(events: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the training loss of the fit at work by its steps; empty between two fits."""
    import pandas as pd

    def fit(event: Mapping[str, Any]) -> list[str]:
        return [str(event.get(key)) for key in ("stage", "detail", "arm", "seed")]

    rows = []
    for event in takewhile(lambda e: fit(e) == fit(events[-1]), reversed(events)):
        step, loss = event.get("done"), event.get("loss")
        if _finite(step) and _finite(loss):
            rows.append({"Step": step, "Loss (nats)": loss})
    return pd.DataFrame(rows[::-1], columns=["Step", "Loss (nats)"])


def _finite(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < 1e15
