"""The verb `agora`: a chosen architecture becomes a checkpoint, trained by Agora and judged.

One run: the source is fine-tuned on the labelled rows (it is labeller and teacher), the student is
started, Agora plays its rounds, the controls repeat every one of its trainings with other data, the
test split is scored once, and the best model is saved and opened again in a new process.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_engine.algorithms.agora import HyperParameters, NewPoints, Outcome, Round, RoundId
from bort_engine.data.tasks import find_task
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.timing import LatencySettings, measure_ms
from bort_engine.finetune.report import NAMES
from bort_engine.finetune.student import FIELDS, Dev, Fitted, Student
from bort_engine.runs.events import Progress, Stop, never, silent
from bort_engine.runs.provenance import Provenance
from bort_engine.training.distil import STARTS
from bort_engine.training.teacher import EPOCHS, MANY, Teacher, divergence, softmax

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bort_engine.finetune.tau import Vectors
    from bort_engine.training.word_swap import Tau

SCHEMA = 1
# Of a student with few labels. With four, dev accuracy in the second round is the same (73.7 %).
EPOCHS_OF_FEW = 3
CONTROLS = ("plain", "copied", "random")
TAUS = ("auto", "pool", "tokens", "mask")
# FIELDS says what stands where. The second is the README grid of Bort (github alexa/bort).
THETAS: dict[str, tuple[HyperParameters, ...]] = {
    "quick": (
        (2e-4, 0.01, 0.1, 64, 0),
        (2e-4, 0.01, 0.1, 64, 1),
        (3e-4, 0.01, 0.1, 64, 0),
        (1e-4, 0.01, 0.1, 64, 0),
    ),
    "gentle": (
        (2e-5, 0.01, 0.1, 64, 0),
        (2e-5, 0.01, 0.1, 64, 1),
        (3e-5, 0.01, 0.1, 64, 0),
        (1e-5, 0.01, 0.1, 64, 0),
    ),
    "bort": tuple(
        (rate, decay, warmup, batch, seed)
        for rate, decay, warmup, batch, seed in itertools.product(
            (1e-4, 1e-5, 9e-6), (0, 10, 100, 350), (0.35, 0.40, 0.45, 0.50), (8, 16), range(5)
        )
    ),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a student is fine-tuned; the defaults are the command line's.

    `labelled` is how many rows of the train split carry labels (0: all); the others are the pool.
    `tau` "auto" is `pool` where there is a pool, else `tokens`. `m` is the points made near each
    mistake, out of `candidates` times as many: those on which student and labeller differ most.
    `confidence` is what the labeller must give its first choice for a point to be kept;
    `soft` whether a point carries all its probabilities or the first choice only. `theta` "auto" is
    `quick`, or `gentle` for a start that was distilled on the task: at quick's rates such a student
    forgets more than it learns. `epochs` is 0 for 3, or 2 where 5,000 rows or more are labelled.

    Raises:
        ValueError: a setting is not one of the allowed values.
    """

    labelled: int = 0
    tau: str = "auto"
    m: int = 8
    candidates: int = 3
    theta: str = "auto"
    start: str = "inherit"
    controls: tuple[str, ...] = ("plain", "random")
    seeds: int = 1
    seed: int = 0
    confidence: float = 0.0
    soft: bool = True
    epochs: float = 0
    replays: int = 0
    teacher_steps: int = 0
    general_steps: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("tau", TAUS), ("theta", ("auto", *THETAS)), ("start", STARTS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: {_listed(allowed)}.")
        for control in self.controls:
            if control not in CONTROLS:
                raise ValueError(f"control {control!r} is not known; allowed: {_listed(CONTROLS)}.")
        for name, low, high in (
            ("labelled", 0, 10**9),
            ("m", 1, 100),
            ("candidates", 1, 100),
            ("seeds", 1, 100),
            ("seed", 0, 2**31 - 1),
            ("replays", 0, 100),
            ("epochs", 0, 1000),
            ("confidence", 0, 1),
            ("teacher_steps", 0, 100_000),
            ("general_steps", 0, 100_000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value!r}; allowed: {low} to {high}.")

    @property
    def sets(self) -> tuple[HyperParameters, ...]:
        """The hyper-parameter sets, Theta."""
        auto = "gentle" if self.start == "task" else "quick"
        return THETAS[auto if self.theta == "auto" else self.theta]


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)


def agora(
    architecture: Architecture | str,
    source: str | Source,
    task: str = "rotten-tomatoes",
    *,
    out: str | Path,
    plan: Plan | None = None,
    epsilon: float | None = None,
    on_progress: Progress = silent,
    stop: Stop = never,
) -> dict[str, Any]:
    """Fine-tune an architecture by Agora; return the report, which also lies in `out`.

    Args:
        out: the run's folder: report.json, and at the end model/, an ordinary checkpoint. Given
            again after a stop or a crash, the run goes on after its last finished training.
        epsilon: of the front the architecture was chosen from; it is only passed on to the card.

    Raises:
        ValueError: a mistake in the arguments, or a labeller too weak for Agora, in one line.
        Cancelled: `stop()` became true; the trainings that were finished are in `out`.
    """
    plan = plan or Plan()
    source = Source.load(source) if isinstance(source, str) else source
    if isinstance(architecture, str):
        architecture = Architecture.parse(architecture)
    if not architecture.fits_in(source.architecture):
        raise ValueError(
            f"architecture {architecture} does not fit in {source.name} ({source.architecture}); "
            "choose one with no more of anything."
        )
    task = find_task(task).name
    report = Report(Path(out), source, task, architecture, plan, epsilon)
    if report.plain.get("checkpoint"):
        return report.plain
    seats = []
    for seed in range(plan.seed, plan.seed + plan.seeds):
        seat = _Seat.prepare(report, source, architecture, seed, on_progress, stop)
        seat.play()
        seats.append(seat)
    _judge(report, seats, source, architecture, on_progress)
    _save(report, seats[0], source, architecture, on_progress)
    for seat in seats:
        seat.tidy()
    return report.plain


class Report:
    """What a run says of itself: one JSON file, rewritten whole after every training."""

    def __init__(
        self,
        folder: Path,
        source: Source,
        task: str,
        architecture: Architecture,
        plan: Plan,
        epsilon: float | None,
    ) -> None:
        self.folder, self.path, self.plan, self.task = folder, folder / "report.json", plan, task
        folder.mkdir(parents=True, exist_ok=True)
        asked = asdict(plan) | {
            "source": source.name,
            "task": task,
            "architecture": str(architecture),
            "epsilon": epsilon,
            "theta": plan.sets,
            "theta_names": FIELDS,
            "seeds": list(range(plan.seed, plan.seed + plan.seeds)),
        }
        request = json.loads(json.dumps(asked))
        self.plain: dict[str, Any] = self._earlier(request) or {
            "schema": SCHEMA,
            "request": request,
            "provenance": asdict(Provenance.here()),
            "runs": [],
            "test": None,
            "models": [],
            "checkpoint": None,
        }

    def _earlier(self, request: dict[str, Any]) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        try:
            plain = json.loads(self.path.read_text())
            asked = plain["request"]
        except (ValueError, KeyError, TypeError) as e:
            raise ValueError(
                f"{self.path} is damaged ({e}); move it away: finished trainings are kept."
            ) from e
        if asked != request:
            changed = sorted(k for k in request if asked.get(k) != request[k])
            raise ValueError(
                f"{self.folder} holds another run (it differs in {_listed(changed)}); "
                "choose another --out."
            )
        return plain

    def note(self, **parts: Any) -> None:
        """Put parts in and write the file, whole or not at all."""
        self.plain |= parts
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.plain))
        part.replace(self.path)

    def arm(self, seed: int, arm: str) -> dict[str, Any]:
        """Return the place where an arm of a seed is told, made anew: it is replayed from its
        finished trainings."""
        runs = self.plain["runs"]
        run = next((run for run in runs if run["seed"] == seed), None)
        if run is None:
            run = {"seed": seed, "arms": {}}
            runs.append(run)
        generating = run["arms"].get(arm, {}).get("seconds_generating", 0.0)  # is not done again
        told = {"rounds": [], "best": None, "steps": 0, "n_points": 0}
        run["arms"][arm] = told | {"seconds_training": 0.0, "seconds_generating": generating}
        return run["arms"][arm]


