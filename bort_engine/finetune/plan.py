"""What a fine-tuning run is asked for: its plan, its hyper-parameter sets, the whole request."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product
from operator import attrgetter
from typing import Annotated, Literal, NamedTuple, get_args

from annotated_types import Ge, Gt, Le

from bort_engine.algorithms.fptas import check_epsilon
from bort_engine.data.tasks import find_task
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture, check_slice
from bort_engine.training.distil import INITIALISATIONS

Control = Literal["plain", "copied", "random"]
CONTROLS: tuple[Control, ...] = get_args(Control)
TAUS = ("auto", "pool", "tokens", "mask")


class Config(NamedTuple):
    """A hyper-parameter set; the order of its fields decides what Agora prunes together."""

    learning_rate: Annotated[float, Gt(0), Le(1)]
    weight_decay: Annotated[float, Ge(0), Le(1000)]
    warmup_share: Annotated[float, Ge(0), Le(1)]
    batch_size: Annotated[int, Ge(1), Le(10**6)]
    seed: Annotated[int, Ge(0), Le(2**31 - 1)]

    def __str__(self) -> str:
        pairs = zip(self._fields, self, strict=True)
        return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in pairs)


CONFIGS: dict[str, tuple[Config, ...]] = {
    "quick": (
        Config(2e-4, 0.01, 0.1, 64, 0),
        Config(2e-4, 0.01, 0.1, 64, 1),
        Config(3e-4, 0.01, 0.1, 64, 0),
        Config(1e-4, 0.01, 0.1, 64, 0),
    ),
    "gentle": (
        Config(2e-5, 0.01, 0.1, 64, 0),
        Config(2e-5, 0.01, 0.1, 64, 1),
        Config(3e-5, 0.01, 0.1, 64, 0),
        Config(1e-5, 0.01, 0.1, 64, 0),
    ),
    # The README grid of Bort (github alexa/bort): 480 sets.
    "bort": tuple(
        Config(*values)
        for values in product(
            (1e-4, 1e-5, 9e-6), (0, 10, 100, 350), (0.35, 0.40, 0.45, 0.50), (8, 16), range(5)
        )
    ),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a student is fine-tuned; the defaults are the command line's.

    Attributes:
        labelled: how many rows of the train split carry labels (0: all); the others are the pool.
        tau: where new points come from: auto, pool, tokens or mask; auto is `pool` where there is
            a pool, else `tokens`.
        points: how many are made near each mistake, out of `candidates` times as many: those on
            which student and labeller differ most.
        candidates: how many for each point that is made.
        configs: the hyper-parameter sets: auto, quick, gentle or bort; auto is `quick`, or `gentle`
            for an initialisation that was distilled on the task: at quick's rates such a student
            forgets more than it learns.
        initialisation: inherit (a slice of the source), general (that, distilled on general text),
            task (a slice of T, distilled on the task's texts) or elastic (a slice of the elastic
            student, in which all slices of T are trained together).
        controls: what Agora is compared with, at as many steps: plain, copied, random, or none.
        seeds, seed: how many runs, and the first one's seed.
        confidence: what the labeller must give its first choice for a point to be kept.
        labels: whether a point carries all its probabilities (soft) or the first choice only.
        epochs: of each training; 0 for 3, or 2 where 5,000 rows or more are labelled.
        replays: how many rounds that lost accuracy may be done a second time.
        teacher_steps: training steps of the labeller; 0 for two epochs. Few are for tests.
        general_steps: of the distillation on general text; 0 for one pass over it.

    Raises:
        ValueError: a setting is not one of the allowed values.
    """

    labelled: int = 0
    tau: str = "auto"
    points: int = 8
    candidates: int = 3
    configs: str = "auto"
    initialisation: str = "inherit"
    controls: tuple[Control, ...] = ("plain", "random")
    seeds: int = 1
    seed: int = 0
    confidence: float = 0.0
    labels: str = "soft"
    epochs: float = 0
    replays: int = 0
    teacher_steps: int = 0
    general_steps: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("tau", TAUS),
            ("configs", ("auto", *CONFIGS)),
            ("initialisation", INITIALISATIONS),
            ("labels", ("soft", "hard")),
        ):
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}.")
        for control in self.controls:
            if control not in CONTROLS:
                allowed = ", ".join(CONTROLS)
                raise ValueError(f"control {control!r} is not known; allowed: {allowed}.")
        for name, low, high in (
            ("labelled", 0, 10**9),
            ("points", 1, 100),
            ("candidates", 1, 100),
            ("seeds", 1, 100),
            ("seed", 0, 2**31 - 1),
            ("replays", 0, 100),
            ("epochs", 0, 1000),
            ("confidence", 0, 1),
            ("teacher_steps", 0, 100_000),
            ("general_steps", 0, 100_000),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise ValueError(f"{name} is {value!r}; allowed: {low} to {high}.")
        if self.tau == "pool" and not self.labelled:
            raise ValueError(
                "tau is pool, but every row is labelled, so there is no pool; take tau=tokens, or "
                "label fewer rows."
            )

    @property
    def starts_trained(self) -> bool:
        """Has the student learned the task before its fine-tuning? Then it is a result, too."""
        return self.initialisation in ("task", "elastic")

    @property
    def all_seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)


@dataclass(frozen=True, slots=True)
class Request:
    """One run, as it was asked for; `epsilon` is that of the front the architecture is from.

    Raises:
        ValueError: the architecture does not fit in the source, or epsilon is out of range.
    """

    source: Source
    task: str
    architecture: Architecture
    plan: Plan
    epsilon: float | None
    configs: tuple[Config, ...]

    def __post_init__(self) -> None:
        if not self.architecture.fits_in(self.source.architecture):
            raise ValueError(
                f"architecture {self.architecture} does not fit in {self.source.name} "
                f"({self.source.architecture}); choose one with no more of anything."
            )
        if self.plan.initialisation == "elastic":
            check_slice(self.architecture, self.source)
        if self.epsilon is not None:
            check_epsilon(self.epsilon)

    @classmethod
    def of(
        cls,
        architecture: Architecture | str,
        source: Source | str,
        task: str,
        plan: Plan,
        epsilon: float | None,
    ) -> Request:
        """Read what a user gave: names and texts, or values. Raises ValueError at a mistake."""
        source = Source.load(source) if isinstance(source, str) else source
        if isinstance(architecture, str):
            architecture = Architecture.parse(architecture)
        named = "gentle" if plan.starts_trained else "quick"
        configs = CONFIGS[named if plan.configs == "auto" else plan.configs]
        if plan.tau == "mask" and not source.may_fill_in:
            raise ValueError(
                f"tau is mask, but {source.name} has no masked-language-model head; allowed: pool, "
                "tokens."
            )
        about = find_task(task)
        if about.kind == "number" or about.is_pair:
            what = "numbers" if about.kind == "number" else "pairs of texts"
            raise ValueError(
                f"task {about.title!r} is about {what}; Agora makes points near single texts with "
                "classes. Take `cut --polish` for it."
            )
        return cls(source, about.name, architecture, plan, epsilon, configs)

    def differences(self, other: Request) -> list[str]:
        """Return the names of the settings that differ."""
        names = {field.name for field in fields(Request)} - {"plan"}
        names |= {f"plan.{field.name}" for field in fields(Plan)}
        differ = (name for name in names if attrgetter(name)(self) != attrgetter(name)(other))
        return sorted({name.removeprefix("plan.") for name in differ})
