"""The lesson "The ledger": published, recomputed, timed; in any state of its page."""

import json
import random
import time
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from bort_engine.encoder.costs import n_parameters
from bort_engine.lab.ledger import BASE, BORT, LARGE, RECORDED, SWAPPED, Ledger
from bort_engine.runs import jobs
from bort_engine.show.lessons import claims
from pages.parts.lessons import ledger as view
from tests.lab.test_ledger import made_up

ROOT = Path(__file__).parents[3]


def claim(name: str, swapped: bool = False, length: int = 128, ledger=None) -> claims.Claim:
    found = claims.claims(ledger, length)
    return next(c for c in found if (c.name, c.swapped) == (name, swapped))


def test_the_released_shape_is_larger_than_published_and_the_swapped_one_fits():
    assert f"{100 * claims.share(BORT):.1f}" == "22.4"
    assert f"{100 * claims.share(BORT, effective=True):.1f}" == "7.6"
    assert claims.counted(SWAPPED).total == 55_991_641
    rows = claims.table(None, 128).set_index("Claim")
    assert rows.loc["Parameters", "Recomputed"] == "75,106,304"
    assert rows.loc["Parameters, H and I swapped", "Recomputed"] == "55,991,641"
    assert rows.loc["Size, of BERT-large", "Published"] == "16 % (84 % smaller)"


def test_operations_by_hand():
    """Of one layer and L tokens: 4 L H^2 + 2 L H I + 2 L^2 H; a pooler adds H^2."""
    layer = 4 * 16 * 1024**2 + 2 * 16 * 1024 * 768 + 2 * 16**2 * 1024
    large = 24 * (4 * 16 * 1024**2 + 2 * 16 * 1024 * 4096 + 2 * 16**2 * 1024) + 1024**2
    assert claims.operations(LARGE, BORT, 16) == large / (4 * layer)
    assert claim("Speed, BERT-large", length=16).recomputed == large / (4 * layer)
    assert claims.operations(BASE, BASE, 16) == 1


def test_the_timed_ratio_is_the_ledgers_and_missing_where_not_timed():
    timed = claim("Speed, BERT-large", length=16, ledger=made_up()).timed
    assert timed and (timed.median, timed.low, timed.high) == (15.0, 12.5, 15.0)
    assert claim("Speed, BERT-large", True, 16, made_up()).timed.median == 30
    assert claim("Size", ledger=made_up()).timed is None
    assert claim("Speed, BERT-base", length=64, ledger=made_up()).timed is None


def test_scores_are_published_and_never_ours():
    rows = claims.table(made_up(), 16).set_index("Claim")
    for name in ("GLUE test score", "SuperGLUE test score", "Tasks better than BERT-large"):
        assert rows.loc[name, "Recomputed"] == "not reproduced" and not rows.loc[name, "Timed"]
    assert rows.loc["GLUE test score", "Published"] == "83.6 (BERT-large 80.5)"
    assert rows.loc["SuperGLUE test score", "Published"] == "74.1 (BERT-large 69.0)"
    assert rows.loc["Tasks better than BERT-large", "Published"] == "20 of 23"
    assert all(url.startswith("https://") for url in rows["Link"])


def test_the_farthest_length_is_found_in_the_times():
    assert claims.farthest(None) == 512  # by operations: the longer, the less Bort saves
    times = {name: dict(by_length) for name, by_length in made_up().times_ms.items()}
    times["bert-large-uncased"][16] = (50.0, 60.0, 70.0)
    slow = made_up(times_ms=times)
    assert claims.farthest(slow) == 16
    assert claims.preset_says(slow, 16) == (
        "3.0 times BERT-large's speed, by the clock; 20 is published. Of the lengths here, the "
        "farthest from it."
    )
    assert "farthest" not in claims.preset_says(slow, 128)


@pytest.mark.parametrize("ledger", [None, made_up()], ids=["untimed", "timed"])
@pytest.mark.parametrize("length", [16, 128, 512])
def test_the_picture_holds_every_claim_within_its_axes(ledger, length):
    figure = claims.figure(ledger, length)
    assert len(figure.data) == (5 if ledger else 3)
    low, high = (10**end for end in figure.layout.xaxis.range)
    for trace in figure.data:
        assert all(low < x < high for x in trace.x)
    marks = {(trace.marker.color, trace.marker.symbol) for trace in figure.data}
    assert len(marks) == len(figure.data)
    assert figure.layout.xaxis.range == claims.figure(ledger, 16).layout.xaxis.range
    assert f"at {length} tokens" in claims.summary(ledger, length)


def test_what_ships_can_be_read():
    found = Ledger.load(RECORDED)
    assert set(found.lengths) >= {16, 128, 512}
    assert n_parameters(BORT.architecture, BORT).total == claims.counted(BORT).total


# The page.


@pytest.fixture(autouse=True)
def quiet(monkeypatch, run_root, tmp_path) -> None:
    monkeypatch.setattr("bort_engine.search.errors.recorded_tasks", list)
    monkeypatch.setattr(view, "RECORDED", made_up().save(tmp_path / "recorded.json"))
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()


