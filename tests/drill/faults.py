"""Kills, damage, a full disk, servers that are away, many processes on one store: in forks of one warmed process."""

import contextlib
import http.server
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.drill import world
from tests.drill.forks import Ended, in_fork
from tests.drill.table import Row


def unhurt(root: Path, model: Path) -> tuple[Path, float]:
    """The digest of a run that nothing happens to, in a file, and the seconds that it takes; made once."""
    whole, took = root / "whole.txt", root / "seconds.txt"
    if not whole.exists():
        ended = in_fork(lambda: world.digest_into(model, whole), root, 600)
        assert whole.exists(), ended.said
        took.write_text(str(ended.seconds))
    return whole, float(took.read_text())


def kills(root: Path, model: Path, count: int, seed: int) -> Row:
    """SIGKILL at random moments of a run; started again each time, until it ends. The result is the same to the bit."""
    row, draw = Row("kills at random moments"), random.Random(seed)
    whole, length = unhurt(root, model)
    survived = root / "survived.txt"

    def call() -> None:
        world.digest_into(model, survived)

    while row.tried < count:
        with world.copied(root / "home", root / "killed"):
            for part in ("bundles", "evaluations", "runs", "dropped-columns", "mlflow.db", "mlflow.ready", "work"):
                _remove(root / "killed" / part)
            survived.unlink(missing_ok=True)
            deaths = sum(_killed(call, draw.uniform(0, length)) for _ in range(min(5, count - row.tried)))
            ended = in_fork(call, root, 600)
            same = survived.exists() and survived.read_text() == whole.read_text()
            for _ in range(deaths):
                row.add(f"{deaths} kills", ended, lost=not survived.exists(), wrong=survived.exists() and not same)
    return row


def _killed(call: Callable[[], object], after: float) -> bool:
    """Run in a fork that is killed after so many seconds; whether it was still at work."""
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            call()
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def damages(root: Path, model: Path, most: int, seed: int) -> Row:
    """Every file of a finished store damaged in several ways, one at a time; the same run then gives the same result."""
    row, draw = Row("damage of the store"), random.Random(seed)
    (whole, _), again = unhurt(root, model), root / "again.txt"
    store = root / "home"
    files = [f for f in store.rglob("*") if f.is_file() and "languages" not in f.parts and "damaged" not in f.parts]
    cases = [(file.relative_to(store), how) for file in sorted(files) for how in DAMAGES]
    draw.shuffle(cases)
    for file, how in cases[:most]:
        with world.copied(store, root / "damaged-store") as copy:
            again.unlink(missing_ok=True)
            DAMAGES[how](copy / file, draw)
            ended = in_fork(lambda: world.digest_into(model, again, "again"), root)
            wrong = again.exists() and again.read_text() != whole.read_text()
            row.add(f"{file} {how}", ended, lost=not again.exists(), wrong=wrong)
    return row


def _flip(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    _new(file).write_bytes(content)


def _cut(file: Path, draw: random.Random) -> None:
    content = file.read_bytes()
    _new(file).write_bytes(content[: draw.randrange(len(content) + 1)])


def _other(file: Path, draw: random.Random) -> None:
    _new(file).write_text(draw.choice(("", "{}", "[]", "null", "3", '{"files": {}}', "x" * 100)))


def _folder(file: Path, _: random.Random) -> None:
    file.unlink()
    file.mkdir()


def _link(file: Path, _: random.Random) -> None:
    _new(file).symlink_to("/nowhere/at/all")


def _new(file: Path) -> Path:
    """The same place without the file, whose other names stay as they are."""
    file.unlink()
    return file


def _gone(file: Path, _: random.Random) -> None:
    file.unlink()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "flipped": _flip,
    "cut off": _cut,
    "of another shape": _other,
    "a folder": _folder,
    "a dangling link": _link,
    "gone": _gone,
}


