"""How long a run still takes: by the plan that it reports first, corrected by what was measured.

A plan is a list of stages with the seconds each may take, reported in an event's "plan". The stage
at work is judged by its own pace, more so the further it is; those to come by the plan, times how
much longer than planned the others took. Without a plan only the stage at work is judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bort_engine.runs.events import Event

TRUSTED = 0.1  # the share of a stage after which its pace alone says how long it takes
WORTH_A_RANGE = 1.3  # below, one number says it
DAMPING_S = 3.0  # stages of seconds say little of the machine's speed


class Stage(NamedTuple):
    """A part of a run, by the stage or "part" of its events, and the seconds it may take.

    `is_work` is False where the processor does not decide: a download.
    """

    name: str
    low: float
    high: float
    is_work: bool = True

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


class Left(NamedTuple):
    """The seconds left, from `low` to `high`, and the share of the whole time that is over."""

    low: float
    high: float
    share: float


class TimeLeft:
    """Follows a run through its events; `now` is in seconds of any one clock."""

    def __init__(self) -> None:
        self.plan: dict[str, Stage] = {}
        self.stage = ""  # the planned one at work
        self._began: float | None = None
        self._spent: dict[str, float] = {}  # by planned stage
        self._key, self._first = "", (0.0, 0.0)
        self._entered = self._highest = 0.0
        # Of the stage at work, when it last told of itself: when that was, the seconds left of it,
        # and what was planned and is taken by as much of it as can be judged.
        self._known: tuple[float, list[float], float, float] | None = None

    @property
    def number(self) -> int:
        """Which of the planned stages is at work, from 1; 0 before the first, or without a plan."""
        return [*self.plan].index(self.stage) + 1 if self.stage in self.plan else 0

    def note(self, event: Event, now: float) -> Left | None:
        """Take in an event and return how long the run still takes; None while that is unknown."""
        self._began = now if self._began is None else self._began
        if "plan" in event:
            self.plan = {row[0]: Stage(*row) for row in event["plan"]}
        key = _part(event)
        if key in self.plan and key != self.stage:
            if self.stage:
                self._spent[self.stage] = self._spent.get(self.stage, 0.0) + now - self._entered
            self.stage, self._entered, self._known = key, now, None
        share = event.get("share")
        if share is None:
            share = min(1.0, event["done"] / event["total"]) if event["total"] else 0.0
        if event["stage"] != self._key:
            self._key, self._first = event["stage"], (now, share)
        at_work = self._at_work(event, share, now)
        if not self.plan:
            return Left(*at_work, share) if at_work else None
        low, high = self._planned(event, at_work, share, now)
        over = now - self._began
        whole = over + (low + high) / 2
        # A bar that falls back is believed less than one that waits.
        self._highest = max(self._highest, over / whole if whole else 0.0)
        return Left(low, high, self._highest)

    def _at_work(self, event: Event, share: float, now: float) -> tuple[float, float] | None:
        """Return what the event itself predicts, else what follows from its stage's pace."""
        if (low := event.get("seconds_left")) is not None:
            return max(0.0, low), max(0.0, low, event.get("most_seconds_left") or 0.0)
        if share >= 1:
            return (0.0, 0.0) if self.plan else None
        began, first = self._first
        if share <= first:
            return None
        left = (now - began) / (share - first) * (1 - share)
        off = event.get("off", 1.0)
        return left / off, left * off

    def _planned(
        self, event: Event, at_work: tuple[float, float] | None, share: float, now: float
    ) -> tuple[float, float]:
        """Return the seconds left of the whole plan."""
        stages = [*self.plan.values()]
        current = self.plan.get(self.stage)
        if current is None:
            return _sum(stages, 1.0)
        at = stages.index(current)
        scale = self._scale(stages[:at])
        spent = self._spent.get(current.name, 0.0) + now - self._entered
        k = scale if current.is_work else 1.0
        if at_work is not None and _part(event) == current.name:
            # What it takes by its pace, mixed with the plan as long as that says little.
            trust = min(1.0, share / TRUSTED) if "seconds_left" not in event else 1.0
            prior = (k * seconds * (1 - share) for seconds in (current.low, current.high))
            rest = [(1 - trust) * p + trust * r for p, r in zip(prior, at_work, strict=True)]
            planned = trust * current.middle if current.is_work else 0.0
            self._known = now, rest, planned, trust * (spent + sum(rest) / 2) if planned else 0.0
        elif self._known:  # an event between two stages
            rest = [max(0.0, seconds - now + self._known[0]) for seconds in self._known[1]]
        else:  # it has only begun
            rest = [k * max(s - spent, 0.1 * s) for s in (current.low, current.high)]
        if self._known:
            scale = self._scale(stages[:at], *self._known[2:])
        low, high = _sum(stages[at + 1 :], scale)
        return rest[0] + low, rest[1] + high

    def _scale(self, over: Iterable[Stage], planned: float = 0.0, taken: float = 0.0) -> float:
        """Return how many times longer than planned the work took that was done so far."""
        for stage in over:
            if stage.is_work and stage.name in self._spent:
                planned += stage.middle
                taken += self._spent[stage.name]
        return (taken + DAMPING_S) / (planned + DAMPING_S)


def _part(event: Event) -> str:
    return event.get("part") or event["stage"]


def _sum(stages: Iterable[Stage], scale: float) -> tuple[float, float]:
    rows = [(stage, scale if stage.is_work else 1.0) for stage in stages]
    return sum(s.low * k for s, k in rows), sum(s.high * k for s, k in rows)


def about(low: float, high: float | None = None) -> str:
    """Return seconds, or a range of them, as a person says it: 40 s, 3 to 6 min, 1.5 h."""
    high = max(low, high or 0.0, 1.0)
    size, unit = (1, "s") if high < 90 else (60, "min") if high < 90 * 60 else (3600, "h")
    digits = int(unit == "h" and high < 10 * size)
    first, last = (f"{max(value, 1 / size):.{digits}f}" for value in (low / size, high / size))
    if high <= WORTH_A_RANGE * low or first == last:
        return f"{max((low + high) / 2, 1) / size:.{digits}f} {unit}"
    return f"{max(1, round(low / size)) if not digits else first} to {last} {unit}"