def lesson(**query: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.run()
    at.switch_page("pages/learn.py")
    for name, value in ({"lesson": view.TITLE} | query).items():
        at.query_params[name] = value
    return at.run()


def words(at: AppTest) -> str:
    kinds = (at.markdown, at.caption, at.subheader, at.error, at.warning, at.info)
    return "\n".join(element.value for kind in kinds for element in kind)


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def played(wait, text: str) -> jobs.Run:
    """Return a run that ended with this file."""
    run = jobs.start("ledger", ["--lengths", "16"])
    wait(lambda: run.status().over)
    (run.folder / "ledger.json").write_text(text)
    return run


def test_it_opens_on_what_is_recorded():
    at = lesson()
    assert not at.exception and not at.error and not at.warning
    said = words(at)
    assert ":primary-badge[Recorded] :small[on Synthetic CPU, 2000-01-01" in said
    assert "at 128 tokens Bort needs 12.8 times fewer operations" in said
    assert "by the clock it is 15.0 times as fast" in said
    assert len(at.get("plotly_chart")) == 1 and len(at.dataframe) == 2


def test_every_state_is_drawn_without_an_exception():
    at, rng = lesson(), random.Random(0)
    for _ in range(20):
        if rng.random() < 0.5:
            at.select_slider(key="ledger_length").set_value(rng.choice((16, 128, 512)))
            at.run()
        else:
            rng.choice([b for b in at.button if b.key.startswith("try-")]).click().run()
        assert not at.exception and not at.error and not at.warning
        length = at.select_slider(key="ledger_length").value
        assert f"at {length} tokens Bort needs" in words(at)


@pytest.mark.parametrize(
    "query",
    [
        {"ledger_length": "nonsense"},
        {"ledger_length": "-1"},
        {"ledger_length": "64"},
        {"ledger_length": ""},
        {"ledger_length": "9" * 400},
        {"ledger_run": "../../etc"},
        {"ledger_run": "no-such-run"},
        {"ledger_run": "<b>" * 100},
    ],
)
def test_nonsense_in_the_address_is_a_picture_or_one_line(query):
    at = lesson(**query)
    assert not at.exception and len(at.warning) == ("ledger_run" in query)
    assert at.select_slider(key="ledger_length").value == 128
    assert len(at.get("plotly_chart")) == 1


def test_the_length_in_the_address_is_the_one_shown():
    at = lesson(ledger_length="512")
    assert at.select_slider(key="ledger_length").value == 512


def test_a_run_is_started_watched_and_stopped(monkeypatch, wait):
    monkeypatch.setenv("FAKE_STEPS", "400")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    at = lesson()
    at.button(key="ledger_start").click().run()
    assert not at.exception and not at.error
    run = jobs.find(at.query_params["ledger_run"])
    assert run.request == {"command": "ledger", "arguments": ["--lengths", "16,128,512"]}
    wait(lambda: run.status().done >= 2)
    at.run()
    assert not at.exception and "Now: " in words(at)
    assert len(at.get("plotly_chart")) == 1  # what is recorded stays
    at.button(key="stop").click().run()
    wait(lambda: run.status().over)
    at.run()
    assert "**This run was stopped.**" in at.info[0].value
    button(at, "Close this run").click().run()
    assert "ledger_run" not in at.query_params and not at.info


def test_a_finished_run_is_shown_instead_labelled_measured_here(wait):
    times = {name: {16: by[16]} for name, by in made_up().times_ms.items()}
    run = played(wait, json.dumps(made_up(times_ms=times, device="<b>*Mine*").to_json()))
    at = lesson(ledger_run=run.id)
    assert not at.exception and not at.warning
    assert ":green-badge[Measured here] :small[on \\<b\\>\\*Mine\\*" in words(at)
    at.select_slider(key="ledger_length").set_value(512).run()
    assert not at.exception and "by the clock" not in at.markdown[-1].value
    at.button(key="ledger_leave").click().run()
    assert "Recorded" in words(at) and not at.exception
    button(at, "Show the last run").click().run()
    assert not at.exception and at.query_params["ledger_run"] == run.id


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', "[" * 100_000])
def test_a_damaged_result_is_one_line_and_a_way_back(wait, text):
    at = lesson(ledger_run=played(wait, text).id)
    assert not at.exception and len(at.warning) == 1 and "ledger.json" in at.warning[0].value
    assert "No times are on record here" in words(at)
    button(at, "Close this run").click().run()
    assert not at.warning and not at.exception


def test_a_run_of_another_page_is_not_taken_for_one_of_this(wait):
    run = jobs.start("front", ["minilm-l6"])
    wait(lambda: run.status().over)
    at = lesson(ledger_run=run.id)
    assert not at.exception and "is not of this page" in at.warning[0].value


def test_with_nothing_on_record_the_sizes_and_operations_are_still_there(monkeypatch, tmp_path):
    monkeypatch.setattr(view, "RECORDED", tmp_path / "nothing.json")
    at = lesson()
    assert not at.exception and not at.warning
    assert "No times are on record here" in words(at) and len(at.dataframe) == 1


def test_a_redraw_takes_less_than_a_second():
    """The best of four, since machines are shared."""
    at, times = lesson(), []
    for length in (16, 512, 128, 16):
        started = time.perf_counter()
        at.select_slider(key="ledger_length").set_value(length).run()
        times.append(time.perf_counter() - started)
    assert min(times) < 1