@dataclass(slots=True)
class _Seat:
    """One seed's run: its teacher, its student, and what the arms need."""

    report: Report
    source: Source
    seed: int
    teacher: Teacher
    student_start: PreTrainedModel
    dev: Dev
    on_progress: Progress
    stop: Stop
    best: dict[str, tuple[Student, Fitted]] = field(default_factory=dict)
    _vectors: Vectors | None = None

    @classmethod
    def prepare(
        cls,
        report: Report,
        source: Source,
        architecture: Architecture,
        seed: int,
        on_progress: Progress,
        stop: Stop,
    ) -> _Seat:
        from bort_engine.training.distil import start

        plan = report.plan
        teacher = Teacher.prepare(
            source,
            report.task,
            steps=plan.teacher_steps,
            n_labelled=plan.labelled,
            seed=seed,
            on_progress=on_progress,
            stop=stop,
        )
        splits = teacher.splits
        dev = Dev.halved(splits["validation"]["text"], splits["validation"]["label"])
        right = softmax(teacher.dev_logits).argmax(1) == teacher.dev_labels
        report.note(
            data={
                "n_train": len(teacher.labelled),
                "n_pool": len(splits["train"]) - len(teacher.labelled),
                "n_dev_seen": len(dev.seen),
                "n_dev_held": len(dev.held),
                "labels": find_task(report.task).labels,
            },
            labeller={
                "dev_seen": round(float(right[list(dev.seen)].mean()), 5),
                "dev_held": round(float(right[list(dev.held)].mean()), 5),
                "seconds": teacher.report.seconds,
            },
        )
        model = start(
            architecture,
            source,
            teacher,
            plan.start,
            seed=seed,
            general_steps=plan.general_steps,
            on_progress=on_progress,
            stop=stop,
        )
        return cls(report, source, seed, teacher, model, dev, on_progress, stop)

    @property
    def folder(self) -> Path:
        return self.report.folder / f"seed-{self.seed}"

    @property
    def train_pairs(self) -> list[tuple[str, int]]:
        rows = self.teacher.splits["train"]
        texts, labels = rows["text"], rows["label"]
        return [(texts[int(i)], int(labels[int(i)])) for i in self.teacher.labelled]

    @property
    def pool_texts(self) -> list[str]:
        texts = list(self.teacher.splits["train"]["text"])
        labelled = set(self.teacher.labelled.tolist())
        return [text for i, text in enumerate(texts) if i not in labelled]

    @property
    def vectors(self) -> Vectors:
        from bort_engine.encoder.build import load_source
        from bort_engine.finetune.tau import Vectors

        if self._vectors is None:
            self._vectors = Vectors(load_source(self.source), self.teacher.tokenizer)
        return self._vectors

    def play(self) -> None:
        """Agora first, then each control with as much data and as many steps."""
        from bort_engine.algorithms import agora as agora_rounds

        arm = _Arm(self, "agora")
        outcome = agora_rounds.agora(
            self.report.plan.sets,
            self.train_pairs,
            self.dev.pairs(self.dev.seen),
            fit=arm.fit,
            predict=lambda fitted, texts: fitted.seen,
            label=arm.label,
            tau=arm.timed(self.tau(arm.student)),
            m=self.report.plan.m,
            agrees=_agrees,
            replays=self.report.plan.replays,
            on_round=arm.settle,
        )
        arm.finish(outcome.model)
        for control in self.report.plan.controls:
            self.control(control, outcome)

    def tau(self, student: Student) -> Tau:
        """Return the tau that the plan asks for, with its filters."""
        from bort_engine.finetune import tau as agora_text
        from bort_engine.training.word_swap import mask_tau, tokens_tau

        plan, tokenizer = self.report.plan, self.teacher.tokenizer
        kind = plan.tau if plan.tau != "auto" else "pool" if self.pool_texts else "tokens"
        taken: set[str] = set()
        if kind == "pool":
            tau = self.pool().tau(self.vectors, taken)
        else:
            if kind == "mask":
                tau = mask_tau(self.source, tokenizer, self.seed)
            else:
                tau = tokens_tau(self.vectors.model, tokenizer, self.seed)
            known = self.vectors.of([text for text, _ in self.train_pairs])
            tau = agora_text.without_repeats(tau, self.vectors, known, taken)

        def disagreement(texts: list[str]) -> np.ndarray:
            if not texts:
                return np.empty(0)
            assert student.best is not None, "points are made after the first round"
            ours = self.predict(student.load(student.best), texts)
            return divergence(self.labeller_logits(texts), ours)

        tau = agora_text.most_disputed(tau, disagreement, plan.candidates)
        return agora_text.remembered(tau, student.folder, taken)

    def predict(self, model: PreTrainedModel, texts: Sequence[str]) -> np.ndarray:
        from bort_engine.training.trainer import encode, predict

        rows = encode(texts, self.teacher.tokenizer, [0] * len(texts))
        return predict(model, rows, self.teacher.tokenizer)

    def labeller_logits(self, texts: Sequence[str]) -> np.ndarray:
        """What S says of texts: known already for the train split's, asked for others."""
        known = dict(
            zip(self.teacher.splits["train"]["text"], self.teacher.train_logits, strict=True)
        )
        others = [text for text in texts if text not in known]
        if others:
            known |= dict(zip(others, self.predict(self.teacher.model, others), strict=True))
        return np.array([known[text] for text in texts])

    def pool(self) -> Any:
        from bort_engine.finetune.tau import Pool

        texts = self.pool_texts
        if not texts:
            raise ValueError(
                "tau is pool, but every row is labelled, so there is no pool; take tau=tokens, or "
                "label fewer rows."
            )
        everything = list(self.teacher.splits["train"]["text"]) + list(self.dev.texts)
        vectors = self.vectors.cached(everything, self.source)
        labelled = np.zeros(len(everything), dtype=bool)
        labelled[self.teacher.labelled] = True
        n_train = len(everything) - len(self.dev.texts)
        unlabelled = ~labelled[:n_train]
        known = np.concatenate([vectors[labelled], vectors[n_train:]])
        return Pool(texts, vectors[:n_train][unlabelled], known)

    def control(self, name: str, outcome: Outcome) -> None:
        """Repeat every training of Agora with other data: as much of it, for as many steps.

        plain: the labelled rows only. copied: the seen half's mistakes of the round before, with
        their own labels, repeated until there are enough. random: any texts of the pool, labelled
        by S; where there is no pool, S's own labels of the labelled rows. The result is the best
        of the last round, as Agora's; plain's, whose data does not grow, is its best of all.
        """
        arm = _Arm(self, name)
        n_labelled = len(self.train_pairs)
        extra: list[tuple[str, Any]] = []
        strangers = self._strangers() if name == "random" else iter(())
        best, rivals = None, []
        for played in outcome.rounds:
            missing = 0 if name == "plain" else played.n_train - n_labelled - len(extra)
            if name == "copied" and missing and best:
                extra += itertools.islice(itertools.cycle(self._mistakes(best)), missing)
            extra += itertools.islice(strangers, missing)
            pairs = [*self.train_pairs, *extra]
            steps = [arm.steps(theta, played.n_train) for theta in played.theta]
            fits = [
                arm.fit(theta, pairs, played.at, n)
                for theta, n in zip(played.theta, steps, strict=True)
            ]
            arm.told["rounds"][-1]["counts"] = played.counts
            if played.counts:
                rivals = [*rivals, *fits] if name == "plain" else fits
                best = max(rivals, key=arm.student.accuracy)
        assert best is not None, "Agora played a round or more"
        arm.told["n_points"] = len(extra)
        arm.finish(best)

    def _mistakes(self, fitted: Fitted) -> list[tuple[str, int]]:
        pairs = self.dev.pairs(self.dev.seen)
        wrong = [pair for pair, guess in zip(pairs, fitted.seen, strict=True) if pair[1] != guess]
        return wrong or pairs

    def _strangers(self) -> Iterator[tuple[str, Any]]:
        texts = self.pool().texts if self.pool_texts else [text for text, _ in self.train_pairs]
        order = np.random.default_rng([self.seed, 1]).permutation(len(texts))
        shuffled = [texts[i] for i in order]
        for start in range(0, len(shuffled), 512):
            part = shuffled[start : start + 512]
            labels = self.labels(part)
            yield from ((text, y) for text, y in zip(part, labels, strict=True) if y is not None)

    def labels(self, texts: Sequence[str], every: bool = False) -> list[Any]:
        """Return S's labels of texts: probabilities, or None where it is not sure enough."""
        from bort_engine.finetune.tau import labels_of

        plan = self.report.plan
        confidence = 0 if every else plan.confidence
        return labels_of(self.labeller_logits(texts), confidence, plan.soft)

    def tidy(self) -> None:
        """Remove the weights that were kept to be judged; what was measured stays."""
        for path in self.folder.glob("*.safetensors"):
            path.unlink()


