"""A command from a function: its options are the parameters, and the fields of those that are
dataclasses; defaults come from the signatures, help from the docstrings.

Options are named as the parameters. Values are written as text that pydantic reads as the annotated
type: `on` and `off`, lists with commas, an architecture as D,A,H,I, an uneven one as H:AxI,... A
folder (`out`) and callbacks are no options: who runs the command sees to them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import click

from bort_engine.encoder.space import Architecture
from bort_engine.encoder.uneven import Uneven, parse_shape

SHAPE = Architecture | Uneven


def command(
    name: str,
    verb: Callable[..., Any],
    run: Callable[[str, partial[Any], Path | None, bool], None],
) -> click.Command:
    """Build a command that calls `run(name, verb with its options, out, as_json)`.

    A field's help is its entry under "Args:" in the docstring of the function or the dataclass.
    """
    from docstring_parser import parse

    # Parameters that are dataclasses, whose fields are the options.
    groups: dict[str, Any] = {
        field: kind
        for field, kind, _ in _parameters(verb)
        if is_dataclass(kind) and kind is not Architecture
    }
    options: dict[str, click.Parameter] = {}
    for owner in (verb, *groups.values()):
        texts = {
            field: " ".join((entry.description or "").split())
            for entry in parse(owner.__doc__ or "").params
            for field in entry.arg_name.split(", ")
        }
        for field, kind, default in _parameters(owner):
            if field not in groups:  # two owners of one name share the option
                options.setdefault(field, _option(field, kind, default, texts.get(field)))
    options["json"] = click.Option(["--json", "as_json"], is_flag=True, help="JSON on stdout")
    if "out" in inspect.signature(verb).parameters:
        text = "run folder; given again, the run goes on"
        options["out"] = click.Option(["--out"], type=_Folder(), metavar="FOLDER", help=text)

    def callback(as_json: bool, out: Path | None = None, **values: Any) -> None:
        def of(owner: Callable[..., Any]) -> dict[str, Any]:
            return {field: values[field] for field, *_ in _parameters(owner) if field in values}

        settings = {field: kind(**of(kind)) for field, kind in groups.items()}
        run(name, partial(verb, **of(verb), **settings), out, as_json)

    return click.Command(
        name,
        params=list(options.values()),
        callback=callback,
        help=parse(verb.__doc__ or "").description,
    )


class _Folder(click.Path):
    """A folder's name; an empty one, as an unset variable of a shell gives it, is none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        if not str(value).strip():
            self.fail("it is empty; give a folder, or the name of a new one.", param, ctx)
        return Path(value)


class _Value(click.ParamType):
    """A value of any type that pydantic can read from text; of several, with commas between."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        self.listed = get_origin(bare) in (tuple, Sequence)
        known = {bool: "on|off", int: "INTEGER", float: "NUMBER", Architecture: "D,A,H,I"}
        known |= {SHAPE: "D,A,H,I|H:AxI,..."}
        item = get_args(bare)[0] if self.listed else bare
        choices = "|".join(map(str, get_args(item))) if get_origin(item) is Literal else "TEXT"
        self.name = known.get(item, choices) + ",..." * self.listed

    def convert(self, value: str, param: Any, ctx: Any) -> Any:
        from pydantic import TypeAdapter, ValidationError

        if self.kind is Architecture:
            return Architecture.parse(value)
        if self.kind == SHAPE:
            return parse_shape(value)
        parts = [part for part in value.split(",") if part not in ("", "none")]
        try:
            return TypeAdapter(self.kind).validate_python(parts if self.listed else value)
        except ValidationError as e:
            error = e.errors()[0]
            plain = error["type"] == "literal_error" or error["type"].endswith("_parsing")
            reason = "" if plain else f" ({error['msg']})"  # a bound; else the name says it all
            self.fail(f"{value!r}; allowed: {self.name}{reason}.", param, ctx)


def _parameters(owner: Callable[..., Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield each parameter's name, type without None, and default.

    Left out are the folder, callbacks, and objects by name.
    """
    function = owner.__init__ if isinstance(owner, type) else owner
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(owner).parameters.items():
        kind = hints[name]
        if get_origin(kind) in (Union, UnionType) and kind != SHAPE:
            kinds = [part for part in get_args(kind) if part is not NoneType]
            kind = next((part for part in (Architecture, str) if part in kinds), kinds[0])
        if name != "out" and get_origin(kind) not in (Callable, Mapping):
            yield name, kind, parameter.default


def _option(name: str, kind: Any, default: Any, text: str | None) -> click.Parameter:
    if name == "source":
        return click.Argument([name])
    required = default is inspect.Parameter.empty
    if isinstance(default, bool):
        default = "on" if default else "off"
    elif isinstance(default, tuple):
        default = ",".join(map(str, default))
    # To click, a default of None is a value that was given.
    defaults: dict[str, Any] = {} if required or default is None else {"default": str(default)}
    reader = _Value(kind)
    return click.Option(
        [f"--{name.replace('_', '-')}", name],
        type=reader,
        metavar=reader.name,
        required=required,
        show_default=default != "",
        help=text,
        **defaults,
    )
