"""The hub profile from end to end: real clients in processes of their own, the real layouts, and the hub gone at the end."""

import json
from pathlib import Path

import pytest

from tests.hub import repositories
from tests.hub.clients import Machine
from tests.hub.server import running

COPY = "benchmarks: {pos: 'hf:mama/masakhapos-swa:swa'}\n"
"""The user's one line: part-of-speech rows that the hub's own repository only has a script for."""


def records(machine: Machine, kind: str) -> list[dict]:
    files = sorted((machine.home / kind).glob("*.json"), key=lambda f: f.stat().st_mtime)
    return [json.loads(file.read_text()) for file in files]


@pytest.fixture
def compressed(tmp_path: Path):
    """A machine on which both recipes ran while the hub was there, and the hub."""
    with running() as hub:
        repositories.add_world(hub)
        machine = Machine(hub, tmp_path, OMP_NUM_THREADS="1")
        (machine.home / "languages").mkdir(parents=True)
        (machine.home / "languages" / "swahili.yaml").write_text(COPY)
        for recipe in ("trim-only", "ndogo-small"):
            done = machine.ndogo("compress", "swahili", "--recipe", recipe)
            assert done.returncode == 0, done.stderr[-3000:]
        yield machine, hub


@pytest.mark.timeout(900)
def test_both_recipes_run_with_all_benchmarks_and_again_without_a_hub(compressed):
    machine, hub = compressed
    trim_only, small = records(machine, "runs")
    for record in (trim_only, small):
        assert record["state"] == "COMPLETED"
        for judged in record["evaluations"].values():
            assert {"sentiment", "topic", "ner", "pos"} <= set(judged["metrics"])
            assert judged["problems"] == {}
    sources = small["run"]["sources"]
    teacher = {f"models/{repositories.TEACHER}@main": hub.find("model", repositories.TEACHER).refs["main"]}
    text = {"datasets/cis-lmu/GlotCC-V1@main": hub.find("dataset", "cis-lmu/GlotCC-V1").refs["main"]}
    assert (sources["teacher"], sources["corpus"]) == (teacher, text)
    assert "datasets/Davlan/sib200@refs/convert/parquet" in sources["benchmarks"]

    def details(step: str) -> dict:
        return json.loads((machine.home / "bundles" / small["steps"][step]["key"] / "step.json").read_text())

    assert details("original")["sources"] == teacher
    assert details("trim")["sources"] == details("distil")["sources"] == text
    assert set(hub.bodies().values()) == {1}, "no file's body is sent twice"

    asked = len(hub.requests)
    hub.vanish()
    evaluations = records(machine, "evaluations")
    done = machine.ndogo("compress", "swahili", "--recipe", "ndogo-small")
    assert done.returncode == 0, done.stderr[-3000:]
    assert records(machine, "evaluations") == evaluations, "everything was found"
    assert records(machine, "runs")[-1]["run"]["sources"] == sources
    assert len(hub.requests) == asked


def test_a_new_language_is_one_command(tmp_path: Path):
    with running() as hub:
        repositories.add_world(hub)
        machine = Machine(hub, tmp_path)
        add = ["languages", "add", "--name", "kimvita", "--corpus", "hf:cis-lmu/GlotCC-V1:swh-Latn:train"]
        add += ["--benchmarks", "topic=hf:Davlan/sib200:swh_Latn", "--benchmarks", "pos=hf:mama/masakhapos-swa:swa"]
        refused = machine.ndogo(*add, "--benchmarks", "ner=hf:masakhane/masakhaner3:swa")
        assert refused.returncode == 1
        assert "Did you mean masakhane/masakhaner2?" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert not list(machine.home.glob("languages/*"))
        done = machine.ndogo(*add, NDOGO_PROFILE="")
        assert done.returncode == 0, done.stderr
        code = """
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.corpora import corpus, default_profile
from ndogo.registry.languages import language
profile = default_profile(language("kimvita"))
answer = [profile, [b.name for b in benchmarks("kimvita", profile)], sum(1 for _ in corpus("kimvita", profile).lines())]
"""
        profile, names, lines = machine.ask(code, NDOGO_PROFILE="")
        assert (profile, names) == ("hub", ["topic", "pos"])
        assert lines > repositories.LINES * 0.97
