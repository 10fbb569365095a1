"""The only place that logs to MLflow: it projects a run's record, as often as wanted, onto one parent run and one child per step.

What was sent is noted in the record by content, so that nothing is logged twice and nothing immutable is touched.
"""

import contextlib
import hashlib
import logging
import os
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from ndogo.core.download import SIZE_TYPE
from ndogo.core.errors import words_of
from ndogo.registry import artifacts, database
from ndogo.registry.bundles import Store, canonical
from ndogo.registry.integrity import MARK
from ndogo.registry.model_registry import address, client, client_at, own_database, tracking_uri
from ndogo.steps.recipe import ORIGINAL
from ndogo.tasks.descriptions import described, quality_first
from ndogo.tasks.run_record import RunRecord, RunState, Sent, SentRun, StepNote, mode_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("ndogo.tracking")

STATES: dict[RunState, str] = {
    "RUNNING": "RUNNING",
    "COMPLETED": "FINISHED",
    "REFUSED": "FAILED",
    "FAILED": "FAILED",
    "KILLED": "KILLED",
}
REPETITION = "repetition"
"""The level of a run that repeats one: it made nothing new, and is one run without children."""
LONGEST_DIGEST = 36
"""Letters of a dataset's digest that MLflow keeps."""
PARENT_PARAMS = ("language", "recipe", "profile", "seed", "scaled")
PARENT_TAGS = ("recipe", "profile", "seed", "commit", "scaled")
"""Beside these: how the models were judged, on what, and at which type sizes are given."""


def deliver(record: RunRecord, store: Store) -> bool:
    """Bring MLflow up to a record; False, with one warning, where it cannot be reached. The record notes what was sent."""
    sent = False
    with left_for_later(store):
        _project(_reached(store), record, store)
        record.delivered = _content(record)
        sent = True
    return sent


@contextlib.contextmanager
def left_for_later(store: Store) -> Iterator[None]:
    """What fails because MLflow is away, or goes away meanwhile, is left for later with a warning; other errors stand."""
    try:
        yield
    except Exception as error:  # its client raises several kinds; what decides is whether the server is there
        if answers(tracking_uri(store)) and not database.is_fault(error):
            raise
        kept = "MLflow at %s does not answer (%s); the numbers are kept, `ndogo sync` delivers them"
        log.warning(kept, tracking_uri(store), words_of(error))


def delivered(record: RunRecord, store: Store) -> bool:
    """Whether MLflow has all of a record."""
    return record.delivered == _content(record) and record.mlflow.uri == address(store)


def prepare(store: Store) -> None:
    """Create the SQLite file once, under a lock: several processes creating it at once would spoil it for good."""
    if tracking_uri(store) != own_database(store):
        return
    database.look_after(store.folder)
    if not database.place(store.folder).exists():
        with store.lock("mlflow-database"):
            if not database.place(store.folder).exists():
                with database.drafted(store.folder) as draft:
                    client_at(f"sqlite:///{draft}").search_experiments(max_results=1)


def answers(address: str) -> bool:
    """Whether a tracking server is healthy; a database file always is."""
    if not address.startswith("http"):
        return True
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=3) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False


def experiment(mlflow: "MlflowClient", name: str, store: Store) -> str:
    """The id of an experiment, made if it is not there."""
    from mlflow.exceptions import MlflowException

    found = mlflow.get_experiment_by_name(name)
    if found is None:
        local = not os.environ.get("MLFLOW_ARTIFACTS_ON_SERVER")
        place = (store.folder / artifacts.FOLDER / name.replace("/", "-")).as_uri() if local else None
        try:
            mlflow.create_experiment(name, artifact_location=place)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was first
                raise
        found = mlflow.get_experiment_by_name(name)
        assert found is not None
    return found.experiment_id


