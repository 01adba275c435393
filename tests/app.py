"""The app as AppTest opens it, from an address, and what can be read and pressed there."""

import re
from pathlib import Path

from streamlit.testing.v1 import AppTest

APP = str(Path(__file__).parents[1] / "app.py")


def opened(page: str = "", **query: str) -> AppTest:
    """Open a page as from an address; none is Explore."""
    at = AppTest.from_file(APP, default_timeout=60)
    if page:  # AppTest can switch only after a first run: one of Explore with nothing to draw
        at.query_params["run"] = "none"
        at.run()
        at.switch_page(page)
        del at.query_params["run"]
    for name, value in query.items():
        at.query_params[name] = value
    return at.run()


def words(at: AppTest) -> str:
    """Return all text of a page as a person reads it: without the escapes of Markdown."""
    kinds = (at.markdown, at.caption, at.subheader, at.error, at.warning, at.info)
    text = "\n".join(element.value for kind in kinds for element in kind)
    return re.sub(r"\\([\\`*_\[\]<>#!|~$:])", r"\1", text)


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def calm(at: AppTest) -> bool:
    """Is there neither an exception nor an error nor a warning?"""
    return not at.exception and not at.error and not at.warning
