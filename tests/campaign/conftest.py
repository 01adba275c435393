"""A campaign of attacks, kept apart from the usual tests: `pytest -m campaign` tries them all, and
prints what was tried, how often and what failed as a Markdown table. CAMPAIGN_SHARE=0.1 tries a
tenth of it.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable

import pytest

from tests.pages.conftest import browser

__all__ = ["browser"]
SHARE = float(os.environ.get("CAMPAIGN_SHARE", "1"))
tried: dict[str, int] = defaultdict(int)
failed: dict[str, int] = defaultdict(int)


def times(n: int) -> int:
    """Return how often something is to be tried, of `n` times in a whole campaign."""
    return max(1, round(n * SHARE))


class Tally:
    """Counts what was tried; a test goes on after a failure, and fails when it ends."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.failures: list[str] = []
        self.tell = tell

    def add(self, what: str, failure: str = "", n: int = 1) -> None:
        """Note that something was tried; `failure` says how it failed, if it did."""
        if n or failure:
            tried[what] += n
        if failure:
            failed[what] += 1
            self.failures.append(f"{what}: {failure}")
            self.tell(f"\n{self.failures[-1]}")  # at once: a campaign is long


@pytest.fixture
def tally(request):
    plugin = request.config.pluginmanager.getplugin

    def tell(line: str) -> None:
        with plugin("capturemanager").global_and_fixture_disabled():
            plugin("terminalreporter").write_line(line)

    tally = Tally(tell)
    yield tally
    assert not tally.failures, "\n".join(tally.failures)


def pytest_terminal_summary(terminalreporter) -> None:
    """Write the table; with nothing tried, nothing."""
    if not tried:
        return
    write = terminalreporter.write_line
    write(f"\n{time.strftime('%Y-%m-%d')}, a share of {SHARE:g}:\n")
    write("| tried | times | failures |\n|---|---|---|")
    for what, n in tried.items():
        write(f"| {what} | {n:,} | {failed[what]} |")
