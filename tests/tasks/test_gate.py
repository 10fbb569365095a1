"""The gate: what keeps a challenger from becoming the champion, in words."""

from collections.abc import Callable

import pytest

from ndogo.evaluation import Evaluation
from ndogo.steps.recipe import Budget
from ndogo.tasks.gate import fallen, over_budget


@pytest.fixture
def judged() -> Callable[[int], Evaluation]:
    """Evaluations made as the judge makes them, from predictions of known quality."""
    from ndogo.evaluation import EvaluationSettings, checked
    from ndogo.evaluation.finetune import Judged
    from ndogo.evaluation.judge import entry

    rows = [{"tokens": ["a", "b"], "tags": ["NOUN", "VERB"]} for _ in range(200)]
    named = [(f"row {n}", row) for n, row in enumerate(rows)]
    benchmark = checked("pos", {"train": named, "dev": named, "test": named})
    settings = EvaluationSettings()

    def make(wrong: int) -> Evaluation:
        guesses = [("VERB", "VERB") if n < wrong else ("NOUN", "VERB") for n in range(len(rows))]
        scores = entry(benchmark, settings, Judged({}, [0.0] * 3, [guesses] * 3))
        return Evaluation(
            version=1,
            model="m",
            parameters=1,
            settings=settings,
            versions={},
            benchmarks={"pos": scores},
            problems={},
            seconds=0.0,
        )

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
