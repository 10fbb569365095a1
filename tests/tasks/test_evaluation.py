"""What an evaluation's record keeps when a part of it cannot be measured."""

from pathlib import Path

import pytest

from ndogo.core.progress import silent
from ndogo.evaluation import Evaluation, EvaluationSettings
from ndogo.registry.bundles import Bundle
from ndogo.registry.languages import Language, add_language
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks.evaluation import evaluated, metrics_of
from ndogo.tasks.run import Run
from ndogo.tasks.tracking import _numbers
from tests import tiny


@pytest.fixture
def run(pico_model, tmp_path: Path) -> Run:
    text, benchmarks = tiny.write(tmp_path / "tiny")
    long = "neno " * 100
    text.write_text(
        "".join(f"{long}{n}.\n" for n in range(300)), encoding="utf-8"
    )  # held-out lines are too long to judge by
    teacher = pico_model("bert")
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(teacher), benchmarks=str(benchmarks)))
    found = tiny.run_of(parse_recipe("name: r\nsteps:\n  - truncate: {layers: 1}"), teacher)
    return found.model_copy(update={"settings": EvaluationSettings(seeds=(1,), threads=1)})


def test_a_failed_language_model_measurement_keeps_the_benchmarks_and_says_why(run):
    key, record, found = evaluated(run, Bundle("original", run.original), silent)
    assert not found
    assert set(record.benchmarks) == {"sentiment", "topic", "ner", "pos"}
    assert "no line of at most 300 bytes" in record.problems["language model"]
    assert record.language_model is None
    assert run.store.read_record("evaluations", key, Evaluation) == record


def test_one_seed_has_no_standard_deviation_and_logs_none(run):
    _, record, _ = evaluated(run, Bundle("original", run.original), silent)
    assert record.benchmarks["pos"].std is None
    metrics = metrics_of(record)
    assert not [name for name in metrics if name.endswith("_std")]
    assert _numbers(metrics) == metrics
