"""The only place that logs to MLflow: it projects a run's record, as often as wanted, onto one parent run and one child per step.

What was sent is noted in the record by content, so that nothing is logged twice and nothing immutable is touched.
"""

import contextlib
import hashlib
import logging
import os
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ndogo.registry.bundles import Store, canonical
from ndogo.registry.integrity import MARK
from ndogo.registry.model_registry import client, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("ndogo.tracking")

STATES = {"RUNNING": "RUNNING", "COMPLETED": "FINISHED", "REFUSED": "FAILED", "FAILED": "FAILED", "KILLED": "KILLED"}
PARENT_PARAMS = ("language", "recipe", "profile", "seed", "scaled")
PARENT_TAGS = ("recipe", "profile", "seed", "commit", "teacher", "scaled")


def deliver(record: dict[str, Any], store: Store) -> bool:
    """Bring MLflow up to a record; False, with one warning, where it cannot be reached. The record notes what was sent."""
    sent = False
    with left_for_later():
        _project(_reached(store), record, store)
        record["delivered"] = _digest(record, exclude=("mlflow", "delivered"))
        sent = True
    return sent


@contextlib.contextmanager
def left_for_later() -> Iterator[None]:
    """What fails because MLflow is away, or goes away meanwhile, is left for later with a warning; other errors stand."""
    try:
        yield
    except Exception as error:  # its client raises several kinds; what decides is whether the server is there
        if answers(tracking_uri()):
            raise
        log.warning(
            "MLflow at %s does not answer (%s); the numbers are kept, `ndogo sync` delivers them",
            tracking_uri(),
            type(error).__name__,
        )


def delivered(record: Mapping[str, Any]) -> bool:
    """Whether MLflow has all of a record."""
    return record.get("delivered") == _digest(record, exclude=("mlflow", "delivered"))


def prepare(store: Store) -> None:
    """Create the SQLite file once, under a lock: several processes creating it at once would spoil it for good."""
    ready = store.folder / "mlflow.ready"
    if tracking_uri().startswith("sqlite") and not ready.exists():
        with store.lock("mlflow-database"):
            if not ready.exists():
                client().search_experiments(max_results=1)
                ready.touch()


def answers(address: str) -> bool:
    """Whether a tracking server is healthy; a database file always is."""
    if not address.startswith("http"):
        return True
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=3) as answer:
            return answer.status == 200
    except OSError:
        return False


def experiment(mlflow: "MlflowClient", name: str, store: Store) -> str:
    """The id of an experiment, made if it is not there."""
    from mlflow.exceptions import MlflowException

    found = mlflow.get_experiment_by_name(name)
    if found is None:
        local = not os.environ.get("MLFLOW_ARTIFACTS_ON_SERVER")
        place = (store.folder / "artifacts" / name.replace("/", "-")).as_uri() if local else None
        try:
            mlflow.create_experiment(name, artifact_location=place)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was first
                raise
        found = mlflow.get_experiment_by_name(name)
        assert found is not None
    return found.experiment_id


def deliver_sweep(
    name: str, folder: Path, asked: Mapping[str, Any], numbers: Mapping[str, float], store: Store
) -> None:
    """Log a sweep's page and picture as a run of the experiment `sweeps`; the same sweep again is the same run."""
    with left_for_later():
        mlflow = _reached(store)
        sent: dict[str, Any] = {"experiment": experiment(mlflow, "sweeps", store)}
        run = _run(mlflow, sent, "sweep", {"level": "sweep", "ndogo.run": name}, name)
        _log(mlflow, sent, "sweep", asked, numbers)
        mlflow.log_artifacts(run, str(folder))
        _end(mlflow, sent, "sweep", "FINISHED")


def _reached(store: Store) -> "MlflowClient":
    """A client of the tracking server, its database made; raises ConnectionError where nothing answers."""
    if not answers(tracking_uri()):
        raise ConnectionError("no answer")
    prepare(store)
    return client()


def _project(mlflow: "MlflowClient", record: dict[str, Any], store: Store) -> None:
    from ndogo.registry.comparison import describe

    sent = record.setdefault("mlflow", {})
    if sent.get("uri") != tracking_uri():
        sent.clear()
        sent["uri"] = tracking_uri()
        sent["experiment"] = experiment(mlflow, f"compress/{record['language']}", store)
        describe(mlflow, sent["experiment"])
    tags = {name: str(record[name]) for name in PARENT_TAGS if name in record} | record.get("tags", {})
    parent = _run(mlflow, sent, "parent", {**tags, "level": "pipeline", "ndogo.run": record["id"]}, record["name"])
    _log(mlflow, sent, "parent", {name: record[name] for name in PARENT_PARAMS}, _numbers(record["summary"]))
    _text(mlflow, sent, parent, "recipe.yaml", record["recipe_text"])
    report = record.get("report")
    if report and sent.get("report") != report["files"]:
        mlflow.log_artifacts(parent, report["folder"], "report")
        sent["report"] = report["files"]
    for name, step in record["steps"].items():
        _project_step(mlflow, record, name, step, store)
    _end(mlflow, sent, "parent", STATES[record["state"]])


