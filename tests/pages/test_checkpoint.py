"""A checkpoint's card in every state: exported, called from code, and tried on texts."""

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from shlex import quote

import pytest
from datasets import Dataset

from bort_engine.encoder.answers import Answer
from bort_engine.encoder.export import Parity
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.uneven import Uneven
from bort_engine.runs import jobs, records
from bort_engine.runs.provenance import Provenance
from bort_engine.search import errors as oracles
from bort_engine.search import front as extract
from bort_engine.search.cut import Cut, Recall
from bort_engine.show.deploy import Compared
from pages.parts import try_it
from tests import tiny_onnx
from tests.app import button, calm, labels, opened, words
from tests.conftest import synthetic_front

ROOT = Path(__file__).parents[2]
FRONT = synthetic_front(0.1)
SHAPE = Architecture.parse("3,12,384,768")
MADE = Provenance("Synthetic CPU", "made up for the tests", "2000-01-01")
OPTIONS = ("--task", "rotten-tomatoes", "--architecture", str(SHAPE), "--seed", "0")


@pytest.fixture(autouse=True)
def recorded(quiet, monkeypatch, tmp_path):
    """A front is on record, and jobs hand over a tiny model that finds "good" fresh."""
    monkeypatch.setattr(oracles, "recorded_tasks", lambda: [("minilm-l6", "rotten-tomatoes")])
    monkeypatch.setattr(extract, "front", lambda *_, **__: FRONT)
    monkeypatch.setenv("FAKE_EXPORT", str(tiny_onnx.write(tmp_path / "fresh")))
    monkeypatch.setenv("FAKE_STEPS", "1")


def saved(root: Path, **changes) -> Path:
    """Return a checkpoint's folder, that of a run `cut-by-hand` which is done."""
    recalls = (Recall("rotten", 50, 0.8, 0.9), Recall("fresh", 50, 0.8, 0.9))
    with jobs.working(root / "cut-by-hand", "cut", ["minilm-l6", *OPTIONS]) as job:
        model = job.folder / "model"
        model.mkdir()
        for name in ("config.json", "README.md"):
            (model / name).write_text("{}")
        cut = Cut(
            SHAPE, "minilm-l6", "rotten-tomatoes", str(model), 0.2, 0.2, 0.1, {}, recalls, 100, 0,
            0, "opens", MADE,
        )  # fmt: skip
        records.write(job.folder / "cut.json", replace(cut, **changes))
    return model


def card(**address):
    return opened(cut_run="cut-by-hand", **address)


def exported(at, wait, label="Export", command="export") -> jobs.Run:
    """Press a button that starts a run, and look again once it is over."""
    before = jobs.runs()
    button(at, label).click().run()
    (run,) = [run for run in jobs.runs(command=command) if run not in before]
    wait(lambda: run.status().over)
    at.run()
    return run


def ask(at, text: str, field: str = "try_Text") -> None:
    at.text_area(key=field).set_value(text)
    button(at, "Answer").click().run()


def answered(at) -> dict[str, tuple[str, str]]:
    """By model, what it answers and how sure it is."""
    return {
        m.label.split(", ")[0]: (m.value, m.delta.split(" ms")[0].rpartition(", ")[0])
        for m in at.metric
        if m.label in (f"This model, {SHAPE}", "The source, 6,12,384,1536")
    }


def test_before_an_export_there_is_code_that_calls_the_checkpoint(run_root):
    model = saved(run_root)
    at = card()
    assert calm(at) and "Export" in labels(at) and not at.text_area
    code = at.code[-1].value
    assert f"pipeline('text-classification', '{model}')" in code and f"# {SHAPE}" in code
    compile(code, "snippet", "exec")
    assert [c for c in at.code if "onnx" in c.value] == []


def test_of_layers_that_differ_both_forms_can_be_taken_home(run_root, downloads):
    shape = Uneven.parse("384:12x1536,8x96,-,0x512,3x0,12x768")
    parity = Parity("dev texts", 100, 1e-6, 1.0)
    model = saved(run_root, architecture=shape, onnx=parity)
    (model.parent / "onnx").mkdir()
    (model.parent / "onnx" / "run.py").write_text("")
    at = card()
    # Embeddings and pooler are MiniLM-L6's: 22,713,216 - 10,646,784. A head has 32 units, of
    # 4 * 384 + 3 parameters each, a neuron 2 * 384 + 1, and each of five layers 6 * 384 others.
    n = 22_713_216 - 10_646_784 + 35 * 32 * 1539 + 2912 * 769 + 5 * 2304
    assert calm(at) and f"**{shape}, saved**" in words(at)
    assert f"{n:,} parameters" in words(at) and "to 5,12,384,1536 (20,938,752" in words(at)
    with downloads["384-12x1536-8x96---0x512-3x0-12x768-onnx.zip"]() as file:
        assert zipfile.ZipFile(file).namelist() == ["onnx/run.py"]
    assert "Export" in labels(at)