def deliver_sweep(
    name: str, folder: Path, asked: Mapping[str, str], numbers: Mapping[str, float], store: Store
) -> None:
    """Log a sweep's page and picture as a run of the experiment `sweeps`; the same sweep again is the same run."""
    with left_for_later(store):
        mlflow = _reached(store)
        tags = {"level": "sweep", "ndogo.run": name}
        sent = _run(mlflow, experiment(mlflow, "sweeps", store), None, tags, name)
        _log(mlflow, sent, asked, numbers)
        mlflow.log_artifacts(sent.run_id, str(folder))
        _end(mlflow, sent, "FINISHED")


def _reached(store: Store) -> "MlflowClient":
    """A client of the tracking server, its database made; raises ConnectionError where nothing answers."""
    if not answers(tracking_uri(store)):
        raise ConnectionError("no answer")
    prepare(store)
    return client(store)


def _project(mlflow: "MlflowClient", record: RunRecord, store: Store) -> None:
    from ndogo.registry.experiment_view import describe

    if record.mlflow.uri != address(store):
        lost = record.mlflow.uri.partition("#")[2] != address(store).partition("#")[2]
        if record.mlflow.uri and lost and record.registered:
            record.registered = None  # what was lost has no versions either; `ndogo sync` registers it again
        record.mlflow = Sent(uri=address(store), experiment=experiment(mlflow, f"compress/{record.language}", store))
        describe(mlflow, record.mlflow.experiment)
    sent = record.mlflow
    tags = {name: str(getattr(record, name)) for name in PARENT_TAGS} | record.tags
    tags |= {"level": REPETITION if record.repeats else "pipeline", "ndogo.run": record.id}
    tags |= {"mode": mode_of(record), "size_type": SIZE_TYPE}
    parent = sent.parent = _run(mlflow, sent.experiment, sent.parent, tags, record.name)
    params = {name: str(getattr(record, name)) for name in PARENT_PARAMS}
    judged = record.evaluations.get(record.last)
    if judged and record.summary:  # known at the end only
        params["mean_of"] = ",".join(judged.benchmarks)
    _log(mlflow, parent, params, _numbers(quality_first(record.summary)))
    for tag, text in described(record).items():
        if sent.description != text:
            mlflow.set_tag(parent.run_id, tag, text)
            sent.description = text
    if sent.recipe != (recipe := _digest(record.recipe_text)):
        mlflow.log_text(parent.run_id, record.recipe_text, "recipe.yaml")
        sent.recipe = recipe
    _log_text(mlflow, record, parent)
    if record.report and not record.repeats and sent.report != record.report.files:
        mlflow.log_artifacts(parent.run_id, record.report.folder, "report")
        sent.report = record.report.files
    for name, step in record.steps.items():
        if not (record.repeats and (step.found or step.kind == ORIGINAL)):
            sent.steps[name] = _project_step(mlflow, record, name, step, store)
    _end(mlflow, parent, STATES[record.state])


