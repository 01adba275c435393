"""The lesson "The ledger": published, recomputed, timed; in any state of its page."""

import pytest
import streamlit as st

from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.space import Architecture
from bort_engine.lab.ledger import BASE, BORT, LARGE, SWAPPED, DeployedLedger, Ledger
from bort_engine.runs import jobs, records
from bort_engine.search.front import Search, front
from bort_engine.show.lessons import claims
from pages.parts.lessons import ledger as view
from tests.lab.test_ledger import made_up, made_up_deployed
from tests.show.lessons.conftest import finish, press, words


def claim(name: str, swapped: bool = False, length: int = 128, ledger=None) -> claims.Claim:
    rows = claims.claims(ledger, length)
    return next(row for row in rows if (row.name, row.swapped) == (name, swapped))


def test_the_released_shape_is_larger_than_published_and_the_swapped_one_fits():
    assert f"{100 * claims.share(BORT):.1f}" == "22.4"
    assert f"{100 * claims.share(BORT, effective=True):.1f}" == "7.6"
    assert claims.counted(SWAPPED).total == 55_991_641
    assert n_parameters(BORT.architecture, BORT).total == claims.counted(BORT).total == 75_106_304


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


def test_the_table_has_each_claim_as_published_and_scores_are_never_ours():
    rows = claims.table(made_up(), 16).set_index("Claim")
    assert rows.loc["Parameters", "Recomputed"] == "75,106,304"
    assert rows.loc["Parameters, H and I swapped", "Recomputed"] == "55,991,641"
    assert rows.loc["Size, of BERT-large", "Published"] == "16 % (84 % smaller)"
    assert rows.loc["Speed, BERT-large, 16 tokens", "Timed"] == "15.0x (12.5 to 15.0)"
    for name, score in (
        ("GLUE test score", "83.6 (BERT-large 80.5)"),
        ("SuperGLUE test score", "74.1 (BERT-large 69.0)"),
        ("Tasks better than BERT-large", "20 of 23"),
    ):
        row = rows.loc[name, ["Published", "Recomputed", "Timed"]]
        assert row.tolist() == [score, "not reproduced", ""]
    assert all(url.startswith("https://") for url in rows["Link"])


def test_the_farthest_length_is_found_in_the_times():
    assert claims.farthest(None) == 512  # by operations: the longer, the less Bort saves
    plain = records.dump(made_up())
    plain["times_ms"]["bert-large-uncased"]["16"] = [50.0, 60.0, 70.0]
    slow = records.parse(plain, Ledger)
    assert claims.farthest(slow) == 16
    assert claims.preset_summary(slow, 16).startswith("3.0 times BERT-large's speed, by the clock")


@pytest.mark.parametrize("ledger", [None, made_up()], ids=["untimed", "timed"])
@pytest.mark.parametrize("length", [16, 512])
def test_the_picture_holds_every_claim_within_its_axes(ledger, length):
    figure = claims.figure(ledger, length)
    assert len(figure.data) == (5 if ledger else 3)
    low, high = (10**end for end in figure.layout.xaxis.range)
    assert all(low < x < high for trace in figure.data for x in trace.x)
    marks = {(trace.marker.color, trace.marker.symbol) for trace in figure.data}
    assert len(marks) == len(figure.data)
    assert figure.layout.xaxis.range == claims.figure(ledger, 16).layout.xaxis.range


def test_the_deployed_table_has_both_ratios_of_each_runtime():
    rows = claims.deployed_table(made_up_deployed(), 16).set_index("Runtime")
    assert rows.loc["PyTorch fp32"].tolist() == [
        "150.0 ms (150.0 to 175.0)",
        "20.0 ms (15.0 to 25.0)",
        "10.0x (7.5 to 12.5)",
        "10.0x (7.5 to 12.5)",
    ]
    ratios = rows.loc["ONNX int8"].tolist()[2:]
    assert ratios == ["8.0x (8.0 to 8.0)", "30.0x (30.0 to 35.0)"]


def test_the_deployed_sentence_says_what_the_runtime_brings():
    text = claims.deployed_sentence(made_up_deployed(), 16)
    assert "8.0 to 10.0 times" in text and "13.1 by operations" in text
    assert "30.0 times" in text and "3.8 times" in text
    only_fp32 = records.dump(made_up_deployed())
    del only_fp32["times_ms"]["onnx-int8"]
    text = claims.deployed_sentence(records.parse(only_fp32, DeployedLedger), 16)
    assert "10.0 times" in text and "int8" not in text