def _agrees(guess: Any, label: int) -> bool:
    return (int(np.argmax(guess)) if isinstance(guess, tuple) else guess) == label


class _Arm:
    """One line of trainings, Agora's own or a control's, told to the report as it goes."""

    def __init__(self, seat: _Seat, name: str) -> None:
        self.seat, self.name = seat, name
        self.student = Student(
            seat.student_start,
            seat.teacher.tokenizer,
            seat.dev,
            seat.folder,
            seat.stop,
        )
        self.told = seat.report.arm(seat.seed, name)
        self.at: RoundId | None = None
        self.keys: dict[RoundId, list[str]] = {}  # of the trainings of each try, in order

    def steps(self, theta: HyperParameters, n_train: int) -> int:
        many = len(self.seat.teacher.labelled) >= MANY
        epochs = self.seat.report.plan.epochs or (EPOCHS if many else EPOCHS_OF_FEW)
        return math.ceil(epochs * n_train / int(theta[3]))  # type: ignore[call-overload]

    def fit(
        self,
        theta: HyperParameters,
        pairs: Sequence[tuple[str, Any]],
        at: RoundId,
        steps: int | None = None,
    ) -> Fitted:
        if at != self.at:
            self.at, self.keys[at] = at, []
            self.told["rounds"].append(_opened(at, len(pairs)))
        round_ = self.told["rounds"][-1]
        round_["theta"].append(list(theta))
        steps = steps or self.steps(theta, len(pairs))
        where = {
            "stage": f"{NAMES[self.name]}, round {at.number}",
            "detail": f"set {len(round_['theta'])}: {in_words(theta)}",
            "arm": self.name,
            "seed": self.seat.seed,
        }

        def on_step(step: int, total: int, loss: float) -> None:
            told = {"done": step, "total": total, "loss": round(loss, 4)}
            left = self._seconds_left(step, total)
            self.seat.on_progress(where | told | ({"seconds_left": left} if left else {}))

        self.seat.on_progress(where | {"done": 0, "total": steps})
        fitted = self.student.fit(theta, pairs, steps, on_step, at)
        self.keys[at].append(fitted.key)
        for half, key in (("seen", "accuracies"), ("held", "held")):
            round_[key].append(round(self.student.accuracy(fitted, half), 5))
        round_["losses"].append(fitted.loss)
        round_["seconds"].append(fitted.seconds)
        self.told["steps"] += fitted.steps
        self.told["seconds_training"] = round(self.told["seconds_training"] + fitted.seconds, 2)
        self.seat.report.note()
        return fitted

    def _seconds_left(self, done: int, steps: int) -> float | None:
        """At most how long the run may still take, at the pace of its finished trainings.

        It supposes that one set leaves each round, as few as can.
        """
        plan, runs = self.seat.report.plan, self.seat.report.plain["runs"]
        arms = [arm for run in runs for arm in run["arms"].values()]
        spent, made = (sum(arm[what] for arm in arms) for what in ("seconds_training", "steps"))
        if not made:
            return None
        if self.name == "agora":
            n_sets = len(plan.sets) - sum(len(r["pruned"]) for r in self.told["rounds"])
            wrong = len(self.seat.dev.seen) // 4  # of it: what is usual of a small model
            growth = self.steps(self.told["rounds"][-1]["theta"][-1], plan.m * wrong)
            later = sum((n_sets - k) * (steps + k * growth) for k in range(1, n_sets))
            left = (n_sets - len(self.told["rounds"][-1]["theta"]) + 1) * steps - done + later
            whole, to_come = self.told["steps"] + left, len(plan.controls)
        else:
            whole = self.seat.report.plain["runs"][-1]["arms"]["agora"]["steps"]
            left = whole - self.told["steps"] - done
            to_come = len(plan.controls) - plan.controls.index(self.name) - 1
        seeds_to_come = plan.seeds - len(runs)
        left += whole * (to_come + seeds_to_come * (1 + len(plan.controls)))
        return round(left * spent / made, 1)

    def label(self, texts: Sequence[str], at: RoundId) -> list[Any]:
        start = perf_counter()
        labels = self.seat.labels(texts, every=at.number == 0)
        self._generated(start)
        return labels

    def timed(self, tau: Tau) -> Tau:
        def timed(mistakes: Any, m: int, at: RoundId) -> list[list[str]]:
            total = len(mistakes)
            self.seat.on_progress({"stage": "making points", "done": 0, "total": total})
            start = perf_counter()
            made = tau(mistakes, m, at)
            self._generated(start)
            return made

        return timed

    def _generated(self, start: float) -> None:
        spent = self.told["seconds_generating"] + perf_counter() - start
        self.told["seconds_generating"] = round(spent, 2)

    def settle(self, played: Round) -> None:
        """Note what a round's end decides: its mistakes, its points, what was pruned."""
        labels = self.seat.report.plain["data"]["labels"]
        told = next(r for r in self.told["rounds"] if _at(r) == played.at)
        told |= {
            "counts": played.counts,
            "mistakes": [_mistake(m, labels) for m in played.mistakes],
            "made": [_made(made, labels) for made in played.new_points],
            "pruned": [list(theta) for theta in played.pruned],
            "prefix": played.prefix,
        }
        self.told["n_points"] += played.n_added * played.counts
        self.seat.report.note()

    def finish(self, best: Fitted) -> None:
        """Note which training is the arm's result, and keep it for the judge."""
        for told in self.told["rounds"]:
            if best.key in (keys := self.keys[_at(told)]):
                self.told["best"] = {
                    "number": told["number"],
                    "attempt": told["attempt"],
                    "theta": told["theta"][keys.index(best.key)],
                    "dev_seen": round(self.student.accuracy(best), 5),
                    "dev_held": round(self.student.accuracy(best, "held"), 5),
                }
        self.seat.best[self.name] = (self.student, best)
        self.seat.report.note()


