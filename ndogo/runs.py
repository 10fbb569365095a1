"""Commands that run recipes and look at what came of them."""

import logging
import os
from typing import Annotated

import typer

from registry.corpora import Profile

PANEL = "Runs"

Language = Annotated[str, typer.Argument(help="A language; `ndogo languages` lists them.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (compress, serve, sync):
        app.command(rich_help_panel=PANEL)(command)


def compress(
    language: Language,
    recipe: Annotated[str, typer.Option(help="A recipe's name, or a .yaml file.")] = "two-step",
    profile: Annotated[
        str | None, typer.Option(help="pocket, local or hub: where teacher, text and benchmarks come from.")
    ] = None,
    teacher: Annotated[str, typer.Option(help="A model directory; default: the profile's own.")] = "",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    mode: Annotated[str, typer.Option(help="How models are judged: probe or finetune.")] = "probe",
) -> None:
    """Make a small model of a language: the whole pipeline, without any server running."""
    from registry.corpora import default_profile
    from registry.languages import language as find_language
    from registry.recipes import recipe as find_recipe
    from registry.teachers import weights

    entry = find_language(language)
    chosen = profile or default_profile(entry)
    find_recipe(recipe)  # these two refuse bad input before Prefect starts
    weights(teacher, entry, chosen)
    _prefect_home()
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.compress import compress as flow
    from ndogo import show

    alone = (
        {} if os.environ.get("PREFECT_API_URL") else {PREFECT_API_URL: None, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    )
    with temporary_settings(alone):
        run_id = flow(language, recipe, chosen, seed, teacher, mode)  # type: ignore[arg-type]  # checked by the flow
    show.result(run_id)


def serve(
    prefect_port: Annotated[int, typer.Option(help="Of the Prefect server and its UI.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Of the MLflow server and its UI.")] = 5000,
) -> None:
    """Bring up Prefect, MLflow and the process that runs the deployments; Ctrl-C stops them."""
    import signal
    import threading

    from flows.servers import running

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    typer.echo("Starting (the first time takes half a minute) ...")
    with running(prefect_port, mlflow_port) as addresses:
        typer.echo(f"Prefect   {addresses.prefect}")
        typer.echo(f"MLflow    {addresses.mlflow}")
        typer.echo("Now, in another terminal:  prefect deployment run compress/swahili --watch")
        typer.echo("Ctrl-C stops everything; nightly schedules go on at the next start.")
        stop.wait()
        typer.echo("Stopping ...")


def sync() -> None:
    """Deliver to MLflow what it missed while it could not be reached."""
    from tasks import notes

    done, failed = notes.sync()
    typer.echo(f"{done} delivered, {failed} still waiting")
    if failed:
        raise typer.Exit(1)


def _prefect_home() -> None:
    """Prefect's own files lie beside the store, and it says little."""
    from registry.bundles import home

    folder = home() / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(folder))
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    logging.getLogger("ndogo").setLevel(logging.INFO)