@pytest.fixture(autouse=True)
def quiet(monkeypatch, run_root, tmp_path) -> None:
    path = records.write(tmp_path / "recorded.json", made_up())
    monkeypatch.setattr(view, "RECORDED", path)
    monkeypatch.setattr(view, "DEPLOYED", tmp_path / "none.json")
    st.cache_resource.clear()


def test_the_presets_are_shown_from_what_is_recorded(open_lesson):
    at = open_lesson("ledger")
    assert ":primary-badge[Recorded] :small[on Synthetic CPU, 2000-01-01" in words(at)
    assert "by the clock it is 15.0 times as fast" in words(at)
    for length in (claims.farthest(made_up()), claims.GOOD):
        press(at, f"{length} tokens")
        assert not at.error and not at.warning
        assert len(at.get("plotly_chart")) == 1 and len(at.dataframe) == 2
        assert f"at {length} tokens Bort needs" in words(at)


def test_a_run_is_started_and_shown_instead_and_a_damaged_one_is_one_line(open_lesson, wait):
    at = open_lesson("ledger")
    at.button(key="ledger_start").click().run()
    assert not at.exception and not at.error
    assert len(at.get("plotly_chart")) == 1  # what is recorded stays
    run = jobs.find(at.query_params["ledger_run"])
    assert run.request == jobs.Request("ledger", ("--lengths", "16,128,512"))
    wait(lambda: run.status().over)
    of_one_length = made_up("<b>*Mine*", factors=((16, 1),))
    finish(run, "ledger.json", records.dump_line(of_one_length).decode())
    at.run()
    assert not at.exception and not at.warning
    assert ":green-badge[Measured here] :small[on \\<b\\>\\*Mine\\*" in words(at)
    at.select_slider(key="ledger_length").set_value(512).run()
    assert not at.exception and "by the clock" not in at.markdown[-1].value
    press(at, "Close this run")
    assert ":primary-badge[Recorded]" in words(at)
    press(at, "Show the last run")
    assert at.query_params["ledger_run"] == run.id
    finish(run, "ledger.json", '{"schema": 1}')
    at.run()
    assert not at.exception and len(at.warning) == 1 and "ledger.json" in at.warning[0].value
    assert ":primary-badge[Recorded]" in words(at)


def test_with_nothing_on_record_the_sizes_and_operations_are_still_there(
    open_lesson, monkeypatch, tmp_path
):
    monkeypatch.setattr(view, "RECORDED", tmp_path / "nothing.json")
    at = open_lesson("ledger")
    assert not at.warning and len(at.dataframe) == 1
    assert ":primary-badge[Recorded]" not in words(at)


def test_the_deployed_times_are_shown_at_the_lengths_they_were_taken(
    open_lesson, monkeypatch, tmp_path
):
    path = records.write(tmp_path / "deployed.json", made_up_deployed("<b>*CPU*"))
    monkeypatch.setattr(view, "DEPLOYED", path)
    at = open_lesson("ledger", ledger_length="16")
    assert not at.warning and len(at.dataframe) == 3
    assert ":primary-badge[Recorded] :small[on \\<b\\>\\*CPU\\*" in words(at)
    assert "avx512\\_vnni" in words(at) and "3 rounds" in words(at)
    at.select_slider(key="ledger_length").set_value(128).run()
    assert not at.exception and len(at.dataframe) == 2


def test_by_predicted_errors_bort_is_not_what_the_fptas_chooses():
    space = Search(space="bort", selection="exhaustive")
    f = front("bert-large-uncased", oracle="glue", latency="recorded", search=space)
    bort = f[BORT.architecture]
    # 4,4,1024,768 is as large and as accurate, and 3 % faster: more than the calibration's error.
    rival = f[Architecture.parse("4,4,1024,768")]
    assert (rival.n_parameters, rival.r) == (bort.n_parameters, bort.r)
    assert rival.latency_ms * (1 + f.latency.median_relative_error) < bort.latency_ms
    assert not bort.pareto and "143 of 300 by W, not on" in claims.found()
