"""A checkpoint and its export in words and code, to be used: called, run alone, and tried."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from bort_engine.data.columns import parse_name
from bort_engine.data.tasks import TASKS
from bort_engine.encoder.answers import Answer
from bort_engine.encoder.export import Export, Format
from bort_engine.runs.text import literal
from bort_engine.search.cut import Cut
from bort_engine.show.front import Fact

if TYPE_CHECKING:
    import pandas as pd

FORMATS: dict[Format, str] = {"onnx-int8": "ONNX int8", "onnx": "ONNX", "safetensors-bf16": "bf16"}
TEXT, PAIR = "A sentence to read.", ("A sentence.", "Another one.")


def is_pair(task: str) -> bool:
    """Is the task about pairs of texts? Its name tells; no file is read."""
    path, columns = parse_name(task)
    return TASKS[path].is_pair if path in TASKS else bool(columns.second_column)


def pipeline_code(cut: Cut, folder: Path) -> str:
    """Return how transformers calls a checkpoint, or another folder of transformers."""
    text = repr(TEXT)
    if is_pair(cut.task):
        text = f"{{'text': {PAIR[0]!r}, 'text_pair': {PAIR[1]!r}}}"
    # A number is no probability: without this, transformers takes the sigmoid of it.
    number = "" if cut.recalls else ", function_to_apply='none'"
    return (
        "from transformers import pipeline\n\n"
        f"classify = pipeline('text-classification', {str(folder)!r}{number})\n"
        f"print(classify({text}, truncation=True))  # {cut.architecture}"
    )


def run_command(cut: Cut, folder: Path) -> str:
    """Return the command line that runs an ONNX export alone."""
    run = f"python {quote(str(folder / 'run.py'))}"
    if is_pair(cut.task):
        return f"printf '{PAIR[0]}\\t{PAIR[1]}\\n' | {run}  # a tab between the two"
    return f'{run} "{TEXT}"'


def logits_code(cut: Cut, folder: Path) -> str:
    """Return how Python calls an ONNX export."""
    text = "\t".join(PAIR) if is_pair(cut.task) else TEXT
    return (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from run import logits\n"
        f"print(logits({text!r}))  # {cut.architecture}"
    )


def export_facts(export: Export) -> list[Fact]:
    """Return an export's size on disk, against the checkpoint's weights, and how near it is."""
    change = round(100 * (export.largest / export.source_bytes - 1))
    parity = export.parity
    facts = [
        Fact(
            "Weights on disk", f"{export.largest / 1e6:.1f} MB", f"{change:+} %" if change else None
        ),
        Fact("Checkpoint's weights", f"{export.source_bytes / 1e6:.1f} MB", None),
        Fact("Largest difference of a logit", f"{parity.max_difference:.2g}", None),
    ]
    if parity.same_labels is not None:
        facts.append(Fact("Same labels", f"{100 * parity.same_labels:.0f} %", None))
    return facts


def export_lines(export: Export) -> str:
    """Say how an export was checked, and on what processor."""
    flags = "with none of the flags that speed up int8 and bf16"
    if export.cpu_flags:
        flags = f"with {', '.join(export.cpu_flags.split())}"
    return (
        f"In a new process {literal(export.parity)}. Made on {literal(export.made.machine)}, "
        f"{literal(flags)}."
    )


def answer_line(answer: Answer) -> str:
    """Say how sure an answer is, and how long it took."""
    share = f"{100 * answer.shares[answer.label]:.1f} %, " if answer.shares else ""
    return f"{share}{answer.ms:.1f} ms"


def shares_table(answers: Mapping[str, Answer]) -> pd.DataFrame:
    """Return every class's probability in percent by model, the first one's likeliest on top."""
    import pandas as pd

    shares = {f"{name} (%)": answer.shares or {} for name, answer in answers.items()}
    table = 100 * pd.DataFrame(shares)
    table = table.sort_values(table.columns[0], ascending=False, kind="stable")
    return table.rename_axis("Class").reset_index()