def test_an_export_is_started_stopped_closed_started_again_and_taken_home(
    run_root, wait, monkeypatch, downloads
):
    model = saved(run_root)
    at = card()
    monkeypatch.setenv("FAKE_STEPS", "400")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    button(at, "Export").click().run()
    (run,) = jobs.runs(command="export")
    command = f"{model} --format onnx-int8 --task rotten-tomatoes"
    assert calm(at) and " ".join(run.request.arguments) == command
    wait(lambda: run.status().stage == "exporting")
    at = card()  # as from a link that names no export: it is found all the same
    assert at.progress and "Export" not in labels(at)
    button(at, "Stop").click().run()
    wait(lambda: run.status().over)
    at = card(export_run=run.id)
    assert "This run was stopped" in words(at) and "nothing is kept" in words(at)
    next(b for b in at.button if b.key == "close-export_run").click().run()
    assert "Export" in labels(at) and "This run was stopped" not in words(at)

    monkeypatch.setenv("FAKE_STEPS", "1")
    at.segmented_control(key="export_format").set_value("onnx").run()
    exported(at, wait)
    assert calm(at)
    facts = {m.label: (m.value, m.delta) for m in at.metric}
    assert facts["Weights on disk"] == ("20.0 MB", "-75 %") and facts["Same labels"][0] == "99 %"
    assert "by at most 0.23 on 100 dev texts" in words(at) and "avx512_vnni" in words(at)
    with downloads["3-12-384-768-onnx.zip"]() as file, zipfile.ZipFile(file) as pack:
        names = {"model.onnx", "tokenizer.json", "config.json", "run.py", "export.json"}
        assert {Path(name).name for name in pack.namelist()} == names
    folder = jobs.runs(command="export")[0].folder / "model"
    command, code = (c.value for c in at.code[-2:])
    assert command == f'python {quote(str(folder / "run.py"))} "A sentence to read."'
    assert f"sys.path.insert(0, '{folder}')" in code and len(code.splitlines()) == 3
    compile(code, "snippet", "exec")
    at.segmented_control(key="export_format").set_value("safetensors-bf16").run()
    assert "Export" in labels(at) and at.text_area  # what is in ONNX can still be tried


def test_a_failed_export_says_why_and_goes_on(run_root, wait, monkeypatch):
    saved(run_root)
    at = card()
    monkeypatch.setenv("FAKE_END", "fail")
    run = exported(at, wait)
    assert "**This run failed.**" in at.error[0].value and not at.text_area
    assert "nothing is kept" in at.error[0].value
    monkeypatch.delenv("FAKE_END")
    button(at, "Resume").click().run()
    wait(lambda: run.status().over)
    at.run()
    assert calm(at) and at.text_area


def test_a_text_is_answered_beside_the_source_once_that_is_prepared(
    run_root, wait, monkeypatch, tmp_path
):
    saved(run_root)
    at = card()
    exported(at, wait)
    assert calm(at) and not answered(at) and "Type a text" in words(at)
    ask(at, "good")
    assert answered(at) == {"This model": ("fresh", "88.1 %")}
    column = f"This model, {SHAPE} (%)"
    table = next(frame.value for frame in at.dataframe if column in frame.value)
    assert list(table["Class"]) == ["fresh", "rotten"]
    assert list(table[column]) == pytest.approx([88.0797, 11.9203], abs=1e-3)

    for text in ("good " * 20_000, "![](http://x) good bad"):
        ask(at, text)
        assert calm(at) and ("8 tokens at most" in words(at)) == (len(text) > 100)
        assert not [m for m in at.markdown if "http://x" in m.value]
    ask(at, " \n")
    assert calm(at) and not answered(at) and "Type a text" in words(at)

    monkeypatch.setenv("FAKE_EXPORT", str(tiny_onnx.write(tmp_path / "rotten", good=-2.0)))
    cut = exported(at, wait, "Prepare the source beside it", "cut")
    assert cut.request.arguments == (
        "minilm-l6", "--task", "rotten-tomatoes", "--architecture", "6,12,384,1536", "--seed", "0",
        "--polish", "0",
    )  # fmt: skip
    export = jobs.runs(command="export")[0]  # it follows without being asked for
    assert export.request.arguments[:3] == (str(cut.folder / "model"), "--format", "onnx-int8")
    wait(lambda: export.status().over)
    ask(at, "good")
    assert answered(at) == {"This model": ("fresh", "88.1 %"), "The source": ("rotten", "88.1 %")}
    assert calm(at) and "The two disagree." in words(at)
    assert "Prepare the source beside it" not in labels(at)
    (export.folder / "model" / "tokenizer.json").write_text("{")
    try_it.opened.clear()
    at.run()
    assert not at.exception and "could not be read" in at.warning[0].value


