"""What a server does before its first visit, and beside it: it loads what Explore needs.

Imports and the first front with its record and calibration take most of a server's first run; a
browser needs as long until it asks for one.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from threading import Thread

import streamlit as st


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    Thread(target=warm_up, daemon=True).start()
    yield


def warm_up() -> None:
    """Import what Explore imports, and make its first front and plot."""
    from bort_engine.runs.events import silent
    from bort_engine.search.front import front
    from bort_engine.show import budget, front_figures  # noqa: F401 (it is Explore's)
    from pages.parts import budget as fields  # noqa: F401 (so too)
    from pages.parts import chart, checkpoint, form, models, rather, texts  # noqa: F401

    with suppress(ValueError):  # where no record ships the page says so
        first = front(form.DEFAULT, errors="recorded", on_progress=silent)
        axes, others = front_figures.Axes(), rather.references(first)
        front_figures.scatter(first, axes, others, first.recommended).to_json()
