"""The command line: `python -m bort_engine COMMAND ...`, or `bort-explorer` where it is installed.

Each command is a verb of the engine, and its options are the verb's parameters (options.py).
Results go to stdout, progress to stderr. Exit code 0 on success, 2 on a mistake (one line that says
what to do), 130 when stopped.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":  # Ctrl-C while the rest is imported ends without a traceback, too
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import inspect
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

# For how long a waiting OpenMP thread spins before it sleeps. Read once, when torch is loaded.
# Steps of MiniLM-L6 a second in fp32 on two cores of an AMD EPYC, alone and beside a busy process:
# 2.19 and 1.15; with 3000 2.25 and 1.08; with OMP_WAIT_POLICY=passive 2.08 and 1.18; with libgomp's
# default 2.23 and 0.70 (medians of three, 2026-11-25; benchmarks/waiting.py measures it).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from bort_engine.data import resources
from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.options import command
from bort_engine.runs import jobs, records
from bort_engine.runs.events import Cancelled, Event, Progress, check, silent
from bort_engine.runs.text import one_line, printable
from bort_engine.runs.time_left import TimeLeft, about
from bort_engine.training import together


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands = _Commands(help="Bort Explorer's engine.", no_args_is_help=False)
    try:
        commands.main(arguments, obj=arguments[1:], standalone_mode=False)
    except click.UsageError as e:
        hint = f"See `{e.ctx.command_path if e.ctx else 'bort-explorer'} --help`"
        if isinstance(e, click.NoSuchOption) and _resumes(arguments):
            hint += "; a run of an older version that asks for it has to be started anew"
        message = printable(" ".join(e.format_message().split()))  # it cites what was given
        return _mistake(f"{message} {hint}.")
    except (ValueError, OSError) as e:
        return _mistake(printable(one_line(e)))
    except (Cancelled, click.Abort, KeyboardInterrupt) as e:  # click makes an Abort of Ctrl-C
        print(f"\nbort_engine: {str(e) or 'stopped'}", file=sys.stderr)
        return 130
    return 0


def _resumes(arguments: Sequence[str]) -> bool:
    """Is a run's own folder among the arguments?"""
    folders = [folder for name, folder in pairwise(arguments) if name == "--out"]
    return any((Path(folder) / "request.json").is_file() for folder in folders)


def _mistake(text: str) -> int:
    if together.is_first() or together.has_begun():  # else the first process tells the same
        print(f"bort_engine: {text}", file=sys.stderr)
    return 2


@dataclass(frozen=True, slots=True)
class Answer:
    """What `params` and `fetch` print: plain values, and the text."""

    plain: dict[str, Any]
    text: str

    def summary(self) -> dict[str, Any]:
        return self.plain

    def __str__(self) -> str:
        return self.text


def params(
    source: str, *, architecture: Architecture | None = None, sequence_length: int = 128
) -> Answer:
    """Count a source's parameters, and the multiply-accumulates of one sequence.

    Args:
        source: a reference name, a folder, or a hub id.
        architecture: another shape than the source's own.
        sequence_length: tokens.
    """
    encoder = Source.load(source)
    shape = architecture or encoder.architecture
    size = n_parameters(shape, encoder)
    operations = n_operations(shape, encoder, sequence_length)
    parts = asdict(size) | {"total": size.total}
    rows = [
        f"{encoder.name} ({shape}): parameters, and multiply-accumulates of one sequence",
        f"of {sequence_length} tokens, by part",
        *(
            f"{name:>12} {count:>14,} {count / size.total:>7.1%} {getattr(operations, name):>18,}"
            for name, count in parts.items()
        ),
    ]
    plain = {"source": encoder.name, "architecture": str(shape)} | parts
    plain |= {"operations": operations.total, "sequence_length": sequence_length}
    return Answer(plain, "\n".join(rows))


def fetch(*, names: tuple[str, ...] = resources.DEFAULT, on_progress: Progress = silent) -> Answer:
    """Fetch the embedded model and data, hash-checked.

    Args:
        names: what to fetch, if more or less than a first search needs.
    """
    folders = {name: str(resources.fetch(name, on_progress)) for name in names}
    terms = {name: resources.RESOURCES[name].terms for name in names}
    return Answer(folders, "\n".join(f"{name}: {folders[name]} ({terms[name]})" for name in names))


# By command: the function, or the module that has a function of the command's name.
VERBS: dict[str, Callable[..., Any] | str] = {
    "params": params,
    "front": "search.front",
    "layers": "search.layers",
    "cut": "search.cut",
    "compare": "search.compare",
    "agora": "finetune.agora",
    "export": "encoder.export",
    "stopwatch": "encoder.stopwatch",
    "race": "search.race",
    "torus": "lab.torus",
    "ledger": "lab.ledger",
    "table": "lab.table",
    "fetch": fetch,
}

