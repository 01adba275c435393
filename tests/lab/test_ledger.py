"""The verb `ledger`: what it times, in which order, and that its file is checked."""

import json
from pathlib import Path

import pytest

from bort_engine import Cancelled
from bort_engine.__main__ import main
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.lab import ledger
from bort_engine.lab.ledger import MODELS, Ledger, Spread, read_lengths

# Made-up milliseconds at 16 tokens; at 128 they are tenfold. Bort takes 10, 20, 30.
ROUNDS = {
    "bort": (10.0, 20.0, 30.0),
    "bort-swapped": (5.0, 10.0, 15.0),
    "bert-base-uncased": (40.0, 60.0, 80.0),
    "bert-large-uncased": (100.0, 300.0, 450.0),
}


def made_up(**change) -> Ledger:
    times = {
        name: {16: ms, 128: tuple(10 * x for x in ms), 512: tuple(50 * x for x in ms)}
        for name, ms in ROUNDS.items()
    }
    values = {
        "times_ms": times,
        "threads": 2,
        "device": "Synthetic CPU",
        "versions": "made up for the tests",
        "made_on": "2000-01-01",
        "seconds": 1.0,
    }
    return Ledger(**values | change)


@pytest.fixture
def quick(monkeypatch) -> list[tuple[str, int]]:
    """Models that are their names, and passes that take no time; returns what was timed."""
    calls: list[tuple[str, int]] = []

    def pass_ms(model: str, length: int) -> float:
        calls.append((model, length))
        return float(length)

    monkeypatch.setattr(ledger, "_model", lambda source: source.name)
    monkeypatch.setattr(ledger, "_pass_ms", pass_ms)
    return calls


def test_a_ratio_is_taken_round_by_round():
    assert made_up().ms("bort", 128) == Spread(200.0, 150.0, 250.0, 3)
    # Round by round 10, 15 and 15.
    assert made_up().ratio("bert-large-uncased", "bort", 16) == Spread(15.0, 12.5, 15.0, 3)


def test_the_swapped_shape_has_borts_sizes_exchanged():
    assert MODELS["bort"].architecture == Architecture(4, 8, 1024, 768)
    assert MODELS["bort-swapped"].architecture == Architecture(4, 8, 768, 1024)


def test_all_models_are_timed_in_turns_at_every_length_in_every_round(quick, tmp_path):
    events = []
    found = ledger.ledger((128, 16), 3, 1, out=tmp_path, on_progress=events.append)
    assert found.lengths == (16, 128) and found.rounds == 3 and found.threads == 1
    assert found.ms("bort", 128).median == 128
    for k in range(0, len(quick), 4):
        names, lengths = zip(*quick[k : k + 4], strict=True)
        assert set(names) == set(MODELS) and len(set(lengths)) == 1
    assert len({tuple(name for name, _ in quick[k : k + 4]) for k in range(0, 24, 4)}) > 1
    assert events[-1]["done"] == events[-1]["total"] == 24
    assert Ledger.load(tmp_path / "ledger.json") == found


def test_a_stop_ends_it_with_nothing_kept(quick, tmp_path):
    with pytest.raises(Cancelled):
        ledger.ledger((16,), 3, out=tmp_path, stop=lambda: len(quick) >= 5)
    assert len(quick) == 5 and not list(tmp_path.iterdir())


def test_a_pass_is_timed_after_one_that_does_not_count():
    tiny = Source("tiny", "bert", Architecture(1, 2, 16, 16), 100, 32, 0, pooler=False)
    model, passes = ledger._model(tiny), []
    model.register_forward_hook(lambda *_: passes.append(1))
    assert ledger._pass_ms(model, 32) > 0
    assert len(passes) == 2 and model.pooler is None and not model.training


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--lengths x", "lengths is 'x'; give numbers of tokens such as 16,128,512"),
        ("--lengths 16,", "lengths is '16,'"),
        ("--lengths 0", "sequence_length is 0; allowed: 1 to 512"),
        ("--lengths 513", "sequence_length is 513; allowed: 1 to 512"),
        ("--repeats 0", "repeats is 0; allowed: 1 to 1000"),
        ("--threads -1", "threads is -1; allowed: 1 to"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(arguments, text, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BORT_RUNS", str(tmp_path / "runs"))
    assert main(["ledger", *arguments.split()]) == 2
    assert text in capsys.readouterr().err
    assert not [path for path in (tmp_path / "runs").glob("*") if path.is_dir()]


def test_the_command_is_a_run_and_prints_json_or_a_table(quick, capsys, tmp_path):
    words = ["ledger", "--lengths", "16", "--repeats", "2", "--out", str(tmp_path / "run")]
    assert main([*words, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    row = {"model": "bort", "sequence_length": 16, "median": 16.0, "low": 16.0, "high": 16.0}
    assert plain["summary_ms"][0] == row | {"n": 2}
    assert plain["settings"] == {"batch_size": 1, "dtype": "float32", "weights": "random"}
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "done"
    assert main(words) == 0
    assert "1.00x" in capsys.readouterr().out.splitlines()[2]


def test_lengths_are_read_as_written():
    assert read_lengths("16,128,512") == (16, 128, 512)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"times_ms": {}},
        {"times_ms": []},
        {"times_ms": ROUNDS},
        {"times_ms": {name: {} for name in MODELS}},
        {"times_ms": {name: {"16": []} for name in MODELS}},
        {"times_ms": {name: {"16": "fast"} for name in MODELS}},
        {"times_ms": {name: {"16": [0]} for name in MODELS}},
        {"times_ms": {name: {"16": [True]} for name in MODELS}},
        {"times_ms": {name: {"16": [float("nan")]} for name in MODELS}},
        {"times_ms": {name: {"16": [10**400]} for name in MODELS}},
        {"times_ms": {name: {"600": [1.0]} for name in MODELS}},
        {"times_ms": {name: {"many": [1.0]} for name in MODELS}},
        {"times_ms": {name: {str(16 + k): [1.0]} for k, name in enumerate(MODELS)}},
        {"times_ms": {name: {"16": [1.0] * (k + 1)} for k, name in enumerate(MODELS)}},
        {"times_ms": {name: {"16": [1.0]} for name in [*MODELS, "bert-tiny"]}},
        {"threads": 0},
        {"threads": None},
        {"threads": "2"},
        {"device": None},
        {"made_on": "x" * 301},
        {"seconds": -1},
    ],
)
def test_a_damaged_ledger_is_one_line(change, tmp_path):
    path = tmp_path / "ledger.json"
    path.write_text(json.dumps(made_up().to_json() | change))
    with pytest.raises(ValueError, match="run `ledger` again to make one") as e:
        Ledger.load(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\xff"])
def test_what_is_no_json_object_is_one_line(text, tmp_path):
    path = tmp_path / "ledger.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"ledger\.json"):
        Ledger.load(path)


def test_what_is_not_there_is_one_line():
    with pytest.raises(ValueError, match="nowhere"):
        Ledger.load(Path("nowhere"))
