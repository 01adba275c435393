"""The verb `ledger`: what it times, in which order, and that its file is checked."""

import json

import pytest

from bort_engine import Cancelled
from bort_engine.__main__ import main
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.lab import ledger
from bort_engine.lab.ledger import MODELS, DeployedLedger, Deployment, Ledger, Spread
from bort_engine.runs import records
from bort_engine.runs.provenance import Provenance

# Made-up milliseconds at 16 tokens; at 128 they are tenfold. Bort takes 10, 20, 30.
ROUNDS = {
    "bort": (10.0, 20.0, 30.0),
    "bort-swapped": (5.0, 10.0, 15.0),
    "bert-base-uncased": (40.0, 60.0, 80.0),
    "bert-large-uncased": (100.0, 300.0, 450.0),
}


def made_up(machine: str = "Synthetic CPU", factors=((16, 1), (128, 10), (512, 50))) -> Ledger:
    """A ledger whose times are those of ROUNDS, times a factor by length."""
    times = {
        name: {length: tuple(factor * x for x in ms) for length, factor in factors}
        for name, ms in ROUNDS.items()
    }
    provenance = Provenance(machine, "made up for the tests", "2000-01-01")
    return Ledger(times_ms=times, threads=2, provenance=provenance, seconds=1.0)


def made_up_deployed(machine: str = "Synthetic CPU") -> DeployedLedger:
    """Three rounds at 16 tokens. By hand, round by round, BERT-large over Bort:

    fp32 over fp32 15, 10, 5; int8 over int8 8, 8, 8; fp32 over int8 30, 40, 30.
    """
    times: dict[Deployment, dict[str, tuple[float, ...]]] = {
        "pytorch-fp32": {"bert-large-uncased": (150.0, 200.0, 150.0), "bort": (10.0, 20.0, 30.0)},
        "onnx-int8": {"bert-large-uncased": (40.0, 40.0, 40.0), "bort": (5.0, 5.0, 5.0)},
    }
    return DeployedLedger(
        times_ms={
            runtime: {name: {16: ms} for name, ms in by_model.items()}
            for runtime, by_model in times.items()
        },
        cpu_flags="avx512_vnni",
        provenance=Provenance(machine, "made up for the tests", "2000-01-01"),
    )


@pytest.fixture
def passes(monkeypatch) -> list[tuple[str, int]]:
    """Models that are their names, and passes that take no time; what was timed."""
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr(ledger, "random_model", lambda source: source.name)
    monkeypatch.setattr(ledger, "_pass_ms", lambda *call: calls.append(call) or float(call[1]))
    return calls


def test_a_ratio_is_taken_round_by_round():
    assert made_up().ms("bort", 128) == Spread(200.0, 150.0, 250.0, 3)
    # Round by round 10, 15 and 15.
    assert made_up().ratio("bert-large-uncased", "bort", 16) == Spread(15.0, 12.5, 15.0, 3)


def test_a_deployed_ratio_is_of_one_runtime_or_of_two():
    deployed = made_up_deployed()
    assert deployed.best(16) == "onnx-int8"
    assert deployed.ratio("pytorch-fp32", "pytorch-fp32", 16) == Spread(10.0, 7.5, 12.5, 3)
    assert deployed.ratio("onnx-int8", "onnx-int8", 16) == Spread(8.0, 8.0, 8.0, 3)
    assert deployed.ratio("pytorch-fp32", "onnx-int8", 16) == Spread(30.0, 30.0, 35.0, 3)
    assert deployed.gain("onnx-int8", 16) == Spread(3.75, 3.75, 4.375, 3)


def test_a_deployed_ledger_is_read_back(tmp_path):
    path = records.write(tmp_path / "deployed.json", made_up_deployed())
    assert DeployedLedger.load(path) == made_up_deployed()


