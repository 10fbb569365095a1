import numpy as np
import pytest

from ndogo.core.errors import NdogoError
from ndogo.evaluation.records import BenchmarkScores, Evaluation, Spread
from ndogo.evaluation.retention import gap_closed, retention
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
        remarks=[],
        items=[[[int(x), 1] for x in r] for r in right],
    )
    return Evaluation(
        version=3,
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


def test_judging_seeds_are_resampled_too():
    same_rows = [[1] * 70 + [0] * 30] * 2
    spread = [[1] * 90 + [0] * 10, [1] * 50 + [0] * 50]
    teacher = record(same_rows)
    narrow = retention(record(same_rows), teacher).mean.difference_interval
    wide = retention(record(spread), teacher).mean.difference_interval
    assert narrow == (0.0, 0.0) and wide[0] < -0.15 and wide[1] > 0.15


def test_three_compression_seeds_add_their_own_spread_and_fewer_do_not():
    """half-width^2 = (1.96 s_rows)^2 + (t s_seeds)^2, computed here by hand."""
    teacher = [record([[1] * 100] * 2)] * 3
    students = [record([[1] * right + [0] * (100 - right)] * 2) for right in (80, 84, 94)]
    three, two = retention(students, teacher), retention(students[:2], teacher[:2])
    low, high = three.mean.difference_interval
    values = np.array([-0.20, -0.16, -0.06])
    assert three.mean.difference == pytest.approx(values.mean())
    seeds = 4.303 * values.std(ddof=1) / np.sqrt(3)  # t of two degrees of freedom
    # 80 rows are always right, 4, 10 and 6 for three, two or one seeds of three
    rows = 1.96 * np.sqrt(np.var([3 / 3] * 80 + [2 / 3] * 4 + [1 / 3] * 10 + [0] * 6) / 100)
    assert (high - low) / 2 == pytest.approx(np.sqrt(rows**2 + seeds**2), rel=0.03)
    low, high = two.mean.difference_interval
    rows = 1.96 * np.sqrt(np.var([1.0] * 80 + [0.5] * 4 + [0.0] * 16) / 100)
    assert (high - low) / 2 == pytest.approx(rows, rel=0.1), "two seeds cover rows and judging only"
    assert "3 seeds" in three.covers and "two seeds" in two.covers
    assert "one seed" in retention(students[0], teacher[0]).covers


def test_more_seeds_never_make_the_interval_narrower_than_the_rows_do():
    """Three equal seeds have no spread of their own; the test rows still do."""
    teacher, student = record(coin(0.8, 200)), record(coin(0.8, 200, 7))
    one = retention(student, teacher).mean.difference_interval
    three = retention([student] * 3, [teacher] * 3).mean.difference_interval
    assert three[1] - three[0] == pytest.approx(one[1] - one[0], rel=0.25)


def test_a_benchmark_that_only_one_was_judged_on_makes_the_mean_not_comparable():
    both = record(coin(0.8))
    weak = changed(both, mean=0.1).benchmarks["pos"]
    teacher = both.model_copy(update={"benchmarks": {**both.benchmarks, "ner": weak}})
    for student, other in ((both, teacher), (teacher, both)):
        found = retention(student, other)
        assert (found.mean, found.missing, list(found.benchmarks)) == (None, ["ner"], ["pos"])
    assert retention(teacher, teacher).mean is not None


def test_the_gap_closed_is_counted_from_the_best_baseline_and_names_it():
    teacher, student = record([[1] * 90 + [0] * 10] * 2), record([[1] * 86 + [0] * 14] * 2)
    floors = {"scratch": record([[1] * 50 + [0] * 50] * 2), "cut": record([[1] * 70 + [0] * 30] * 2)}
    found = gap_closed(student, teacher, floors)
    assert found is not None and (found.floor, found.floor_mean) == ("cut", pytest.approx(0.7))
    assert found.closed == pytest.approx(0.16 / 0.20)
    assert retention(floors["cut"], teacher).mean.retention > 0.77, "a student that nobody taught retains that much"


def test_the_gap_is_not_measured_without_a_baseline_or_below_the_teachers_interval():
    teacher, student = record([[1] * 90 + [0] * 10] * 2), record([[1] * 86 + [0] * 14] * 2)
    assert gap_closed(student, teacher, {}) is None
    assert gap_closed(student, teacher, {"cut": record([[1] * 89 + [0] * 11] * 2)}) is None
    other = teacher.model_copy(update={"benchmarks": {**teacher.benchmarks, "ner": teacher.benchmarks["pos"]}})
    assert gap_closed(student, other, {"cut": record([[1] * 50 + [0] * 50] * 2)}) is None


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
