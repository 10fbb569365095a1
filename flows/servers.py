"""Everything on one machine in one terminal: Prefect, MLflow, and the process that runs the deployments, all on loopback."""

import base64
import contextlib
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from ndogo.core.errors import NdogoError
from ndogo.flows import alarm
from ndogo.flows.login import file as login_file
from ndogo.flows.login import login
from ndogo.flows.supervision import Processes, Watched, ended, log_of, recorded
from ndogo.registry.bundles import open_store
from ndogo.tasks import tracking

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""The only names under which the servers answer."""
PORTS = {"prefect": 4200, "mlflow": 5000}
PATIENCE = 300.0
"""Seconds until a server must be healthy; a first start migrates its database, and a busy laptop is slow, not broken."""


@dataclass(frozen=True)
class Addresses:
    """Where the two servers listen."""

    prefect: str
    mlflow: str


@dataclass(frozen=True)
class Servers:
    """What runs, and where."""

    addresses: Addresses
    processes: Processes

    def watch(self) -> None:
        """Look after all until an exception (a signal's) ends it."""
        while True:
            self.processes.look()
            time.sleep(0.5)


def environment(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """What every process of the embedded default is told, installed without a prefect.toml too; the login is in a file."""
    return os.environ | {
        "NDOGO_HOME": str(folder),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_PROFILES_PATH": str(login_file(folder)),
        "PREFECT_API_URL": f"http://{HOST}:{ports['prefect']}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "ndogo,transformers",
        "DO_NOT_TRACK": "1",
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports['mlflow']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


@contextlib.contextmanager
def running(
    prefect_port: int = PORTS["prefect"],
    mlflow_port: int = PORTS["mlflow"],
    *,
    runs: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Servers]:
    """Start the servers and the process that runs the deployments, or use those that an earlier start left; stop all at the end.

    What is given is ready: both servers are healthy, and the deployments answer.
    :raises NdogoError: another `serve` of this store runs, a port is taken, a process does not come up, or the
        alarm has no address.
    """
    alarm.hook()
    store = open_store()
    folder = store.folder
    ports = {"prefect": prefect_port, "mlflow": mlflow_port}
    addresses = Addresses(*(f"http://{HOST}:{ports[name]}" for name in ("prefect", "mlflow")))
    with _only_one(folder):
        processes = Processes(folder, say)
        prefect, mlflow, deployments = _all(folder, ports)
        for server in (prefect, mlflow):
            if processes.left(server) is None:
                _refuse_taken(server)
        tracking.prepare(store)
        try:
            processes.start(prefect)
            processes.start(mlflow)
            _wait(prefect, lambda: _healthy(f"{addresses.prefect}/api/health"), folder)
            _wait(mlflow, lambda: _healthy(f"{addresses.mlflow}/health"), folder)
            if runs:
                processes.start(deployments)
                _wait(deployments, lambda: _deployed(addresses, folder, deployments), folder)
            yield Servers(addresses, processes)
        finally:
            processes.stop()


def _all(folder: Path, ports: Mapping[str, int]) -> tuple[Watched, Watched, Watched]:
    told = environment(folder, ports)
    prefect, mlflow = (f"{HOST}:{ports[name]}" for name in ("prefect", "mlflow"))
    guarded = {
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(ports["prefect"]),
        "PREFECT_SERVER_API_AUTH_STRING": login(folder),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{name}:{ports['prefect']}" for name in NAMES),
        "NDOGO_PREFECT_HOSTS": ",".join(NAMES),
    }
    tracked = [
        *("-m", "mlflow", "server", "--host", HOST, "--port", str(ports["mlflow"]), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--no-serve-artifacts", "--default-artifact-root", (folder / "artifacts").as_uri()),
        *("--allowed-hosts", ",".join(f"{name}:{ports['mlflow']}" for name in NAMES)),
    ]
    return (
        Watched("prefect", ["-m", "ndogo.flows.prefect_server"], told | guarded, prefect),
        Watched("mlflow", tracked, told, mlflow),
        Watched("deployments", ["-m", "ndogo.flows.deployments"], told, prefect),
    )


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """One `serve` per store."""
    file = folder / "locks" / "serve.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(file, timeout=0):
            yield
    except Timeout as error:
        notes = recorded(folder)
        raise NdogoError(
            "The servers run already: "
            + ", ".join(note["address"] for note in notes.values() if note["address"])
            + ".",
            where=f"process {notes.get('serve', {}).get('pid', 'unknown')}",
            cure="Use them, or stop them: ndogo serve --stop",
        ) from error


def _wait(one: Watched, there: Callable[[], bool], folder: Path) -> None:
    until = time.monotonic() + PATIENCE
    end = ""
    while time.monotonic() < until and one.process is not None and not (end := ended(one.process)):
        with contextlib.suppress(OSError):
            if there():
                return
        time.sleep(0.3)
    log = log_of(folder, one.name)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
    how = end or f"it did not answer in {PATIENCE:.0f} s"
    raise NdogoError(f"{one.name} did not come up: {how}.", where=str(log), cure=f"The end of its log:\n{tail}")


def _healthy(address: str) -> bool:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return bool(answer.status == 200)


def _deployed(addresses: Addresses, folder: Path, runner: Watched) -> bool:
    """Whether the runner has asked for work of its last deployment: then all of them are known and will be run."""
    request = urllib.request.Request(f"{addresses.prefect}/api/deployments/name/sweep/recipes", headers=basic(folder))
    with urllib.request.urlopen(request, timeout=10) as answer:
        polled = json.load(answer)["last_polled"]
    begun = runner.process.create_time() if runner.process else time.time()
    return bool(polled) and datetime.fromisoformat(polled).timestamp() >= begun


def basic(folder: Path) -> dict[str, str]:
    """The header that shows the login to Prefect's API."""
    return {"Authorization": f"Basic {base64.b64encode(login(folder).encode()).decode()}"}


def _refuse_taken(server: Watched) -> None:
    """Refuse a port on which something listens that is not ours."""
    host, port = server.address.split(":")
    with socket.socket() as probe:
        taken = probe.connect_ex((host, int(port))) == 0
    if taken:
        raise NdogoError(
            f"Port {port} is taken by {_listener(int(port))}, and {server.name} needs it.",
            where=server.address,
            cure=f"Stop that process, or choose another port: ndogo serve --{server.name}-port {int(port) + 1}",
        )


def _listener(port: int) -> str:
    """Who listens on a port, as far as the system tells us."""
    with contextlib.suppress(psutil.Error):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
                return f"process {one.pid} ({' '.join(psutil.Process(one.pid).cmdline())[:80]})"
    return "another process"