def beside(run_root, wait, monkeypatch, rows, ours, source, **of):
    """Return a card on which this model and its source can be tried, on a task with these rows."""
    monkeypatch.setattr(try_it, "load_task", lambda name: {"validation": Dataset.from_dict(rows)})
    if of:
        task = replace(try_it.find_task("same-article"), **of)
        monkeypatch.setattr(try_it, "find_task", lambda name: task)
    saved(run_root, task="same-article" if of else "rotten-tomatoes")
    at = card()
    for label, model in (("Export", ours), ("Prepare the source beside it", source)):
        assert FIND not in labels(at)
        monkeypatch.setenv("FAKE_EXPORT", str(model))
        exported(at, wait, label, "export" if label == "Export" else "cut")
    run = jobs.runs(command="export")[0]
    wait(lambda: run.status().over)
    return at.run()


FIND = "Find texts they judge differently"


def listed(at):
    return next(frame.value for frame in at.dataframe if "Label" in frame.value)


def test_texts_judged_differently_are_found_once_and_counted(run_root, wait, monkeypatch, tmp_path):
    """Of 400 texts 300 are read: 0, 1, 2, 4, 5, 6, ... Even ones are "good", every 8th is rotten.

    This model finds "good" fresh, its source rotten: they differ on 200, and of these the source is
    right on 50. The last one alone is long, so that "good" is a smaller part of it.
    """
    rows = {"text": ["other" if n % 2 else f"good *{n}*" for n in range(400)]}
    rows["text"][398] = "good and other words"
    rows |= {"label": [int(n % 8 > 0) for n in range(400)]}
    models = (tiny_onnx.write(tmp_path / name, good) for name, good in (("a", 2.0), ("b", -2.0)))
    at = beside(run_root, wait, monkeypatch, rows, *models)
    button(at, FIND).click().run()
    assert calm(at) and FIND not in labels(at) and not at.progress
    line = "Of 300 dev texts, spread evenly over all 400, they differ on 200: the source is right"
    assert f"{line} on 50, this model on 150." in words(at)
    table = listed(at)
    assert list(table.iloc[0]) == [
        "good *0*", "rotten", "rotten", pytest.approx(73.1059), "fresh", pytest.approx(73.1059),
        "source",
    ]  # fmt: skip
    assert table["Text"].iloc[-1] == "good and other words"  # on which both are least sure

    monkeypatch.setattr(try_it.answers, "answer", None)  # nothing is asked again
    at.run()
    assert calm(at) and len(listed(at)) == 200


@pytest.mark.parametrize("labels", [("different", "same"), ()], ids=["classes", "numbers"])
def test_pairs_that_are_judged_differently_are_tried_from_the_list(
    run_root, wait, monkeypatch, tmp_path, labels
):
    texts = ["bad", "good", "other"]
    rows = {"text": texts, "second": ["other", "other", " "], "label": [-1.0, 1.5, 0.0]}
    if labels:
        rows["label"] = [0, 1, 0]
    models = (
        tiny_onnx.write(tmp_path / name, good, labels) for name, good in (("a", 2.0), ("b", -4.0))
    )
    at = beside(run_root, wait, monkeypatch, rows, *models, labels=labels)
    button(at, FIND).click().run()
    assert calm(at) and "this model on 2" in words(at)  # the third has no second text
    table = listed(at)
    assert list(table.columns[:3]) == ["First text", "Second text", "Label"] and len(table) == 2
    if not labels:  # 1 or -1 of this model, -2 or 2 of the source
        assert sorted(table["Difference"]) == [-3, 3] and "3.00 in the median" in words(at)

    compared = [words_of_row(row, labels) for row in table.to_dict("records")]
    state = {"list": {"selection": {"rows": [1]}}, "try_how": try_it.OF_DEV}
    with monkeypatch.context() as patch:
        patch.setattr(try_it.st, "session_state", state)
        try_it.try_row("list", "same-article", compared)
        state["list"]["selection"]["rows"] = [7]  # of another list
        try_it.try_row("list", "same-article", compared)
    assert state["try_how"] == try_it.OWN
    fields = [state["try_First text"], state["try_Second text"]]
    assert fields == list(table.iloc[1][:2])


