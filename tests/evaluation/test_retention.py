import numpy as np
import pytest

from ndogo.core.errors import NdogoError
from ndogo.evaluation.records import BenchmarkScores, Evaluation, Spread
from ndogo.evaluation.retention import retention
from ndogo.evaluation.settings import EvaluationSettings


def record(right, model="m", seeds=(1, 2), settings=None) -> Evaluation:
    """A tagging model's evaluation: `right` has one list per seed of 0/1 per row of one word."""
    scores = [float(np.mean(r)) for r in right]
    pos = BenchmarkScores(
        **dict(Spread.of(scores)),
        kind="tags",
        metric="accuracy",
        others={"macro_f1": Spread.of([0.5])},
        chosen={"learning_rate": 1e-4},
        dev=scores,
        seeds=list(seeds),
        rows={"train": 5, "dev": 5, "test": len(right[0])},
        fingerprint="f",
        notes=[],
        items=[[[int(x), 1] for x in r] for r in right],
    )
    return Evaluation(
        version=2,
        model=model,
        parameters=1_000_000,
        settings=settings or EvaluationSettings(mode="finetune"),
        versions={"torch": "2"},
        benchmarks={"pos": pos},
        problems={},
        seconds=1.0,
    )


def changed(evaluation: Evaluation, **fields) -> Evaluation:
    """With other fields in its one benchmark."""
    pos = evaluation.benchmarks["pos"].model_copy(update=fields)
    return evaluation.model_copy(update={"benchmarks": {"pos": pos}})


def coin(share, rows=400, seed=0):
    return (np.random.default_rng(seed).random((2, rows)) < share).astype(int)


def test_retention_is_the_ratio_of_the_means():
    found = retention(record([[1, 1, 0, 0], [1, 0, 0, 0]]), record([[1, 1, 1, 1], [1, 1, 0, 0]]))
    assert found.benchmarks["pos"].retention == pytest.approx((3 / 8) / (6 / 8))
    assert found.mean.difference == pytest.approx(3 / 8 - 6 / 8)


def test_a_model_against_itself_makes_no_difference_at_all():
    one = record(coin(0.7))
    found = retention(one, one).mean
    assert found.difference_interval == (0.0, 0.0) and found.verdict == "no difference"
    assert found.retention_interval == (1.0, 1.0)


def test_a_clear_loss_is_worse_and_a_small_one_is_no_difference():
    teacher = coin(0.8)
    clear = teacher * (np.random.default_rng(1).random(teacher.shape) < 0.8)
    small = teacher.copy()
    small[:, :1] = 1 - small[:, :1]
    assert retention(record(clear), record(teacher)).mean.verdict == "worse"
    assert retention(record(teacher), record(clear)).mean.verdict == "better"
    assert retention(record(small), record(teacher)).mean.verdict == "no difference"


def test_pairing_makes_the_interval_narrower_than_independent_rows_would():
    teacher = coin(0.7)
    student = teacher.copy()
    student[:, :30] = 0
    paired = retention(record(student), record(teacher)).mean.difference_interval
    shuffled = np.random.default_rng(3).permutation(student.T).T
    unpaired = retention(record(shuffled), record(teacher)).mean.difference_interval
    assert paired[1] - paired[0] < 0.7 * (unpaired[1] - unpaired[0])


def test_the_interval_has_the_width_of_theory():
    """One seed, independent rows: the standard error of a mean difference, 1.96 of it on each side."""
    teacher, student = coin(0.5, 1000, 1)[:1], coin(0.5, 1000, 2)[:1]
    low, high = retention(record(student, seeds=(1,)), record(teacher, seeds=(1,))).mean.difference_interval
    error = np.std(student[0] - teacher[0]) / np.sqrt(1000)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_seeds_are_resampled_too():
    same_rows = [[1] * 70 + [0] * 30] * 2
    spread = [[1] * 90 + [0] * 10, [1] * 50 + [0] * 50]
    teacher = record(same_rows)
    narrow = retention(record(same_rows), teacher).mean.difference_interval
    wide = retention(record(spread), teacher).mean.difference_interval
    assert narrow == (0.0, 0.0) and wide[0] < -0.15 and wide[1] > 0.15


def test_the_resamples_are_centred_on_the_shown_mean():
    """probe scores a seed on a part of the rows, so the shown mean can differ from that of all rows."""
    teacher, student = record(coin(0.7)), record(coin(0.7))
    student = changed(student, mean=student.benchmarks["pos"].mean + 0.1)
    found = retention(student, teacher).mean
    assert found.difference_interval == pytest.approx((0.1, 0.1)) and found.verdict == "better"


@pytest.mark.parametrize("key", ["fingerprint", "seeds", "metric"])
def test_other_rows_or_seeds_are_not_compared(key):
    one = record(coin(0.7))
    other = changed(one, **{key: "other"})
    with pytest.raises(NdogoError, match=f"differ in their {key}"):
        retention(other, one)


def test_other_settings_or_nothing_in_common_are_refused():
    one = record(coin(0.7))
    with pytest.raises(NdogoError, match="different settings"):
        retention(record(coin(0.7), settings=EvaluationSettings(mode="probe")), one)
    other = one.model_copy(update={"benchmarks": {"ner": one.benchmarks["pos"]}})
    with pytest.raises(NdogoError, match="no benchmark in common"):
        retention(other, one)
