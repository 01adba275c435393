"""The command line: what goes to stdout, what to stderr, and which exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bort_engine.__main__ import main

ROOT = Path(__file__).parent.parent
TINY = ["--steps", "2", "--teacher-steps", "4", "--space", "D=1-2 A=2 H=96 I=192,384"]
PREDICTED = ["front", "bert-large-uncased", "--space", "bort"]
PREDICTED += ["--oracle", "glue", "--latency", "recorded"]


def test_params_as_json_has_the_published_counts(capsys):
    assert main(["params", "bert-large-uncased", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "source": "bert-large-uncased",
        "architecture": "24,16,1024,4096",
        "embeddings": 31_782_912,
        "encoder": 302_309_376,
        "head": 1_049_600,
        "total": 335_141_888,
        "operations": 39_461_060_608,
        "sequence_length": 128,
    }


def test_params_as_text_sums_to_its_total(capsys):
    assert main(["params", "bort", "--architecture", "4,8,1024,768"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    counts = {row[0]: int(row[1].replace(",", "")) for row in rows}
    assert counts.pop("total") == sum(counts.values()) == 75_106_304


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("params nope", "source 'nope' is not known; allowed: minilm-l6"),
        ("params mobilebert", "is left out: its layers have bottlenecks"),
        ("params bort --architecture 4,7,1024,768", "num_attention_heads 7 does not divide"),
        ("params bort --architecture 4", "is not of the form D,A,H,I"),
        ("params bort --sequence-length 0", "sequence_length is 0; it must be at least 1"),
        ("front minilm-l6 --epsilon 0", "epsilon is 0.0; allowed: above 0, at most 1"),
        ("front minilm-l6 --epsilon many", "invalid float value: 'many'"),
        ("front minilm-l6 --task nope", "task 'nope' is not known; allowed: rotten-tomatoes"),
        ("front minilm-l6 --lazy maybe", "invalid choice: 'maybe'"),
        ("front minilm-l6 --colour red", "unrecognized arguments"),
        ("front minilm-l6 --threads -1", "threads is -1; allowed: 1 to"),
        ("agora minilm-l6", "the following arguments are required: --architecture"),
        ("agora minilm-l6 --architecture 9,12,384,768", "9,12,384,768 does not fit in minilm-l6"),
        ("agora minilm-l6 --architecture 3,5,384,768", "num_attention_heads 5 does not divide"),
        ("agora minilm-l6 --architecture 3,12,384,768 --tau near", "tau is 'near'; allowed: auto"),
        (
            "agora minilm-l6 --architecture 3,12,384,768 --points 0",
            "points is 0; allowed: 1 to 100",
        ),
        ("agora minilm-l6 --architecture 3,12,384,768 --task nope", "task 'nope' is not known"),
        ("agora minilm-l6 --architecture 3,12,384,768 --controls x", "control 'x' is not known"),
        ("", "the following arguments are required: COMMAND"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, text, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BORT_RUNS", str(tmp_path / "runs"))
    assert main(arguments.split()) == 2
    said = capsys.readouterr()
    assert text in said.err and said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert not [path for path in (tmp_path / "runs").glob("*") if path.is_dir()]


def test_a_predicted_front_prints_json_and_needs_no_run_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*PREDICTED, "--json"]) == 0
    front = json.loads(capsys.readouterr().out)
    expected = {"source", "task", "epsilon", "selection", "space_size", "n_cells", "n_evaluated"}
    expected |= {"achieved_epsilon", "latency", "best", "points"}
    assert expected <= set(front)
    point = {"architecture", "n_parameters", "operations", "latency_ms", "error", "dev_error"}
    assert point | {"w", "pareto"} <= set(front["points"][0])
    assert list(tmp_path.iterdir()) == []


def test_a_predicted_front_reads_as_a_table(capsys):
    assert main(PREDICTED) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "non-dominated" in lines[0] and "ms" in lines[1]
    assert sum("best" in line for line in lines) == 1


def test_a_full_disk_is_one_clear_line(capsys, tmp_path, monkeypatch, quick_oracle):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full to stand in for a full disk")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "evaluations.jsonl").symlink_to("/dev/full")
    assert main(["front", "minilm-l6", *TINY, "--out", str(folder)]) == 2
    assert "the disk is full: free some space" in capsys.readouterr().err


def run_cli(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "bort_engine", "front", "minilm-l6", *TINY]
    command += ["--lazy", "off", "--epsilon", "0.05", "--json", "--out", str(folder)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_run_goes_on_without_repeating_and_stdout_is_json(quick_oracle, tmp_path):
    folder = tmp_path / "run"
    record = folder / "evaluations.jsonl"
    first = run_cli(folder)
    while not (record.exists() and len(record.read_text().splitlines()) >= 3):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = record.read_text().rpartition("\n")[0].splitlines()
    second = run_cli(folder)
    out, said = second.communicate(timeout=200)
    assert second.returncode == 0, said
    assert record.read_text().splitlines()[: len(kept)] == kept
    front = json.loads(out)
    measured = [json.loads(line)["architecture"] for line in record.read_text().splitlines()[1:]]
    assert len(set(measured)) == len(measured) == len(front["points"])
    assert json.loads((folder / "status.json").read_text())["state"] == "done"
