"""The `ndogo` command. Each command imports what it needs when it runs, so that `--help` answers at once."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ndogo import budget_command, run_commands, step_commands
from ndogo.advise import advise
from ndogo.literal_help import App
from ndogo.stopping import when_asked
from ndogo_run.cli import COMMANDS
from ndogo_run.errors import RunError

app = App(
    name="ndogo",
    help="Make a small model of one language from a multilingual encoder, with proof of what was kept.\n\n"
    "Start with `ndogo compress swahili`: it needs no network and takes minutes. "
    "`ndogo plan` shows what a recipe makes of a model before anything is loaded.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
languages_app = App(help="List the languages, or add yours.", invoke_without_command=True, no_args_is_help=False)
app.add_typer(languages_app, name="languages", rich_help_panel="Look")
step_commands.register(app)
run_commands.register(app)
budget_command.register(app)
for command in COMMANDS:
    app.command(rich_help_panel="Run an export, without torch")(command)


app.command(rich_help_panel="Look")(advise)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"ndogo {version('ndogo')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        typer.Option(
            help="Where trainings and evaluations compute; default $NDOGO_DEVICE, else a GPU where there is one."
        ),
    ] = None,
) -> None:
    """What may stand before a command."""
    if device:
        os.environ["NDOGO_DEVICE"] = device


@app.command(rich_help_panel="Look")
def plan(
    recipe: Annotated[str, typer.Option(help="A recipe's name, or a .yaml file.")] = "two-step",
    teacher: Annotated[str, typer.Option(help="A known teacher's name, or a model directory.")] = "xlm-roberta-base",
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Text to count, so that a trim by coverage has its rows; counted once. As for `ndogo trim`."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show shape, exact parameters, bytes and memory after every step, before any weight is loaded."""
    from ndogo import api, show
    from ndogo.registry.bundles import open_store
    from ndogo.registry.recipes import recipe as find_recipe
    from ndogo.registry.rows import rows_of
    from ndogo.registry.teachers import teacher as find_teacher
    from ndogo.steps.plan import Facts
    from ndogo.steps.plan import plan as make_plan

    chosen, guide = find_recipe(recipe), find_teacher(teacher)
    with show.progress() as report:
        texts = [api.weighted(given) for given in corpus or ()]
        count = rows_of(open_store(), Path(teacher), texts, report) if texts else None
        rows = make_plan(chosen, guide.config, guide.specials, facts=Facts(guide.pooler, count, guide.tokenizer_bytes))
    show.plan_json(rows) if as_json else show.plan_table(chosen, guide.name, rows)


@app.command(rich_help_panel="Look")
def recipes() -> None:
    """List the recipes."""
    from ndogo import show

    show.recipes_table()


@languages_app.callback()
def languages(context: typer.Context) -> None:
    """List the languages, or add yours with `ndogo languages add`."""
    if context.invoked_subcommand is None:
        from ndogo import show

        show.languages_table()


@languages_app.command("add")
def add(
    name: Annotated[str, typer.Option(help="Small letters, digits and dashes; it names deployment and models.")],
    corpus: Annotated[
        str,
        typer.Option(help="Raw text: .txt, .txt.gz, .jsonl(.gz), .parquet, a folder of those, or hf:ID:CONFIG:SPLIT."),
    ],
    teacher: Annotated[
        str, typer.Option(help="A model directory, or a hub id; default for text of the hub: ours.")
    ] = "",
    benchmarks: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=hf:ID:CONFIG (again for each), a .yaml file, or a folder NAME/{train,dev,test}.jsonl.gz."
        ),
    ] = None,
    timezone: Annotated[str, typer.Option(help="Of the nightly run.")] = "UTC",
) -> None:
    """Make any language a citizen, and a deployment, without editing this repository."""
    from ndogo import show
    from ndogo.registry.languages import add_language, described

    show.added(name, add_language(described(name, corpus, teacher, benchmarks or [], timezone)))


def main() -> None:
    """Run the command; what a person can put right is told in a message without a traceback, and exits with 1."""
    from ndogo.core.errors import NdogoError
    from ndogo.core.faults import framed
    from ndogo.registry.bundles import logs

    try:
        with when_asked(), framed("ndogo", logs):
            try:
                app()
            except RunError as error:
                raise NdogoError(str(error)) from error
    except NdogoError as error:
        _refuse(str(error))


def _refuse(message: str) -> None:
    typer.echo(f"ndogo: {message}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
