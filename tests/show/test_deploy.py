"""Code that calls a checkpoint and its export: real paths, quoted, that run as they stand."""

import shlex
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from bort_engine.encoder.answers import Answer
from bort_engine.encoder.export import Export, Parity
from bort_engine.encoder.space import Architecture
from bort_engine.runs.provenance import Provenance
from bort_engine.search.cut import Cut, Recall
from bort_engine.show import deploy

MADE = Provenance("Synthetic *CPU*", "made up", "2000-01-01")
SHAPE = Architecture.parse("3,12,384,768")
FOLDER = Path("/tmp/a b's 'runs'/$x/model")


def cut_of(task: str, *recalls: Recall) -> Cut:
    return Cut(
        SHAPE, "minilm-l6", task, str(FOLDER), 0.2, 0.2, 0.1, {}, recalls, 100, 0, 0, "", MADE
    )  # fmt: skip


REVIEWS = cut_of("rotten-tomatoes", Recall("fresh", 1, 1.0, 1.0))
PAIRS = cut_of("same-article", Recall("same", 1, 1.0, 1.0))
NUMBERS = cut_of("rated-tweets")


@pytest.mark.parametrize(
    ("task", "is_pair"),
    [
        ("rotten-tomatoes", False),
        ("newsgroups?length=128", False),
        ("same-article?length=64", True),
        ("/gone/pairs.csv?second=other", True),
        ("hub:nyu-mll/glue/mrpc?text=sentence1&second=sentence2", True),
    ],
)
def test_a_task_of_pairs_is_known_by_its_name(task, is_pair):
    assert deploy.is_pair(task) == is_pair


@pytest.mark.parametrize("cut", [REVIEWS, PAIRS, NUMBERS])
def test_code_calls_the_real_path_whatever_its_name(cut, monkeypatch):
    seen = []

    def pipeline(*names, **options):
        return lambda *args, **kwargs: seen.extend([names, options, args, kwargs])

    import_module("transformers.pipelines")  # its import replaces the module that is patched
    monkeypatch.setattr("transformers.pipeline", pipeline)
    exec(deploy.pipeline_code(cut, FOLDER), {})
    text = {"text": "A sentence.", "text_pair": "Another one."}
    options = {"function_to_apply": "none"} if cut is NUMBERS else {}
    expected = text if cut is PAIRS else "A sentence to read."
    names = "text-classification", str(FOLDER)
    assert seen == [names, options, (expected,), {"truncation": True}]

    line = deploy.run_command(cut, FOLDER).split(" | ")[-1]
    python, run, *rest = shlex.split(line, comments=True)
    assert (python, run) == ("python", str(FOLDER / "run.py"))
    assert rest == ([] if cut is PAIRS else ["A sentence to read."])
    code = deploy.logits_code(cut, FOLDER)
    assert repr(str(FOLDER)) in code and ("\\t" in code) == (cut is PAIRS)
    assert len(code.splitlines()) == 3


def test_an_export_is_held_against_its_checkpoint():
    parity = Parity("dev texts of a_b", 100, 0.2345, None)
    sizes = {"model.onnx": 20_000_000, "tokenizer.json": 700_000}
    export = Export("onnx", "x", "y", sizes, 80_000_000, parity, "", "z", MADE)
    facts = {fact.label: (fact.text, fact.delta) for fact in deploy.export_facts(export)}
    assert facts == {
        "Weights on disk": ("20.0 MB", "-75 %"),
        "Checkpoint's weights": ("80.0 MB", None),
        "Largest difference of a logit": ("0.23", None),
    }
    as_large = replace(export, size_bytes={"model.onnx": 80_300_000})
    assert deploy.export_facts(as_large)[0].delta is None
    assert r"dev texts of a\_b" in deploy.export_lines(export)
    assert r"Synthetic \*CPU\*, with none" in deploy.export_lines(export)


def test_the_likeliest_class_of_the_first_model_stands_on_top():
    ours = Answer({"a": 0.2, "b": 0.7, "c": 0.1}, 0.0, 3.14, 64, False)
    theirs = Answer({"a": 0.5, "b": 0.3, "c": 0.2}, 0.0, 9.0, 64, False)
    table = deploy.shares_table({"One": ours, "Two": theirs})
    assert list(table.columns) == ["Class", "One (%)", "Two (%)"]
    assert list(table["Class"]) == ["b", "a", "c"]
    assert list(table["Two (%)"]) == pytest.approx([30, 50, 20])
    assert deploy.answer_line(ours) == "70.0 %, 3.1 ms"
    assert deploy.answer_line(Answer(None, 1.5, 2.0, 64, False)) == "2.0 ms"


def compared(label: str, ours, source) -> deploy.Compared:
    """A text as two models see it: probabilities of a, b and c, or a number."""

    def answer(value) -> Answer:
        if isinstance(value, float):
            return Answer(None, value, 1.0, 64, False)
        return Answer(dict(zip("abc", value, strict=True)), 0.0, 1.0, 64, False)

    return deploy.Compared(("x\n y",), label, answer(ours), answer(source))


A, B, C = (0.8, 0.1, 0.1), (0.1, 0.6, 0.3), (0.0, 0.1, 0.9)
ROWS = [
    compared("a", A, A),
    compared("a", B, A),  # the source is right; both give 0.6 at least
    compared("c", C, A),  # this model is; 0.8
    compared("b", C, A),  # neither; 0.8
]


def test_texts_judged_differently_are_counted_by_who_is_right():
    rows = deploy.differing(ROWS)
    assert rows == [ROWS[2], ROWS[3], ROWS[1]]  # those on top of which both are sure
    line = deploy.differing_line(ROWS, 4)
    counts = "Of 4 dev texts they differ on 3: the source is right on 1, this model on 1, neither"
    assert line == f"{counts} on 1."
    assert "spread evenly over all 1,267, they differ on 3" in deploy.differing_line(ROWS, 1267)
    assert deploy.differing_line(ROWS[:1], 1) == "Of 1 dev texts they differ on none."
    table = deploy.differing_table(rows)
    assert list(table["Text"]) == ["x y"] * 3
    assert list(table["Right"]) == ["this model", "neither", "source"]
    assert list(table["Source (%)"]) == pytest.approx([80, 80, 80])
    assert list(table["This model (%)"]) == pytest.approx([90, 90, 60])


def test_of_numbers_the_largest_differences_are_listed():
    rows = [compared("0.5", n / 10, 0.0) for n in range(30)]  # 10 are nearer to 0.5 than 0 is
    largest = deploy.differing(rows)
    assert [row.ours.number for row in largest[:2]] == [2.9, 2.8] and len(largest) == 20
    # From 2.9 down to 1.0, all over 0.5 away; at exactly 1.0 both are as near.
    line = deploy.differing_line(rows, 30)
    assert "1.45 in the median and by 2.90 at most" in line
    assert "nearer to the label on 19, this model on 0, on 1 both are as near" in line
    table = deploy.differing_table(largest)
    assert table["Difference"].iloc[0] == pytest.approx(2.9) and "Source (%)" not in table
