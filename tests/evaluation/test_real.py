"""Real Swahili rows and a real teacher: its frozen states know more than the most frequent label."""

import itertools
from collections import Counter
from pathlib import Path

import pytest

from ndogo.evaluation import Benchmark, EvaluationSettings, checked, evaluate, json_rows
from ndogo.evaluation.scores import METRICS, gold_of, score

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
ROWS = {"train": 400, "dev": 100, "test": 200}
NAMES = ("sentiment", "topic", "ner", "pos")


def few(folder: Path, name: str) -> Benchmark:
    """Some rows of each split of a local source, evenly drawn: some files are sorted by label."""
    place = folder / "tasks" / name / "swa"
    whole = {split: list(json_rows(place / f"{split}.jsonl.gz")) for split in ROWS}
    return checked(name, {split: whole[split][:: max(1, len(whole[split]) // n)][:n] for split, n in ROWS.items()})


def majority(benchmark: Benchmark) -> float:
    """What the most frequent label or tag of train scores on test."""
    answers = [gold_of(row) for row in benchmark.splits["train"]]
    tagged = benchmark.kind != "classes"
    (most, _), *_ = Counter(itertools.chain.from_iterable(answers) if tagged else answers).most_common(1)
    test = benchmark.splits["test"]
    guesses = [[most] * len(gold_of(row)) if tagged else most for row in test]
    return score(benchmark, test, guesses)[METRICS[benchmark.kind][0]]


def test_a_frozen_real_teacher_beats_the_majority_on_real_rows(shared: Path):
    benchmarks = [few(shared / "data", name) for name in NAMES]
    record = evaluate(shared / "teacher", benchmarks, EvaluationSettings(seeds=(1, 2), threads=1))
    assert record.problems == {}
    for benchmark in benchmarks:
        found = record.benchmarks[benchmark.name]
        assert found.rows["train"] == ROWS["train"]
        assert found.mean > majority(benchmark) + 0.05, benchmark.name
