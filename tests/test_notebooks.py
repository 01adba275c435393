"""The notebooks: each runs from top to bottom, says what it is saved with, and can be solved.

`python tests/test_notebooks.py` saves their outputs anew.
"""

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SECONDS = 60  # a cell may take
# An answer to each exercise that is right, and one that is not.
ANSWERS = {
    "path": ('str(f.cheapest("size", max_error_gain=0.03).architecture)', '"6,12,384,1536"'),
    "pruning": ("toy.Toy(units=4, dead_units=0, outputs=3, dead_outputs=0, draw=3)", "toy.Toy()"),
    "cost": ("2", "1"),
    "dial": ("0.07", "0.08"),
    "choosing": ("3.3", "5.0"),
    "layers": (
        '"384:7x320,10x0,6x0,9x248,7x632,9x1000"',
        '"384:12x1536,12x1536,12x1536,12x1536,12x1536,12x1536"',
    ),
    "torus": ("0.66", "0.7"),
    "ledger": ('("pytorch-bf16", "onnx-int8")', '("pytorch-fp32", "onnx-int8")'),
}


def client(path: Path) -> NotebookClient:
    """Open a notebook; its kernel starts where it lies, and finds the engine."""
    where = {"metadata": {"path": str(path.parent)}}
    notebook = nbformat.read(path, as_version=4)
    return NotebookClient(notebook, timeout=SECONDS, resources=where, record_timing=False)


def run(opened: NotebookClient) -> None:
    for number, cell in enumerate(opened.nb.cells):
        opened.execute_cell(cell, number)


def printed(cell: Any) -> str:
    """Return a cell's outputs as text."""
    outputs = cell.get("outputs", ())
    return "".join(x["text"] if "text" in x else x["data"]["text/plain"] for x in outputs)


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "BORT_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_every_lesson_has_its_notebook_and_its_place_in_the_teachers_sheet():
    lessons = {path.stem for path in (ROOT / "pages/parts/lessons").glob("*.py")}
    assert {path.stem for path in NOTEBOOKS} == lessons == ANSWERS.keys()
    sheet = (ROOT / "docs" / "teaching.md").read_text()
    assert set(re.findall(r"lesson=(\w+)", sheet)) == lessons


@pytest.mark.usefixtures("no_home")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_exercise_can_be_solved(path: Path):
    opened = client(path)
    cells = opened.nb.cells
    saved = [printed(cell) for cell in cells]
    with opened.setup_kernel():
        run(opened)
        assert [printed(cell) for cell in cells] == saved
        (at,) = (n for n, x in enumerate(cells) if "exercise" in x.metadata.get("tags", ()))
        right, wrong = ANSWERS[path.stem]
        cells[at].source = f"answer = {right}"
        opened.execute_cell(cells[at], at)
        opened.execute_cell(cells[at + 1], at + 1)
        assert printed(cells[at + 1]) == "Right.\n"
        cells[at].source = f"answer = {wrong}"
        opened.execute_cell(cells[at], at)
        with pytest.raises(CellExecutionError) as info:
            opened.execute_cell(cells[at + 1], at + 1)
        assert info.value.ename == "AssertionError"


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(ROOT)
    for path in NOTEBOOKS:
        opened = client(path)
        with opened.setup_kernel():
            run(opened)
        opened.nb.metadata.language_info = {"name": "python"}  # no version
        nbformat.write(opened.nb, path)
