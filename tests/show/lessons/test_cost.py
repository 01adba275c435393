"""The lesson on size, work and time: golden counts, times and verdicts by hand, any state shown."""

import json
import random
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bort_engine.encoder.latency import Calibration, HeldOut, LatencySettings
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.show.lessons import abnc, anatomy
from pages.parts.lessons import cost

ROOT = Path(__file__).parents[3]
BORT, LARGE, MINI = (sources[name] for name in ("bort", "bert-large-uncased", "minilm-l6"))
NUMBERS = {"cost_D": anatomy.DEPTHS, "cost_H": anatomy.HIDDEN, "cost_I": anatomy.INTERMEDIATE}
NUMBERS |= {"cost_A": anatomy.HEADS, "cost_L": anatomy.LENGTHS}


def calibration(**layer_ms: float) -> Calibration:
    settings = LatencySettings(1, 128, 2)
    row = HeldOut("1,2,96,192", 2.0, 0.1, 2.1)
    layers = {name.strip("_").replace("_", ","): ms for name, ms in layer_ms.items()}
    return Calibration(
        "minilm-l6", settings, "CPU", "torch 0", "2000-01-01", 1.0, {"96": 0.5}, layers, (row,)
    )


def own(source, length=128, timed=None) -> anatomy.Costs:
    return anatomy.costs("Source", source.architecture, source, length, timed)


# Costs by part.


def test_bort_as_released_is_mostly_embeddings_and_bert_large_is_not():
    found = own(BORT).parameters
    assert (found.total, found.amounts) == (75_106_304, (51_997_696, 23_108_608, 0, 0))
    assert anatomy.percent(found.shares[0]) == "69 %"
    assert own(LARGE).parameters.total == 335_141_888
    assert own(LARGE).parameters.layers > 0.9


def test_a_time_is_what_is_outside_and_so_many_layers():
    a = Architecture(3, 2, 96, 192)
    found = anatomy.costs("", a, MINI, 128, calibration(_2_96_192=0.7)).time
    assert found and found.amounts == pytest.approx((0, 2.1, 0, 0.5))
    assert sum(found.shares) == pytest.approx(1)


@pytest.mark.parametrize(
    ("length", "timed", "says"),
    [
        (128, None, "not recorded for this source"),
        (64, calibration(_2_96_192=0.7), "recorded at 128 tokens only"),
        (128, calibration(_2_96_192=0.7), "not recorded for 6,12,384,1536"),
    ],
)
def test_a_time_that_is_not_on_record_says_why(length, timed, says):
    found = own(MINI, length, timed)
    assert found.time is None and says in found.no_time
    assert f"time {says}" in anatomy.summary([found])


def test_heads_change_neither_size_nor_operations_and_their_spread_in_time_is_counted():
    table = abnc.by_heads(MINI.architecture, MINI, 128, None)
    assert list(table["Heads A"]) == [1, 2, 3, 4, 6, 8, 12, 16]
    assert table["Parameters"].nunique() == table["Operations"].nunique() == 1
    timed = calibration(_2_96_192=1.0, _4_96_192=1.1, _2_96_384=1.0, _4_96_384=1.3, _1_96_768=9.0)
    found = abnc.spread(timed)
    assert (found.pairs, found.median, found.worst) == (2, pytest.approx(0.2), pytest.approx(0.3))


@pytest.mark.parametrize("source", sources.values(), ids=str)
def test_every_source_starts_at_a_state_that_can_be_chosen(source):
    state = cost.state(source.name, source.architecture)
    assert all(state[key] in options for key, options in NUMBERS.items())
    assert source.architecture.num_attention_heads in anatomy.heads_for(state["cost_H"])


def test_bars_fill_a_hundred_and_differ_by_more_than_colour():
    timed = anatomy.calibration_of(MINI)
    moved = anatomy.costs("Moved", Architecture(1, 2, 96, 192), MINI, 128, timed)
    shapes = (own(MINI, timed=timed), moved)
    figure = anatomy.figure(shapes)
    for axis in ("x", "x2", "x3"):
        bars = [trace.x for trace in figure.data if trace.xaxis == axis]
        assert [sum(parts) for parts in zip(*bars, strict=True)] == pytest.approx([100, 100])
    looks = {(t.name, t.marker.color, t.marker.pattern.shape) for t in figure.data}
    assert [len(set(of)) for of in zip(*looks, strict=True)] == [4, 4, 4]
    assert "Not recorded for this source" in anatomy.figure([own(LARGE)]).to_json()
    rows = anatomy.to_frame(shapes)
    assert rows.groupby(["shape", "cost"])["share"].sum().tolist() == pytest.approx([1] * 6)


# The property.


def test_layers_dominate_operations_but_not_always_parameters():
    for source, verdicts in ((LARGE, "pass pass unknown"), (BORT, "fail pass unknown")):
        checks = abnc.check_shares(own(source), source)
        assert " ".join(check.verdict for check in checks) == verdicts
    assert "the layers hold 31 %, all else 69 %" in checks[0].says
    base = sources["bert-base-uncased"]
    half = anatomy.costs("", Architecture(5, 12, 768, 3072), base, 128, None)
    assert 0.5 < half.parameters.layers < 2 / 3
    assert abnc.check_shares(half, base)[0].verdict == "warn"


