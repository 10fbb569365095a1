"""Which benchmarks a language or a group has, and that a run is refused before any work where it asks for another."""

import json
from pathlib import Path

import pytest

from ndogo.core.errors import NdogoError
from ndogo.evaluation import Benchmark, EvaluationSettings
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.bundles import open_store
from ndogo.registry.languages import Language, add_language
from ndogo.tasks.run import Asked, resolve
from tests import tiny


def test_the_local_benchmarks_of_a_group_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NDOGO_DATA", str(tmp_path))
    for code in ("swa", "hau"):
        folder = tmp_path / "tasks" / "topic" / code
        folder.mkdir(parents=True)
        for split in ("train", "dev", "test"):
            made = [json.dumps(row) for row in tiny.rows("topic", split)]
            (folder / f"{split}.jsonl").write_text("\n".join(made))
    found = benchmarks("comet-five", "local")
    assert len({one.name for one in found}) == len(found) == 20
    whole = {one.name for one in found if isinstance(one, Benchmark)}
    assert whole == {"topic_swahili", "topic_hausa"}
    asked = benchmarks("comet-five", "local", asked=EvaluationSettings(benchmarks=("topic_hausa",)).asks)
    assert [one.name for one in asked] == ["topic_hausa"]


def test_a_benchmark_that_there_is_not_is_refused_before_any_work(pico_model, tmp_path: Path):
    text, rows = tiny.write(tmp_path / "tiny")
    teacher = str(pico_model("xlmr"))
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=teacher, benchmarks=str(rows)))
    asked = Asked(tiny.NAME, "trim-only", "local", 0, mode=EvaluationSettings(benchmarks=("topic_swahili",)))
    with pytest.raises(NdogoError, match=r"no benchmark `topic_swahili`(.|\n)*topic"):
        resolve(open_store(), "run", asked)
