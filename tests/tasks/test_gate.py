"""The gate: what keeps a challenger from becoming the champion, in words."""

from typing import Any

import pytest

from ndogo.steps.recipe import Budget
from ndogo.tasks.gate import fallen, over_budget


@pytest.fixture
def judged() -> Any:
    """Records of the evaluation's own form: made by it, from predictions of known quality."""
    from ndogo.evaluation import checked
    from ndogo.evaluation.scores import METRICS, counts, score

    rows = [{"tokens": ["a", "b"], "tags": ["NOUN", "VERB"]} for _ in range(200)]
    named = [(f"row {n}", row) for n, row in enumerate(rows)]
    benchmark = checked("pos", {"train": named, "dev": named, "test": named})

    def make(wrong: int) -> dict[str, Any]:
        test = benchmark.splits["test"]
        predictions = [("VERB", "VERB") if n < wrong else ("NOUN", "VERB") for n in range(len(test))]
        first = METRICS[benchmark.kind][0]
        found = {
            "kind": benchmark.kind,
            "metric": first,
            "mean": score(benchmark, test, predictions)[first],
            "seeds": [1, 2, 3],
            "fingerprint": benchmark.fingerprint(),
            "items": [counts(benchmark, test, predictions)] * 3,
        }
        return {"version": 1, "settings": {}, "model": "m", "benchmarks": {"pos": found}}

    return make


def test_what_is_as_good_or_better_passes(judged):
    assert fallen(judged(20), judged(20), "version 1") == []
    assert fallen(judged(5), judged(20), "version 1") == []


def test_a_fall_beyond_doubt_names_number_amount_and_version(judged):
    (said,) = fallen(judged(90), judged(20), "version 7")
    assert said.startswith("pos fell by 17.5 points (95% interval -")
    assert said.endswith("against version 7")


def test_a_small_fall_within_a_point_is_no_fall(judged):
    assert fallen(judged(22), judged(20), "version 1") == []


def test_the_budget_is_a_limit_in_the_recipe():
    assert over_budget(None, {"params": 5.0}) == []
    assert over_budget(Budget(params=10, size_mb=1.0), {"params": 10.0, "size_mb": 1.0}) == []
    assert over_budget(Budget(params=10), {"params": 11.0, "size_mb": 1.0}) == ["params is 11, the budget 10"]
