"""The app in a real browser: a real extraction is run, a point of the plot clicked, its card read.

Needs Chromium (`apt-get install chromium`; CHROMIUM names another one). Without it these tests
skip, but on CI (CI=true) they fail. With BORT_SCREENSHOTS=1 they renew docs/explore.png and keep
looks of the Fine-tune page, whose engine is faked, in runs/looks.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bort_engine.search import errors as oracles
from bort_engine.search import front as extract
from bort_engine.search.result import Front

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]
STREAMLIT = [sys.executable, "-m", "streamlit", "run", "app.py"]
FAKE = f"""
import sys
from bort_engine.runs import jobs
jobs.PROGRAM = (sys.executable, {str(ROOT / "tests" / "fake_engine.py")!r})
from streamlit.web.cli import main
main()
"""
SHAPE = re.compile(r"^\d+,\d+,\d+,\d+$")
SHOWN = '[data-testid="stMetric"]'


def start_server(
    runs: Path, command: list[str] = STREAMLIT, **environment: str
) -> Iterator[tuple[str, psutil.Process]]:
    """Serve the app as a user would, with its own folder for runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (runs.parent / f"server-{port}.log").open("wb")
    server = subprocess.Popen(
        [*command, f"--server.port={port}", "--server.headless=true"],
        cwd=ROOT,
        env=os.environ | {"BORT_RUNS": str(runs)} | environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    url = f"http://localhost:{port}"
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                    break
            except OSError:
                time.sleep(0.1)
        yield url, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(timeout=20)
        log.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("browser") / "runs"


@pytest.fixture(scope="module")
def server(runs):
    yield from start_server(runs)


@pytest.fixture(scope="module")
def browser():
    if not Path(CHROMIUM).exists():
        assert os.environ.get("CI") != "true", f"CI needs a browser, and there is none: {CHROMIUM}"
        pytest.skip(f"no browser at {CHROMIUM}; install chromium, or name it in CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=FLAGS, timeout=60_000
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that fails the test if the browser logged an error."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(30_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert not errors


def card(page) -> str:
    """The architecture on the card."""
    return page.locator("h3", has_text=SHAPE).inner_text()


def click_a_point(page, other_than: str) -> str:
    """Click a point of the front that is not on the card yet; return what its hover label said."""
    points = page.locator(".scatterlayer path.point")
    points.first.wait_for()
    page.wait_for_timeout(500)  # the plot takes its size from its container
    for index in range(points.count()):
        box = points.nth(index).bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
        label = page.locator(".hoverlayer .hovertext tspan", has_text=SHAPE).first
        label.wait_for()
        architecture = label.text_content()
        if architecture != other_than:
            page.mouse.down()
            page.mouse.up()
            return architecture
    raise AssertionError("every point of the plot is already on the card")


def test_a_recorded_front_is_there_at_once_and_a_point_can_be_clicked(server, page):
    url, _ = server
    assert oracles.recorded_tasks(), "no recorded table ships: the first look would be empty"
    page.goto(url)
    page.wait_for_selector(SHOWN)
    front = extract.front("minilm-l6", errors="recorded")
    first = card(page)
    assert first == str(front.best)
    clicked = click_a_point(page, first)
    page.locator("h3", has_text=clicked).wait_for()
    assert f"point={clicked.replace(',', '%2C')}" in page.url
    page.get_by_text("On the front:").wait_for()
    page.reload()
    page.wait_for_selector(SHOWN)
    assert card(page) == clicked  # the address holds the choice
    if os.environ.get("BORT_SCREENSHOTS"):
        page.goto(f"{url}/?point={front.best}")
        page.wait_for_selector(SHOWN)
        page.set_viewport_size({"width": 1280, "height": 1560})
        page.wait_for_timeout(3000)
        (ROOT / "docs").mkdir(exist_ok=True)
        page.screenshot(path=ROOT / "docs" / "explore.png")


def test_epsilon_and_a_point_can_be_chosen_by_keyboard_alone(server, page):
    url, _ = server
    page.goto(url)
    page.wait_for_selector(SHOWN)
    page.get_by_role("slider", name="Epsilon").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("epsilon 0.25").wait_for()
    assert "epsilon=0.25" in page.url
    page.wait_for_timeout(1000)  # the rerun
    page.locator('[data-testid="stDataFrame"] canvas').first.focus()
    page.keyboard.press("ArrowDown")
    row = page.locator('[data-testid^="glide-cell-1-"]:focus')
    row.wait_for(state="attached")
    architecture = row.text_content()
    page.keyboard.down("Shift")
    page.keyboard.press(" ")
    page.keyboard.up("Shift")
    page.locator("h3", has_text=architecture).wait_for()


@pytest.mark.timeout(600)
def test_a_real_extraction_is_started_stopped_resumed_and_its_front_clicked(server, page, runs):
    url, process = server
    page.goto(url)
    page.get_by_role("button", name="Measure it here").click()
    page.get_by_text("Advanced").click()
    for label, value in (
        ("Search space", "D=1-2 A=12 H=96,192 I=192"),
        ("Training steps of a candidate", "5"),
        ("Training steps of the source", "20"),
    ):
        field = page.locator(f'input[aria-label="{label}"]')
        field.fill(value)
        field.press("Tab")
    page.get_by_role("button", name="Extract the front").click()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("This run was stopped").wait_for(timeout=120_000)
    page.get_by_role("button", name="Resume").click()
    page.get_by_test_id("stProgress").wait_for()
    most = 0
    for _ in range(480):
        most = max(most, process.memory_info().rss)
        if page.locator(SHOWN).count():
            break
        page.wait_for_timeout(1000)
    print(f"the app's process took at most {most / 1e6:.0f} MB")
    assert most < 400e6, f"the app's process took {most / 1e6:.0f} MB"

    (folder,) = [path for path in runs.iterdir() if path.is_dir()]
    front = Front.load(folder / "front.json")
    assert front.space_size == 4 and front.origin == "measured"
    page.get_by_text("minilm-l6 on rotten-tomatoes").first.wait_for()
    clicked = click_a_point(page, card(page))
    page.locator("h3", has_text=clicked).wait_for()
    point = next(p for p in front.points if str(p.architecture) == clicked)
    shown = page.locator(SHOWN).all_inner_texts()
    assert f"{point.n_parameters / 1e6:.1f} M" in shown[0]
    assert f"{point.latency_ms:.2f} ms" in shown[2]
    assert f"{100 * (1 - point.shown_error):.1f} %" in shown[3]


@pytest.fixture
def fake_server(tmp_path):
    """The app before an engine that plays a made-up report, slowly enough to be stopped."""
    command = [sys.executable, "-c", FAKE, "run", "app.py"]
    steps = "60" if os.environ.get("BORT_SCREENSHOTS") else "10"  # looks take a while
    slow = {"FAKE_STEPS": steps, "FAKE_PAUSE": "0.2", "PYTHONPATH": str(ROOT)}
    yield from start_server(tmp_path / "runs", command, **slow)


@pytest.mark.timeout(600)
def test_a_point_is_fine_tuned_from_the_click_to_the_card(fake_server, page, tmp_path):
    """Explore's point, a start, a round, a stop, a resume, the result and its downloads."""
    from playwright.sync_api import expect

    url, _ = fake_server
    page.goto(url)
    page.wait_for_selector(SHOWN)
    clicked = click_a_point(page, card(page))
    page.locator("h3", has_text=clicked).wait_for()
    page.get_by_role("button", name="Fine-tune this").click()
    field = page.get_by_role("textbox", name="Architecture")
    field.wait_for()
    assert "/fine-tune?" in page.url and field.input_value() == clicked
    page.get_by_text("Chosen from a front at epsilon 0.2.").wait_for()
    keep_a_look(page, "start")

    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("Round by round").wait_for(timeout=60_000)
    page.get_by_text("Leakage meter").wait_for()
    keep_a_look(page, "live")
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("This run was stopped").wait_for(timeout=60_000)
    expect(page.get_by_text("Leakage meter")).to_have_count(1)  # what was trained stays in view
    page.reload()  # a closed tab finds it again
    page.get_by_role("button", name="Resume").click()
    page.get_by_test_id("stProgress").wait_for()
    page.get_by_text("What the test split shows").wait_for(timeout=240_000)
    page.get_by_text("A gain over plain fine-tuning is").wait_for()
    page.get_by_text("Dev texts that failed in round").wait_for()
    page.wait_for_timeout(3000)  # the charts find their sizes, and the buttons their places
    keep_a_look(page, "done")

    for name, file in (("model card", "README.md"), ("checkpoint", ".zip")):
        with page.expect_download(timeout=60_000) as download:
            page.get_by_role("button", name=f"Download {name}").click()
        assert download.value.suggested_filename.endswith(file)
        download.value.save_as(tmp_path / file)
    assert (tmp_path / "README.md").read_text() == "# A synthetic model card\n"
    with zipfile.ZipFile(tmp_path / ".zip") as pack:
        assert "model/model.safetensors" in pack.namelist() and not pack.testzip()


def keep_a_look(page, name: str) -> None:
    """With BORT_SCREENSHOTS=1, keep the page as it looks now, light, dark and narrow."""
    if not os.environ.get("BORT_SCREENSHOTS"):
        return
    folder = ROOT / "runs" / "looks"
    folder.mkdir(parents=True, exist_ok=True)
    for look, width, scheme in (("light", 1280, "light"), ("dark", 1280, "dark"),
                                ("narrow", 420, "light")):  # fmt: skip
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 1600})
        page.wait_for_timeout(2000)
        page.screenshot(path=folder / f"fine-tune-{name}-{look}.png")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 1000})


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("", "Measure it here"),
        ("fine-tune", "Source model"),
        ("fine-tune?point=2,12,384,768", "Source model"),
        ("baselines", "Start another race"),
        ("lessons", "A walk through the whole tool"),
        ("lessons?lesson=The+epsilon+dial", "Covered worst"),
    ],
)
def test_every_address_may_be_the_first_request_to_a_fresh_server(browser, tmp_path, path, seen):
    for url, _ in start_server(tmp_path / "runs"):
        page = browser.new_page()
        page.goto(f"{url}/{path}")
        page.get_by_role("heading", name="Bort Explorer").wait_for(timeout=30_000)
        page.get_by_text(seen).first.wait_for()
        if path.startswith("fine-tune"):
            page.get_by_text("What happens here").wait_for()
            page.get_by_text("Advanced").click()
            page.get_by_label("First seed").wait_for()
        page.wait_for_timeout(1000)
        assert not page.get_by_text("Page not found").count()
        page.close()
