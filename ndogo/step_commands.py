"""A command for every kind of step, on any model directory, with neither server nor tracking.

Options and help are made from the fields of the step's specification, so that whatever a recipe can say the shell can say.
"""

import inspect
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from ndogo.core.documents import parse_yaml
from ndogo.steps.step import Step, kinds

PANEL = "One step, on any model directory"
PLAIN = (int, float, bool, str)
"""Types that the shell reads by itself; every other value is read as in a recipe."""
CORPUS = "Text: .txt, .txt.gz, .jsonl(.gz), .parquet, a folder or hf:DATASET, with an optional =WEIGHT; again for more."

ROWS = "Labelled rows: a language, whose own benchmark is read, a folder with train, dev and test, or hf:DATASET:CONFIGURATION."


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for kind, step in kinds().items():
        app.command(kind.replace("_", "-"), rich_help_panel=PANEL, help=inspect.getdoc(step))(command_of(step))


def command_of(step: type[Step]) -> Callable[..., None]:
    """The function of a command: what its parameters are is read off the step."""

    def command(**given: Any) -> None:
        from ndogo import api, show
        from ndogo.steps.recipe import validated

        fields = {name: _read(given[name], info) for name, info in fields_of(step) if given[name] is not None}
        roles = {role: given[role] for role in (*step.roles, *step.hints) if given[role] is not None}
        inputs = {"student": given["model"], **roles}
        minutes = given.get("minutes")
        if minutes is not None:
            fields["steps"] = 1  # until the clock has told how many
        spec = validated(step, fields, "the command line")
        text = {"corpus": given["corpus"] or (), "seed": given.get("seed", 0), "minutes": minutes}
        text |= {"rows": given["rows"]} if step.reads_rows else {}
        with show.progress() as report:
            made = api.make(spec, inputs, given["out"], report=report, **text)
        show.made(made.path, made.numbers)

    parameters = list(_parameters(step))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads the options there
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__name__ = step.kind
    return command


def fields_of(step: type[Step]) -> list[tuple[str, FieldInfo]]:
    """The fields that are options: all but the names within a recipe."""
    return [(name, info) for name, info in step.model_fields.items() if name not in ("id", "student", *step.roles)]


def _parameters(step: type[Step]) -> Iterator[inspect.Parameter]:
    yield _parameter("model", Path, typer.Argument(metavar="MODEL_DIR", help="A Hugging Face model directory."))
    for role, text in step.roles.items():
        yield _parameter(role, Path, typer.Option(help=text))
    yield _parameter("out", Path, typer.Option(help="The directory to write; it must not exist yet."))
    yield _parameter("corpus", list[str] | None, typer.Option(help=CORPUS), None)
    if step.reads_rows:
        yield _parameter("rows", str, typer.Option(help=ROWS))
    for name, info in fields_of(step):
        text = " ".join((info.description or "").split())
        if info.is_required():
            yield _parameter(name, _shell_type(info), typer.Option(help=text))
        else:
            shown = ",".join(map(str, info.default)) if isinstance(info.default, tuple) else info.default
            told = "" if info.default in (None, ()) else f" Default: {shown}."
            yield _parameter(name, _shell_type(info) | None, typer.Option(help=text + told, show_default=False), None)
    if step.draws:
        yield _parameter("seed", int, typer.Option(min=0, help="Of whatever is drawn."), 0)
    if step.trains:
        text = "Instead of epochs, steps or tokens: a time budget; it becomes steps once, before step 1."
        yield _parameter("minutes", float | None, typer.Option(help=text), None)
    for role, text in step.hints.items():
        yield _parameter(role, Path | None, typer.Option(help=text), None)


def _parameter(name: str, kind: Any, option: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _shell_type(info: FieldInfo) -> Any:
    """The type that the shell reads; text where a recipe allows more than one kind of value."""
    kind = _without_none(info.annotation)
    if get_origin(kind) is tuple and get_args(kind)[0] is str:
        return list[str]
    return kind if kind in PLAIN or get_origin(kind) is Literal else str


def _without_none(kind: Any) -> Any:
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    rest = [part for part in get_args(kind) if part is not type(None)]
    return rest[0] if len(rest) == 1 else str | int


def _read(value: Any, info: FieldInfo) -> Any:
    """What was typed, as a recipe would have it; `@FILE` in a list stands for the lines of a file."""
    if isinstance(value, list):
        return tuple(line for item in value for line in _lines(item))
    if not isinstance(value, str) or _shell_type(info) is not str or _without_none(info.annotation) is str:
        return value
    where = f"the command line: `{value[:80]}`"
    read = parse_yaml(value, where=where)
    return parse_yaml(f"[{read}]", where=where) if isinstance(read, str) and "," in read else read


def _lines(item: str) -> list[str]:
    from ndogo.core.text import read_lines

    return list(read_lines(Path(item[1:]))) if item.startswith("@") and len(item) > 1 else [item]
