"""How long until Explore can be read, and until it answers?

Run: python benchmarks/first_paint.py [ROUNDS]. In headless Chromium at 1280 x 900, medians of five
fresh servers: the first page of a server, until its chart and card stand; the same page in another
browser, which has nothing in its cache, and again in a tab of it; a change of what may be lost, and
of epsilon, until the sentence or the corner of the chart says the new one. Needs Chromium, as the
browser tests do.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.pages.conftest import CHROMIUM, FLAGS
from tests.pages.test_browser import serving

POINT = ".js-plotly-plot .scatterlayer path.point:visible >> nth=20"
SETTLED = "[data-testid='stMetric'] >> nth=3", POINT


def seconds(browser, url: str) -> dict[str, float]:
    """Return the seconds of each kind on a fresh server."""
    times, size = {}, {"width": 1280, "height": 900}
    first, second = browser.new_context(viewport=size), browser.new_context(viewport=size)
    for name, context in (
        ("first page of a fresh server", first),
        ("the same page, warm", second),
        ("the same page in another tab", second),
    ):
        page = context.new_page()
        start = perf_counter()
        page.goto(url)
        for selector in SETTLED:
            page.wait_for_selector(selector)
        times[name] = perf_counter() - start
    field = page.get_by_role("spinbutton", name="Lose at most")
    before = page.locator("h2", has_text="times as fast").first.text_content()
    field.fill("3")
    start = perf_counter()
    field.press("Enter")
    said = "text => [...document.querySelectorAll('h2')].every(p => p.textContent !== text)"
    page.wait_for_function(said, arg=before, polling=20)
    times["a change of budget"] = perf_counter() - start
    page.get_by_role("slider", name="Epsilon").focus()
    start = perf_counter()
    page.keyboard.press("ArrowRight")
    page.get_by_text("epsilon 0.15").wait_for()
    times["a change of epsilon"] = perf_counter() - start
    return times


def main() -> None:
    from playwright.sync_api import sync_playwright

    rounds = int(sys.argv[1]) if sys.argv[1:] else 5
    found: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder, serving(Path(folder, "runs")) as server:
                for name, value in seconds(browser, server.url).items():
                    found.setdefault(name, []).append(value)
        browser.close()
    for name, values in found.items():
        each = ", ".join(f"{value:.2f}" for value in values)
        print(f"{name:<30} {median(values):.2f} s  ({each})")


if __name__ == "__main__":
    main()
