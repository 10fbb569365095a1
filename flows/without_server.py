"""One run in this process, while no server of the user's runs: a temporary Prefect server, gone at the end."""

import atexit
import contextlib
import logging
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException

from ndogo.core.errors import NdogoError

PATIENCE = 120.0
"""Seconds that the temporary server may take to start: a busy laptop is slow, not broken."""
HEALTHY_WITHIN = 20.0
"""Seconds in which a server that was named has to say that it is well."""
ALONE = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
"""What Prefect sets for a server that serves no pages."""


class TemporaryServer:
    """A Prefect server in a process of its own, that ends with this one.

    Prefect has one too, but to start it this process has to load all of the server's code, which takes seconds.
    """

    def __init__(self) -> None:
        """Start it, and return at once: its socket is open before it is, so that requests wait for it."""
        with socket.create_server(("127.0.0.1", 0)) as opened:
            self.address = f"http://127.0.0.1:{opened.getsockname()[1]}"
            app = ["--fd", str(opened.fileno()), "--factory", "ndogo.flows.prefect_server:app"]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", *app, "--log-level", "error", "--lifespan", "on"],
                pass_fds=[opened.fileno()],
                env={**os.environ, **ALONE},
            )
        atexit.register(self.stop)

    def wait(self) -> None:
        """Wait until it answers.

        :raises NdogoError: it ended instead, or takes too long.
        """
        try:
            with urllib.request.urlopen(f"{self.address}/api/health", timeout=PATIENCE):
                return
        except OSError as error:
            raise NdogoError(
                f"Prefect's temporary server does not answer: {error}.",
                where=self.address,
                cure="Look at its message above; or run `ndogo serve`, and set PREFECT_API_URL to its address.",
            ) from error

    def stop(self) -> None:
        """End it, and wait for its end."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


_running: list[TemporaryServer] = []
"""The one of this process, at most."""


def is_temporary(address: str | None) -> bool:
    """Whether the server at an address ends with this process."""
    return any((address or "").startswith(server.address) for server in _running)


@contextlib.contextmanager
def without_server() -> Iterator[None]:
    """Prefect's own files lie beside the store, and unless PREFECT_API_URL names a server a temporary one is used.

    It takes seconds to start; meanwhile this process imports what every run needs.
    """
    from ndogo.registry.bundles import home

    folder = home() / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(folder))
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    logging.getLogger("ndogo").setLevel(logging.INFO)
    logging.raiseExceptions = False  # a server that goes away is told in a sentence, not for each line it can't be sent
    if named := os.environ.get("PREFECT_API_URL"):
        _check_answers(named)
        yield
        return
    if not _running:
        _running.append(TemporaryServer())
    server = _running[0]
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_UI_URL, temporary_settings

    _import_what_runs_need()
    server.wait()
    own = {PREFECT_API_URL: f"{server.address}/api", PREFECT_UI_URL: "", PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(own):
        yield


def _check_answers(address: str) -> None:
    """Refuse a server that is away before any work: Prefect itself would ask it for minutes.

    :raises NdogoError: it refuses, hangs or is broken. One that only wants to be asked otherwise is there.
    """
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=HEALTHY_WITHIN):
            return
    except urllib.error.HTTPError as error:
        if error.code < 500:
            return
        fault: Exception = error
    except (OSError, ValueError, HTTPException) as error:
        fault = error
    raise NdogoError(
        f"Prefect's server does not answer: {fault}.",
        where=f"PREFECT_API_URL={address}",
        cure="Start it (`ndogo serve`), or unset PREFECT_API_URL: then a temporary one is used.",
    ) from fault


def _import_what_runs_need() -> None:
    """And bring MLflow's database up. Torch is not among it: a run that finds everything never loads it."""
    from ndogo.flows import compress  # noqa: F401  # only to be loaded
    from ndogo.registry import model_registry
    from ndogo.registry.bundles import open_store
    from ndogo.tasks import tracking

    tracking.prepare(open_store())
    model_registry.client(open_store())
