"""Cleaning never takes a champion's lineage, and nothing at all when the registry cannot say who the champions are."""

import os
import time
from pathlib import Path

import pytest

from ndogo.core.errors import NdogoError
from ndogo.registry import model_registry
from ndogo.registry.bundles import Bundle, BundleRequest, Store, open_store
from ndogo.registry.cleaning import clean, lineage

LONG_AGO = time.time() - 90 * 86_400


def bundle(store: Store, source: Path, name: str, parent: str = "") -> Bundle:
    def build(draft: Path) -> dict[str, float]:
        for file in source.iterdir():
            (draft / file.name).write_bytes(file.read_bytes())
        return {}

    parents = {"student": parent} if parent else {}
    made, _ = store.find_or_make(BundleRequest("trim", {"name": name}, 1, parents=parents), build)
    os.utime(store.path(made) / "step.json", (LONG_AGO, LONG_AGO))
    return made


def test_only_what_no_registered_model_descends_from_goes(pico_model):
    store = open_store()
    source = pico_model("xlmr")
    old = bundle(store, source, "teacher")
    champion = bundle(store, source, "champion", old.key)
    alone = bundle(store, source, "alone")
    fresh = bundle(store, source, "fresh")
    os.utime(store.path(fresh) / "step.json")
    (store.folder / "drafts" / "deadbeef-1").mkdir(parents=True)
    registry = model_registry.client(store)
    run = registry.create_run(registry.create_experiment("e", (store.folder / "artifacts").as_uri())).info.run_id
    model_registry.register(store, "ndogo-test", run, champion, {}, {})

    would = {f.name for f in clean(store, 30, pretend=True)}
    assert would == {alone.key, "deadbeef-1"}
    assert {f.name for f in clean(store, 30)} == would
    assert {f.name for f in (store.folder / "bundles").iterdir()} == {old.key, champion.key, fresh.key}
    assert lineage(store, {champion.key}) == {champion.key, old.key}


def test_a_bundle_outlives_those_that_it_shares_files_with(pico_model):
    store = open_store()
    old = bundle(store, pico_model("xlmr"), "teacher")
    young = bundle(store, pico_model("xlmr"), "export", old.key)
    os.utime(store.path(young) / "step.json")
    assert [folder.name for folder in clean(store, 30)] == [old.key]
    assert (store.path(young) / "model.safetensors").stat().st_nlink == 1
    assert store.find(young.key) == young


def test_nothing_goes_when_the_registry_cannot_be_reached(pico_model, monkeypatch):
    store = open_store()
    alone = bundle(store, pico_model("xlmr"), "alone")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(NdogoError, match="nothing was removed"):
        clean(store, 0)
    assert store.path(alone).is_dir()


def test_a_served_model_fills_masks_and_the_same_bundle_is_one_version(pico_model):
    import json

    import mlflow

    store = open_store()
    made = bundle(store, pico_model("xlmr"), "served")
    registry = model_registry.client(store)
    run = registry.create_run(registry.create_experiment("e", (store.folder / "artifacts").as_uri())).info.run_id
    version = model_registry.register(store, "ndogo-served", run, made, {"retention": 0.9}, {})
    again = model_registry.register(store, "ndogo-served", run, made, {"retention": 0.9}, {})
    assert (version.version, len(model_registry.versions(store, "ndogo-served"))) == (again.version, 1)
    model_registry.promote(store, "ndogo-served", version.version, {"gate": "passed"})
    champion = model_registry.by_alias(store, "ndogo-served", model_registry.CHAMPION)
    assert champion is not None and champion.tags["gate"] == "passed"
    (listed,) = model_registry.versions(store, "ndogo-served")
    assert listed.aliases == (model_registry.CHALLENGER, model_registry.CHAMPION)
    served = mlflow.pyfunc.load_model("models:/ndogo-served@champion")
    (answer,) = served.predict(["Mtoto anasoma <mask>."])
    best = json.loads(answer)[0]
    assert 0 < best["score"] <= 1 and best["token_str"]
    files = {
        f.name
        for f in Path(mlflow.artifacts.download_artifacts("models:/ndogo-served@champion")).rglob("*")
        if f.is_file()
    }
    assert not {f for f in files if f.endswith((".pkl", ".bin", ".pt"))}
