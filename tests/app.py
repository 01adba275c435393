"""The app as AppTest opens it, from an address, and what can be read and pressed there."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from streamlit.testing.v1 import AppTest

from bort_engine.runs import jobs

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
    kinds = (at.markdown, at.caption, at.header, at.subheader, at.error, at.warning, at.info)
    text = "\n".join(element.value for kind in kinds for element in kind)
    return re.sub(r"\\([-+=.)\\`*_\[\]<>#!|~$:&])", r"\1", text)


def labels(at: AppTest) -> list[str]:
    """Return what the buttons of a page say, the main ones as well."""
    return [re.sub(r"^:primary\[\*\*(.*)\*\*\]$", r"\1", b.label) for b in at.button]


def button(at: AppTest, label: str):
    return at.button[labels(at).index(label)]


def calm(at: AppTest) -> bool:
    """Is there neither an exception nor an error nor a warning?"""
    return not at.exception and not at.error and not at.warning


def started(at: AppTest, label: str) -> tuple[jobs.Run, str]:
    """Press a button that starts a run; return it, with its command line in order of options."""
    button(at, label).click().run()
    assert calm(at)
    run = jobs.find(at.query_params["run"])
    source, *options = run.request.arguments
    pairs = sorted(zip(options[::2], options[1::2], strict=True))
    return run, " ".join([run.request.command, source, *map(" ".join, pairs)])


def press_and_wait(at: AppTest, label: str, run: jobs.Run, wait: Callable) -> None:
    """Stop or resume a run; look at the page again once it is over."""
    button(at, label).click().run()
    assert not at.exception
    wait(lambda: run.status().over)
    at.run()
    assert label != "Stop" or "**This run was stopped** after" in at.info[0].value


def close_and_reopen(at: AppTest, run: jobs.Run, summary: str) -> None:
    """Leave a run that is done, and come back to it from the list of earlier ones."""
    button(at, "Close this run").click().run()
    assert "run" not in at.query_params
    listed = at.button(key=f"open-{run.id}")
    assert listed.label.endswith(f"{summary}, **done**")
    listed.click().run()
    assert calm(at) and at.query_params["run"] == run.id


def ended(root: Path, command: str, error: str = "", **files: str) -> jobs.Run:
    """Return a run that ended in this process, with these files (a__json is a.json)."""
    folder = root / f"{command}-by-hand"
    with suppress(RuntimeError), jobs.working(folder, command, ["minilm-l6"]) as job:
        job.report({"stage": "evaluating candidates", "done": 1, "total": 2})
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text)
        if error:
            raise RuntimeError(error)
    return jobs.Run(folder)