def words_of_row(row, labels):
    answer = Answer(dict.fromkeys(labels, 0.5) or None, 0.0, 1.0, 8, False)
    return Compared((row["First text"], row["Second text"]), row["Label"], answer, answer)


def test_dev_texts_are_read_and_answered_without_torch(tmp_path):
    table = tmp_path / "own.csv"
    table.write_text("text,label\n" + "".join(f"good {n},{'ab'[n % 2]}\n" for n in range(200)))
    models = [str(tiny_onnx.write(tmp_path / name, labels=("a", "b"))) for name in "cd"]
    script = (
        "import sys; from pathlib import Path; from pages.parts import try_it\n"
        "texts, n_dev = try_it.dev_texts(sys.argv[1], 300)\n"
        "compared = try_it.compare(texts, *map(Path, sys.argv[2:]))\n"
        "print(len(compared) == n_dev > 10, sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", script, str(table), *models]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


def test_what_fails_beside_another_run_has_its_own_buttons(run_root, wait, monkeypatch):
    """Two runs on a page, each live or ended: no two widgets are the same."""
    saved(run_root)
    at = card()
    exported(at, wait)
    monkeypatch.setenv("FAKE_END", "fail")
    exported(at, wait, "Prepare the source beside it", "cut")
    at.segmented_control(key="export_format").set_value("onnx").run()
    exported(at, wait)
    assert not at.exception and labels(at).count("Resume") == 2 and len(at.error) == 2
    monkeypatch.setenv("FAKE_STEPS", "400")
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    while "Resume" in labels(at):
        button(at, "Resume").click().run()
    assert not at.exception and labels(at).count("Stop") == 2
    for kind in ("cut", "export"):
        jobs.runs(command=kind)[0].cancel()


@pytest.mark.parametrize("labels", [("no", "yes"), ()], ids=["classes", "numbers"])
def test_pairs_have_two_fields_and_ten_of_dev_can_be_picked(
    run_root, wait, monkeypatch, tmp_path, labels
):
    rows = {"text": [f"good *{n}*" for n in range(25)], "second": ["bad"] * 25, "label": [1] * 25}
    data = {"validation": Dataset.from_dict(rows)}
    task = f"{tmp_path / 'pairs.csv'}?second=second" + "&kind=number" * (not labels)
    of = replace(try_it.find_task("same-article"), labels=labels)
    monkeypatch.setattr(try_it, "find_task", lambda name: of)
    monkeypatch.setattr(try_it, "load_task", lambda name: data)
    folder = str(tiny_onnx.write(tmp_path / "pairs", labels=labels))
    monkeypatch.setenv("FAKE_EXPORT", folder)
    saved(run_root, task=task, **({} if labels else {"recalls": ()}))
    at = card()
    exported(at, wait)
    code = [c.value for c in at.code]
    assert sum("text_pair" in text for text in code) == 1 and any("\\t" in text for text in code)
    assert ("function_to_apply='none'" in "".join(code)) == (not labels)
    ask(at, "good", "try_First text")
    assert not answered(at) and "Type a text" in words(at)  # the second is missing
    ask(at, "good good", "try_Second text")
    assert answered(at) == {"This model": ("yes", "88.1 %") if labels else ("2.000", "")}
    at.segmented_control(key="try_how").set_value("A dev text").run()
    assert calm(at) and len(at.selectbox(key="try_dev").options) == 10
    at.selectbox(key="try_dev").select_index(9).run()
    assert "good *22*" in words(at) and f"labelled {'yes' if labels else '1'}." in words(at)
    assert not [m for m in at.markdown if "*22*" in m.value.replace("\\*", "")]
    assert answered(at)["This model"][0] == ("no" if labels else "0.000")
    at.run()
