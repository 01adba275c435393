"""The command line: what goes to stdout, what to stderr, and which exit code."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import click
import pytest
from annotated_types import Ge

from bort_engine.__main__ import VERBS, main
from bort_engine.data import resources
from bort_engine.encoder.space import Architecture
from bort_engine.options import command
from bort_engine.runs.events import Cancelled
from bort_engine.runs.work import Job

ROOT = Path(__file__).parent.parent
TINY = ["--steps", "2", "--teacher-steps", "4", "--space", "D=1-2 A=2 H=96 I=192"]
TINY += ["--latency", "recorded", "--lazy", "off", "--epsilon", "0.05", "--json"]
TINY += ["--oracle", "brief"]
PREDICTED = ["front", "bert-large-uncased", "--space", "bort"]
PREDICTED += ["--oracle", "glue", "--latency", "recorded"]
Heard = Callable[..., object]
AGORA = "agora minilm-l6 --architecture 3,12,384,768"


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
    ("arguments", "cause"),
    [
        ("params nope", "source 'nope' is not known; allowed: minilm-l6"),
        ("params bort --architecture 4", "is not of the form D,A,H,I"),
        ("cut minilm-l6 --architecture 4", "neither form; allowed: D,A,H,I (3,12,384,768), or"),
        ("params bort 'a\fb\nc\x1b[31md'", "unexpected extra argument (a b c [31md)"),
        ("front minilm-l6 --epsilon many", "'--epsilon': 'many'; allowed: NUMBER"),
        ("front minilm-l6 --task nope", "task 'nope' is not known; allowed: rotten-tomatoes"),
        ("front minilm-l6 --threads -1", "threads is -1; allowed: 1 to"),
        ("front minilm-l6 --exhaustive", " front --help`.\n"),
        ("front", "'SOURCE'"),
        (
            "front minilm-l6 --space layers --oracle=brief",
            "--oracle brief does not go with --space layers: leave it out; allowed: --task, ",
        ),
        ("front minilm-l6 --space layers --fit 3", "fit is 3; allowed: 20 to 10000"),
        ("front minilm-l6 --space layered", "'layered' is not known; allowed: 'default', 'fine'"),
        (f"{AGORA} --points 0", "is 0; allowed: 1 to 100"),
        (f"{AGORA} --controls best", "allowed: plain|copied|random,..."),
        ("front minilm-l6 --out pyproject.toml", "--out is pyproject.toml, a file; give a folder"),
        ("front minilm-l6 --out=", "'--out': it is empty; give a folder"),
        ("front minilm-l6 --epsilon 0.009", "epsilon is 0.009; allowed: 0.01 to 1"),
        ("front minilm-l6 --epsilon nan", "epsilon is nan; allowed: 0.01 to 1"),
        ("front minilm-l6 --spot-checks -1", "spot_checks is -1; allowed: 0 to 1,000,000"),
        ("front minilm-l6 --interval 0", "interval is 0; allowed: 1 to 1,000,000"),
        ("front minilm-l6 --latency recorded --space 'D=1 A=12 H=384 I=50'", "no calibration of"),
        ("front minilm-l6 --task tests/golden/params.json", "has the ending '.json'; allowed: "),
        ("front minilm-l6 --task TABLE", "has the columns 'text', 'verdict'; it needs text and"),
        ("front bort", "source bort has no weights to load; take another source"),
        (f"{AGORA} --tau mask", "minilm-l6 has no masked-language-model head; allowed: pool"),
        (f"{AGORA} --confidence nan", "confidence is nan; allowed: 0 to 1"),
        ("ledger --lengths none", "0 lengths were given; allowed: 1 to"),
        (
            "nope",
            "'nope' is not known; allowed: params, front, ",
        ),
        ("", "Missing command. See `"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, cause, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BORT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(Job, "_wait", lambda job: pytest.fail("it waited in line first"))
    table = tmp_path / "table.csv"
    table.write_text("text,verdict\n" + "a,b\n" * 100)
    assert main(shlex.split(arguments.replace("TABLE", str(table)))) == 2
    printed = capsys.readouterr()
    assert cause in printed.err and printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1
    assert not [path for path in (tmp_path / "runs").glob("*") if path.is_dir()]


def test_a_run_that_asks_for_what_is_gone_has_to_be_started_anew(tmp_path, capsys):
    (tmp_path / "request.json").write_text("{}")
    assert main(["front", "minilm-l6", "--exhaustive", "--out", str(tmp_path)]) == 2
    assert "of an older version" in capsys.readouterr().err


@dataclass(frozen=True)
class Training:
    """How a student is trained.

    Args:
        seed: of the drawing.
    """

    rate: Annotated[float, Ge(0)] = 0.5
    seed: int = 3
    kind: Literal["brief", "long"] = "brief"


def study(
    source: str,
    shape: Architecture | str,
    *,
    lengths: tuple[int, ...] = (16, 128),
    soft: bool = True,
    points: int = 8,
    limit: float | None = None,
    training: Training | None = None,
    out: str | Path | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Study a source.

    Args:
        points, limit: bounds of
            the study.
    """


