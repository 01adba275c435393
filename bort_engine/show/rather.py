"""What one could take instead of a point of a front, by the records: in words and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bort_engine.data.columns import parse_name
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.lab.deploy_record import Deployment
from bort_engine.lab.table_record import BY_STUDENT, Row, Table, TaskRows
from bort_engine.search.result import AFFORDABLE
from bort_engine.show.students import MARKS
from bort_engine.show.theme import RUNTIMES, short

if TYPE_CHECKING:
    import pandas as pd

ERRORS = {"class": "Wrong (%)", "number": "1 - correlation (%)"}
FORMATS = dict.fromkeys([*ERRORS.values(), "Latency (ms)", "Size (M)", "Disk (MB)"], "%.1f")
FORMATS |= {"Lost (points)": "%+.1f", "Made in (s)": "%.1f"}


@dataclass(frozen=True, slots=True)
class Option:
    """A model one could take.

    Attributes:
        name: of a row of `table`; of an exported model its format.
        lost: how much more it errs on dev than the source does, in the same record.
        latency_ms: 0 of what only guesses.
        source_ms: the latency of the source in PyTorch, in the same record.
        drawn: is the latency of the machine and of the length of the other ones?
    """

    name: str
    title: str
    shape: str
    runtime: str
    error: float
    lost: float
    latency_ms: float
    source_ms: float
    drawn: bool
    parameters: int
    record: str
    disk_mb: float | None = None
    seconds: float | None = None

    @property
    def is_export(self) -> bool:
        return self.disk_mb is not None


def find(table: Table, source: str, task: str) -> TaskRows | None:
    """Return what is on record of a task, of the same length first; None where nothing is."""
    path = parse_name(task)[0]
    rows = [rows for rows in table.tasks if parse_name(rows.task)[0] == path and rows.of("source")]
    return min(rows, key=lambda r: r.task != task, default=None) if table.source == source else None


def references(rows: TaskRows) -> dict[str, float]:
    """Return the errors on dev of what takes no fine-tuning, by its name."""
    simple = [row for name in ("words", "frozen vectors") for row in rows.of(name)]
    return {MARKS[row.name][0]: row.dev_error for row in simple}


def _title(row: Row, table: Table) -> str:
    if row.name == "smaller source":
        return f"{short(table.smaller)}, fine-tuned"
    seed = f", seed {row.seed}" if row.name in BY_STUDENT and table.seeds > 1 else ""
    return MARKS[row.name][0] + seed


def of_table(table: Table, rows: TaskRows) -> list[Option]:
    """Return a task's models, without students that are the source itself."""
    source = rows.of("source")[0]
    return [
        Option(
            row.name,
            _title(row, table),
            shape=str(row.architecture or ""),
            runtime=RUNTIMES["pytorch"]
            if row.architecture
            else "scikit-learn" * (row.name == "words"),
            error=row.dev_error,
            lost=row.dev_error - source.dev_error,
            latency_ms=row.latency_ms or 0.0,
            source_ms=source.latency_ms or 0.0,
            # A model on words is timed on whole texts of dev, not on so many tokens.
            drawn=bool(row.architecture and row.latency_ms),
            parameters=row.n_parameters,
            record=f"table, {table.made.made_on}, {table.made.machine}",
            seconds=row.seconds,
        )
        for row in rows.rows
        if row in rows.smaller(row.name)
    ]


def of_deployment(table: Table, rows: TaskRows, deployment: Deployment) -> list[Option]:
    """Return the source and points of its front in every format, to stand beside a table's task."""
    source, made = deployment.rows[0], deployment.made
    point = f"point of the front{', polished' * bool(deployment.polish)}"
    return [
        Option(
            row.format,
            "source, fine-tuned" if row.shape == source.shape else point,
            row.shape,
            RUNTIMES.get(row.format, row.format),
            error=row.dev_error,
            lost=row.dev_error - source.dev_error,
            latency_ms=row.ms[1],
            source_ms=source.ms[1],
            drawn=made.machine == table.made.machine and rows.max_length == deployment.n_tokens,
            parameters=n_parameters(Architecture.parse(row.shape), sources[table.source]).total,
            record=f"deploy, {made.made_on}, {made.machine}",
            disk_mb=row.mb,
        )
        for row in deployment.rows
    ]


def verdict(options: Sequence[Option]) -> str:
    """Say what is fastest of all that lose a point at most, and what linear models lose."""
    near = [o for o in options if o.drawn and o.lost <= AFFORDABLE and o.latency_ms < o.source_ms]
    text = "No other encoder on record is faster and at most a point behind the source."
    if near:
        best = min(near, key=lambda o: o.latency_ms)
        text = (
            "The fastest encoder on record that is at most a point behind the source: "
            f"{best.title} ({best.shape}) in {best.runtime}. It takes {best.latency_ms:.1f} ms, "
            f"the source in PyTorch {best.source_ms:.1f}, and is {_points(best.lost)}."
        )
    simple = (o for o in options if o.name in ("words", "frozen vectors"))
    return text + "".join(f" With {o.title}: {_points(o.lost)}." for o in simple)


def _points(lost: float) -> str:
    return f"{100 * abs(lost):.1f} points {'better' if lost < 0 else 'worse'}"


def frame(options: Sequence[Option], kind: str) -> pd.DataFrame:
    """Return the options as a table, the best first; `kind` is that of the task's labels."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "Model": o.title,
            "Shape": o.shape,
            "Runs in": o.runtime,
            ERRORS[kind]: 100 * o.error,
            "Lost (points)": 100 * o.lost,
            "Latency (ms)": o.latency_ms or None,
            "Size (M)": o.parameters / 1e6,
            "Disk (MB)": o.disk_mb,
            "Made in (s)": o.seconds,
            "Recorded": o.record,
        }
        for o in sorted(options, key=lambda o: (o.error, o.latency_ms))
    )
    return table.dropna(axis="columns", how="all")