@pytest.mark.parametrize(
    ("runtime", "by_model", "cause"),
    [
        ("pytorch-fp32", None, "does not time pytorch-fp32"),
        ("onnx-int8", {"bort": {"16": [1.0] * 3}}, "does not time bert-large-uncased and bort"),
        (
            "onnx-int8",
            {"bort": {"16": [1.0] * 3}, "bert-large-uncased": {"16": [1.0]}},
            "does not time bert-large-uncased in the rounds of the others",
        ),
        ("onnx-int4", {"bort": {"16": [1.0] * 3}}, "onnx-int4"),
    ],
)
def test_a_damaged_deployed_ledger_is_one_line(runtime, by_model, cause, tmp_path):
    plain = records.dump(made_up_deployed())
    if by_model is None:
        del plain["times_ms"][runtime]
    else:
        plain["times_ms"][runtime] = by_model
    path = tmp_path / "deployed.json"
    path.write_text(json.dumps(plain))
    with pytest.raises(ValueError, match=cause) as e:
        DeployedLedger.load(path)
    assert "\n" not in str(e.value) and "benchmarks/ledger_deployed.py" in str(e.value)


def test_all_models_are_timed_in_turns_at_every_length_in_every_round(passes, tmp_path):
    events = []
    result = ledger.ledger((128, 16), 3, 1, out=tmp_path, on_progress=events.append)
    assert result.lengths == (16, 128) and result.rounds == 3 and result.threads == 1
    assert result.ms("bort", 128).median == 128
    turns = [passes[k : k + 4] for k in range(0, len(passes), 4)]
    assert [{length for _, length in turn} for turn in turns] == [{16}, {128}] * 3
    assert all({name for name, _ in turn} == set(MODELS) for turn in turns)
    assert len({tuple(name for name, _ in turn) for turn in turns}) > 1
    assert events[-1]["done"] == events[-1]["total"] == 24
    assert Ledger.load(tmp_path / "ledger.json") == result


def test_a_stop_ends_it_with_nothing_kept(passes, tmp_path):
    with pytest.raises(Cancelled):
        ledger.ledger((16,), 3, out=tmp_path, stop=lambda: len(passes) >= 5)
    assert len(passes) == 5 and not list(tmp_path.iterdir())


def test_a_pass_is_timed_after_one_that_does_not_count():
    tiny = Source("tiny", "bert", Architecture(1, 2, 16, 16), 100, 32, 0, pooler=False)
    model, calls = ledger.random_model(tiny), []
    model.register_forward_hook(lambda *_: calls.append(1))
    assert ledger._pass_ms(model, 32) > 0
    assert len(calls) == 2 and model.pooler is None and not model.training


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--lengths x", "'x'"),
        ("--lengths 16,513", "lengths are 16, 513; allowed: 1 to 512 each"),
        ("--repeats 0", "repeats is 0; allowed: 1 to 1000"),
        ("--threads -1", "threads is -1; allowed: 1 to"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(arguments, text, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BORT_RUNS", str(tmp_path / "runs"))
    assert main(["ledger", *arguments.split()]) == 2
    assert text in capsys.readouterr().err
    assert not [path for path in (tmp_path / "runs").glob("*") if path.is_dir()]


def test_the_command_is_a_run_and_prints_json_or_a_table(passes, capsys, tmp_path):
    words = ["ledger", "--lengths", "16", "--repeats", "2", "--out", str(tmp_path / "run")]
    assert main([*words, "--json"]) == 0
    result = records.parse(capsys.readouterr().out, Ledger)
    assert result.times_ms["bort"] == {16: (16.0, 16.0)}
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "done"
    assert main(words) == 0
    assert "1.00x" in capsys.readouterr().out.splitlines()[2]


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 1},
        {"times_ms": ROUNDS},
        {"times_ms": {name: {str(16 + k): [1.0]} for k, name in enumerate(MODELS)}},
        {"times_ms": {name: {"16": [1.0] * (k + 1)} for k, name in enumerate(MODELS)}},
        {"times_ms": {name: {"16": [1.0]} for name in [*MODELS, "bert-tiny"]}},
    ],
)
def test_a_damaged_ledger_is_one_line(change, tmp_path):
    path = tmp_path / "ledger.json"
    path.write_text(json.dumps(records.dump(made_up()) | change))
    with pytest.raises(ValueError, match="delete it and run `ledger` again") as e:
        Ledger.load(path)
    assert "\n" not in str(e.value)
