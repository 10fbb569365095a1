"""Everything on one machine in one terminal: Prefect, MLflow, and the process that runs the deployments, all on loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ndogo.core.errors import NdogoError
from ndogo.registry.bundles import open_store
from ndogo.tasks import tracking

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
PATIENCE = 300.0
"""Seconds until a server must be healthy; a first start migrates its database, and a busy laptop is slow, not broken."""


@dataclass(frozen=True)
class Addresses:
    """Where the two servers listen."""

    prefect: str
    mlflow: str


def environment(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """What every process of the embedded default is told."""
    return os.environ | {
        "NDOGO_HOME": str(folder),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://{HOST}:{ports['prefect']}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports['mlflow']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


@contextlib.contextmanager
def running(prefect_port: int = 4200, mlflow_port: int = 5000, *, runs: bool = True) -> Iterator[Addresses]:
    """Start the servers, wait until they are healthy, start the process that runs the deployments; stop all at the end.

    :raises NdogoError: a port is taken, or a process does not come up (with the end of its log).
    """
    store = open_store()
    store.folder.mkdir(parents=True, exist_ok=True)
    tracking.prepare(store)
    ports = {"prefect": prefect_port, "mlflow": mlflow_port}
    for name, port in ports.items():
        _refuse_taken(name, port)
    told = environment(store.folder, ports)
    commands = {
        "prefect": ["-m", "prefect", "server", "start", "--host", HOST, "--port", str(prefect_port)],
        "mlflow": [
            *("-m", "mlflow", "server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{store.folder / 'mlflow.db'}"),
            *("--no-serve-artifacts", "--default-artifact-root", (store.folder / "artifacts").as_uri()),
        ],
    }
    with contextlib.ExitStack() as stack:
        started = {
            name: stack.enter_context(_process(name, line, told, store.folder)) for name, line in commands.items()
        }
        _wait("prefect", f"http://{HOST}:{prefect_port}/api/health", started["prefect"], store.folder)
        _wait("mlflow", f"http://{HOST}:{mlflow_port}/health", started["mlflow"], store.folder)
        if runs:
            stack.enter_context(_process("deployments", ["-m", "ndogo.flows.deployments"], told, store.folder))
        yield Addresses(f"http://{HOST}:{prefect_port}", f"http://{HOST}:{mlflow_port}")


@contextlib.contextmanager
def _process(name: str, line: list[str], told: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, so that Ctrl-C reaches us alone and we stop it in order."""
    log = folder / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, *line],
            env=told,
            cwd=ROOT,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _wait(name: str, address: str, child: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and child.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=10) as answer:
            if answer.status == 200:
                return
        time.sleep(0.3)
    log = folder / "logs" / f"{name}.log"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
    raise NdogoError(f"The {name} server did not come up.", where=str(log), cure=f"The end of its log:\n{tail}")


def _refuse_taken(name: str, port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise NdogoError(
                f"Port {port} is taken, and the {name} server needs it.",
                where=f"{HOST}:{port}",
                cure="Stop what listens there; perhaps `make serve` runs in another terminal already.",
            )