TOGETHER = ("front", "layers")  # those whose trainings several processes can share


class _Commands(click.Group):
    """The verbs by name; one is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in VERBS:
            allowed = ", ".join(VERBS)
            raise click.UsageError(f"Command {cmd_name!r} is not known; allowed: {allowed}.", ctx)
        verb = VERBS[cmd_name]
        if isinstance(verb, str):
            verb = getattr(import_module(f"bort_engine.{verb}"), cmd_name)
        return command(cmd_name, verb, _run)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Look a command up; `front ... --space layers` is the command `layers`."""
        words = [w for arg in args for w in (arg.split("=", 1) if arg[:2] == "--" else [arg])]
        pairs, handed_over = [*pairwise(words)], ("--space", "layers")
        if words[0] != "front" or handed_over not in pairs:
            return super().resolve_command(ctx, args)
        at = pairs.index(handed_over)
        words = ["layers", *words[1:at], *words[at + 2 :]]
        name, layers, words = super().resolve_command(ctx, words)
        assert layers
        ctx = click.Context(layers, ctx, layers.name)
        allowed = [name for option in layers.get_params(ctx) for name in option.opts]
        for word, value in pairwise([*words, ""]):
            if word[:2] == "--" and word not in allowed:
                raise click.UsageError(
                    f"{word} {value} does not go with --space layers: leave it out; allowed: "
                    f"{', '.join(allowed[1:])}.",
                    ctx,
                )
        ctx.find_root().obj = [*words]  # a run folder keeps them: it is resumed as one of `layers`
        return name, layers, words


def _run(name: str, call: partial[Any], out: Path | None, as_json: bool) -> None:
    """Call a verb, as a run of its own where it takes long, and print its result."""
    progress, parameters = _Progress(), inspect.signature(call.func).parameters
    if together.n_processes() > 1 and name not in TOGETHER:
        raise ValueError(
            f"{together.n_processes()} processes were launched; {name} is for one. Allowed for "
            f"several: {', '.join(TOGETHER)}. Start it without the launcher."
        )
    if not together.is_first():  # it takes part in the trainings, and the first one tells of them
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        call(on_progress=silent)
        return
    # Errors that are on record, or predicted from published scores, need no training.
    quick = call.keywords.get("errors") == "recorded" or call.keywords.get("oracle") == "glue"
    if "out" in parameters and (out or not quick):
        result = _as_job(name, call, out, progress)
    else:
        result = call(on_progress=progress.show) if "on_progress" in parameters else call()
        progress.note("", end="")  # the result does not begin on the line of the progress
    if as_json:
        plain = result.summary() if hasattr(result, "summary") else records.dump(result)
        print(json.dumps(plain, allow_nan=False))
    else:
        print(result)


def _as_job(name: str, call: Callable[..., Any], out: Path | None, progress: _Progress) -> Any:
    """Call a verb as a run of its own, and return its result.

    A mistake that the verb finds before it begins leaves no folder behind.
    """
    if out and out.exists() and not out.is_dir():
        raise ValueError(f"--out is {out}, a file; give a folder, or the name of a new one.")
    folder = out or jobs.default_root() / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    fresh = not folder.exists()
    try:
        arguments = click.get_current_context().find_root().obj
        with jobs.working(folder, name, arguments, progress.note) as job:

            def on_progress(event: Event) -> None:
                check(job.stop.is_set)
                job.report(event)
                progress.show(event)

            result = call(out=folder, on_progress=on_progress, stop=job.stop.is_set)
    except ValueError:
        if fresh and {path.name for path in folder.glob("*")} <= {"request.json", "status.json"}:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except Cancelled as e:
        raise Cancelled(f"{str(e).rstrip('.')}; to go on from there, add --out {folder}") from e
    progress.note(f"run folder: {folder}")
    return result


class _Progress:
    """Progress on stderr: one line that is rewritten on a terminal, a line now and then else."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._time_left, self._stage, self._written = TimeLeft(), "", 0.0

    def show(self, event: Event) -> None:
        now = time.monotonic()
        left = self._time_left.note(event, now)
        fresh = event["stage"] != self._stage or "architecture" in event
        if not fresh and now - self._written < (1 if self._live else 15):
            return
        self._stage, self._written = event["stage"], now
        text = f"{event['stage']} {event['done']}/{event['total']} {event.get('detail', '')}"
        if "dev_error" in event:
            text += f": error {event['error']:.3f}, dev error {event['dev_error']:.3f}"
        if left and left.high > 1:
            text += f", about {about(left.low, left.high)} left"
        self.note(text, "" if self._live and "architecture" not in event else "\n")

    def note(self, text: str, end: str = "\n") -> None:
        start = "\r\x1b[K" if self._live else ""  # back to the line's begin, and clear it
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
