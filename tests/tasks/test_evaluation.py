"""What an evaluation's record keeps when a part of it cannot be measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from ndogo.core.progress import silent
from ndogo.evaluation import Evaluation, EvaluationSettings
from ndogo.evaluation.records import DroppedColumns
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.bundles import Bundle
from ndogo.registry.languages import Language, add_language
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks.evaluation import evaluated, evaluation_key, key_of, metrics_of
from ndogo.tasks.run import Run
from ndogo.tasks.steps import find_or_make
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


def test_only_the_benchmarks_that_are_asked_for_are_read_and_judged(run, tmp_path: Path):
    asked = run.model_copy(update={"settings": EvaluationSettings(seeds=(1,), threads=1, benchmarks=("topic",))})
    key, record, _ = evaluated(asked, Bundle("original", run.original), silent)
    assert list(record.benchmarks) == ["topic"] and key != key_of(run, run.original)
    for file in tmp_path.rglob("ner/*.jsonl*"):
        file.write_bytes(b"not read")
    assert key_of(asked, run.original) == key, "what is not asked for names no evaluation"


def test_one_seed_has_no_standard_deviation_and_logs_none(run):
    _, record, _ = evaluated(run, Bundle("original", run.original), silent)
    assert record.benchmarks["pos"].std is None
    metrics = metrics_of(record)
    assert not [name for name in metrics if name.endswith("_std")]
    assert _numbers(metrics) == pytest.approx(metrics, abs=1e-4)  # rounded, for people who read them


@pytest.fixture
def trimmed(pico_model, tmp_path: Path) -> Run:
    """A run whose trim and the cut after it are made."""
    text, rows = tiny.write(tmp_path / "tiny")
    teacher = pico_model("xlmr")
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(teacher), benchmarks=str(rows)))
    run = tiny.run_of(parse_recipe("name: r\nsteps:\n  - trim: {size: 100}\n  - truncate: {layers: 1}"), teacher)
    for name in run.requests():
        find_or_make(run, name, silent)
    return run.model_copy(update={"settings": EvaluationSettings(seeds=(1,), threads=1)})


def test_dropped_columns_are_given_back_to_every_model_with_the_trimmed_vocabulary(trimmed):
    keys = trimmed.bundle_keys()
    found = {}
    for name in ("original", "trim", "truncate"):
        quality = evaluated(trimmed, Bundle(name, keys[name]), silent)[1].language_model
        assert quality is not None
        found[name] = quality
    dropped = {name: quality.dropped_columns_bits_per_byte for name, quality in found.items()}
    assert dropped["original"] == 0 < dropped["trim"] == dropped["truncate"]
    records = list(trimmed.store.read_records("dropped-columns", DroppedColumns))
    assert [record.bits_per_byte for record in records] == [dropped["trim"]], "measured once"


def test_an_evaluation_is_found_again_until_the_held_out_text_is_another(trimmed, monkeypatch):
    from ndogo.tasks import evaluation

    bundle, rows = Bundle("original", trimmed.original), benchmarks(trimmed.language, trimmed.profile)
    before = evaluation_key(trimmed, bundle, rows)
    assert evaluation_key(trimmed, bundle, rows) == before
    monkeypatch.setattr(evaluation, "held_out_fingerprint", lambda _: "another text")
    assert evaluation_key(trimmed, bundle, rows) != before


def test_held_out_text_that_a_student_was_trained_on_is_refused(trimmed, monkeypatch):
    """The pipeline itself looks for it, in every evaluation."""
    from ndogo.tasks import evaluation

    made = evaluation.corpus
    monkeypatch.setattr(evaluation, "corpus", lambda *asked: replace(made(*asked), held_out=made(*asked).lines))
    _, record, _ = evaluated(trimmed, Bundle("original", trimmed.original), silent)
    assert "occurs in the training text" in record.problems["language model"]


def test_another_device_has_an_evaluation_of_its_own_and_the_cpu_keeps_its_key(run, monkeypatch):
    """No GPU is needed to know a key: it is known before the work is placed."""
    key = key_of(run, run.original)
    monkeypatch.setattr("ndogo.tasks.evaluation.chosen", lambda: "cuda")
    assert key_of(run, run.original) != key