def _log_text(mlflow: "MlflowClient", record: RunRecord, parent: SentRun) -> None:
    """The text that a run reads, as its dataset: named by language and profile, with the fingerprint of the lines."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest, sources = str(record.run["corpus"])[:LONGEST_DIGEST], record.run.get("sources")
    if record.mlflow.text == digest:
        return
    origin = sources.get("corpus") if isinstance(sources, dict) else None  # on the hub: repositories and their commits
    source = canonical({"profile": record.profile, "language": record.language, "repositories": origin or {}})
    read = Dataset(f"{record.language} text ({record.profile})", digest, record.profile, source)
    mlflow.log_inputs(parent.run_id, datasets=[DatasetInput(read, [InputTag("mlflow.data.context", "training")])])
    record.mlflow.text = digest


def _project_step(mlflow: "MlflowClient", record: RunRecord, name: str, step: StepNote, store: Store) -> SentRun:
    assert record.mlflow.parent is not None
    tags = {
        "level": "step",
        "step": name,
        "ndogo.run": record.id,
        "ndogo.step": name,
        "mlflow.parentRunId": record.mlflow.parent.run_id,
        "profile": record.profile,
        "recipe": record.recipe,
    }
    sent = _run(mlflow, record.mlflow.experiment, record.mlflow.steps.get(name), tags, name)
    numbers = _numbers(step.numbers.found()) if step.numbers else {}
    if name in record.evaluations:
        numbers |= _numbers(record.evaluations[name].metrics)
    params = {key: str(value) for key, value in step.spec.items()} | {"kind": step.kind}
    _log(mlflow, sent, params if step.kind else {}, numbers)
    _curve(mlflow, sent, step)
    if not step.key:
        _end(mlflow, sent, "RUNNING" if record.state == "RUNNING" else "KILLED")
        return sent
    if not sent.bundle:
        folder = store.path(step.key)
        mlflow.set_tag(sent.run_id, "bundle", str(folder))
        mlflow.set_tag(sent.run_id, "found", str(step.found).lower())
        if step.found:
            mlflow.log_artifact(sent.run_id, str(folder / MARK))
        else:
            _log_bundle(mlflow, sent.run_id, folder)
        sent.bundle = True
    _end(mlflow, sent, "FINISHED")
    return sent


def _log_bundle(mlflow: "MlflowClient", run_id: str, folder: Path) -> None:
    """As artefacts of the run: linked where they lie on this machine, sent to the server that keeps them elsewhere."""
    if place := artifacts.local(mlflow.get_run(run_id).info.artifact_uri):
        artifacts.link(folder, place / artifacts.BUNDLE)
    else:
        mlflow.log_artifacts(run_id, str(folder), artifacts.BUNDLE)


def _run(
    mlflow: "MlflowClient", experiment_id: str, known: SentRun | None, tags: Mapping[str, str], title: str
) -> SentRun:
    """The run of a record's parent or step: the one that is known, the one with its tags, or a new one."""
    if known is not None:
        return known
    own = "ndogo.step" if "ndogo.step" in tags else "level"
    asked = " and ".join(f"tags.`{tag}` = '{tags[tag]}'" for tag in ("ndogo.run", own))
    found = mlflow.search_runs([experiment_id], asked, max_results=1)
    run = found[0] if found else mlflow.create_run(experiment_id, tags=dict(tags), run_name=title)
    return SentRun(run_id=run.info.run_id)


def _log(mlflow: "MlflowClient", sent: SentRun, params: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    """Log what has changed since the last time."""
    from mlflow.entities import Metric, Param

    content = _digest({"params": params, "metrics": metrics})
    if sent.content == content:
        return
    now = _now()
    fresh = [Param(key, value[:5000]) for key, value in params.items() if key not in sent.params]
    mlflow.log_batch(sent.run_id, [Metric(key, value, now, 0) for key, value in metrics.items()], fresh)
    sent.params = sorted({*sent.params, *params})
    sent.content = content


def _curve(mlflow: "MlflowClient", sent: SentRun, step: StepNote) -> None:
    from mlflow.entities import Metric

    now = _now()
    fresh = [(at, numbers) for at, numbers in step.curve if at > sent.curve]
    metrics = [Metric(f"train/{key}", value, now, at) for at, numbers in fresh for key, value in numbers.items()]
    for start in range(0, len(metrics), 900):  # a batch holds at most 1,000
        mlflow.log_batch(sent.run_id, metrics[start : start + 900])
    if fresh:
        sent.curve = fresh[-1][0]


def _end(mlflow: "MlflowClient", sent: SentRun, status: str) -> None:
    if sent.status == status:
        return
    if status == "RUNNING":
        mlflow.update_run(sent.run_id, status="RUNNING")
    else:
        mlflow.set_terminated(sent.run_id, status)
    sent.status = status


def _numbers(values: Mapping[str, object]) -> dict[str, float]:
    """What can be a metric, under a name that MLflow takes, in as many digits as people read."""
    return {
        key.replace("@", "_at_"): float(f"{value:.5g}") if isinstance(value, float) else float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _now() -> int:
    import time

    return int(time.time() * 1000)


def _content(record: RunRecord) -> str:
    """A digest of all that is to be delivered."""
    return _digest(record.model_dump(mode="json", exclude={"mlflow", "delivered"}))


def _digest(content: object) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()
