"""The command line: `python -m bort_engine params | front | agora | race | torus | ledger | fetch`.

Results go to stdout, progress to stderr. Exit code 0 on success, 2 on a mistake (one line that
says what to do), 130 when stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn

# A waiting OpenMP thread soon sleeps instead of spinning: no slower alone, and several times
# faster when something else wants a core. Read once, when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from bort_engine.runs import jobs, records
from bort_engine.runs.events import Cancelled, Event, Progress, Stop, never
from bort_engine.runs.text import one_line


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. See `{self.prog} --help`.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = _parser().parse_args(arguments)
        options.run(options, arguments)
    except (ValueError, OSError) as e:
        print(f"bort_engine: {one_line(e)}", file=sys.stderr)
        return 2
    except (Cancelled, jobs.Stopped, KeyboardInterrupt) as e:
        print(f"\nbort_engine: {one_line(e)}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m bort_engine", description="Bort Explorer's engine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    adders = (_add_params, _add_front, _add_agora, _add_race, _add_torus, _add_ledger, _add_fetch)
    for add in adders:
        add(commands)
    return parser


def _command(commands: Any, name: str, text: str, run: Callable[..., None]) -> Any:
    command = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="print JSON on stdout")
    return command


def _add_params(commands: Any) -> None:
    command = _command(commands, "params", "Count a source's parameters and operations.", _params)
    command.add_argument("source", help="a reference name, a folder, or a hub id")
    command.add_argument("--architecture", metavar="D,A,H,I", help="another shape than its own")
    command.add_argument("--sequence-length", type=int, default=128, help="tokens")


def _add_front(commands: Any) -> None:
    command = _command(commands, "front", "Compute the size/latency/error Pareto front.", _front)
    command.add_argument("source", help="a reference name, a folder, or a hub id")
    command.add_argument("--task", default="rotten-tomatoes", help="what the error is measured on")
    command.add_argument("--epsilon", type=float, default=0.2, help="promised factor minus one")
    command.add_argument("--space", default="default", help="default, bort, or D=1-6 A=2,12 ...")
    command.add_argument("--selection", default="cover", help="cover, stride or exhaustive")
    command.add_argument("--interval", type=int, default=8, help="of the stride")
    command.add_argument("--lazy", default="on", choices=("on", "off"), help="skip covered cells")
    command.add_argument("--spot-checks", type=int, default=4, help="measured to test the cover")
    command.add_argument("--size", default="total", help="total or effective (encoder only)")
    command.add_argument("--oracle", default="brief", help="brief, scratch or glue (predicted)")
    command.add_argument("--errors", default="measured", help="measured or recorded")
    command.add_argument("--latency", help="measured or recorded; by default as the errors")
    command.add_argument("--steps", type=int, default=30, help="training steps of each candidate")
    command.add_argument(
        "--teacher-steps", type=int, default=0, help="training steps of the source; 0: 2 epochs"
    )
    command.add_argument("--batch-size", type=int, default=1, help="that latency is measured at")
    command.add_argument("--sequence-length", type=int, default=128, help="tokens, for latency")
    command.add_argument("--threads", type=int, default=0, help="for latency; 0: all there are")
    command.add_argument("--seed", type=int, default=0, help="of the trainings and spot-checks")
    command.add_argument("--out", type=Path, help="run folder; given again, the run goes on")


def _add_agora(commands: Any) -> None:
    command = _command(commands, "agora", "Fine-tune an architecture by Agora; save it.", _agora)
    command.add_argument("source", help="a reference name, a folder, or a hub id")
    command.add_argument("--architecture", metavar="D,A,H,I", required=True, help="the student's")
    command.add_argument("--task", default="rotten-tomatoes", help="a name, or a file of your own")
    command.add_argument("--labelled", type=int, default=0, help="rows with labels; 0: all")
    command.add_argument("--tau", default="auto", help="pool, tokens, mask; auto: pool if any")
    command.add_argument("--points", type=int, default=8, help="made near each mistake")
    command.add_argument("--candidates", type=int, default=3, help="tried for each point kept")
    command.add_argument(
        "--configs", default="auto", help="quick, gentle, bort; auto: by the initialisation"
    )
    command.add_argument("--initialisation", default="inherit", help="inherit, general or task")
    command.add_argument(
        "--controls", default="plain,random", help="of plain, copied, random; or none"
    )
    command.add_argument("--confidence", type=float, default=0, help="the labeller's, to keep one")
    command.add_argument("--labels", default="soft", choices=("soft", "hard"), help="of points")
    command.add_argument("--epochs", type=float, default=0, help="0: 3, or 2 from 5,000 rows on")
    command.add_argument("--replays", type=int, default=0, help="rounds that may be done again")
    command.add_argument("--seeds", type=int, default=1, help="how many runs to average")
    command.add_argument("--seed", type=int, default=0, help="the first of them")
    command.add_argument(
        "--teacher-steps", type=int, default=0, help="training steps of the source; 0: 2-4 epochs"
    )
    command.add_argument(
        "--general-steps", type=int, default=0, help="of initialisation=general; 0: one pass"
    )
    command.add_argument("--epsilon", type=float, help="of the front it was chosen from")
    command.add_argument("--out", type=Path, help="run folder; given again, the run goes on")


def _add_race(commands: Any) -> None:
    command = _command(commands, "race", "The FPTAS against other searches, equal budgets.", _race)
    command.add_argument("source", help="a reference name, a folder, or a hub id")
    command.add_argument("--task", default="rotten-tomatoes", help="what the error is measured on")
    command.add_argument(
        "--samplers", default="random,tpe,nsga2,local", help="of random, tpe, nsga2, local, brute"
    )
    command.add_argument("--budget", type=int, default=64, help="trainings of each search")
    command.add_argument("--seeds", type=int, default=20, help="searches of each sampler")
    command.add_argument(
        "--errors", default="recorded", help="recorded (replay a table) or measured (train now)"
    )
    command.add_argument(
        "--records", default="", help="tables to replay, with commas; by default the shipped ones"
    )
    command.add_argument("--space", default="default", help="default, bort, or D=1-6 A=2,12 ...")
    command.add_argument("--size", default="total", help="total or effective (encoder only)")
    command.add_argument("--steps", type=int, default=30, help="training steps of each candidate")
    command.add_argument(
        "--teacher-steps", type=int, default=0, help="training steps of the source; 0: 2 epochs"
    )
    command.add_argument("--seed", type=int, default=0, help="of the trainings")
    command.add_argument("--out", type=Path, help="run folder; given again, the run goes on")


def _add_torus(commands: Any) -> None:
    command = _command(commands, "torus", "Play Agora on points of a torus.", _torus)
    command.add_argument("--labeller", type=float, default=0.75, help="share it labels rightly")
    command.add_argument("--points", type=int, default=2000, help="with true labels, to train on")
    command.add_argument("--learner", default="network", help="network, or guesser")
    command.add_argument("--seed", type=int, default=0, help="of points, errors and trainings")
    command.add_argument("--seeds", type=int, default=1, help="how many, from the seed on")
    command.add_argument("--out", type=Path, help="run folder")


def _add_ledger(commands: Any) -> None:
    command = _command(commands, "ledger", "Time Bort, BERT-base and BERT-large in turns.", _ledger)
    command.add_argument("--lengths", default="16,128,512", help="tokens, with commas")
    command.add_argument("--repeats", type=int, default=15, help="rounds")
    command.add_argument("--threads", type=int, default=0, help="0: all there are")
    command.add_argument("--out", type=Path, help="run folder")


def _add_fetch(commands: Any) -> None:
    _command(commands, "fetch", "Fetch the embedded model and data, hash-checked.", _fetch)


def _params(options: argparse.Namespace, arguments: list[str]) -> None:
    from bort_engine.encoder.costs import n_operations, n_parameters
    from bort_engine.encoder.sources import Source
    from bort_engine.encoder.space import Architecture

    source = Source.load(options.source)
    shape = options.architecture
    architecture = Architecture.parse(shape) if shape else source.architecture
    size = n_parameters(architecture, source)
    work = n_operations(architecture, source, options.sequence_length)
    parts = asdict(size) | {"total": size.total}
    if options.json:
        about = {"source": source.name, "architecture": str(architecture)}
        length = {"sequence_length": options.sequence_length}
        print(json.dumps(about | parts | {"operations": work.total} | length))
        return
    print(f"{source.name} ({architecture}): parameters, and multiply-accumulates of one sequence")
    print(f"of {options.sequence_length} tokens, by part")
    for name, count in parts.items():
        operations = work.total if name == "total" else getattr(work, name)
        print(f"{name:>12} {count:>14,} {count / size.total:>7.1%} {operations:>18,}")


def _front(options: argparse.Namespace, arguments: list[str]) -> None:
    if (options.oracle == "glue" or options.errors == "recorded") and not options.out:
        _print_front(_compute(options, None, _Progress().show), options.json)
        return
    front = _as_job("front", options, arguments, lambda *job: _compute(options, *job))
    _print_front(front, options.json)


def _as_job(
    command: str,
    options: argparse.Namespace,
    arguments: list[str],
    work: Callable[[Path, Progress, Stop], Any],
) -> Any:
    """Do `work(folder, on_progress, stop)` as a run of its own, and return its result."""
    folder = options.out or jobs.default_root() / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"
    progress = _Progress()
    try:
        with jobs.working(folder, command, arguments[1:]) as job:

            def on_progress(event: Event) -> None:
                if job.stop.is_set():
                    raise Cancelled("stopped")
                job.report(event)
                progress.show(event)

            result = work(folder, on_progress, job.stop.is_set)
    except ValueError:
        begun = any((folder / name).exists() for name in ("evaluations.jsonl", "report.json"))
        if options.out is None and not begun:
            shutil.rmtree(folder, ignore_errors=True)  # a mistake in the arguments
        raise
    except (Cancelled, KeyboardInterrupt) as e:
        raise Cancelled(f"stopped; to go on from there, add --out {folder}") from e
    progress.note(f"run folder: {folder}")
    return result


def _compute(
    options: argparse.Namespace,
    folder: Path | None,
    on_progress: Progress,
    stop: Stop = never,
) -> Any:
    from bort_engine.encoder.latency import LatencySettings
    from bort_engine.search.evaluate import BriefTraining
    from bort_engine.search.front import front
    from bort_engine.search.result import Search

    return front(
        options.source,
        options.task,
        options.epsilon,
        search=Search(
            space=options.space,
            selection=options.selection,
            interval=options.interval,
            lazy=options.lazy == "on",
            spot_checks=options.spot_checks,
            size=options.size,
        ),
        settings=LatencySettings(options.batch_size, options.sequence_length, options.threads),
        oracle=options.oracle,
        errors=options.errors,
        latency=options.latency,
        training=BriefTraining(steps=options.steps, teacher_steps=options.teacher_steps),
        seed=options.seed,
        out=folder,
        on_progress=on_progress,
        stop=stop,
    )


def _print_front(front: Any, as_json: bool) -> None:
    print(json.dumps(records.dump(front)) if as_json else front)


def _agora(options: argparse.Namespace, arguments: list[str]) -> None:
    from bort_engine.finetune.agora import Plan, agora
    from bort_engine.runs import records

    controls = options.controls.split(",") if options.controls not in ("", "none") else []
    settings: dict[str, Any] = {field.name: getattr(options, field.name) for field in fields(Plan)}
    settings["controls"] = tuple(controls)
    plan = Plan(**settings)

    def work(folder: Path, on_progress: Progress, stop: Stop) -> Any:
        return agora(
            options.architecture,
            options.source,
            options.task,
            out=folder,
            plan=plan,
            epsilon=options.epsilon,
            on_progress=on_progress,
            stop=stop,
        )

    report = _as_job("agora", options, arguments, work)
    print(records.dump_line(report).decode() if options.json else report)


def _race(options: argparse.Namespace, arguments: list[str]) -> None:
    from bort_engine.search.evaluate import BriefTraining
    from bort_engine.search.race import race

    def work(
        folder: Path | None,
        on_progress: Progress,
        stop: Stop = never,
    ) -> Any:
        return race(
            options.source,
            options.task,
            [name for name in options.samplers.split(",") if name],
            options.budget,
            options.seeds,
            errors=options.errors,
            records=[path for path in options.records.split(",") if path],
            space=options.space,
            size=options.size,
            training=BriefTraining(steps=options.steps, teacher_steps=options.teacher_steps),
            seed=options.seed,
            out=folder,
            on_progress=on_progress,
            stop=stop,
        )

    if options.errors == "recorded" and not options.out:
        found = work(None, _Progress().show)
    else:
        found = _as_job("race", options, arguments, work)
    print(json.dumps(found.summary()) if options.json else found)


def _torus(options: argparse.Namespace, arguments: list[str]) -> None:
    from bort_engine.lab.torus import torus

    def work(folder: Path, on_progress: Progress, stop: Stop) -> Any:
        return torus(
            options.labeller,
            options.points,
            options.learner,
            options.seed,
            seeds=options.seeds,
            out=folder,
            on_progress=on_progress,
            stop=stop,
        )

    found = _as_job("torus", options, arguments, work)
    print(records.dump_line(found).decode() if options.json else found)


def _ledger(options: argparse.Namespace, arguments: list[str]) -> None:
    from bort_engine.lab.ledger import ledger, read_lengths

    def work(folder: Path, on_progress: Progress, stop: Stop) -> Any:
        return ledger(
            read_lengths(options.lengths),
            options.repeats,
            options.threads,
            out=folder,
            on_progress=on_progress,
            stop=stop,
        )

    found = _as_job("ledger", options, arguments, work)
    print(records.dump_line(found).decode() if options.json else found)


def _fetch(options: argparse.Namespace, arguments: list[str]) -> None:
    from bort_engine.data.resources import RESOURCES, fetch

    progress = _Progress()
    folders = {name: str(fetch(name, progress.show)) for name in RESOURCES}
    progress.note("")
    lines = (f"{name}: {folder} ({RESOURCES[name].terms})" for name, folder in folders.items())
    print(json.dumps(folders) if options.json else "\n".join(lines))


class _Progress:
    """Progress on stderr: one line that is rewritten on a terminal, a line now and then else."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._stage, self._began, self._first, self._shown = "", 0.0, 0, 0.0

    def show(self, event: Event) -> None:
        now = time.monotonic()
        fresh = event["stage"] != self._stage
        if fresh:
            self._stage, self._began, self._first = event["stage"], now, event["done"]
        if not (fresh or "architecture" in event) and now - self._shown < (1 if self._live else 15):
            return
        self._shown = now
        steps = event["done"] - self._first
        left = (event["total"] - event["done"]) * (now - self._began) / steps if steps > 0 else 0
        text = f"{event['stage']} {event['done']}/{event['total']} {event.get('detail', '')}"
        if "error" in event:
            text += f": error {event['error']:.3f}, dev error {event['dev_error']:.3f}"
        text += f", about {left:.0f} s left" if left > 1 else ""
        ending = "" if self._live and "architecture" not in event else "\n"
        print(f"\r\x1b[K{text}" if self._live else text, end=ending, file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self._live else text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
