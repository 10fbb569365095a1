"""The sweep on a real local Dask cluster gives what the default runner gives, to the last bit, and each finds the other's."""

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from ndogo.core.errors import NdogoError
from ndogo.core.threads import threads
from ndogo.flows.sweep import dask, sweep
from ndogo.registry.bundles import Store, open_store
from ndogo.registry.languages import Language, add_language
from ndogo.registry.model_registry import client
from ndogo.tasks import comparison, notes
from ndogo.tasks.run_record import RUNS, RunRecord
from tests import pico, tiny

RECIPES = {
    "narrow": "steps:\n  - trim: {size: 100}\n  - prune_ffn: {size: 1/2, importance: magnitude}",
    "taught": "steps:\n  - trim: {size: 100}\n  - truncate: {layers: 1/2}\n"
    "  - distil: {teacher: trim, objective: {logits_kl: 1}, steps: 2, batch_size: 4, max_length: 32}",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes the named store, with the tiny language and two recipes, the current one."""
    corpus, benchmarks = tiny.write(tmp_path / "tiny")
    teacher = pico.xlmr(tmp_path / "teacher")

    def use(name: str) -> Store:
        monkeypatch.setenv("NDOGO_HOME", str(tmp_path / name))
        add_language(Language(name=tiny.NAME, corpus=str(corpus), teacher=str(teacher), benchmarks=str(benchmarks)))
        for recipe, steps in RECIPES.items():
            file = tmp_path / name / "recipes" / f"{recipe}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"name: {recipe}\n{steps}\n")
        return open_store()

    return use


@contextlib.contextmanager
def makers(store: Store) -> Iterator[set[int]]:
    """The ids of the processes that make bundles meanwhile: a draft's name ends with its maker's."""
    seen: set[int] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            seen.update(int(draft.name.split("-")[1]) for draft in store.folder.glob("drafts/*-*"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


@pytest.mark.servers
@pytest.mark.timeout(300)
def test_dask_workers_make_the_same_bundles_in_processes_of_their_own(home, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    asked = ([tiny.NAME], list(RECIPES), [0, 1])
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        here = home("here")
        expected = sweep(*asked).rows
        spread = home("spread")
        with makers(spread) as processes:
            found, outcome, _ = dask(sweep, None)(*asked)
        made = stamps(spread)
        again, same, _ = sweep(*asked)
    assert found == expected == again
    for kind in ("bundles", "evaluations"):
        names = sorted(path.name for path in (here.folder / kind).iterdir())
        assert names == sorted(path.name for path in (spread.folder / kind).iterdir())
        assert len(names) == {"bundles": 6, "evaluations": 4}[kind], "the trim and the truncation are shared"
    for folder in (here.folder / "bundles").iterdir():
        assert weights(here, folder.name) == weights(spread, folder.name)
    assert not list((spread.folder / "drafts").iterdir())
    assert stamps(spread) == made, "a bundle was made again"
    assert processes - {os.getpid()}, "no worker made a bundle"
    assert outcome == same, "the same sweep has one page"
    page = (outcome / comparison.PAGE).read_text()
    linked = parse_qs(page.split("compare-runs?")[1].rstrip(")\n"))
    assert len(json.loads(linked["runs"][0])) == 4 and len(json.loads(linked["experiments"][0])) == 1
    assert (outcome / comparison.PICTURE).read_bytes().startswith(b"\x89PNG")
    logged = client(spread).search_runs([client(spread).get_experiment_by_name("sweeps").experiment_id])
    assert len(logged) == 1 and len(logged[0].data.metrics) == len(found)
    assert {file.path for file in client(spread).list_artifacts(logged[0].info.run_id)} == {
        comparison.PAGE,
        comparison.PICTURE,
    }
    assert not notes.unregistered(spread), "a sweep compares; its models are not registered, by a later sync neither"


@pytest.mark.servers
@pytest.mark.timeout(300)
def test_a_run_that_fails_leaves_the_others_their_results(home):
    store = home("here")
    broken = "name: broken\nsteps:\n  - adapt: {steps: 3, learning_rate: 1.0e+12, batch_size: 4, max_length: 32}\n"
    (store.folder / "recipes" / "broken.yaml").write_text(broken)
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        state = sweep([tiny.NAME], ["broken", "narrow"], [0], return_state=True)
        rows, folder, failed = state.result()
        assert (state.name, state.message) == ("Partial", "1 of 2 runs failed: tiny-broken-0")
        with pytest.raises(NdogoError, match="No run of the sweep"):
            sweep([tiny.NAME], ["broken"], [0])
    assert [row.recipe for row in rows] == ["narrow"]
    assert "**tiny-broken-0 failed**" in (folder / comparison.PAGE).read_text() and failed["tiny-broken-0"]
    states = {record.name: record.state for record in store.read_records(RUNS, RunRecord)}
    assert states == {"tiny-broken-0": "FAILED", "tiny-narrow-0": "COMPLETED"}
    runs = client(store).search_runs([client(store).get_experiment_by_name("compress/tiny").experiment_id])
    assert {run.info.status for run in runs if run.data.tags["level"] == "pipeline"} == {"FINISHED", "FAILED"}


def weights(store: Store, key: str) -> bytes:
    return (store.path(key) / "model.safetensors").read_bytes()


def stamps(store: Store) -> dict[str, int]:
    """When each bundle's weights were written; finding one leaves them alone."""
    return {file.parent.name: file.stat().st_mtime_ns for file in store.folder.glob("bundles/*/model.safetensors")}


def test_threads_are_those_asked_for(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
