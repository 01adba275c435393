"""What a server does before its first visit, and beside it: it loads what Explore needs.

Imports and the first front with its record and calibration take most of a server's first run; a
browser needs as long until it asks for one.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from threading import Thread
from time import sleep

import streamlit as st

AFTER_S = 5.0  # by then the first visit is over, if one came at once
PAUSE_S = 0.5  # so that a visitor need not wait for a row of fronts


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    Thread(target=warm_up, daemon=True).start()
    yield


def warm_up() -> None:
    """Import what Explore imports, make its first front and plot, and then its other fronts."""
    from bort_engine.data.tasks import TASKS
    from bort_engine.show import budget, front_figures  # noqa: F401 (it is Explore's)
    from pages.parts import budget as fields  # noqa: F401 (so too)
    from pages.parts import chart, checkpoint, form, models, rather, recorded, texts  # noqa: F401

    task = next(iter(TASKS))
    with suppress(ValueError):  # where no record ships the page says so
        first = recorded.look_up(form.DEFAULT, task, recorded.EPSILON)
        axes, others = front_figures.Axes(), rather.references(first)
        front_figures.scatter(first, axes, others, first.recommended).to_json()
        sleep(AFTER_S)
        for epsilon in recorded.EPSILONS:  # a turn of the slider then finds its front made
            sleep(PAUSE_S)
            recorded.look_up(form.DEFAULT, task, epsilon)