def in_words(theta: HyperParameters) -> str:
    """Say what a hyper-parameter set holds: "learning rate 0.0002, weight decay 0.01, ..."."""
    return ", ".join(f"{name} {value:g}" for name, value in zip(FIELDS, theta, strict=True))


def _opened(at: RoundId, n_train: int) -> dict[str, Any]:
    lists = ("theta", "accuracies", "held", "losses", "seconds", "mistakes", "made", "pruned")
    empty: dict[str, Any] = {name: [] for name in lists}
    where = {"number": at.number, "attempt": at.attempt, "counts": True, "n_train": n_train}
    return where | empty | {"prefix": 0}


def _at(told: Mapping[str, Any]) -> RoundId:
    return RoundId(told["number"], told["attempt"])


def _mistake(mistake: Any, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "text": mistake.x,
        "label": labels[mistake.y],
        "guess": labels[mistake.guess],
    }


def _made(made: NewPoints, labels: Sequence[str]) -> dict[str, Any]:
    points = [
        {
            "text": text,
            "label": labels[int(np.argmax(y))] if y is not None else None,
            "confidence": round(max(y), 4) if y is not None else None,
            "kept": y is not None,
        }
        for text, y in zip(made.points, made.labels, strict=True)
    ]
    return {"near": _mistake(made.near, labels), "points": points}


