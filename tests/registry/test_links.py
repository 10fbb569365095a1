"""Bundles of a lineage share the files that a step left as they were."""

import errno
import os
import shutil
from pathlib import Path

from ndogo.registry.bundles import Bundle, BundleRequest, Store
from ndogo.registry.integrity import damage


def made(store: Store, source: Path, parent: str = "") -> tuple[Bundle, bool]:
    def build(draft: Path) -> dict[str, float]:
        shutil.copytree(source, draft, dirs_exist_ok=True)
        if parent:
            (draft / "web").mkdir()
            (draft / "web" / "one.bin").write_bytes(b"the same in two places of one bundle")
            shutil.copyfile(draft / "web" / "one.bin", draft / "two.bin")
        return {}

    return store.find_or_make(BundleRequest("export", {}, 1, parents={"student": parent} if parent else {}), build)


def node(store: Store, bundle: Bundle, name: str) -> tuple[int, int]:
    state = (store.path(bundle) / name).stat()
    return state.st_ino, state.st_nlink


def test_equal_files_lie_on_the_disk_once(tmp_path: Path, pico_model):
    store = Store(tmp_path)
    old, _ = made(store, pico_model("xlmr"))
    young, _ = made(store, pico_model("xlmr"), old.key)
    assert node(store, old, "model.safetensors") == node(store, young, "model.safetensors")
    assert node(store, young, "web/one.bin") == node(store, young, "two.bin")
    assert node(store, young, "two.bin")[1] == 2
    assert node(store, old, "step.json")[1] == node(store, young, "step.json")[1] == 1
    assert damage(store.path(old)) == damage(store.path(young)) == ""
    assert not list(store.path(young).rglob("*.link"))


def test_damage_of_a_shared_file_is_repaired_in_both(tmp_path: Path, pico_model):
    store = Store(tmp_path)
    old, _ = made(store, pico_model("xlmr"))
    young, _ = made(store, pico_model("xlmr"), old.key)
    file = store.path(old) / "model.safetensors"
    with file.open("r+b") as raw:
        raw.seek(file.stat().st_size // 2)
        raw.write(b"\0\1\2\3")
    assert made(store, pico_model("xlmr"), old.key) == (young, False)  # the parent's file is damaged: it is not shared
    assert damage(store.path(young)) == ""
    assert damage(store.path(old)) == "the hash of model.safetensors differs"
    assert made(store, pico_model("xlmr")) == (old, False)
    assert damage(store.path(old)) == ""


def test_without_hard_links_files_are_copies(tmp_path: Path, pico_model, monkeypatch):
    def refuses(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuses)
    store = Store(tmp_path)
    old, _ = made(store, pico_model("xlmr"))
    young, _ = made(store, pico_model("xlmr"), old.key)
    assert node(store, young, "model.safetensors")[1] == 1
    assert damage(store.path(young)) == ""
