"""Many at once: processes on one store, flows, workers of Dask; and a champion whose place MLflow lost."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from tests.drill import world
from tests.drill.forks import KILLED, REFUSED, TRACEBACK, Ended, in_fork, worked_and_waited
from tests.drill.table import Row

RECIPE = world.RECIPE.replace("steps: 12", "steps: 400")
"""Long enough for a worker to be found at work."""


def contention(root: Path, model: Path, processes: int, _: int) -> Row:
    """So many processes do the same run in one new store at once."""
    row, whole = Row(f"{processes} processes on one store"), world.unhurt(model)
    with world.copied(root / "home", root / "shared-store") as store:
        world.remove(store, *world.MADE, "mlflow.db", "mlflow.ready")
        ended: dict[int, Ended] = {}

        def one(number: int) -> None:
            folder = root / f"process-{number}"
            folder.mkdir(exist_ok=True)
            (folder / "digest").unlink(missing_ok=True)
            ended[number] = in_fork(lambda: world.digest_into(model, folder / "digest", f"run-{number}"), folder, 300)

        threads = [threading.Thread(target=one, args=(n,)) for n in range(processes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, end in sorted(ended.items()):
            digest = root / f"process-{number}" / "digest"
            wrong = digest.exists() and digest.read_text() != whole.digest
            row.add("one of them", end, lost=not digest.exists(), wrong=wrong)
        row.add("MLflow's runs", in_fork(lambda: _stand_once(processes), root))
    return row


def _stand_once(count: int) -> None:
    """Assert that MLflow has so many runs, each once."""
    from mlflow import MlflowClient

    from ndogo.registry.bundles import open_store
    from ndogo.registry.model_registry import tracking_uri

    world.synced()
    client = MlflowClient(tracking_uri=tracking_uri(open_store()))
    found = client.get_experiment_by_name("compress/tiny")
    assert found is not None
    parents = client.search_runs([found.experiment_id], "tags.level != 'step'")
    names = [run.data.tags["ndogo.run"] for run in parents]
    assert len(set(names)) == len(names) == count, names


def flows(root: Path, model: Path, count: int, _: int) -> Row:
    """So many whole pipelines at once on one new store and one server of Prefect's; MLflow's file is lost; the server dies."""
    row = Row(f"{count} flows at once, MLflow's file lost, Prefect's server killed")
    recipe = root / "flow.yaml"
    recipe.write_text(RECIPE)
    words = ["compress", "tiny", "--profile", "local", "--teacher", str(model), "--recipe", str(recipe)]
    with world.copied(root / "home", root / "flows") as store, _prefect(root) as (server, address):
        world.remove(store, *world.MADE, "mlflow.db", "mlflow.ready")
        os.environ["PREFECT_API_URL"] = address
        for number, ended in enumerate(_together([words] * count, root)):
            row.add(f"flow {number + 1}", ended, lost=ended.word != "accepted")
        row.add("MLflow's runs", in_fork(lambda: _stand_once(count), root))
        world.remove(store, "mlflow.db")
        row.add("the champion's place", in_fork(_stands_again, root))
        long = root / "long.yaml"
        long.write_text(world.RECIPE.replace("steps: 12", "steps: 2000"))
        beyond = [*words[:-1], str(long)]
        started = _started(beyond, root / "flow.txt")
        _until(lambda: list(store.glob("work/*/*.safetensors")), started)
        server.kill()
        ended = _ended(started, root / "flow.txt")
        row.add("Prefect's server killed", ended)
        del os.environ["PREFECT_API_URL"]
        ended = _ended(_started(beyond, root / "flow.txt"), root / "flow.txt")
        row.add("the same command again", ended, lost=ended.word != "accepted")
    return row


def _stands_again() -> None:
    """Assert that champion and reference are shown by a new database as the store knows them."""
    from ndogo.registry import champions, model_registry
    from ndogo.registry.bundles import open_store
    from ndogo.run_commands import sync

    sync()
    store = open_store()
    standing = champions.standing(store, "ndogo-tiny-drilled")
    assert standing is not None
    for alias, crowned in (
        (model_registry.CHAMPION, standing.champion),
        (model_registry.REFERENCE, standing.reference),
    ):
        version = model_registry.by_alias(store, standing.name, alias)
        assert version is not None and version.tags["bundle"] == crowned.bundle, (alias, version)


def dask(root: Path, model: Path, count: int, _: int) -> Row:
    """A worker of Dask's is killed in a training, so many times; the sweep ends all the same."""
    row = Row("a Dask worker killed")
    words = ["sweep", "--languages", "tiny", "--profile", "local", "--teacher", str(model), "--runner", "dask"]
    for number in range(count):
        with world.copied(root / "home", root / "dask") as store:
            world.remove(store, *world.MADE, "mlflow.db", "mlflow.ready")
            (store / "recipes").mkdir()
            (store / "recipes" / "drilled.yaml").write_text(RECIPE)
            started = _started([*words, "--recipes", "drilled", "--seeds", str(number)], root / "dask.txt")
            _until(lambda: list(store.glob("work/*/*.safetensors")), started)
            (draft,) = store.glob("drafts/*")
            os.kill(int(draft.name.rpartition("-")[2]), signal.SIGKILL)
            ended = _ended(started, root / "dask.txt")
            row.add("in a training", ended, lost=ended.word != "accepted")
    return row


@contextlib.contextmanager
def _prefect(root: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A server of Prefect's in a folder of its own, and its address."""
    from ndogo.flows import without_server

    without_server.PATIENCE = 900.0  # the machine may be busy
    os.environ |= {"PREFECT_HOME": str(root / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    server = without_server.TemporaryServer()
    try:
        server.wait()
        yield server.process, f"{server.address}/api"
    finally:
        server.stop()
        del os.environ["PREFECT_HOME"]


def _together(commands: Sequence[list[str]], root: Path) -> list[Ended]:
    files = [root / f"together-{number}.txt" for number in range(len(commands))]
    started = [_started(words, file) for words, file in zip(commands, files, strict=True)]
    return [_ended(one, file) for one, file in zip(started, files, strict=True)]


def _started(words: list[str], said: Path) -> "subprocess.Popen[bytes]":
    with said.open("w") as output:
        return subprocess.Popen([sys.executable, "-m", "ndogo", *words], stdout=output, stderr=output)


def _until(there: Callable[[], object], started: "subprocess.Popen[bytes]") -> None:
    while not there() and started.poll() is None:
        time.sleep(0.01)


def _ended(started: "subprocess.Popen[bytes]", said: Path) -> Ended:
    """Wait for a command's end; the seconds are those in which its main thread worked or slept."""
    began, waited, used = time.monotonic(), 0.0, 0.0
    while started.poll() is None:
        waited = max(waited, worked_and_waited(started.pid)[1])
        with contextlib.suppress(psutil.Error):
            used = sum(psutil.Process(started.pid).cpu_times()[:2])
        if time.monotonic() - began > 1200:
            started.kill()
        time.sleep(0.1)
    text = said.read_text(errors="replace")
    status = {0: 0, 1: REFUSED}.get(started.returncode, KILLED)
    status = TRACEBACK if "Traceback (most recent call last)" in text or "a fault of Ndogo" in text else status
    return Ended(status, text, time.monotonic() - began - waited, 0.0, used)