def without_texts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a report whose sentences, which have authors, are numbered instead."""
    numbers: dict[tuple[str, str], int] = {}

    def unnamed(kind: str, told: dict[str, Any]) -> None:
        number = numbers.setdefault((kind, told["text"]), len(numbers) + 1)
        told["text"] = f"{kind} sentence {number}"

    plain = json.loads(json.dumps(report))
    for arm in (arm for run in plain["runs"] for arm in run["arms"].values()):
        for told in arm["rounds"]:
            for mistake in told["mistakes"]:
                unnamed("dev", mistake)
            for made in told["made"]:
                unnamed("dev", made["near"])
                for point in made["points"]:
                    unnamed("pool", point)
    return plain


def summary(report: Mapping[str, Any]) -> str:
    """Return the result as text: every arm on test, what the model costs, where it lies."""
    test, (source, student) = report["test"], report["models"]
    lines = [f"accuracy on test ({test['n']} texts), with a 95 % interval"]
    for row in test["rows"]:
        name = f"{row['name']:<22}"
        lines.append(f"  {name} {row['accuracy']:.1%}  ({row['low']:.1%} to {row['high']:.1%})")
    for row in test["rows"]:
        for other, gap in row.items():
            if other.startswith("against_"):
                lines.append(
                    f"Agora against {NAMES[other.removeprefix('against_')]}: "
                    f"{100 * gap['difference']:+.1f} points "
                    f"({100 * gap['low']:+.1f} to {100 * gap['high']:+.1f})"
                )
    lines += [
        f"{model['name']} {model['architecture']}: {model['n_parameters']:,} parameters, "
        f"{model['n_encoder_parameters']:,} of them in the encoder, {model['latency_ms']:.2f} ms "
        f"({model['latency_how']}; {model['latency_note']})"
        for model in (source, student)
    ]
    return "\n".join([*lines, f"the checkpoint {report['checkpoint']['said']}"])


def _judge(
    report: Report,
    seats: Sequence[_Seat],
    source: Source,
    architecture: Architecture,
    on_progress: Progress,
) -> None:
    """Score the test split, once, and measure what the two models cost."""
    from bort_engine.finetune.test_split import compare, score_test

    plan = report.plan
    if report.plain["test"] is None:
        on_progress({"stage": "scoring the test split once", "done": 0, "total": 1})
        arms = {
            name: [seat.best[name][0].load(seat.best[name][1]) for seat in seats]
            for name in ("agora", *plan.controls)
        }
        arms["labeller"] = [seat.teacher.model for seat in seats]
        if plan.start == "task":
            arms["start"] = [seat.student_start for seat in seats]
        right = score_test(report.task, seats[0].teacher.tokenizer, arms)
        others = [name for name in right if name != "agora"]
        rows = compare(right, "agora", others)
        report.note(
            test={
                "n": next(iter(right.values())).shape[1],
                "rows": [{"name": NAMES[name], "arm": name} | row for name, row in rows.items()],
            }
        )
    settings = LatencySettings()
    shapes = {"Source": source.architecture, "Student": architecture}
    ms = measure_ms(list(dict.fromkeys(shapes.values())), source, settings)
    note = (
        f"batch {settings.batch_size}, {settings.sequence_length} tokens, "
        f"{settings.threads} threads, fp32"
    )
    sizes = {name: n_parameters(shape, source) for name, shape in shapes.items()}
    report.note(
        models=[
            {
                "name": name,
                "architecture": str(shape),
                "n_parameters": sizes[name].total,
                "n_encoder_parameters": sizes[name].encoder,
                "latency_ms": ms[shape],
                "latency_how": "measured",
                "latency_note": note,
            }
            for name, shape in shapes.items()
        ]
    )


def _save(
    report: Report,
    seat: _Seat,
    source: Source,
    architecture: Architecture,
    on_progress: Progress,
) -> None:
    """Save the first seed's best model with its card, and open it again in a new process.

    A student that was distilled on the task is saved as it was before Agora, too, in `start`: where
    all labels are known, Agora does not always better it, and the test rows say which is which.
    """
    from bort_engine.encoder.checkpoint import save

    on_progress({"stage": "saving and reloading", "done": 0, "total": 1})
    student, fitted = seat.best["agora"]
    models = {"model": student.load(fitted)}
    if report.plan.start == "task":
        models["start"] = seat.student_start
    checks = {
        folder: save(
            model,
            seat.teacher.tokenizer,
            report.folder / folder,
            _card(report, seat, source, architecture, folder),
        )
        for folder, model in models.items()
    }
    found = checks["model"]
    report.note(
        checkpoint={
            "folder": "model",
            "ok": all(check.ok for check in checks.values()),
            "said": str(found),
            "problems": [problem for check in checks.values() for problem in check.problems],
        }
    )
    on_progress({"stage": "saving and reloading", "done": 1, "total": 1})


def _card(
    report: Report, seat: _Seat, source: Source, architecture: Architecture, folder: str
) -> Any:
    from bort_engine.encoder.model_card import Card, Latency, Metric

    plain, plan, task = report.plain, report.plan, find_task(report.task)
    test, student = plain["test"], plain["models"][-1]
    best = plain["runs"][0]["arms"]["agora"]["best"]
    rows = tuple(
        Metric(
            f"accuracy, {row['name']}",
            "test",
            row["accuracy"],
            f"share of {test['n']} right; 95 % interval {row['low']:.3f} to {row['high']:.3f}"
            + f", mean of {plan.seeds} seeds" * (plan.seeds > 1),
        )
        for row in test["rows"]
    )
    halves = (("dev, the half Agora saw", "dev_seen"), ("dev, held back from Agora", "dev_held"))
    n = {"dev_seen": plain["data"]["n_dev_seen"], "dev_held": plain["data"]["n_dev_held"]}
    dev = tuple(
        Metric("accuracy, Agora", split, best[key], f"share of {n[key]} right")
        for split, key in halves
    )
    how = (
        f"Agora: tau {plan.tau}, {plan.m} points a mistake, "
        f"{'soft' if plan.soft else 'hard'} labels by the source fine-tuned on the same rows; "
        f"best in round {best['number']} with " + in_words(best["theta"]) + "."
    )
    if folder == "start":
        how = f"This is the “{NAMES['start']}”: it imitates the “{NAMES['labeller']}”."
    return Card(
        architecture=architecture,
        source=source,
        title=task.title,
        labels=task.labels,
        data=f"{task.note}. Labelled rows used: {plain['data']['n_train']}; "
        f"unlabelled pool: {plain['data']['n_pool']}.",
        method=f"Start: {plan.start}. {how}",
        seed=seat.seed,
        versions=plain["provenance"]["versions"],
        made_on=plain["provenance"]["made_on"],
        metrics=rows + dev,
        limits=(
            f"Texts are read up to 64 tokens; {task.title.lower()} is all it was trained for.",
            "Agora looks at half of dev by design: that half flatters; the test rows do not.",
        ),
        epsilon=report.plain["request"]["epsilon"],
        latency=Latency(
            student["latency_ms"],
            LatencySettings(),
            plain["provenance"]["machine"],
            origin=student["latency_how"],
        ),
        licence="apache-2.0" if source.weights == "embedded" else None,
    )
