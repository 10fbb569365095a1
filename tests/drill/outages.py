"""Servers that are away: refusing, hanging, broken, slow; a database that is locked; Prefect's server that dies in mid-run."""

import contextlib
import http.server
import os
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.drill import world
from tests.drill.forks import in_fork
from tests.drill.inputs import command
from tests.drill.table import Row

LOCKED = "locked file"
MLFLOW = ("refuses", "hangs", "answers 500", "slow", LOCKED)
PREFECT = ("refuses", "hangs", "answers 500", "slow")


@contextlib.contextmanager
def server(kind: str) -> Iterator[str]:
    """A server that refuses, hangs, is broken or slow; its address."""
    if kind == "refuses":
        yield "http://127.0.0.1:9"
        return
    if kind == "hangs":
        with socket.create_server(("127.0.0.1", 0)) as silent:
            yield f"http://127.0.0.1:{silent.getsockname()[1]}"
        return

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(2 if kind == "slow" else 0)
            self.send_response(500)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as answering:
        threading.Thread(target=answering.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{answering.server_port}"
        answering.shutdown()


def mlflow_away(root: Path, model: Path, kinds: int, _: int) -> Row:
    """A run while MLflow is away in several ways, or its file is locked: it costs nothing, and is delivered later."""
    row, whole, again = Row("MLflow away"), world.unhurt(model), root / "again.txt"
    for kind in MLFLOW[:kinds]:
        with world.copied(root / "home", root / "away") as store:
            world.remove(store, *world.MADE)
            again.unlink(missing_ok=True)
            with _held(store, kind), server(kind) if kind != LOCKED else contextlib.nullcontext() as address:
                if address:
                    os.environ["MLFLOW_TRACKING_URI"] = address
                ended = in_fork(lambda: world.digest_into(model, again, "away"), root)
                os.environ.pop("MLFLOW_TRACKING_URI", None)
            kept = again.exists() and again.read_text() == whole.digest
            row.add(kind, ended, lost=not kept)
            row.add(f"sync after {kind}", in_fork(lambda: _delivered("away"), root))
    return row


@contextlib.contextmanager
def _held(store: Path, kind: str) -> Iterator[None]:
    """MLflow's file, locked by another process for as long as the block lasts."""
    holder = sqlite3.connect(store / "mlflow.db", check_same_thread=False)
    with contextlib.closing(holder):
        if kind == LOCKED:
            holder.execute("BEGIN EXCLUSIVE")
        yield


def _delivered(run_id: str) -> None:
    """Assert that what waited is delivered now."""
    from ndogo.registry.bundles import open_store
    from ndogo.tasks import tracking
    from ndogo.tasks.run_record import RUNS, RunRecord

    store = open_store()
    before = store.read_record(RUNS, run_id, RunRecord)
    assert before is not None and not tracking.delivered(before, store)
    world.synced()


def prefect_away(root: Path, model: Path, kinds: int, _: int) -> Row:
    """The pipeline while the server that PREFECT_API_URL names is away: a sentence, and nothing is left behind."""
    row = Row("Prefect's server away")
    recipe = root / "drilled.yaml"
    recipe.write_text(world.RECIPE)
    words = ("compress", "tiny", "--profile", "local", "--teacher", str(model), "--recipe", str(recipe))
    for kind in PREFECT[:kinds]:
        with world.copied(root / "home", root / "away") as store, server(kind) as address:
            os.environ["PREFECT_API_URL"] = f"{address}/api"
            ended = in_fork(command(*words), root)
            del os.environ["PREFECT_API_URL"]
            shutil.rmtree(store / "prefect", ignore_errors=True)
            row.add(kind, ended, wrong=ended.word == "accepted", other="" if address in ended.said else "no address")
    return row
