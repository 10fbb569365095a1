"""The record of a run: one JSON in the store that says what happened, from which MLflow is brought up to date.

Every note goes to the record first and is then delivered. A server that does not answer costs nothing: what is missing
there is delivered by the next note, or by `ndogo sync`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ndogo.core.errors import NdogoError
from ndogo.registry.bundles import Bundle, Store
from ndogo.registry.integrity import file_hash
from ndogo.steps.step import Step
from ndogo.tasks import tracking
from ndogo.tasks.run import Run, opening

RUNS = "runs"
CURVE_POINTS = 400
"""Most points of one training curve that a record keeps."""


@contextlib.contextmanager
def opened(run: Run, **tags: str) -> Iterator[None]:
    """Open (or reopen) the record of a run. The lock is held while it lives; runs that a kill left open are closed first."""
    store = Store()
    close_left_open(store)
    file = store.folder / "locks" / f"alive-{run.id}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file):
        _change(
            run.id,
            lambda record: record.update(
                {**opening(run), "tags": tags, "started": time.time(), **record, "state": "RUNNING"}
            ),
        )
        note_original(run)
        yield


def note_report(run: Run, folder: Path, sentences: Sequence[str]) -> dict[str, Any]:
    """Note where a run's report lies, and what it says in words; the record is returned."""
    files = {file.name: file_hash(file) for file in sorted(folder.iterdir())}
    report = {"folder": str(folder), "files": files, "sentences": list(sentences)}
    return _change(run.id, lambda record: record.update(report=report))


def close(run_id: str, state: str) -> None:
    """Close the record of a run that ended badly; one that was never opened stays absent."""
    if Store().read_record(RUNS, run_id):
        _change(run_id, lambda record: record.update(state=state, finished=time.time()))


def note_step(
    run: Run, step: Step, bundle: Bundle, parents: Mapping[str, Bundle], *, found: bool, seconds: float
) -> None:
    """Note a step's result: its numbers as they stand in its step.json, and whether this run made it."""
    numbers = Store().details(bundle)["numbers"]
    note = {
        "kind": step.kind,
        "spec": step.model_dump(mode="json"),
        "key": bundle.key,
        "parents": {role: parent.key for role, parent in parents.items()},
        "found": found,
        "numbers": numbers | sizes(run, bundle) | {"seconds_here": round(seconds, 3)},
    }
    _change(run.id, lambda record: _entry(record, step.id).update(note))


def note_original(run: Run) -> None:
    """Note the teacher as the first step."""
    store = Store()
    bundle = Bundle("original", run.original)
    note = {"kind": "original", "spec": {}, "key": bundle.key, "parents": {}, "found": False}
    note["numbers"] = store.details(bundle)["numbers"] | sizes(run, bundle)
    _change(run.id, lambda record: _entry(record, "original").update(note))


def sizes(run: Run, bundle: Bundle) -> dict[str, float]:
    """A model's size against the teacher's, under the names that every stage and the whole run share."""
    store = Store()
    small, original = (store.details(key)["numbers"] for key in (bundle.key, run.original))
    parts = {name: small[name] for name in ("params", "params_encoder", "params_embedding", "size_mb")}
    ratio = original["params"] / small["params"]
    return parts | {"compression_ratio": ratio, "reduction_percent": 100 * (1 - 1 / ratio)}


def note_curve(run: Run, name: str, at: int, numbers: Mapping[str, float]) -> None:
    """Add a point to a step's training curve."""

    def add(record: dict[str, Any]) -> None:
        curve = _entry(record, name).setdefault("curve", [])
        curve[:] = [*(point for point in curve if point[0] < at), [at, dict(numbers)]][-CURVE_POINTS:]

    _change(run.id, add)


def note_evaluation(run: Run, name: str, key: str, result: Mapping[str, Any]) -> None:
    """Note how a step's model was judged."""
    _change(run.id, lambda record: record["evaluations"].update({name: {"key": key, **result}}))


def finish(run: Run, state: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Close a run's record with its summary; the record is returned."""
    return _change(run.id, lambda record: record.update(state=state, summary=dict(summary), finished=time.time()))


def note_registered(run: Run, version: str | None) -> None:
    """Note which version of its registered model a run's small model is; None while it is to become one."""
    _change(run.id, lambda record: record.update(registered=version))


def unregistered() -> list[dict[str, Any]]:
    """The records of runs whose model MLflow could not take at the time, and whose numbers it now has; never a sweep's."""
    store = Store()
    read = (store.read_record(RUNS, file.stem) for file in sorted((store.folder / RUNS).glob("*.json")))
    over = (record for record in read if record and record["state"] == "COMPLETED" and not lives(record["id"]))
    return [record for record in over if record.get("registered", "") is None and tracking.delivered(record)]


def finished(language: str) -> list[dict[str, Any]]:
    """The records of a language's completed runs, smallest model first; of equal runs (recipe, profile, seed) the newest.

    :raises NdogoError: there is none.
    """
    store = Store()
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for file in (store.folder / RUNS).glob("*.json"):
        record = store.read_record(RUNS, file.stem)
        if record and record["language"] == language and record["summary"]:
            kind = (record["recipe_text"], record["profile"], record["seed"])
            if kind not in newest or record["finished"] > newest[kind]["finished"]:
                newest[kind] = record
    if not newest:
        raise NdogoError(
            f"No run of {language} is finished.", where=str(store.folder / RUNS), cure=f"ndogo compress {language}"
        )
    return sorted(newest.values(), key=lambda record: record["summary"]["params"])


def lives(run_id: str) -> bool:
    """Whether the process of a run holds its lock, on this or another machine."""
    try:
        with FileLock(Store().folder / "locks" / f"alive-{run_id}.lock", timeout=0):
            return False
    except Timeout:
        return True


def was_killed(run_id: str) -> bool:
    """Whether a run was opened, never closed by itself, and is no longer alive."""
    record = Store().read_record(RUNS, run_id)
    return record is not None and record["state"] in ("RUNNING", "KILLED") and not lives(run_id)


def close_left_open(store: Store) -> None:
    """Close the records of runs whose process is gone."""
    for file in (store.folder / RUNS).glob("*.json"):
        record = store.read_record(RUNS, file.stem)
        if record and record["state"] == "RUNNING" and not lives(file.stem):
            close(file.stem, "KILLED")


def _change(run_id: str, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Change a run's record and deliver it; one at a time per run, over processes."""
    store = Store()
    with store.lock(f"{RUNS}-{run_id}"):
        record = store.read_record(RUNS, run_id) or {}
        change(record)
        store.write_record(RUNS, run_id, record)
        tracking.deliver(record, store)
        store.write_record(RUNS, run_id, record)  # what was sent, be it only a part
    return record


def _entry(record: dict[str, Any], name: str) -> dict[str, Any]:
    return record["steps"].setdefault(name, {})


def sync() -> tuple[int, int]:
    """Deliver every record that MLflow does not have whole; how many were delivered, and how many could not be."""
    store = Store()
    close_left_open(store)
    done = failed = 0
    for file in sorted((store.folder / RUNS).glob("*.json")):
        with store.lock(f"{RUNS}-{file.stem}"):
            record = store.read_record(RUNS, file.stem)
            if record is None or tracking.delivered(record):
                continue
            if tracking.deliver(record, store):
                done += 1
                store.write_record(RUNS, file.stem, record)
            else:
                failed += 1
    return done, failed
