"""report.json in a run's folder: kept up to date, and taken up by a run that goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bort_engine.finetune.plan import Request
from bort_engine.finetune.report import Arm, ArmName, Report, Seed
from bort_engine.runs import records
from bort_engine.runs.provenance import Provenance
from bort_engine.training.precision import precision


class ReportFile:
    """The report of a run at work: report.json in its folder, rewritten whole at every change.

    Raises:
        ValueError: the folder holds another run, or a damaged report.
    """

    def __init__(self, folder: Path, request: Request) -> None:
        self.folder, self._path = folder, folder / "report.json"
        if self._path.is_file():
            self.report = records.read(self._path, Report)
            if changed := request.differences(self.report.request):
                raise ValueError(
                    f"{folder} holds another run (it differs in {', '.join(changed)}); "
                    "choose another --out."
                )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self.report = Report(request=request, provenance=Provenance.here(precision=precision()))

    def note(self, **parts: Any) -> None:
        """Put parts in and write the file."""
        self.report = replace(self.report, **parts)
        records.write(self._path, self.report)

    def note_arm(self, seed: int, name: ArmName, arm: Arm) -> None:
        """Put in how far an arm of a seed is, and write the file."""
        runs = {run.seed: run for run in self.report.runs}
        arms = runs[seed].arms if seed in runs else {}
        runs[seed] = Seed(seed, {**arms, name: arm})
        self.note(runs=tuple(runs.values()))