def _project_step(
    mlflow: "MlflowClient", record: dict[str, Any], name: str, step: Mapping[str, Any], store: Store
) -> None:
    sent = record["mlflow"]
    tags = {
        "level": "step",
        "step": name,
        "ndogo.run": record["id"],
        "ndogo.step": name,
        "mlflow.parentRunId": sent["parent"]["run_id"],
        "profile": record["profile"],
        "recipe": record["recipe"],
    }
    child = _run(mlflow, sent, name, tags, name)
    numbers = dict(step.get("numbers", {}))
    if name in record["evaluations"]:
        numbers |= record["evaluations"][name].get("metrics", {})
    params = {f"{key}": value for key, value in step.get("spec", {}).items()} | {"kind": step.get("kind", "")}
    _log(mlflow, sent, name, params if "kind" in step else {}, _numbers(numbers))
    _curve(mlflow, sent, name, step.get("curve", []))
    if "key" not in step:
        state = "RUNNING" if record["state"] == "RUNNING" else "KILLED"
        return _end(mlflow, sent, name, state)
    if not sent[name].get("bundle"):
        folder = store.path(step["key"])
        mlflow.set_tag(child, "bundle", str(folder))
        mlflow.set_tag(child, "found", str(step["found"]).lower())
        if step["found"]:
            mlflow.log_artifact(child, str(folder / MARK))
        else:
            mlflow.log_artifacts(child, str(folder), "bundle")
        sent[name]["bundle"] = True
    return _end(mlflow, sent, name, "FINISHED")


def _run(mlflow: "MlflowClient", sent: dict[str, Any], name: str, tags: Mapping[str, str], title: str) -> str:
    """The run of a record's parent or step: the one noted, the one with its tags, or a new one."""
    if name not in sent:
        step = (
            f" and tags.`ndogo.step` = '{tags['ndogo.step']}'"
            if "ndogo.step" in tags
            else f" and tags.level = '{tags['level']}'"
        )
        found = mlflow.search_runs(
            [sent["experiment"]], f"tags.`ndogo.run` = '{tags['ndogo.run']}'{step}", max_results=1
        )
        run = found[0] if found else mlflow.create_run(sent["experiment"], tags=dict(tags), run_name=title)
        sent[name] = {"run_id": run.info.run_id, "status": "RUNNING"}
    return sent[name]["run_id"]


def _log(
    mlflow: "MlflowClient", sent: dict[str, Any], name: str, params: Mapping[str, Any], metrics: Mapping[str, float]
) -> None:
    """Log what has changed since the last time."""
    from mlflow.entities import Metric, Param

    entry = sent[name]
    content = _digest({"params": params, "metrics": metrics})
    if entry.get("content") == content:
        return
    known, now = set(entry.get("params", [])), _now()
    fresh = [Param(key, str(value)[:5000]) for key, value in params.items() if key not in known]
    mlflow.log_batch(entry["run_id"], [Metric(key, value, now, 0) for key, value in metrics.items()], fresh)
    entry["params"] = sorted(known | set(params))
    entry["content"] = content


def _curve(mlflow: "MlflowClient", sent: dict[str, Any], name: str, curve: Iterable[Any]) -> None:
    from mlflow.entities import Metric

    entry, now = sent[name], _now()
    fresh = [point for point in curve if point[0] > entry.get("curve", -1)]
    metrics = [Metric(f"train/{key}", value, now, at) for at, numbers in fresh for key, value in numbers.items()]
    for start in range(0, len(metrics), 900):  # a batch holds at most 1,000
        mlflow.log_batch(entry["run_id"], metrics[start : start + 900])
    if fresh:
        entry["curve"] = fresh[-1][0]


def _text(mlflow: "MlflowClient", sent: dict[str, Any], run_id: str, name: str, text: str) -> None:
    mark = _digest({"text": text})
    if sent.get(f"text {name}") != mark:
        mlflow.log_text(run_id, text, name)
        sent[f"text {name}"] = mark


def _end(mlflow: "MlflowClient", sent: dict[str, Any], name: str, status: str) -> None:
    entry = sent[name]
    if entry["status"] == status:
        return
    if status == "RUNNING":
        mlflow.update_run(entry["run_id"], status="RUNNING")
    else:
        mlflow.set_terminated(entry["run_id"], status)
    entry["status"] = status


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """What can be a metric, under a name that MLflow takes."""
    return {
        key.replace("@", "_at_"): float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _now() -> int:
    import time

    return int(time.time() * 1000)


def _digest(content: Mapping[str, Any], exclude: Iterable[str] = ()) -> str:
    kept = {key: value for key, value in content.items() if key not in exclude}
    return hashlib.sha256(canonical(kept).encode()).hexdigest()
