"""Cleaning never takes a champion's lineage, and nothing at all when the registry cannot say who the champions are."""

import os
import time
from pathlib import Path

import pytest

from ndogo.core.errors import NdogoError
from ndogo.registry import artifacts, model_registry
from ndogo.registry.bundles import Bundle, BundleRequest, Store, open_store
from ndogo.registry.champions import Crowned
from ndogo.registry.cleaning import clean, freed, lineage

LONG_AGO = time.time() - 90 * 86_400


def bundle(store: Store, source: Path, name: str, parent: str = "") -> Bundle:
    def build(draft: Path) -> dict[str, float]:
        for file in source.iterdir():
            (draft / file.name).write_bytes(file.read_bytes())
        (draft / "model.safetensors").chmod(0o600)  # as safetensors writes it
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
    for said, used in (("said-long-ago", LONG_AGO), ("said-today", time.time())):
        (store.folder / "teacher" / said).mkdir(parents=True)
        os.utime(store.folder / "teacher" / said, (used, used))
    registry = model_registry.client(store)
    run = registry.create_run(registry.create_experiment("e", (store.folder / "artifacts").as_uri())).info.run_id
    model_registry.register(store, "ndogo-test", run, champion, {}, {})

    would = {one.path.name for one in clean(store, 30, pretend=True)}
    assert would == {alone.key, "deadbeef-1", "said-long-ago"}
    assert {one.path.name for one in clean(store, 30)} == would
    assert {f.name for f in (store.folder / "bundles").iterdir()} == {old.key, champion.key, fresh.key}
    assert lineage(store, {champion.key}) == {champion.key, old.key}


def test_a_bundle_outlives_those_that_it_shares_files_with(pico_model):
    store = open_store()
    old = bundle(store, pico_model("xlmr"), "teacher")
    young = bundle(store, pico_model("xlmr"), "export", old.key)
    os.utime(store.path(young) / "step.json")
    assert [one.path.name for one in clean(store, 30)] == [old.key]
    assert (store.path(young) / "model.safetensors").stat().st_nlink == 1
    assert store.find(young.key) == young


def test_what_mlflow_keeps_of_a_bundle_is_the_same_bytes_and_goes_with_it(pico_model):
    """On a store of copies the bytes lie there three times, and stay when the bundle goes."""
    store = open_store()
    registry = model_registry.client(store)
    run = registry.create_run(registry.create_experiment("e", (store.folder / "artifacts" / "e").as_uri())).info.run_id
    old, new = (bundle(store, pico_model("xlmr"), name) for name in ("old", "new"))
    for made in (old, new):
        model_registry.register(store, "ndogo-test", run, made, {}, {})
        os.utime(store.path(made) / "step.json", (LONG_AGO, LONG_AGO))
    kept = [path for key, path in artifacts.of_bundles(store) if key == old.key]
    assert len(kept) == 1 and (kept[0] / "model.safetensors").samefile(store.path(old) / "model.safetensors")
    whole = sum(file.stat().st_size for file in store.path(old).iterdir())

    gone = clean(store, 30, pretend=True)
    assert {(one.kind, one.path) for one in gone} == {("bundles", store.path(old)), ("MLflow's copies", kept[0])}
    counted = freed(gone)
    assert sum(size for _, size in counted.values()) == whole
    before = disk(store.folder)
    clean(store, 30)
    assert before - disk(store.folder) == sum(size for _, size in counted.values())
    assert [key for key, _ in artifacts.of_bundles(store)] == [new.key]
    versions = {v.tags["bundle"]: v.tags for v in model_registry.versions(store, "ndogo-test")}
    assert "files" in versions[old.key] and "files" not in versions[new.key]


def disk(folder: Path) -> int:
    """Bytes of the files below a folder but MLflow's database, one of several names counted once."""
    found = {f.stat().st_ino: f.stat().st_size for f in folder.rglob("*") if f.is_file() and "mlflow.db" not in f.name}
    return sum(found.values())


def test_files_may_be_read_by_whom_their_folder_lets_in(pico_model):
    store = open_store()
    private = store.path(bundle(store, pico_model("xlmr"), "a"))
    before = os.umask(0o027)
    try:
        shared = store.path(bundle(store, pico_model("xlmr"), "b"))
    finally:
        os.umask(before)
    for folder in (private, shared):
        modes = {file.name: file.stat().st_mode & 0o666 for file in folder.iterdir()}
        assert set(modes.values()) == {folder.stat().st_mode & 0o666}, modes
    assert (shared / "model.safetensors").stat().st_mode & 0o777 == 0o640


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
    model_registry.promote(store, "ndogo-served", version.version, Crowned(bundle=made.key, version="1", benchmarks=[]))
    champion = model_registry.by_alias(store, "ndogo-served", model_registry.CHAMPION)
    assert champion is not None and champion.version == version.version
    (listed,) = model_registry.versions(store, "ndogo-served")
    assert listed.aliases == (model_registry.CHALLENGER, model_registry.CHAMPION, model_registry.REFERENCE)
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
