"""The lesson on size, work and time: golden counts, times and verdicts by hand, its page."""

from pathlib import Path

import pytest

from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import dump_line, write
from bort_engine.search.evaluate import Evaluation, EvaluationTable, Header, Setup
from bort_engine.show.lessons import abnc, anatomy
from bort_engine.training.teacher import TeacherReport
from pages.parts.lessons import cost
from tests.show.lessons.conftest import made_up_calibration, press, words

BORT, LARGE, MINI = (sources[name] for name in ("bort", "bert-large-uncased", "minilm-l6"))
MADE = Provenance("CPU", "torch 0", "2000-01-01")
TIMED = made_up_calibration({"96": 0.5}, {"2,96,192": 0.7}, 128)


def costs(source, length=128, timed=None) -> anatomy.CostSplits:
    return anatomy.costs("Source", source.architecture, source, length, timed)


def test_bort_as_released_is_mostly_embeddings_and_bert_large_is_not():
    parameters = costs(BORT).parameters
    assert (parameters.total, parameters.amounts) == (75_106_304, (51_997_696, 23_108_608, 0, 0))
    assert anatomy.percent(parameters.shares[0]) == "69 %"
    assert costs(LARGE).parameters.total == 335_141_888
    assert costs(LARGE).parameters.layers > 0.9


def test_a_time_is_what_is_outside_and_so_many_layers():
    a = Architecture(3, 2, 96, 192)
    time = anatomy.costs("", a, MINI, 128, TIMED).time
    assert isinstance(time, anatomy.Split) and time.amounts == pytest.approx((0, 2.1, 0, 0.5))
    assert sum(time.shares) == pytest.approx(1)


@pytest.mark.parametrize(
    ("length", "timed", "says"),
    [
        (128, None, "not recorded for this source"),
        (64, TIMED, "recorded at 128 tokens only"),
        (128, TIMED, "not recorded for 6,12,384,1536"),
    ],
)
def test_a_time_that_is_not_on_record_says_why(length, timed, says):
    shape = costs(MINI, length, timed)
    assert shape.time == says and f"time {says}" in anatomy.summary([shape])
    assert says.capitalize() in anatomy.figure([shape]).to_json()


def test_heads_change_neither_size_nor_operations_and_their_spread_in_time_is_counted():
    table = abnc.by_heads(MINI.architecture, MINI, 128, None)
    assert list(table["Heads A"]) == [1, 2, 3, 4, 6, 8, 12, 16]
    assert table["Parameters"].nunique() == table["Operations"].nunique() == 1
    ms = {"2,96,192": 1.0, "4,96,192": 1.1, "2,96,384": 1.0, "4,96,384": 1.3, "1,96,768": 9.0}
    said = abnc.heads_say(made_up_calibration({"96": 0.5}, ms))
    assert "2 pairs" in said and "20 % longer" in said and "at worst 30 %" in said


@pytest.mark.parametrize("source", sources.values(), ids=str)
def test_every_source_starts_at_a_state_that_can_be_chosen(source):
    shape = source.architecture
    assert shape.num_hidden_layers in anatomy.DEPTHS and shape.hidden_size in anatomy.HIDDEN
    assert shape.intermediate_size in anatomy.INTERMEDIATE
    assert shape.num_attention_heads in anatomy.heads_for(shape.hidden_size)


def test_bars_fill_a_hundred_and_differ_by_more_than_colour():
    timed = anatomy.calibration_of(MINI)
    moved = anatomy.costs("Moved", Architecture(1, 2, 96, 192), MINI, 128, timed)
    shapes = (costs(MINI, timed=timed), moved)
    figure = anatomy.figure(shapes)
    for axis in ("x", "x2", "x3"):
        bars = [trace.x for trace in figure.data if trace.xaxis == axis]
        assert [sum(parts) for parts in zip(*bars, strict=True)] == pytest.approx([100, 100])
    looks = {(t.name, t.marker.color, t.marker.pattern.shape) for t in figure.data}
    assert [len(set(look)) for look in zip(*looks, strict=True)] == [4, 4, 4]
    rows = anatomy.to_frame(shapes)
    assert rows.groupby(["shape", "cost"])["share"].sum().tolist() == pytest.approx([1] * 6)


def test_layers_dominate_operations_but_not_always_parameters():
    for source, verdicts in ((LARGE, "pass pass unknown"), (BORT, "fail pass unknown")):
        checks = abnc.check_shares(costs(source), source)
        assert " ".join(check.verdict for check in checks) == verdicts
    assert "31 %" in checks[0].says and "69 %" in checks[0].says
    base = sources["bert-base-uncased"]
    half = anatomy.costs("", Architecture(5, 12, 768, 3072), base, 128, None)
    assert 0.5 < half.parameters.layers < 2 / 3
    assert abnc.check_shares(half, base)[0].verdict == "warn"