def full_disk(root: Path, model: Path, tries: int) -> Row:
    """Every step on file systems that are too small, smaller and larger."""
    from ndogo import api

    row, place = Row("a full disk"), root / "small"
    place.mkdir(exist_ok=True)
    text = root / "tiny" / "tiny.txt"
    steps: dict[str, Callable[[Path], object]] = {
        "trim": lambda out: api.trim(model, out, text, size=150),
        "cut": lambda out: api.cut(model, out, layers=1, ffn="1/2", hidden="1/2", corpus=text),
        "distil": lambda out: api.distil(model, model, out, text, steps=2, max_length=16, objective={"mlm": 1.0}),
        "run": lambda out: world.run_through(model),
    }
    for kilobytes in [8, 40, 120, 400, 900, 1500][:tries]:
        for name, make in steps.items():
            mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
            if subprocess.run(mount, capture_output=True).returncode:
                row.not_tried = "this machine lets nobody mount"
                return row
            try:
                out = place / "out"

                def call(make: Callable[[Path], object] = make, out: Path = out) -> None:
                    from ndogo.core.faults import framed

                    os.environ["NDOGO_HOME"] = str(place / "home") if make is steps["run"] else os.environ["NDOGO_HOME"]
                    if make is steps["run"]:
                        shutil.copytree(root / "home" / "languages", place / "home" / "languages")
                    with framed("drill", lambda: place / "logs"):
                        make(out)

                ended = in_fork(call, root)
                left = [f.name for f in place.glob(".out*")] + [f.name for f in place.glob("home/drafts/*")]
                half = out.exists() and ended.word != "accepted"
                row.add(f"{name} on {kilobytes} KB", ended, wrong=half, other=f"left {left}" if left else "")
            finally:
                subprocess.run(["umount", "-l", str(place)], capture_output=True, check=True)
    return row


@contextlib.contextmanager
def server(kind: str) -> Iterator[str]:
    """A tracking server that refuses, hangs, is broken or slow; its address."""
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
            self.send_response(500 if kind != "healthy, then 500" or self.path != "/health" else 200)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as answering:
        threading.Thread(target=answering.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{answering.server_port}"
        answering.shutdown()


def outages(root: Path, model: Path, kinds: int) -> Row:
    """A run while MLflow is away in several ways, or its file is locked: it costs nothing, and is delivered later."""
    row, whole, again = Row("MLflow away"), unhurt(root, model)[0], root / "again.txt"
    for kind in ("refuses", "hangs", "answers 500", "slow", "locked file")[:kinds]:
        with world.copied(root / "home", root / "away") as copy:
            again.unlink(missing_ok=True)
            holder = sqlite3.connect(copy / "mlflow.db", check_same_thread=False)
            with contextlib.closing(holder), server("refuses" if kind == "locked file" else kind) as address:
                if kind == "locked file":
                    holder.execute("BEGIN EXCLUSIVE")
                    os.environ.pop("MLFLOW_TRACKING_URI", None)
                else:
                    os.environ["MLFLOW_TRACKING_URI"] = address
                ended = in_fork(lambda: world.digest_into(model, again, "away"), root)
                holder.rollback()
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            kept = again.exists() and again.read_text() == whole.read_text()
            row.add(kind, ended, lost=not kept)
            row.add(f"sync after {kind}", in_fork(_synced, root))
    return row


def _synced() -> None:
    from ndogo.registry.bundles import open_store
    from ndogo.tasks import notes

    done, failed = notes.sync(open_store())
    assert done >= 1 and failed == 0, (done, failed)


def contention(root: Path, model: Path, processes: int) -> Row:
    """So many processes do the same run in one new store at once."""
    row, whole = Row(f"{processes} processes on one store"), unhurt(root, model)[0]
    with world.copied(root / "home", root / "shared-store") as copy:
        for part in ("bundles", "evaluations", "runs", "mlflow.db", "mlflow.ready"):
            _remove(copy / part)
        ended: list[Ended] = []

        def one(number: int) -> None:
            folder = root / f"process-{number}"
            folder.mkdir(exist_ok=True)
            (folder / "digest").unlink(missing_ok=True)
            ended.append(in_fork(lambda: world.digest_into(model, folder / "digest", f"run-{number}"), folder, 300))

        threads = [threading.Thread(target=one, args=(n,)) for n in range(processes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        digests = [root / f"process-{n}" / "digest" for n in range(processes)]
        for end, digest in zip(ended, digests, strict=True):
            wrong = digest.exists() and digest.read_text() != whole.read_text()
            row.add("one of them", end, lost=not digest.exists(), wrong=wrong)
        row.add("sync", in_fork(lambda: _runs_stand_once(processes), root))
    return row


def _runs_stand_once(count: int) -> None:
    from mlflow import MlflowClient

    from ndogo.registry.bundles import open_store
    from ndogo.registry.model_registry import tracking_uri
    from ndogo.tasks import notes

    notes.sync(open_store())
    client = MlflowClient(tracking_uri=tracking_uri(open_store()))
    found = client.get_experiment_by_name("compress/tiny")
    assert found is not None
    parents = client.search_runs([found.experiment_id], "tags.level != 'step'")
    names = [run.data.tags["ndogo.run"] for run in parents]
    assert len(set(names)) == len(names) == count, names


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
