"""The store under kills, damage, races and a full disk."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from pydantic import BaseModel

from ndogo.core.errors import NdogoError
from ndogo.registry.bundles import BundleRequest, Store
from ndogo.registry.integrity import MARK, damage

ROOT = Path(__file__).parents[2]


class Scored(BaseModel):
    score: float


def request(number: int = 0) -> BundleRequest:
    return BundleRequest(step="truncate", spec={"layers": number}, version=1, parents={"student": "abc"})


def copy_of(source: Path):
    def build(draft: Path) -> dict[str, float]:
        for file in source.iterdir():
            (draft / file.name).write_bytes(file.read_bytes())
        return {"layers": 2}

    return build


def test_key_is_stable_and_depends_on_every_field():
    assert (
        BundleRequest("trim", {"size": 5, "keep": []}, 1).key == BundleRequest("trim", {"keep": [], "size": 5}, 1).key
    )
    others = [
        BundleRequest("trim", {"size": 6}, 1),
        BundleRequest("trim", {"size": 5}, 2),
        BundleRequest("trim", {"size": 5}, 1, parents={"student": "a"}),
        BundleRequest("trim", {"size": 5}, 1, parents={"teacher": "a"}),
        BundleRequest("trim", {"size": 5}, 1, corpus="c"),
        BundleRequest("trim", {"size": 5}, 1, seed=0),
        BundleRequest("trim", {"size": 5}, 1, tokens=3),
        BundleRequest("adapt", {"size": 5}, 1),
    ]
    assert len({r.key for r in [*others, BundleRequest("trim", {"size": 5}, 1)]}) == len(others) + 1


def test_made_once_then_found(tmp_path: Path, pico_model):
    store, built = Store(tmp_path), []

    def build(draft: Path) -> dict[str, float]:
        built.append(draft)
        return copy_of(pico_model("xlmr"))(draft)

    made, found_first = store.find_or_make(request(), build)
    again, found_second = store.find_or_make(request(), build)
    assert (made, found_first, found_second) == (again, False, True)
    assert len(built) == 1
    details = store.details(made)
    assert details.numbers.found()["layers"] == 2
    assert details.numbers.params == 24672
    assert set(details.files) == {f.name for f in store.path(made).iterdir()} - {MARK}
    assert not list((tmp_path / "drafts").iterdir())


def test_a_failing_step_publishes_nothing_and_the_next_run_succeeds(tmp_path: Path, pico_model):
    store = Store(tmp_path)

    def fails(draft: Path) -> dict[str, float]:
        copy_of(pico_model("xlmr"))(draft)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        store.find_or_make(request(), fails)
    assert store.find(request().key) is None
    assert not list((tmp_path / "drafts").iterdir())
    assert store.find_or_make(request(), copy_of(pico_model("xlmr")))[1] is False


def test_what_does_not_load_strictly_is_not_published(tmp_path: Path, pico_model):
    def wrong(draft: Path) -> dict[str, float]:
        copy_of(pico_model("xlmr"))(draft)
        config = json.loads((draft / "config.json").read_text())
        (draft / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
        return {}

    store = Store(tmp_path)
    with pytest.raises(NdogoError, match=r"cannot be loaded|do not fit"):
        store.find_or_make(request(), wrong)
    assert store.find(request().key) is None


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", MARK])
def test_one_flipped_byte_is_noticed_reported_and_repaired(tmp_path: Path, pico_model, caplog, name: str):
    store = Store(tmp_path)
    bundle, _ = store.find_or_make(request(), copy_of(pico_model("xlmr")))
    file = store.path(bundle) / name
    content = bytearray(file.read_bytes())
    content[0 if name == MARK else len(content) // 2] ^= 1
    file.write_bytes(content)
    again, found = store.find_or_make(request(), copy_of(pico_model("xlmr")))
    assert not found and again == bundle
    assert "damaged" in caplog.text
    assert damage(store.path(bundle)) == ""
    assert len(list((tmp_path / "damaged").iterdir())) == 1


def test_a_full_disk_is_said_in_words(tmp_path: Path):
    def fills(draft: Path) -> dict[str, float]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NdogoError, match="no space left on the disk"):
        Store(tmp_path).find_or_make(request(), fills)
    assert not list((tmp_path / "drafts").iterdir())


def test_records_are_found_again_and_broken_ones_made_again(tmp_path: Path, caplog):
    store = Store(tmp_path)
    first, second = Scored(score=1.5), Scored(score=2.5)
    assert store.record("evaluations", "k", Scored, lambda: first) == (first, False)
    assert store.record("evaluations", "k", Scored, lambda: second) == (first, True)
    for broken in ("{", '{"points": 3}', '{"score": "high"}', "[]"):
        (tmp_path / "evaluations" / "k.json").write_text(broken)
        caplog.clear()
        assert store.record("evaluations", "k", Scored, lambda: second) == (second, False)
        assert "counts as absent" in caplog.text
    assert [found.score for found in store.read_records("evaluations", Scored)] == [2.5]


def test_a_step_json_of_another_form_is_damage(tmp_path: Path, pico_model):
    store = Store(tmp_path)
    bundle, _ = store.find_or_make(request(), copy_of(pico_model("xlmr")))
    mark = store.path(bundle) / MARK
    content = json.loads(mark.read_text())
    assert damage(store.path(bundle)) == ""
    mark.write_text(json.dumps({name: value for name, value in content.items() if name != "numbers"}))
    assert damage(store.path(bundle)) == f"no readable {MARK}"
    again, found = store.find_or_make(request(), copy_of(pico_model("xlmr")))
    assert not found and store.details(again).numbers.params == content["numbers"]["params"]


WORKER = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from ndogo.registry.bundles import BundleRequest, Store, sync
    from ndogo.registry import bundles

    store, source, log = Store(Path({store!r})), Path({source!r}), Path({log!r})

    def slow_sync(path, real=sync):
        time.sleep({pause})
        real(path)

    bundles.sync = slow_sync

    def build(draft):
        with log.open("a") as made:
            made.write("made\\n")
        for file in source.iterdir():
            (draft / file.name).write_bytes(file.read_bytes())
            time.sleep({pause})
        return {{}}

    bundle, found = store.find_or_make(BundleRequest(step="trim", spec={{}}, version=1), build)
    print("found" if found else "made", flush=True)
"""


