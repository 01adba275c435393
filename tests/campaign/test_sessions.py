"""Random clicks, and hostile addresses, in a real browser."""

import random
import re
from contextlib import suppress
from urllib.parse import parse_qsl, urlencode, urlsplit

import psutil
import pytest

from tests.app import ended
from tests.campaign.conftest import times
from tests.campaign.test_hostile import VALUES, WORDS
from tests.pages import test_browser

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(7200)]
KEYS = "run point lesson source task epsilon pin parent race_source record space export "
KEYS += "architecture cut stopwatch embed path_guess path_step dial_guess choosing_guess chosen_at"
ADDRESSES = ["", "fine-tune", "baselines", "lessons", "explore", "lessons/..", "nowhere"]
LESSONS = ["path", "pruning", "cost", "dial", "choosing", "torus", "ledger", "<b>"]
CLICKABLE = "button, summary, label, [role=radio], [role=tab], [role=slider], [role=option], "
CLICKABLE += "input, .scatterlayer path.point, a[href*=localhost], [data-testid=stDataFrame]"
IDLE = """() => document.querySelector("[data-testid=stApp]")?.dataset.testScriptState
    == "notRunning" """
# What a browser, and Streamlit, log of an address that is none; Streamlit also looks for its own
# files below a page's address first.
WRONG_ADDRESS = re.compile("status of 404|does not seem to exist")
TEXTS = ["1,2,3", "99,99,99,99", "<script>alert(1)</script>", "0", "nan", "9" * 400, "../../etc"]


def session(browser, server, rng: random.Random, n_steps: int = 15) -> tuple[list[str], int]:
    """Edit the address and click at random; return what went wrong, and how often it was done.

    In the end the app must still show its first page.
    """
    from playwright.sync_api import Error

    context = browser.new_context(accept_downloads=True)
    faults: list[str] = []
    page = context.new_page()
    page.set_default_timeout(60_000)

    def requested(request):
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "localhost":
            faults.append(f"a request to {request.url[:200]} from {page.url[:200]}")

    def logged(message):
        if message.type == "error" and not WRONG_ADDRESS.search(message.text):
            where = message.location.get("url", "")
            faults.append(f"console: {message.text[:300]} of {where[:200]} at {page.url[:200]}")

    context.on("request", requested)
    page.on("console", logged)
    page.on("pageerror", lambda error: faults.append(f"{str(error)[:300]} at {page.url[:200]}"))
    hostile = [*WORDS[:-9], *(v for v in VALUES if isinstance(v, str) and v.isprintable())]
    hostile += [path.name for path in server.runs.glob("*")] + LESSONS
    n_done = 0
    for step in range(n_steps):
        with suppress(Error):
            if step == 0 or rng.random() < 0.35:
                asked = dict(parse_qsl(urlsplit(page.url).query))
                asked |= {
                    rng.choice(KEYS.split()): rng.choice(hostile) for _ in range(rng.randint(0, 3))
                }
                if asked and rng.random() < 0.5:
                    asked[rng.choice(list(asked))] = rng.choice(hostile)
                asked = {k: v[:3000].encode(errors="replace") for k, v in asked.items()}
                page.goto(f"{server.url}/{rng.choice(ADDRESSES)}?{urlencode(asked)}")
            else:
                found = page.locator(f":is({CLICKABLE}):visible")
                target = found.nth(rng.randrange(found.count() or 1))
                target.click(timeout=3000, force=rng.random() < 0.3)
                if rng.random() < 0.5:
                    page.keyboard.type(rng.choice(TEXTS))
                    page.keyboard.press(rng.choice(["Enter", "Tab", "ArrowRight", "Escape"]))
            n_done += 1
        page.wait_for_timeout(700)
        with suppress(Error):
            page.wait_for_function(IDLE)
        box = page.get_by_test_id("stException")
        if box.count():
            faults.append(f"an exception at {page.url[:300]}: {box.first.inner_text()[:300]}")
        if server.process.status() == psutil.STATUS_ZOMBIE:
            return [*faults, f"the server ended at {page.url[:300]}"], n_done
    try:
        test_browser.visit(page, server.url)
    except Error as e:
        faults.append(f"the app shows its first page no more: {str(e)[:300]}")
    context.close()
    return faults, n_done


def test_sessions_of_random_clicks_and_addresses_meet_no_exception(
    browser, tally, tmp_path, monkeypatch
):
    engine = str(test_browser.ROOT / "tests" / "fake_engine.py")
    program = test_browser.STREAMLIT.replace(
        f'(sys.executable, "-c", {test_browser.PROGRAM!r})', f"(sys.executable, {engine!r})"
    )
    assert program != test_browser.STREAMLIT
    monkeypatch.setattr(test_browser, "STREAMLIT", program)
    for command in ("front", "agora", "race"):
        result = {"front": "front", "agora": "report", "race": "race"}[command]
        ended(tmp_path / "runs", command, "<b>$x$", **{f"{result}__json": '{"schema": 1}'})
    with test_browser.serving(tmp_path / "runs") as server:
        for n in range(times(20)):
            faults, n_done = session(browser, server, random.Random(n))
            tally.add("browser sessions", "; ".join(dict.fromkeys(faults)))
            tally.add("clicks and addresses in them", n=n_done)
    log = (tmp_path / "server.log").read_text(errors="replace")
    tally.add("the server's log", "Traceback" in log and log[log.index("Traceback") :][:1500], n=0)
