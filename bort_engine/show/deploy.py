"""A checkpoint and its export in words and code, to be used: called, run alone, and tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from statistics import median
from typing import TYPE_CHECKING

from bort_engine.data.columns import parse_name
from bort_engine.data.tasks import TASKS
from bort_engine.encoder.answers import Answer
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.export import Export, Format
from bort_engine.encoder.sources import Source
from bort_engine.encoder.uneven import Uneven, uneven_parameters
from bort_engine.runs.text import literal
from bort_engine.search.cut import Cut
from bort_engine.show.front import Fact

if TYPE_CHECKING:
    import pandas as pd

FORMATS: dict[Format, str] = {
    "onnx-int8": "ONNX int8",
    "openvino-int8": "OpenVINO int8",
    "onnx": "ONNX",
    "safetensors-bf16": "bf16",
}
TEXT, PAIR = "A sentence to read.", ("A sentence.", "Another one.")
N_LARGEST = 20  # differences of numbers that are listed


def is_pair(task: str) -> bool:
    """Is the task about pairs of texts? Its name tells; no file is read."""
    path, columns = parse_name(task)
    return TASKS[path].is_pair if path in TASKS else bool(columns.second_column)


def fields(task: str) -> tuple[str, ...]:
    """Return what the texts that a task's models read are called."""
    return ("First text", "Second text") if is_pair(task) else ("Text",)


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


def widths_line(cut: Cut, source: Source) -> str:
    """Say what there is of a cut whose layers differ; nothing where they do not."""
    if not isinstance(cut.architecture, Uneven):
        return ""
    effective = uneven_parameters(cut.architecture, source).total
    plain = cut.architecture.padded(source)
    return (
        f"Its layers differ: {effective:,} parameters. transformers takes one width for all, so "
        f"the checkpoint, and any export of it below, is padded with zeros to {plain} "
        f"({n_parameters(plain, source).total:,} parameters): the same answers, at that shape's "
        "speed. The ONNX model has the true widths, and runs without PyTorch."
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


@dataclass(frozen=True, slots=True)
class Compared:
    """A dev text, or a pair of texts, with its label, and what a model and its source answer."""

    texts: tuple[str, ...]
    label: str
    ours: Answer
    source: Answer

    @property
    def difference(self) -> float:
        """How much more the model says than its source, where they predict numbers."""
        return self.ours.number - self.source.number

    @property
    def nearer(self) -> str:
        """Who is right, or nearer to the number that is the label: "ours", "source" or neither."""
        if self.ours.shares is None:
            label = float(self.label)
            miss, source_miss = (abs(a.number - label) for a in (self.ours, self.source))
        else:
            miss, source_miss = (a.label != self.label for a in (self.ours, self.source))
        return "ours" if miss < source_miss else "source" if miss > source_miss else ""

    @property
    def confidence(self) -> float:
        """The probability that both give to their own answer at least."""
        return min((a.shares or {}).get(a.label, 0.0) for a in (self.ours, self.source))


def differing(compared: Sequence[Compared]) -> list[Compared]:
    """Return the texts that are judged differently, those on top of which both are surest.

    Of numbers, which nearly always differ, the N_LARGEST differences.
    """
    if any(row.ours.shares is None for row in compared):
        return sorted(compared, key=lambda row: -abs(row.difference))[:N_LARGEST]
    rows = (row for row in compared if row.ours.label != row.source.label)
    return sorted(rows, key=lambda row: -row.confidence)


def differing_line(compared: Sequence[Compared], n_dev: int) -> str:
    """Say on how many of the texts that were read the two differ, and who is right on them.

    Args:
        n_dev: how many texts dev has; `compared` are some of them, or all.
    """
    rows = differing(compared)
    read = f"{len(compared):,} dev texts"
    if len(compared) < n_dev:
        read = f"{len(compared):,} dev texts, spread evenly over all {n_dev:,},"
    n_source, n_ours, n_none = (
        sum(row.nearer == name for row in rows) for name in ("source", "ours", "")
    )
    if rows and rows[0].ours.shares is None:
        middle = median(abs(row.difference) for row in compared)
        none = f", on {n_none} both are as near" if n_none else ""
        return (
            f"Of {read} their answers differ by {middle:.2f} in the median and by "
            f"{abs(rows[0].difference):.2f} at most. Of the {len(rows)} largest differences the "
            f"source is nearer to the label on {n_source}, this model on {n_ours}{none}."
        )
    if not rows:
        return f"Of {read} they differ on none."
    none = f", neither on {n_none}" if n_none else ""
    return (
        f"Of {read} they differ on {len(rows)}: the source is right on {n_source}, this model on "
        f"{n_ours}{none}."
    )


def differing_table(rows: Sequence[Compared]) -> pd.DataFrame:
    """Return texts with their labels, both answers, and how sure (in percent) or far apart."""
    import pandas as pd

    names = ("First text", "Second text") if rows and len(rows[0].texts) > 1 else ("Text",)
    columns: dict[str, list[object]] = {
        name: [" ".join(row.texts[n].split()) for row in rows] for n, name in enumerate(names)
    }
    columns["Label"] = [row.label for row in rows]
    for name, answers in (
        ("Source", [row.source for row in rows]),
        ("This model", [row.ours for row in rows]),
    ):
        columns[name] = [answer.label for answer in answers]
        if rows and rows[0].ours.shares:
            columns[f"{name} (%)"] = [100 * (a.shares or {})[a.label] for a in answers]
    if rows and rows[0].ours.shares is None:
        columns["Difference"] = [row.difference for row in rows]
    else:
        titles = {"ours": "this model", "source": "source", "": "neither"}
        columns["Right"] = [titles[row.nearer] for row in rows]
    return pd.DataFrame(columns)