def record(path: Path, errors: dict[str, float], source: str = "minilm-l6") -> Path:
    header = {"schema": 1, "oracle": {"source": source, "seed": 7}, "machine": "CPU"}
    lines = [header | {"made_on": "2000-01-01", "versions": "torch 0"}]
    lines += [
        {"architecture": a, "error": e, "dev_error": 0.2, "seconds": 1.0} for a, e in errors.items()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_only_the_fullest_tables_count_and_pairs_out_of_order_are_counted(tmp_path):
    errors = {"1,12,96,192": 0.5, "2,12,96,192": 0.505, "3,12,96,192": 0.6, "4,12,96,192": 0.4}
    paths = [
        record(tmp_path / "a", errors),
        record(tmp_path / "b", {"1,12,96,192": 0.5, "2,12,96,192": 0.4}),
        record(tmp_path / "c", errors, source="bert-tiny"),
    ]
    (table,) = abnc.read_tables(paths)
    # Of six pairs three rise: 0.5 to 0.505 by 1 %, to 0.6 by 20 %, and 0.505 to 0.6 by 18.8 %.
    assert (table.rows, table.space, table.name) == (4, 384, "training seed 7")
    assert (table.order.pairs, table.order.violations, table.any_rise) == (6, 2, 3)
    assert table.tau == pytest.approx(0)  # three pairs fall, three rise
    follows, never = abnc.check_table(table)
    assert (follows.verdict, never.verdict) == ("fail", "fail")
    assert "of 6 pairs" in never.says and "at worst by 20 %" in never.says
    falling = dict(zip(errors, (0.6, 0.5, 0.4, 0.3), strict=True))
    (table,) = abnc.read_tables([record(tmp_path / "a", falling)])
    assert [check.verdict for check in abnc.check_table(table)] == ["pass", "pass"]
    assert abnc.read_tables([]) == []


@pytest.mark.parametrize(("largest", "verdict"), [(5.0, "pass"), (50.0, "warn"), (500.0, "fail")])
def test_gradients_are_bounded_by_a_factor_over_their_median(tmp_path, largest, verdict):
    path = tmp_path / "gradients.json"
    shapes = [{"architecture": "1,2,96,192", "norms": [1, 1, largest]}]
    made = {"machine": "CPU", "made_on": "2000-01-01", "versions": "torch 0", "clipped_at": 1}
    path.write_text(json.dumps(made | {"shapes": shapes}))
    found = abnc.read_gradients(path)
    check = abnc.check_gradients(found)
    assert check.verdict == verdict
    assert f"in 3 steps of 1 brief trainings, the largest norm is {largest:.1f} times" in check.says
    assert found and abnc.to_frame(found)["At step"].tolist() == [3]


def test_gradients_that_are_missing_are_not_measured_and_damaged_ones_are_refused(tmp_path):
    assert abnc.read_gradients(tmp_path / "none") is None
    assert abnc.check_gradients(None).says == "not measured."
    path = tmp_path / "gradients.json"
    for text in ("", "[]", '{"shapes": [{"architecture": "1,2,96,192", "norms": []}]}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"cannot be read .*benchmarks/gradients\.py"):
            abnc.read_gradients(path)


# The page.


@pytest.fixture(autouse=True)
def quiet(monkeypatch) -> None:
    """An Explore page with nothing on record, so that passing through it costs little."""
    monkeypatch.setattr("bort_engine.search.errors.recorded_tasks", list)
    monkeypatch.chdir(ROOT)


def opened(**query: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.run()
    at.switch_page("pages/learn.py")
    at.session_state["lesson"] = "cost"
    for name, value in query.items():
        at.query_params[name] = value
    return at.run()


def words(at: AppTest) -> str:
    return "\n".join(element.value for kind in (at.markdown, at.caption) for element in kind)


def test_the_presets_show_a_property_that_holds_and_one_that_does_not():
    at = opened()
    assert not at.exception and not at.warning and len(at.get("plotly_chart")) == 1
    for preset, sign in ((cost.GOOD, "Pass"), (cost.BAD, "Fail")):
        next(b for b in at.button if b.label == preset.label).click().run()
        assert not at.exception and not at.warning
        assert f"**{sign}.** **Layers dominate the parameters:**" in words(at)
    assert at.selectbox(key="cost_source").value == "bort"
    assert "Time: not recorded for this source." in words(at)
    at.selectbox(key="cost_source").set_value("bert-tiny").run()
    assert at.slider(key="cost_D").value == 2 and at.select_slider(key="cost_H").value == 128


def test_any_state_is_shown_and_within_a_second():
    at, rng, times = opened(), random.Random(0), []
    for _ in range(20):
        at.session_state["cost_source"] = rng.choice(list(sources))
        for key, options in NUMBERS.items():
            at.session_state[key] = rng.choice(options)  # heads too: also those that do not divide
        started = time.process_time()
        at.run()
        times.append(time.process_time() - started)
        assert not at.exception and not at.warning
        assert at.select_slider(key="cost_H").value % at.select_slider(key="cost_A").value == 0
        assert len(at.get("plotly_chart")) == 1
    assert sorted(times)[len(times) // 2] < 1  # of processor time, since machines are shared


def test_an_address_restores_its_state():
    at = opened(cost_source="bort", cost_D="9", cost_H="512", cost_I="768", cost_A="4", cost_L="64")
    assert not at.exception
    assert "Moved: 9,4,512,768" in words(at) and "64 tokens" in at.get("plotly_chart")[0].proto.spec


@pytest.mark.parametrize(
    "query",
    [
        {"cost_source": "<b>", "cost_D": "-3", "cost_H": "1e9"},
        {"cost_D": "99", "cost_A": "7", "cost_L": "0"},
        {"cost_H": "312", "cost_A": "16", "cost_I": "nan"},
    ],
)
def test_nonsense_in_the_address_is_left_out(query):
    at = opened(**query)
    assert not at.exception and len(at.get("plotly_chart")) == 1


def test_a_damaged_table_is_one_line(monkeypatch, tmp_path):
    path = tmp_path / "table.jsonl"
    path.write_text("{\n")
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: [path])
    at = opened()
    assert not at.exception and "table.jsonl line 1 is damaged" in at.warning[0].value
