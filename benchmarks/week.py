"""A week of nights on real servers: seven scheduled runs, one with new text, one with a wrong text, and what each leaves.

    python benchmarks/week.py [FOLDER]

Prints the table of docs/scale.md. The language is pocket Swahili as a person would add it: a text file, labelled rows and
the pocket teacher as folders. A night is a schedule of Prefect that is due in some seconds; nothing else is cut short.
"""

import http.server
import json
import os
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ndogo import pocket, show
from ndogo.flows import alarm
from ndogo.flows.servers import Servers, basic, running
from ndogo.registry import model_registry
from ndogo.registry.bundles import Store, open_store
from ndogo.registry.languages import Language, add_language

NAME, LINES, PATIENCE = "kijiji", 4000, 3600.0
MODEL = f"ndogo-{NAME}-nightly"
RECIPE = """
name: nightly
about: a small recipe for a simulated week
steps:
  - trim: {coverage: 0.9995}
  - truncate: {layers: 1/2}
  - distil: {teacher: trim, objective: {mlm: 0.5, logits_mse: 0.5}, steps: 60, batch_size: 16, max_length: 64}
"""
OURS, MORE, WRONG = ("swahili", LINES), ("swahili", LINES + LINES // 4), ("slovak", LINES)
"""Language and lines of the text: as it was, with new lines at its end, and a file of another language by mistake."""
NIGHTS = (
    ("the first", OURS),
    ("nothing new", OURS),
    ("a quarter more text", MORE),
    ("nothing new", MORE),
    ("text of another language", WRONG),
    ("the right text again", MORE),
    ("nothing new", MORE),
)
PARTS = ("bundles", "artifacts", "")
"""Folders of the store whose growth is shown; the last is all the rest of it: databases, records, reports, logs."""


class Left(NamedTuple):
    """What stands in the store and in MLflow after a night."""

    megabytes: dict[str, float]
    """By part; a file under two names counts once, in the part that comes first."""
    runs: int
    versions: int
    champion: str


def main(folder: Path) -> None:
    """Live through the week, and print the table."""
    os.environ["NDOGO_HOME"] = str(folder / "home")
    write_language(folder)
    heard: list[str] = []
    os.environ[alarm.VARIABLE] = receiver(heard)
    with running(free_port(), free_port(), say=print) as servers:
        os.environ["MLFLOW_TRACKING_URI"] = servers.addresses.mlflow
        for other in ask(servers, "/deployments/filter", {}):
            ask(servers, f"/deployments/{other['id']}", {"paused": other["name"] != NAME}, "PATCH")
        store = open_store()
        heads = "| night | text | run | seconds | bundles | MLflow's files | rest | MLflow runs | versions | champion | alarms |"
        print(heads, "|---:|---|---|---:|---:|---:|---:|---:|---:|---:|---:|", sep="\n", flush=True)
        left = [measured(store)]
        for number, (what, text) in enumerate(NIGHTS, 1):
            write_text(folder, *text)
            before = len(heard)
            state, seconds = night(servers)
            time.sleep(5)  # an alarm is not the run's business, and comes when it comes
            left.append(measured(store))
            ((then, now),) = pairwise(left[-2:])
            grown = [f"{now.megabytes[part] - then.megabytes[part]:+.2f} MB" for part in PARTS]
            shown = [
                number,
                what,
                state,
                f"{seconds:.0f}",
                *grown,
                now.runs,
                now.versions,
                now.champion,
                len(heard) - before,
            ]
            print(f"| {' | '.join(map(str, shown))} |", flush=True)
        print(*heard, sep="\n")
        show.versions(MODEL, model_registry.versions(store, MODEL))


def write_language(folder: Path) -> None:
    """A language of one's own, and its recipe, as a person adds them."""
    for name in pocket.BENCHMARKS:
        for split, rows in pocket.benchmark("swahili", name).items():
            file = folder / "benchmarks" / name / f"{split}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    write_text(folder, *OURS)
    corpus, teacher, benchmarks = (
        str(place) for place in (folder / "text.txt", pocket.teacher(), folder / "benchmarks")
    )
    add_language(Language(name=NAME, corpus=corpus, teacher=teacher, benchmarks=benchmarks))
    recipe = open_store().folder / "recipes" / "nightly.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(RECIPE, encoding="utf-8")


def write_text(folder: Path, language: str, lines: int) -> None:
    """The text file as it is found tonight."""
    text = "".join(f"{line}\n" for line in pocket.corpus(language, sentences=lines))
    (folder / "text.txt").write_text(text, encoding="utf-8")


def night(servers: Servers) -> tuple[str, float]:
    """Let the schedule come due, and wait for the end of its run: how it ended, and after how many seconds."""
    deployment = ask(servers, f"/deployments/name/compress/{NAME}")["id"]
    due = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    daily = {"schedule": {"interval": 86_400, "anchor_date": due}, "active": True, "slug": "nightly"}
    ask(
        servers,
        f"/deployments/{deployment}",
        {"schedules": [daily], "parameters": {"language": NAME, "recipe": "nightly"}},
        "PATCH",
    )
    began, until = datetime.now(UTC), time.monotonic() + PATIENCE
    while time.monotonic() < until:
        servers.processes.look()
        asked = {
            "flow_runs": {"deployment_id": {"any_": [deployment]}, "start_time": {"after_": began.isoformat()}},
            "sort": "START_TIME_DESC",
        }
        for run in ask(servers, "/flow_runs/filter", asked):
            if run["end_time"] and run["auto_scheduled"]:
                return run["state_name"], run["total_run_time"]
        time.sleep(1)
    raise SystemExit("The night does not end.")


def measured(store: Store) -> Left:
    """What stands there now."""
    seen, megabytes = set[tuple[int, int]](), {}
    for part in PARTS:
        files = [
            (f.stat().st_dev, f.stat().st_ino, f.stat().st_size)
            for f in (store.folder / part).rglob("*")
            if f.is_file()
        ]
        fresh = {(device, number): size for device, number, size in files if (device, number) not in seen}
        seen |= fresh.keys()
        megabytes[part] = sum(fresh.values()) / 1e6
    client = model_registry.client(store)
    every = [experiment.experiment_id for experiment in client.search_experiments()]
    champion = model_registry.by_alias(store, MODEL, model_registry.CHAMPION)
    runs = len(client.search_runs(every, max_results=5000))
    return Left(megabytes, runs, len(model_registry.versions(store, MODEL)), champion.version if champion else "-")


def ask(servers: Servers, path: str, body: object = None, method: str | None = None) -> Any:
    """The answer of Prefect's API."""
    request = urllib.request.Request(
        f"{servers.addresses.prefect}/api{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json", **basic(open_store().folder)},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{path}: {error.read().decode()}") from error


def receiver(heard: list[str]) -> str:
    """The address of a hook on loopback that keeps what it is told."""

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["text"])
            self.send_response(204)
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def free_port() -> int:
    """One on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(tempfile.mkdtemp()))