def record(path: Path, errors: dict[str, float], source: str = "minilm-l6") -> Path:
    teacher = TeacherReport(0.1, 0.2, 0.5, 1000, 1000, 1.0)
    rows = [Evaluation(Architecture.parse(a), 0.3, error, 1.0) for a, error in errors.items()]
    lines = [Header(Setup(source, "rotten-tomatoes", seed=7), teacher, MADE), *rows]
    path.write_bytes(b"\n".join([*map(dump_line, lines), b""]))
    return path


def test_only_the_fullest_tables_count_and_pairs_out_of_order_are_counted(tmp_path):
    errors = {"1,12,96,192": 0.5, "2,12,96,192": 0.505, "3,12,96,192": 0.6, "4,12,96,192": 0.4}
    paths = [
        record(tmp_path / "a", errors),
        record(tmp_path / "b", {"1,12,96,192": 0.5, "2,12,96,192": 0.4}),
        record(tmp_path / "c", errors, source="bert-tiny"),
    ]
    (table,) = abnc.fullest(paths)
    assert abnc.fullest([]) == []
    # Of six pairs three rise: 0.5 to 0.505 by 0.5 points, which is within the tolerance of 0.03 *
    # (0.5 - 0.2), to 0.6 by 10, and 0.505 to 0.6 by 9.5.
    follows, never = abnc.check_errors(table)
    assert (follows.verdict, never.verdict) == ("fail", "fail")
    assert "is 0.00:" in follows.says and "4 of 4 shapes on record, training seed 7" in follows.says
    assert "of 6 pairs" in never.says and " 2 (33.3 %)" in never.says
    assert "over 0.9 points" in never.says and "at worst 10.0; 3 at all" in never.says
    falling = dict(zip(errors, (0.6, 0.5, 0.4, 0.3), strict=True))
    checks = abnc.check_errors(EvaluationTable(record(tmp_path / "d", falling)))
    assert [check.verdict for check in checks] == ["pass", "pass"]


@pytest.mark.parametrize(("largest", "verdict"), [(5.0, "pass"), (50.0, "warn"), (500.0, "fail")])
def test_gradients_are_bounded_by_a_factor_over_their_median(tmp_path, largest, verdict):
    path = tmp_path / "gradients.json"
    training = abnc.Gradient(Architecture(1, 2, 96, 192), 0.5, (1.0, 1.0, largest))
    setup = Setup("minilm-l6", "rotten-tomatoes")
    gradients = abnc.read_gradients(write(path, abnc.Gradients(setup, 1.0, (training,), MADE)))
    check = abnc.check_gradients(gradients)
    assert check.verdict == verdict
    assert "3 steps of 1 brief" in check.says and f"{largest:.1f} times" in check.says
    assert gradients and abnc.to_frame(gradients)["At step"].tolist() == [3]


def test_gradients_that_are_missing_are_not_measured_and_damaged_ones_are_refused(tmp_path):
    assert abnc.read_gradients(tmp_path / "none") is None
    assert abnc.check_gradients(None).verdict == "unknown"
    path = tmp_path / "gradients.json"
    for text in ("", "[]", '{"schema": 1}', '{"schema": 2, "shapes": []}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"benchmarks/gradients\.py"):
            abnc.read_gradients(path)


def test_the_presets_show_a_property_that_holds_and_one_that_does_not(open_lesson):
    at = open_lesson("cost")
    assert not at.warning and len(at.get("plotly_chart")) == 1
    for preset, sign in ((cost.GOOD, "Pass"), (cost.BAD, "Fail")):
        press(at, preset.label)
        assert f"**{sign}.** **Layers dominate the parameters:**" in words(at)
    assert at.selectbox(key="cost_source").value == "bort"
    assert "not recorded for this source" in words(at)
    at.selectbox(key="cost_source").set_value("bert-tiny").run()
    assert at.slider(key="cost_D").value == 2 and at.select_slider(key="cost_H").value == 128
    at.session_state["cost_A"] = 12  # heads that do not divide the hidden size
    at.run()
    assert not at.exception and 128 % at.select_slider(key="cost_A").value == 0


def test_a_damaged_table_is_one_line(open_lesson, monkeypatch, tmp_path):
    path = tmp_path / "table.jsonl"
    path.write_text("{\n")
    monkeypatch.setattr("bort_engine.search.errors.tables", lambda: [path])
    at = open_lesson("cost")
    assert len(at.warning) == 1 and "table.jsonl line 1 is damaged" in at.warning[0].value
