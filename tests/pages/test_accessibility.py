"""axe-core finds nothing wrong with any page, in either theme, on a wide and on a narrow screen.

Each page stands as it first opens, with what is on record. Needs Chromium, as test_browser does.
Text of plots is not judged: axe cannot tell what lies behind it.
"""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

import pytest

from tests.pages.test_browser import ROOT, serving

LESSONS = {
    module.name: import_module(f"pages.parts.lessons.{module.name}").TITLE
    for module in iter_modules([str(ROOT / "pages" / "parts" / "lessons")])
}
# By address: a heading that only this page has.
PAGES = {
    "": "times as fast",
    "fine-tune": "What happens here",
    "baselines": "minilm-l6 on rotten-tomatoes: 64 evaluations",
    "lessons": "What do you expect?",
}
# A lesson's whole page, its question skipped; four stand for all questions and answers.
PAGES |= {f"lessons?lesson={name}&{name}_guess=skip": LESSONS[name] for name in LESSONS}
PAGES |= {
    "lessons?lesson=choosing": "What do you expect?",
    "lessons?lesson=choosing&choosing_guess=near": "What do you expect?",
    "lessons?lesson=dial&embed=true": "What do you expect?",
}
READY = """(theme) => {
    const all = (id) => [...document.querySelectorAll(`[data-testid=${id}]`)];
    const [app] = all("stApp");
    return app.dataset.testScriptState == "notRunning"
        && getComputedStyle(app).colorScheme == theme
        && !document.querySelector("[data-stale=true], [data-testid=stSkeleton]")
        && all("stPlotlyChart").every((chart) => chart.querySelector(".main-svg"))
        && !document.getAnimations().some((change) => change.playState == "running");
}"""
# The whole page must be on the screen: axe passes over what is scrolled out of sight.
HEIGHT = 8000
FITS = "document.querySelector('[data-testid=stMain]').scrollHeight <= innerHeight"
VIOLATIONS = "axe.run({resultTypes: ['violations']}).then((found) => found.violations)"


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory) -> Iterator:
    """One page for all, with axe-core, on a server where nothing has run."""
    from axe_playwright_python.base import AXE_SCRIPT

    folder = tmp_path_factory.mktemp("accessibility")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BORT_CACHE", str(folder / "cache"))
        with serving(folder / "runs") as server:
            page = browser.new_page(base_url=server.url, reduced_motion="reduce")
            page.set_default_timeout(60_000)
            page.add_init_script(AXE_SCRIPT)
            yield page
            page.close()


def violations(page, theme: str) -> Iterator[str]:
    """Yield what axe-core finds, a line each: rule, place, why (with the contrast), element."""
    for width in (1280, 420):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.wait_for_timeout(150)  # until the change of width or theme begins
        page.wait_for_function(READY, arg=theme)
        assert page.evaluate(FITS), "a part of the page is out of sight"
        for found in page.evaluate(VIOLATIONS):
            rule = f"{theme}, {width} wide: {found['impact']} {found['id']}"
            for node in found["nodes"]:
                why = "; ".join(c["message"] for kind in ("any", "all", "none") for c in node[kind])
                yield f"{rule} at {' '.join(map(str, node['target']))}: {why} {node['html']}"


@pytest.mark.parametrize("address", PAGES)
def test_axe_finds_nothing_wrong(page, address):
    page.emulate_media(color_scheme="light")
    page.goto(f"/{address}")
    page.get_by_role("heading", name=PAGES[address]).wait_for()
    found = [*violations(page, "light")]
    page.emulate_media(color_scheme="dark")
    found += violations(page, "dark")
    assert not found, "\n".join(found)
