"""The `ndogo-run` command; `ndogo` has the same commands."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ndogo_run.errors import RunError

if TYPE_CHECKING:
    from ndogo_run.model import Model

ModelDir = Annotated[Path, typer.Argument(metavar="MODEL", help="What `ndogo export` wrote.")]
Text = Annotated[str, typer.Argument(help="A text; - reads the standard input.")]
File = Annotated[str, typer.Option(help="One file of the export, such as model.onnx.")]
Top = Annotated[int, typer.Option(min=1, help="How many answers.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def fill(model: ModelDir, text: Text, top: Top = 5, file: File = "", as_json: AsJson = False) -> None:
    """Guess what is missing where a text says `<mask>`."""
    found = _load(model, file).fill(_read(text), top)
    if as_json:
        return _print_json([[vars(token) for token in mask] for mask in found])
    for number, mask in enumerate(found):
        if len(found) > 1:
            typer.echo(f"mask {number + 1}")
        for token in mask:
            typer.echo(f"{token.score:7.1%}  {token.label}")


def classify(model: ModelDir, text: Text, file: File = "", as_json: AsJson = False) -> None:
    """Say which label a text has."""
    found = _load(model, file).classify(_read(text))
    if as_json:
        return _print_json([vars(label) for label in found])
    for label in found:
        typer.echo(f"{label.score:7.1%}  {label.label}")


def tag(model: ModelDir, text: Text, file: File = "", as_json: AsJson = False) -> None:
    """Say what words are, with the characters where they stand."""
    found = _load(model, file).tag(_read(text))
    if as_json:
        return _print_json([vars(span) for span in found])
    for span in found:
        typer.echo(f"{span.start:5d}-{span.end:<5d}  {span.label:8s}  {span.score:6.1%}  {span.text}")


def embed(model: ModelDir, text: Text, file: File = "") -> None:
    """Print a text's vector as JSON."""
    _print_json([round(float(value), 6) for value in _load(model, file).embed(_read(text))[0]])


def search(
    model: ModelDir,
    lines: Annotated[Path, typer.Argument(metavar="FILE", help="A text file; its index is kept beside it.")],
    query: Annotated[str, typer.Argument(help="What to look for.")],
    top: Top = 5,
    file: File = "",
    as_json: AsJson = False,
) -> None:
    """Find the lines of a file that are nearest to a query."""
    found = _load(model, file).search(lines, _read(query), top)
    if as_json:
        return _print_json([{"line": number + 1, "text": text, "score": score} for number, text, score in found])
    for number, text, score in found:
        typer.echo(f"{score:6.3f}  {number + 1:6d}  {text}")


COMMANDS = (fill, classify, tag, embed, search)


def main() -> None:
    """Run the command; a RunError is printed without a traceback and exits with 1."""
    app = typer.Typer(
        name="ndogo-run",
        help="Run a small model that `ndogo export` made, without torch.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for command in COMMANDS:
        app.command()(command)
    try:
        app()
    except RunError as error:
        typer.echo(f"ndogo-run: {error}", err=True)
        sys.exit(1)


def _load(folder: Path, file: str) -> "Model":
    from ndogo_run.model import load

    return load(folder, file=file)


def _read(text: str) -> str:
    return sys.stdin.read().rstrip("\n") if text == "-" else text


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
