"""What slow work tells of itself while it runs, and how it is asked to stop.

An event is a dictionary: "stage", how many parts of it are "done" of a "total", and where it helps
a "detail", a "loss", an "architecture". For the time left (time_left.py): the "share" of the
stage's time that is over, where done / total is not, and by which factor what is left of it may be
"off"; or its "seconds_left" and "most_seconds_left"; the "plan" of the whole run; and which "part"
of that this is, where the stage is not its name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Progress = Callable[[Event], None]
Stop = Callable[[], bool]


class Cancelled(Exception):
    """The work was asked to stop and did, after the step it was in."""


class Refused(ValueError):
    """What was asked for cannot be done: to go on with it would end in the same way."""


def silent(event: Event) -> None:
    """Tell nobody."""


class _Bar:
    """Shows each stage as a bar of tqdm's, in a terminal or a notebook; elsewhere nothing."""

    def __init__(self) -> None:
        self._stage, self._bar = "", None

    def __call__(self, event: Event) -> None:
        if not (sys.stderr.isatty() or "ipykernel" in sys.modules):
            return
        if event["stage"] != self._stage or self._bar is None:
            from tqdm.auto import tqdm

            self._close()
            self._stage = event["stage"]
            self._bar = tqdm(desc=self._stage, total=event["total"] or None)
        self._bar.n = event["done"]
        self._bar.set_postfix_str(str(event.get("detail", "")))
        if 0 < event["total"] <= event["done"]:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._stage, self._bar = "", None


bar = _Bar()  # the default of the verbs' `on_progress`; `silent` says nothing


def never() -> bool:
    """Go on to the end: the default of every `stop`."""
    return False


def check(stop: Stop) -> None:
    """Raise Cancelled if a stop was asked for."""
    if stop():
        raise Cancelled("stopped on request")


def step_events(stage: str, on_progress: Progress) -> Callable[[int, int, float], None]:
    """Return what tells of a training's steps: the step, how many there are, and its loss."""

    def on_step(step: int, total: int, loss: float) -> None:
        on_progress({"stage": stage, "done": step, "total": total, "loss": loss})

    return on_step


def counted(stage: str, total: int, before: int, on_progress: Progress) -> Callable[[int], None]:
    """Return what tells of rows: how many of a part are done, after `before` others of `total`."""
    return lambda done: on_progress({"stage": stage, "done": before + done, "total": total})
