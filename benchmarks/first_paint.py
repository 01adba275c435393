"""How long until Explore can be read, and until it answers, beside the least that Streamlit takes?

Run: python benchmarks/first_paint.py [ROUNDS]. In headless Chromium at 1280 x 900, medians of five
fresh servers: the first page of a server, until its chart and card stand; the same page in another
browser, which has nothing in its cache, and again in a tab of it, also as seconds of processor time
in which that tab's main thread worked; a change of what may be lost, and of epsilon, until the
sentence or the corner of the chart says the new one. In turns with a bare app: a chart of as many
points and nothing else; for the changes, one field, one heading and one slider above it. Needs
Chromium, as the browser tests do.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))

from bort_engine.search.front import front
from tests.pages.conftest import CHROMIUM, FLAGS
from tests.pages.test_browser import ROOT, SHOWN, serving

POINT = ".js-plotly-plot .scatterlayer path.point:visible >> nth=20"
SETTLED = {"ours": (f"{SHOWN} >> nth=3", POINT), "bare": (POINT,)}
BARE = """
import plotly.graph_objects as go
import streamlit as st

epsilon = 0.1
if st.query_params:
    lose = st.number_input("Lose (points)", value=1.0)
    st.header(f"{lose:g} times as fast")
    epsilon = st.slider("Epsilon", 0.05, 1.0, 0.1, 0.05)
n = POINTS
figure = go.Figure().add_scatter(x=[*range(n)], y=[7 * i % n for i in range(n)], mode="markers")
figure.add_annotation(text=f"epsilon {epsilon:g}", x=1, y=0, xref="paper", yref="paper")
st.plotly_chart(figure)
"""
CPU = "the same, processor time"


def seconds(browser, url: str, settled: tuple[str, ...]) -> dict[str, float]:
    """Return the seconds of each kind on a fresh server."""
    times, size = {}, {"width": 1280, "height": 900}
    first, second = browser.new_context(viewport=size), browser.new_context(viewport=size)
    for name, context in (
        ("first page of a fresh server", first),
        ("the same page, warm", second),
        ("the same page in another tab", second),
    ):
        page = context.new_page()
        devtools = context.new_cdp_session(page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        start = perf_counter()
        page.goto(url)
        for selector in settled:
            page.wait_for_selector(selector)
        times[name] = perf_counter() - start
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        times[CPU] = next(m["value"] for m in metrics if m["name"] == "TaskDuration")
    page.goto(f"{url}/?lose=1")
    page.wait_for_selector(POINT)
    field = page.get_by_role("spinbutton", name="Lose (points)")
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
    first.close()
    second.close()
    return times


def main() -> None:
    from playwright.sync_api import sync_playwright

    rounds = int(sys.argv[1]) if sys.argv[1:] else 5
    n_points = len(front("minilm-l6", errors="recorded").points)
    times: dict[str, dict[str, list[float]]] = {"ours": {}, "bare": {}}
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "bare")
        shutil.copytree(ROOT / ".streamlit", bare / ".streamlit")
        (bare / "app.py").write_text(BARE.replace("POINTS", str(n_points)))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for _ in range(rounds):
            for name, app in (("ours", ROOT), ("bare", bare)):
                with serving(Path(folder, "runs"), app) as server:
                    for kind, value in seconds(browser, server.url, SETTLED[name]).items():
                        times[name].setdefault(kind, []).append(value)
        browser.close()
    print(f"{'seconds, medians':<32}{'ours':>6}{'bare':>6}  ours / bare, round by round")
    for kind, ours in times["ours"].items():
        bare_times = times["bare"][kind]
        ratios = [a / b for a, b in zip(ours, bare_times, strict=True)]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"{kind:<32}{median(ours):6.2f}{median(bare_times):6.2f}  {median(ratios):.2f} ({each})"
        )


if __name__ == "__main__":
    main()
