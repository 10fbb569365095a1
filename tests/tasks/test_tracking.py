"""Notes survive MLflow's absence: the record holds everything, and delivery is the same act however often it is done."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest.mock import Mock

import pytest
from mlflow import MlflowClient

from ndogo.evaluation import EvaluationSettings
from ndogo.registry import artifacts, database
from ndogo.registry.bundles import open_store
from ndogo.registry.model_registry import tracking_uri
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks import notes
from ndogo.tasks.run import Run
from ndogo.tasks.run_record import RunRecord
from ndogo.tasks.tracking import REPETITION, left_for_later

RECIPE = "name: r\nabout: x\nsteps:\n  - truncate: {layers: 1}\n  - adapt: {steps: 1}"


@pytest.fixture
def run(pico_model) -> Run:
    store = open_store()
    original = store.adopt(pico_model("xlmr"))
    return Run(
        id="run-1",
        store=store,
        language="tiny",
        profile="local",
        recipe=parse_recipe(RECIPE),
        seed=0,
        original=original.key,
        corpus="c",
        settings=EvaluationSettings(),
        token_cap=None,
    )


def made(run: Run, name: str = "truncate") -> None:
    """Make and note a step, as its task does."""
    store = run.store
    request = run.requests()[name]

    def build(draft: Path) -> dict[str, float]:
        for file in store.path(run.original).iterdir():
            if file.name != "step.json":
                (draft / file.name).write_bytes(file.read_bytes())
        return {}

    bundle, found = store.find_or_make(request, build)
    notes.note_step(run, run.recipe.step(name), bundle, {}, found=found, seconds=1.0)


def there() -> dict[str, object]:
    """Every run in MLflow by its step's id, the parent as `parent`."""
    client = MlflowClient(tracking_uri=tracking_uri(open_store()))
    experiment = client.get_experiment_by_name("compress/tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    named = {r.data.tags.get("step", "parent"): r for r in runs}
    assert len(named) == len(runs), "a run stands twice"
    return named


def test_what_happens_while_mlflow_is_away_is_delivered_later(run, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with notes.opened(run):
        made(run)
        notes.note_curve(run, "adapt", 5, {"loss": 2.0})
        made(run, "adapt")
    notes.finish(run, "COMPLETED", {"params": 9.0, "size_mb": 2.0, "retention": 0.5})
    assert "does not answer" in caplog.text
    assert notes.sync(run.store) == (0, 1)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert notes.sync(run.store) == (1, 0)
    assert notes.sync(run.store) == (0, 0)
    runs = there()
    assert set(runs) == {"parent", "original", "truncate", "adapt"}
    assert next(iter(runs["parent"].data.metrics.items())) == ("retention", 0.5), "what a comparison of runs shows"
    assert runs["parent"].info.status == "FINISHED"
    assert runs["adapt"].data.metrics["train/loss"] == 2.0
    assert runs["truncate"].data.params["layers"] == "1"
    (text,) = runs["parent"].inputs.dataset_inputs
    assert (text.dataset.name, text.dataset.digest) == (f"tiny text ({run.profile})", run.corpus[:36])


def test_delivery_again_changes_nothing(run):
    with notes.opened(run):
        made(run)
        before = there()
        made(run)
        record = run.store.read_record("runs", run.id, RunRecord)
        assert record is not None
        record.delivered = ""
        run.store.write_record("runs", run.id, record)
        notes.sync(run.store)
    assert {name: r.info.run_id for name, r in there().items()} == {name: r.info.run_id for name, r in before.items()}


def test_a_lost_record_finds_its_runs_again_by_their_tags(run):
    with notes.opened(run):
        made(run)
    before = {name: r.info.run_id for name, r in there().items()}
    (run.store.folder / "runs" / f"{run.id}.json").unlink()
    with notes.opened(run):
        made(run)
    assert {name: r.info.run_id for name, r in there().items()} == before


def test_a_run_left_open_by_a_kill_is_closed_by_the_next_start(run):
    with notes.opened(run):
        assert notes.lives(run.store, run.id)
        assert not notes.was_killed(run.store, run.id)
    assert notes.was_killed(run.store, run.id)
    with notes.opened(run.model_copy(update={"id": "run-2"})):
        first = run.store.read_record("runs", run.id, RunRecord)
    assert first is not None and first.state == "KILLED"


class Dying(BaseHTTPRequestHandler):
    """Says that it is healthy once, and drops every request after that."""

    healthy = True

    def do_GET(self) -> None:
        if self.path == "/health" and Dying.healthy:
            Dying.healthy = False
            self.send_response(200)
            self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def dying() -> Iterator[str]:
    Dying.healthy = True
    server = HTTPServer(("127.0.0.1", 0), Dying)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_that_dies_between_health_check_and_call_costs_nothing(run, monkeypatch, caplog, dying):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dying)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with notes.opened(run):
        made(run)
    notes.finish(run, "COMPLETED", {"retention": 0.5})
    assert not Dying.healthy, "it was asked"
    assert "does not answer" in caplog.text
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert notes.sync(run.store) == (1, 0)
    assert there()["parent"].data.metrics["retention"] == 0.5


def test_an_error_of_a_server_that_is_there_is_no_absence():
    with pytest.raises(ValueError, match="ours"), left_for_later(open_store()):
        raise ValueError("ours")


def test_a_record_that_an_older_ndogo_wrote_is_read_and_its_runs_are_found_again(run):
    """Before there were typed records, what MLflow has lay flat, and a version was a number."""
    with notes.opened(run):
        made(run)
    notes.finish(run, "COMPLETED", {"retention": 0.5, "params": 5})
    before = {name: r.info.run_id for name, r in there().items()}
    file = run.store.folder / "runs" / f"{run.id}.json"
    record = json.loads(file.read_text())
    parent = record["mlflow"]["parent"]
    flat = {"uri": record["mlflow"]["uri"], "experiment": record["mlflow"]["experiment"], "parent": parent}
    for step in record["steps"].values():
        del step["curve"]
    file.write_text(json.dumps(record | {"mlflow": flat | record["mlflow"]["steps"], "registered": 3}))
    (found,) = notes.finished(run.store, "tiny")
    assert (found.registered, found.state, found.sizes("truncate").params) == ("3", "COMPLETED", 24672)
    assert notes.sync(run.store) == (1, 0)
    assert {name: r.info.run_id for name, r in there().items()} == before


def test_a_record_of_another_form_is_reported_and_opened_anew(run, caplog):
    file = run.store.folder / "runs" / f"{run.id}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('{"id": "run-1", "steps": []}')
    with notes.opened(run):
        made(run)
    assert "counts as absent" in caplog.text
    found = run.store.read_record("runs", run.id, RunRecord)
    assert found is not None and set(found.steps) == {"original", "truncate"}


def test_a_step_s_bundle_lies_in_mlflow_without_lying_on_the_disk_again(run):
    with notes.opened(run):
        made(run)
    key = run.requests()["truncate"].key
    (kept,) = [folder for found, folder in artifacts.of_bundles(run.store) if found == key]
    names = {file.name for file in kept.iterdir()}
    assert names == {file.name for file in run.store.path(key).iterdir()} and "model.safetensors" in names
    assert all((kept / name).samefile(run.store.path(key) / name) for name in names)


def test_a_night_with_nothing_new_is_one_run(run):
    """What made the bundles keeps its runs of steps; whoever finds all of them again says so in one."""

    def night(name: str, seed: int = 0) -> Run:
        one = run.model_copy(update={"id": name, "seed": seed})
        with notes.opened(one):
            made(one)
            made(one, "adapt")
            notes.finish(one, "COMPLETED", {"retention": 0.5})
        return one

    first = night("night-1")
    assert set(there()) == {"parent", "original", "truncate", "adapt"}
    for number in (2, 3):
        night(f"night-{number}")
    client = MlflowClient(tracking_uri=tracking_uri(run.store))
    experiment = client.get_experiment_by_name("compress/tiny").experiment_id
    assert len(client.search_runs([experiment])) == 4 + 2
    repeated = client.search_runs([experiment], f"tags.level = '{REPETITION}'")
    assert [r.data.metrics["retention"] for r in repeated] == [0.5, 0.5]
    assert all(f"Nothing new: all is as in run {first.id}" in r.data.tags["mlflow.note.content"] for r in repeated)
    night("another", seed=1)
    assert len(client.search_runs([experiment], "tags.level = 'pipeline'")) == 2


def as_in_a_new_process() -> None:
    """Let go of all that MLflow and we remember of the database."""
    from mlflow.store.model_registry import sqlalchemy_store as models
    from mlflow.store.tracking import sqlalchemy_store as runs
    from mlflow.tracking._model_registry.registry import ModelRegistryStoreRegistry
    from mlflow.tracking._tracking_service.registry import TrackingStoreRegistry

    for kind in (TrackingStoreRegistry, ModelRegistryStoreRegistry):
        kind._get_store_with_resolved_uri.cache_clear()
    for module in (models, runs):
        for engine in module.SqlAlchemyStore._engine_map.values():
            engine.dispose()
        module.SqlAlchemyStore._engine_map.clear()
    database._looked_at.clear()


def test_a_locked_or_damaged_database_costs_nothing_and_is_filled_again_from_the_store(run, monkeypatch, caplog):
    with notes.opened(run):
        made(run)
        for fault in ("(sqlite3.OperationalError) database is locked", "Detected out-of-date database schema"):
            with monkeypatch.context() as away:
                away.setattr("ndogo.tasks.tracking._project", Mock(side_effect=RuntimeError(fault)))
                notes.finish(run, "FAILED", {})
            assert f"{fault}); the numbers are kept, `ndogo sync` delivers" in caplog.text
            assert notes.sync(run.store) == (1, 0)
    before = set(there())
    as_in_a_new_process()
    (run.store.folder / "mlflow.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    assert notes.sync(run.store) == (1, 0)
    assert set(there()) == before == {"parent", "original", "truncate"}
    assert len(list(run.store.folder.glob("mlflow.db.damaged-*"))) == 1 and notes.sync(run.store) == (0, 0)