def start(tmp_path: Path, source: Path, pause: float) -> subprocess.Popen:
    code = textwrap.dedent(WORKER).format(
        root=str(ROOT), store=str(tmp_path / "store"), source=str(source), log=str(tmp_path / "log"), pause=pause
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_two_processes_ask_for_one_key_one_makes_the_other_finds(tmp_path: Path, pico_model):
    workers = [start(tmp_path, pico_model("xlmr"), 0.05) for _ in range(2)]
    said = sorted(worker.communicate(timeout=120)[0].strip() for worker in workers)
    assert said == ["found", "made"]
    assert (tmp_path / "log").read_text().count("made") == 1


def test_killed_at_any_point_of_publishing_nothing_half_made_loads(tmp_path: Path, pico_model):
    """SIGKILL while files are written, hashed, synced and renamed; what is then found is whole or absent."""
    key = BundleRequest(step="trim", spec={}, version=1).key
    store = Store(tmp_path / "store")
    for delay in (0.0, 0.1, 0.25, 0.45):
        worker = start(tmp_path, pico_model("xlmr"), 0.06)
        while not list((tmp_path / "store" / "drafts").glob("*")) and worker.poll() is None:
            time.sleep(0.005)
        time.sleep(delay)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        if store.path(key).exists():
            assert damage(store.path(key)) == ""
    last = start(tmp_path, pico_model("xlmr"), 0.0)
    assert last.communicate(timeout=120)[0].strip() in ("made", "found")
    assert store.find(key) is not None
    assert not list((tmp_path / "store" / "drafts").iterdir())


def dangling(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


WRONG_KINDS = {"file": Path.touch, "folder": Path.mkdir, "link": dangling}
PLACES = ("bundles/{key}", "drafts/{key}-1", "work/{key}", "locks/{key}.lock")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", WRONG_KINDS)
def test_what_is_of_the_wrong_kind_is_put_out_of_the_way(tmp_path: Path, pico_model, place: str, kind: str):
    path = tmp_path / place.format(key=request().key)
    path.parent.mkdir(parents=True)
    WRONG_KINDS[kind](path)
    store = Store(tmp_path)
    bundle, found = store.find_or_make(request(), copy_of(pico_model("xlmr")))
    assert not found and damage(store.path(bundle)) == ""
    assert not (tmp_path / "work" / bundle.key).exists() and not list((tmp_path / "drafts").iterdir())
    assert store.find_or_make(request(), copy_of(pico_model("xlmr")))[1]


@pytest.mark.parametrize("kind", WRONG_KINDS)
def test_a_record_s_place_that_is_no_file_is_cleared(tmp_path: Path, kind: str):
    file = tmp_path / "evaluations" / "k.json"
    file.parent.mkdir()
    WRONG_KINDS[kind](file)
    store = Store(tmp_path)
    assert store.record("evaluations", "k", Scored, lambda: Scored(score=1.0)) == (Scored(score=1.0), False)
    assert store.record("evaluations", "k", Scored, lambda: Scored(score=2.0)) == (Scored(score=1.0), True)
    assert len(list((tmp_path / "damaged").iterdir())) == 1


@pytest.mark.parametrize("change", [{"files": {}}, {"key": "another"}, {"files": {"config.json": "0"}}, {"files": 3}])
def test_a_step_json_that_vouches_for_nothing_is_damage(tmp_path: Path, pico_model, change: dict[str, object]):
    store = Store(tmp_path)
    bundle, _ = store.find_or_make(request(), copy_of(pico_model("xlmr")))
    mark = store.path(bundle) / MARK
    mark.write_text(json.dumps(json.loads(mark.read_text()) | change))
    assert store.find(bundle.key) is None
    assert not store.find_or_make(request(), copy_of(pico_model("xlmr")))[1]


def test_what_a_refused_step_kept_goes_unless_it_is_a_checkpoint(tmp_path: Path):
    store = Store(tmp_path)
    work = store.work(request().key)
    for kept in ("corpus.arrow", "checkpoint.safetensors"):

        def refuses(draft: Path, name: str = kept) -> dict[str, float]:
            work.mkdir(parents=True, exist_ok=True)
            (work / name).touch()
            raise NdogoError("No.")

        with pytest.raises(NdogoError, match="No"):
            store.find_or_make(request(), refuses)
        assert work.exists() == (kept == "checkpoint.safetensors")
