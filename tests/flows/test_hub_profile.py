"""The hub profile from end to end: real clients in processes of their own, the real layouts, and the hub gone at the end."""

import json
import os
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


SHORT = """
name: short
about: The steps of ndogo-small, each as short as can be
evaluate: ends
steps:
  - trim: {coverage: 0.9995}
  - adapt: {epochs: 1, batch_size: 32, learning_rate: 3.0e-4}
  - truncate: {layers: 6/12, keep: stride}
  - prune_ffn: {size: 1/2, importance: activation}
  - prune_hidden: {size: 1/2, select: pca, heads: shrink}
  - distil: {teacher: adapt, objective: {mlm: 1.0, direct: 10.0}, epochs: 1, batch_size: 32, learning_rate: 1.0e-3}
"""
RECIPES = os.environ.get("NDOGO_HUB_RECIPES", "trim-only,short.yaml").split(",")
"""The first runs with the hub there, all of them without it: `trim-only,ndogo-small` takes minutes."""


@pytest.mark.timeout(1800)
def test_recipes_run_with_all_benchmarks_and_without_a_hub(tmp_path: Path):
    with running() as hub:
        repositories.add_world(hub)
        machine = Machine(hub, tmp_path, OMP_NUM_THREADS="1")
        (machine.home / "languages").mkdir(parents=True)
        (machine.home / "languages" / "swahili.yaml").write_text(COPY)
        (tmp_path / "short.yaml").write_text(SHORT)
        compress(machine, RECIPES[0])
        assert set(hub.bodies().values()) == {1}, "no file's body is sent twice"
        asked = len(hub.requests)
        hub.vanish()
        first = records(machine, "evaluations")
        for recipe in RECIPES[1:]:
            compress(machine, recipe)
        assert len(hub.requests) == asked
        teacher = {f"models/{repositories.TEACHER}@main": hub.find("model", repositories.TEACHER).refs["main"]}
        text = {"datasets/cis-lmu/GlotCC-V1@main": hub.find("dataset", "cis-lmu/GlotCC-V1").refs["main"]}

    online, offline = records(machine, "runs")
    for record in (online, offline):
        assert record["state"] == "COMPLETED"
        for judged in record["evaluations"].values():
            assert {"sentiment", "topic", "ner", "pos"} <= set(judged["metrics"])
            assert judged["problems"] == {}
        sources = record["run"]["sources"]
        assert (sources["teacher"], sources["corpus"]) == (teacher, text)
        assert "datasets/Davlan/sib200@refs/convert/parquet" in sources["benchmarks"]
    assert first[0] in records(machine, "evaluations")
    assert online["evaluations"]["original"]["key"] == offline["evaluations"]["original"]["key"], "found again"
    for step, expected in (("original", teacher), ("trim", text), ("distil", text), ("truncate", {})):
        details = json.loads((machine.home / "bundles" / offline["steps"][step]["key"] / "step.json").read_text())
        assert details["sources"] == expected


def compress(machine: Machine, recipe: str) -> None:
    """Run a recipe to its end."""
    done = machine.ndogo("compress", "swahili", "--recipe", recipe)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_new_language_is_one_command(tmp_path: Path):
    with running() as hub:
        repositories.add_world(hub)
        machine = Machine(hub, tmp_path)
        add = ["languages", "add", "--name", "kimvita", "--corpus", "hf:cis-lmu/GlotCC-V1:swh-Latn:train"]
        add += ["--benchmarks", "topic=hf:Davlan/sib200:swh_Latn", "--benchmarks", "pos=hf:mama/masakhapos-swa:swa"]
        refused = machine.ndogo(*add, "--benchmarks", "ner=hf:masakhane/masakhaner3:swa")
        assert refused.returncode == 1
        assert "Did you mean masakhane/masakhaner2" in refused.stderr
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
        assert (profile, sorted(names)) == ("hub", ["pos", "topic"])
        assert lines > repositories.LINES * 0.97
