"""The real thing on loopback: Prefect server, the process that runs deployments, MLflow server, and one deployment run."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from mlflow import MlflowClient
from typer.testing import CliRunner

from ndogo import run_commands
from ndogo.cli import app
from ndogo.flows.servers import Addresses, Servers, basic, environment, running
from ndogo.registry import artifacts
from ndogo.registry.bundles import Store, open_store
from ndogo.registry.languages import Language, add_language
from ndogo.tasks.run_record import RunRecord
from ndogo.tasks.tracking import delivered
from tests import pico, tiny

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1200)]

PATIENCE = 600.0
"""Seconds: a quiet machine needs twenty; a busy one is no failure."""

RECIPE = """
name: tiny-recipe
about: every kind of step but fresh, on a tiny language
steps:
  - trim: {size: 100}
  - adapt: {steps: 4, batch_size: 8, max_length: 32}
  - truncate: {layers: 1/2}
  - prune_ffn: {size: 1/2, sentences: 20}
  - prune_hidden: {size: 1/2, sentences: 20}
  - distil: {teacher: adapt, objective: {mlm: 0.5, logits_mse: 0.5}, steps: STEPS, batch_size: 8, max_length: 32}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(autouse=True)
def same_home(isolated: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NDOGO_HOME", str(folder / "home"))


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[Servers]:
    """Both servers and the runner, with a tiny language added as a user would. They are looked after when a test says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NDOGO_HOME", str(folder / "home"))
        patch.setenv("NDOGO_CHECKPOINT_SECONDS", "1")
        corpus, benchmarks = tiny.write(folder / "tiny")
        teacher = pico.xlmr(folder / "teacher")
        entry = Language(name=tiny.NAME, corpus=str(corpus), teacher=str(teacher), benchmarks=str(benchmarks))
        add_language(entry)
        recipe_file(folder, 6, "tiny-recipe")
        recipe_file(folder, 600, "long")  # a name of its own: the gate compares runs of one name
        with running(free_port(), free_port()) as servers:
            yield servers


@pytest.fixture(scope="module")
def world(servers: Servers, folder: Path) -> tuple[Addresses, dict[str, str]]:
    """Where the servers are, and what a process beside them is told."""
    addresses = servers.addresses
    ports = {name: int(getattr(addresses, name).rsplit(":", 1)[1]) for name in ("prefect", "mlflow")}
    return addresses, environment(folder / "home", ports)


def api(addresses: Addresses, path: str, body: dict | None = None) -> dict | list:
    request = urllib.request.Request(
        f"{addresses.prefect}/api{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json", **basic(open_store().folder)},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def deployment_run(told: dict[str, str], recipe: str, *more: str) -> subprocess.CompletedProcess[str]:
    line = ["-m", "prefect", "deployment", "run", f"compress/{tiny.NAME}", "--param", f"recipe={recipe}", *more]
    return subprocess.run([sys.executable, *line], env=told, capture_output=True, text=True, timeout=400)


def recipe_file(folder: Path, steps: int, name: str) -> None:
    """A recipe of the user's own: it gets a name by lying in the store's folder."""
    file = folder / "home" / "recipes" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(RECIPE.replace("STEPS", str(steps)).replace("tiny-recipe", name))


def newest_run(addresses: Addresses) -> dict:
    started = {"start_time": {"is_null_": False}}
    found = api(addresses, "/flow_runs/filter", {"flow_runs": started, "sort": "START_TIME_DESC", "limit": 1})
    assert isinstance(found, list)
    return found[0]


def test_a_deployment_run_leaves_everything_in_both_servers(world, folder: Path):
    addresses, told = world
    done = deployment_run(told, "tiny-recipe", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr + (folder / "home/logs/deployments.log").read_text()[-3000:]

    run = newest_run(addresses)
    assert (run["name"], run["state_name"]) == ("tiny-tiny-recipe-0", "Completed")
    tasks = api(addresses, "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    names = {task["name"] for task in tasks}
    assert {"trim", "adapt", "truncate", "prune_ffn", "prune_hidden", "distil", "evaluate distil"} <= names

    mlflow = MlflowClient(tracking_uri=addresses.mlflow, registry_uri=addresses.mlflow)
    experiment = mlflow.get_experiment_by_name("compress/tiny")
    assert experiment is not None and "mlflow.sharedViewState.ndogo" in experiment.tags
    runs = mlflow.search_runs([experiment.experiment_id])
    (parent,) = [r for r in runs if r.data.tags["level"] == "pipeline"]
    children = {r.data.tags["step"]: r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["compression_ratio"] > 2
    assert 0 < parent.data.metrics["retention"] < 2
    assert set(children) == {"original", "trim", "adapt", "truncate", "prune_ffn", "prune_hidden", "distil"}
    for name, child in children.items():
        assert child.info.status == "FINISHED"
        assert child.data.metrics["compression_ratio"] >= 1
        there = {f.path for f in mlflow.list_artifacts(child.info.run_id, "bundle")}
        assert {"bundle/model.safetensors", "bundle/step.json", "bundle/config.json"} <= there, name
        kept = artifacts.local(child.info.artifact_uri)
        ours = Path(child.data.tags["bundle"])
        assert kept is not None and (kept / "bundle/model.safetensors").samefile(ours / "model.safetensors"), name
    assert "bundle/certificate.json" in {f.path for f in mlflow.list_artifacts(children["trim"].info.run_id, "bundle")}
    version = mlflow.get_model_version_by_alias("ndogo-tiny-tiny-recipe", "champion")
    assert version.version == "1"
    assert mlflow.get_model_version_by_alias("ndogo-tiny-tiny-recipe", "challenger").version == "1"
    assert "The gate: passed" in version.description

    scheduled = api(
        addresses, "/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "limit": 200}
    )
    deployment = api(addresses, "/deployments/name/compress/swahili")
    assert any(s["deployment_id"] == deployment["id"] and s["auto_scheduled"] for s in scheduled)


def test_a_second_run_finds_every_bundle_and_evaluation(world, folder: Path):
    addresses, told = world
    done = deployment_run(told, "tiny-recipe", "--watch")
    assert done.returncode == 0, done.stdout
    tasks = api(addresses, "/task_runs/filter", {"flow_runs": {"id": {"any_": [newest_run(addresses)["id"]]}}})
    assert {task["state_name"] for task in tasks if not task["name"].startswith("Publish")} == {"Cached"}
    mlflow = MlflowClient(tracking_uri=addresses.mlflow, registry_uri=addresses.mlflow)
    (version,) = mlflow.search_model_versions("name = 'ndogo-tiny-tiny-recipe'")
    assert "The gate: passed" in version.description, "what was decided stays, night after night"
    found = mlflow.search_runs([experiment_id(mlflow)])
    (again,) = [r for r in found if r.data.tags["level"] == "repetition"]
    children = [r for r in found if r.data.tags.get("mlflow.parentRunId") == again.info.run_id]
    assert children == [] and "Nothing new" in again.data.tags["mlflow.note.content"]


def experiment_id(mlflow: MlflowClient) -> str:
    found = mlflow.get_experiment_by_name("compress/tiny")
    assert found is not None
    return found.experiment_id


def test_a_refused_run_fails_in_prefect_and_says_why_in_the_registry(world, folder: Path, monkeypatch, capsys):
    """A model above the budget of its recipe, all of whose steps are there already."""
    addresses, told = world
    steps = RECIPE.split("  - prune_ffn")[0].replace("tiny-recipe", "large")
    (folder / "home" / "recipes" / "large.yaml").write_text(f"{steps}budget: {{params: 10}}\n")
    done = deployment_run(told, "large", "--watch")
    run = newest_run(addresses)
    assert (run["name"], run["state_type"]) == ("tiny-large-0", "FAILED"), done.stdout + done.stderr
    assert "Refused: The gate refused ndogo-tiny-large: params is" in run["state"]["message"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", addresses.mlflow)
    run_commands.history("ndogo-tiny-large")
    shown = " ".join(capsys.readouterr().out.split())
    assert "version 1 was refused: params is" in shown and "challenger" in shown and "champion" not in shown


@pytest.mark.parametrize("given", [{"language": "klingon"}, {"seed": -1}, {"profile": "moon"}])
def test_bad_parameters_are_refused_at_submission(world, given: dict):
    addresses, _ = world
    deployment = api(addresses, f"/deployments/name/compress/{tiny.NAME}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        api(addresses, f"/deployments/{deployment['id']}/create_flow_run", {"parameters": given})
    (name, value), said = *given.items(), refused.value.read().decode()
    assert refused.value.code == 409 and (name in said or str(value) in said)


def test_a_parameter_that_is_none_is_refused_by_the_command(world):
    _, told = world
    done = deployment_run(told, "two-step", "--param", "epochs=3")
    assert done.returncode == 1 and "epochs" in done.stdout + done.stderr


def test_a_run_goes_on_when_mlflow_is_killed_and_sync_delivers_later(servers, world, folder: Path):
    addresses, told = world
    store = Store(folder / "home")
    before = {file.stem for file in store.folder.glob("runs/*.json")}
    assert deployment_run(told, "tiny-recipe", "--param", "seed=1").returncode == 0
    until = time.monotonic() + PATIENCE
    while not (begun := [r for r in records(store) if r.id not in before and "adapt" in r.steps]):
        assert time.monotonic() < until, "the run did not begin"
        time.sleep(0.05)
    kill(servers, "mlflow")
    run = begun[0].id
    while (state := api(addresses, f"/flow_runs/{run}"))["state_type"] in ("PENDING", "RUNNING"):
        assert time.monotonic() < until, state
        time.sleep(0.5)
    assert state["state_name"] == "Completed", (folder / "home/logs/deployments.log").read_text()[-3000:]
    record = store.read_record("runs", run, RunRecord)
    assert record is not None and not delivered(record, store)
    assert record.summary["retention"] > 0

    away = synced(told)
    assert away.exit_code == 1 and "1 still waiting" in away.stdout, away.output
    look_until(servers, lambda: healthy(f"{addresses.mlflow}/health"))
    assert "1 delivered, 0 still waiting" in (done := synced(told)).stdout, done.output
    mlflow = MlflowClient(tracking_uri=addresses.mlflow, registry_uri=addresses.mlflow)
    experiment = mlflow.get_experiment_by_name("compress/tiny")
    assert experiment is not None
    found = mlflow.search_runs([experiment.experiment_id], f"tags.`ndogo.run` = '{run}'")
    steps = {r.data.tags.get("step", "parent"): r for r in found}
    assert set(steps) == {"parent", *record.steps} and len(found) == len(steps)
    assert {r.info.status for r in found} == {"FINISHED"}
    assert steps["parent"].data.metrics["retention"] == record.summary["retention"]
    versions = mlflow.search_model_versions("name = 'ndogo-tiny-tiny-recipe'")
    assert "1" in {version.tags["seed"] for version in versions}, "what could not be registered now is"
    assert len(synced(told).stdout.splitlines()) == 1


def synced(told: dict[str, str]) -> Result:
    """`ndogo sync`, in this process."""
    return CliRunner().invoke(app, ["sync"], env={"MLFLOW_TRACKING_URI": told["MLFLOW_TRACKING_URI"]})


def records(store: Store) -> list[RunRecord]:
    return list(store.read_records("runs", RunRecord))


def healthy(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
        return answer.status == 200
    return False


def kill(servers: Servers, name: str) -> None:
    """SIGKILL for a process of ours; of MLflow's two, for the one that answers, which takes the other along."""
    (one,) = [one for one in servers.processes.watched if one.name == name]
    assert one.process is not None
    for process in one.process.children() if name == "mlflow" else [one.process]:
        process.kill()
    one.process.wait(timeout=60)


def look_until(servers: Servers, there: Callable[[], bool]) -> None:
    """What `ndogo serve` does after its start, until something is there."""
    until = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < until, logs(servers)
        servers.processes.look()
        time.sleep(0.5)


def logs(servers: Servers) -> str:
    return "\n".join(
        log.read_text(errors="replace")[-3000:] for log in (servers.processes.folder / "logs").glob("*.log")
    )


def test_a_run_whose_runner_is_killed_is_taken_up_and_resumes(servers, world, folder: Path):
    """In mid-distillation: the runner is started again, and the same run completes."""
    addresses, told = world
    assert deployment_run(told, "long").returncode == 0
    store = Store(folder / "home")
    until = time.monotonic() + PATIENCE
    while not list(store.folder.glob("work/*/checkpoint*")) and time.monotonic() < until:
        time.sleep(0.2)
    assert list(store.folder.glob("work/*/checkpoint*")), "no checkpoint was written"
    run = newest_run(addresses)
    assert run["state_type"] == "RUNNING"
    made = sorted(p.name for p in (store.folder / "bundles").iterdir())
    kill(servers, "deployments")

    ends = ("COMPLETED", "FAILED", "CRASHED")
    look_until(servers, lambda: api(addresses, f"/flow_runs/{run['id']}")["state_type"] in ends)
    state = api(addresses, f"/flow_runs/{run['id']}")
    assert state["state_name"] == "Completed", f"{state['state']}\n{logs(servers)}"
    tasks = api(addresses, "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert {t["name"] for t in tasks if t["state_name"] == "Cached"} >= {
        "trim",
        "adapt",
        "truncate",
        "prune_ffn",
        "prune_hidden",
    }
    assert set(made) <= {p.name for p in (store.folder / "bundles").iterdir()}
    record = store.read_record("runs", run["id"], RunRecord)
    assert record is not None
    distilled = store.details(record.steps["distil"].key)
    assert distilled.numbers.found()["resumed_at_step"] > 0
    assert not list((store.folder / "drafts").iterdir())
