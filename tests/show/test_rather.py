"""What one could take instead, from the shipped records: numbers, gaps, words."""

from dataclasses import replace

import pytest

from bort_engine.lab import deploy_record, table_record
from bort_engine.lab.deploy_record import Deployment
from bort_engine.lab.table_record import Table
from bort_engine.runs import records
from bort_engine.show import rather, rather_figures

TABLE = records.read(table_record.RECORDED, Table)
DEPLOYMENT = records.read(deploy_record.path_of("minilm-l6", "rotten-tomatoes"), Deployment)
FILMS = rather.find(TABLE, "minilm-l6", "rotten-tomatoes")
NEWS = rather.find(TABLE, "minilm-l6", "reuters-r8")
assert FILMS and NEWS


def films(deployment=DEPLOYMENT):
    return rather.of_table(TABLE, FILMS) + rather.of_deployment(TABLE, FILMS, deployment)


def elsewhere():
    """The same exports, timed on another machine."""
    return replace(DEPLOYMENT, made=replace(DEPLOYMENT.made, machine="Another CPU"))


def test_a_task_is_found_whatever_length_it_was_read_at():
    assert NEWS.task == "reuters-r8?length=128"
    assert rather.find(TABLE, "minilm-l6", "reuters-r8?length=64") is NEWS
    twin = replace(NEWS, task="reuters-r8?length=64")
    both = replace(TABLE, tasks=(NEWS, twin))
    assert rather.find(both, "minilm-l6", "reuters-r8?length=64") is twin
    assert rather.find(TABLE, "minilm-l3", "reuters-r8") is None
    assert rather.find(TABLE, "minilm-l6", "/tmp/own.csv") is None


def test_film_reviews_have_models_and_exports_each_against_the_source_of_its_record():
    options = films()
    assert len(options) == 5 + 4 + 2 + 7 * 4  # by one seed of two the student is the source
    words = next(o for o in options if o.name == "words")
    # Wrong on dev: 24.3094 % of it, 17.1271 % of the source.
    assert 100 * words.lost == pytest.approx(7.1823) and not words.drawn
    int8 = next(o for o in options if o.name == "onnx-int8")
    row = next(row for row in DEPLOYMENT.rows if row.format == "onnx-int8")
    assert (int8.shape, int8.latency_ms, int8.disk_mb) == ("6,12,384,1536", row.ms[1], 23.4)
    assert 100 * int8.lost == pytest.approx(0.15) and int8.source_ms == DEPLOYMENT.rows[0].ms[1]
    # 3 embedding tables, 6 layers and the pooler, without a classifier.
    assert int8.parameters == 22_713_216


def test_the_verdict_names_the_fastest_within_a_point_and_linear_models():
    text = rather.verdict(films())
    assert "(4,12,336,704) in OpenVINO int8" in text and "0.6 points worse" in text
    (ours,) = (
        row.ms[1]
        for row in DEPLOYMENT.rows
        if (row.shape, row.format) == ("4,12,336,704", "openvino-int8")
    )
    theirs = DEPLOYMENT.rows[0].ms[1]
    assert f"{ours:.1f} ms, the source in PyTorch {theirs:.1f}" in text
    assert "TF-IDF, logistic regression: 7.2 points worse" in text
    text = rather.verdict(rather.of_table(TABLE, NEWS))
    assert "(1,12,384,192) in PyTorch fp32" in text and "0.6 points worse" in text


def test_without_anything_near_the_source_the_verdict_says_so():
    pairs = rather.find(TABLE, "minilm-l6", "same-article")
    options = rather.of_table(TABLE, pairs)
    assert "student" not in {o.name for o in options}  # it is the source itself
    text = rather.verdict(options)
    assert text.startswith("No other encoder") and "regression: 3.4 points better" in text


def test_the_table_holds_every_model_the_best_first_and_where_it_is_from():
    table = rather.frame(films(), "class")
    assert table["Wrong (%)"].is_monotonic_increasing and len(table) == 39
    assert set(table["Recorded"]) == {
        "table, 2026-11-27, AMD EPYC, 2 threads",
        "deploy, 2026-11-27, AMD EPYC, 2 threads",
    }
    assert table["Model"].iloc[-1] == "most frequent class"
    assert table["Latency (ms)"].isna().sum() == 1  # of who guesses
    assert set(table.columns) - {"Wrong (%)", "Model", "Shape", "Runs in", "Recorded"} <= set(
        rather.FORMATS
    )
    news = rather.frame(rather.of_table(TABLE, NEWS), "class")
    assert "Disk (MB)" not in news and len(news) == 13


@pytest.mark.parametrize(
    ("rows", "deployment", "n_exports"),
    [(FILMS, DEPLOYMENT, 21), (FILMS, elsewhere(), 0), (NEWS, DEPLOYMENT, 0)],
    ids=["alike", "another machine", "another length"],
)
def test_only_latencies_of_one_machine_and_length_are_drawn(rows, deployment, n_exports):
    options = rather.of_table(TABLE, rows) + rather.of_deployment(TABLE, rows, deployment)
    traces = rather_figures.figure(options, rows.kind).data
    # Neither who guesses, nor a model on words, nor a second run of PyTorch.
    n_encoders = sum(row.name not in ("majority", "words") for row in rows.rows)
    n_encoders -= 2 * (rows is FILMS)  # by one seed the student is the source
    assert sum(len(trace.x) for trace in traces) == n_encoders + n_exports
    named = {trace.name: (trace.x[0], trace.y[0]) for trace in traces}
    source = rows.of("source")[0]
    assert named["source, fine-tuned"] == pytest.approx((source.latency_ms, 100 * source.dev_error))
    text = rather_figures.caption(TABLE, rows, deployment, options)
    theirs = deployment.rows[0].ms[1]
    said = f"took {theirs:.1f} ms instead of {source.latency_ms:.1f}"
    assert (said in text) == bool(n_exports)
    assert (f"on {deployment.made.machine} at 64 tokens" in text) == (not n_exports)


def test_the_figure_is_logarithmic_and_a_model_on_words_is_a_line_across():
    figure = rather_figures.figure(films(), "class")
    assert figure.layout.xaxis.type == "log"
    (line,) = figure.layout.shapes
    assert line.y0 == line.y1 == pytest.approx(24.3094)


def test_a_format_without_a_colour_of_its_own_is_drawn_all_the_same():
    rows = tuple(replace(row, format="new-format") for row in DEPLOYMENT.rows[:2])
    figure = rather_figures.figure(films(replace(DEPLOYMENT, rows=rows)), "class")
    assert "new-format" in {trace.name for trace in figure.data}


def test_a_record_without_rows_is_damaged(tmp_path):
    path = records.write(tmp_path / "deploy.json", replace(DEPLOYMENT, rows=()))
    with pytest.raises(ValueError, match=r"damaged deployment: rows: .*run benchmarks/deploy\.py"):
        records.read(path, Deployment)