def called(*arguments: str) -> tuple[dict, Path | None, bool]:
    calls = []
    study_command = command("study", study, lambda *call: calls.append(call))
    study_command.main(list(arguments), standalone_mode=False)
    ((_, call, out, as_json),) = calls
    assert call.func is study and call.args == ()
    return call.keywords, out, as_json


def test_options_are_the_parameters_and_the_fields_of_their_dataclasses():
    defaults = {"lengths": (16, 128), "soft": True, "points": 8, "limit": None}
    expected = {"source": "bort", "shape": Architecture(1, 2, 4, 8), "training": Training()}
    assert called("bort", "--shape", "1,2,4,8") == (defaults | expected, None, False)
    words = ["--lengths", "none", "--soft", "off", "--points", "2", "--limit", "1e-3", "--json"]
    words += ["--rate", "1", "--kind", "long", "--out", "x"]
    keywords, out, as_json = called("bort", "--shape", "1,2,4,8", *words)
    changed = {"lengths": (), "soft": False, "points": 2, "limit": 0.001}
    assert keywords == expected | changed | {"training": Training(1.0, kind="long")}
    assert (out, as_json) == (Path("x"), True)


@pytest.mark.parametrize("words", [["--rate", "-1"], ["--kind", "short"], ["--lengths", "1,,x"]])
def test_a_value_is_checked_by_its_annotation(words):
    with pytest.raises(click.UsageError) as error:
        called("bort", "--shape", "1,2,4,8", *words)
    assert f"'{words[0]}': '{words[1]}'; allowed: " in error.value.format_message()


def test_help_comes_from_the_docstrings(capsys):
    with pytest.raises(ValueError):  # nothing was called
        called("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "Study a source." in text
    assert "--points INTEGER bounds of the study. [default: 8]" in text
    assert "--limit NUMBER bounds of the study. --" in text
    assert "--seed INTEGER of the drawing. [default: 3]" in text
    assert "--kind brief|long" in text and "--soft on|off" in text
    assert "--stop" not in text and "--training" not in text


def test_a_predicted_front_prints_json_or_a_table_and_needs_no_run_folder(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main([*PREDICTED, "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert {"architecture", "n_parameters", "latency_ms", "error"} <= set(points[0])
    assert main(PREDICTED) == 0
    table = capsys.readouterr().out
    assert all(str(point["architecture"]) in table for point in points if point["pareto"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("space", ["--space layers", "--space=layers"])
def test_a_front_of_layers_is_a_run_of_layers(space, tmp_path, monkeypatch, capsys):
    def layers(
        source: str, task: str, *, seed: int, out: Path, on_progress: Heard, stop: Heard
    ) -> list:
        return [source, task, seed]

    monkeypatch.setitem(VERBS, "layers", layers)
    words = f"front {space} minilm-l6 --seed=3 --task a=b.csv --json --out".split()
    assert main([*words, str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == ["minilm-l6", "a=b.csv", 3]
    request = json.loads((tmp_path / "request.json").read_text())
    assert request["command"] == "layers"
    assert request["arguments"] == ["minilm-l6", "--seed", "3", "--task", "a=b.csv", "--json"]


@pytest.mark.parametrize("stop", [Cancelled("stopped"), KeyboardInterrupt()])
def test_stopped_is_exit_code_130(monkeypatch, capsys, stop):
    def stopped(*args: object) -> None:
        raise stop

    monkeypatch.setattr(resources, "fetch", stopped)
    assert main(["fetch", "--json"]) == 130
    assert "bort_engine: stopped" in capsys.readouterr().err


def test_a_stop_while_it_is_imported_is_no_traceback():
    """Ctrl-C in the first second: an import of ours is where it is heard."""
    program = """
import runpy, signal, sys
class Stopped:
    def find_spec(self, name, path, target=None):
        if name in ("click", "bort_engine.options"):
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Stopped())
runpy.run_module("bort_engine", run_name="__main__")
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (130, "")


@pytest.mark.usefixtures("quick_evaluator")
def test_a_full_disk_is_one_clear_line(capsys, tmp_path, small_task):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full to stand in for a full disk")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "evaluations.jsonl").symlink_to("/dev/full")
    assert main(["front", "minilm-l6", "--task", small_task, *TINY, "--out", str(folder)]) == 2
    assert "the disk is full: free some space" in capsys.readouterr().err


@pytest.mark.usefixtures("quick_evaluator")
def test_a_killed_run_goes_on_without_repeating_and_stdout_is_json(small_task, tmp_path, capsys):
    folder = tmp_path / "run"
    record = folder / "evaluations.jsonl"
    arguments = ["front", "minilm-l6", "--task", small_task, *TINY, "--out", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bort_engine", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (record.exists() and len(record.read_text().splitlines()) >= 2):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = record.read_text().rpartition("\n")[0].splitlines()
    assert main(arguments) == 0
    lines = record.read_text().splitlines()
    assert lines[: len(before)] == before
    front = json.loads(capsys.readouterr().out)
    measured = {json.loads(line)["architecture"] for line in lines[1:]}
    assert len(measured) == len(lines) - 1 == len(front["points"])
    assert json.loads((folder / "status.json").read_text())["state"] == "done"
