"""The command that brings the servers of one machine up, looks after them, and stops them."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer


def serve(
    prefect_port: Annotated[int, typer.Option(help="Of the Prefect server and its UI.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Of the MLflow server and its UI.")] = 5000,
    stop: Annotated[bool, typer.Option("--stop", help="Stop what runs, from any terminal.")] = False,
) -> None:
    """Bring up Prefect, MLflow and the process that runs the deployments, and start again what dies; Ctrl-C stops them."""
    from ndogo.flows.login import login
    from ndogo.flows.servers import running
    from ndogo.registry.bundles import open_store

    folder = open_store().folder
    if stop:
        from ndogo.flows.supervision import stop_recorded

        stopped = stop_recorded(folder)
        typer.echo(f"Stopped: {', '.join(stopped)}." if stopped else "No servers run.")
        return
    _say("Starting (the first time takes half a minute) ...")
    with contextlib.suppress(_Stopped), _until_a_signal(), running(prefect_port, mlflow_port, say=_say) as servers:
        _say(f"Prefect   {servers.addresses.prefect}   its page asks once for this login: {login(folder)}")
        _say(f"MLflow    {servers.addresses.mlflow}")
        _say("Ready. Now, in another terminal:")
        for line in _told_by_hand(folder, prefect_port):
            _say(f"  {line}")
        _say("  prefect deployment run compress/swahili --watch")
        _say("Ctrl-C stops everything, and so does `ndogo serve --stop`; nightly schedules go on at the next start.")
        servers.watch()
    _say("Stopped.")


class _Stopped(BaseException):
    """A signal asked us to end."""


@contextlib.contextmanager
def _until_a_signal() -> Iterator[None]:
    """Ctrl-C, a kill or a closed terminal end the block; one more of them while all is being stopped changes nothing."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup means what it says
        numbers.append(signal.SIGHUP)

    def end(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        _say("Stopping ...")
        raise _Stopped

    for number in numbers:
        signal.signal(number, end)
    yield


def _say(line: str) -> None:
    """Print a line; a terminal that is gone takes none, and that is no reason to stop."""
    with contextlib.suppress(OSError):
        typer.echo(line)


def _told_by_hand(folder: Path, prefect_port: int) -> list[str]:
    """What another terminal must be told because the prefect.toml of this folder does not say it."""
    from ndogo.flows.login import file

    lines = []
    found = Path("prefect.toml").is_file() and folder == Path.cwd() / ".ndogo"
    if not found or prefect_port != 4200:
        lines.append(f"export PREFECT_API_URL=http://127.0.0.1:{prefect_port}/api")
    if not found:
        lines.append(f"export PREFECT_PROFILES_PATH={file(folder)}")
    return lines
