"""Scores of constructed cases against values computed by hand."""

import numpy as np
import pytest

from ndogo.evaluation.rows import Benchmark, Sentence, Tagged
from ndogo.evaluation.scores import counts, score, score_from_counts

CLASSES = Benchmark("topic", "classes", ("a", "b", "c"), {})
ENTITIES = Benchmark("ner", "entities", ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"), {})
TAGS = Benchmark("pos", "tags", ("N", "P", "V"), {})


def sentences(labels):
    return [Sentence("x", label) for label in labels]


def tagged(*lines):
    return [Tagged(tuple(line.split()), tuple(line.split())) for line in lines]


def test_macro_f1():
    rows, predicted = sentences("aaabc"), list("aabba")
    found = score(CLASSES, rows, predicted)
    # a: gold 3, predicted 3, right 2 -> 4/6; b: gold 1, predicted 2, right 1 -> 2/3; c: 0
    assert found["macro_f1"] == pytest.approx((4 / 6 + 2 / 3 + 0) / 3)
    assert found["accuracy"] == pytest.approx(3 / 5)


def test_macro_f1_runs_over_the_labels_that_occur():
    assert score(CLASSES, sentences("aabb"), list("aabc"))["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)


def test_entity_f1():
    rows = tagged("B-PER I-PER O B-LOC", "B-LOC O O O")
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "I-LOC", "O", "B-PER"]]
    # right: the first person only; predicted 4; gold 3
    assert score(ENTITIES, rows, predicted)["entity_f1"] == pytest.approx(2 * 1 / (4 + 3))
    assert counts(ENTITIES, rows, predicted) == [[1, 2, 2], [0, 2, 1]]


def test_an_entity_must_begin_with_b_and_unseen_words_are_outside():
    rows = tagged("B-PER I-PER O", "B-LOC O O")
    predicted = [["I-PER", "I-PER", "O"], ["_", "_", "_"]]
    assert score(ENTITIES, rows, predicted)["entity_f1"] == 0.0
    assert counts(ENTITIES, rows, predicted) == [[0, 0, 1], [0, 0, 1]]
    assert score(ENTITIES, tagged("O O"), [["O", "O"]])["entity_f1"] == 0.0


def test_tagging_accuracy_and_macro_f1_count_unseen_words_as_wrong():
    rows = tagged("N V", "N N")
    predicted = [["N", "N"], ["N", "_"]]
    found = score(TAGS, rows, predicted)
    assert found["accuracy"] == pytest.approx(2 / 4)
    # N: gold 3, predicted 3, right 2 -> 4/6; V: never predicted -> 0; P does not occur
    assert found["macro_f1"] == pytest.approx((4 / 6 + 0) / 2)
    assert counts(TAGS, rows, predicted) == [[1, 2], [1, 2]]


@pytest.mark.parametrize("benchmark", [CLASSES, ENTITIES, TAGS], ids=lambda b: b.kind)
def test_the_counts_give_the_judges_score_for_all_rows_and_for_repeated_rows(benchmark):
    draw = np.random.default_rng(0)
    if benchmark.kind == "classes":
        rows = sentences(draw.choice(benchmark.labels, 60))
        predicted = list(draw.choice(benchmark.labels, 60))
    else:
        made = [" ".join(draw.choice(benchmark.labels, draw.integers(1, 9))) for _ in range(60)]
        rows = tagged(*made)
        predicted = [
            [str(draw.choice(benchmark.labels)) if draw.random() < 0.4 else t for t in row.tags] for row in rows
        ]
    table = np.array(counts(benchmark, rows, predicted))
    drawn = draw.integers(60, size=60)
    weights = np.stack([np.ones(60), np.bincount(drawn, minlength=60)])
    found = score_from_counts(benchmark.kind, table, weights)
    assert found[0] == pytest.approx(next(iter(score(benchmark, rows, predicted).values())))
    again = score(benchmark, [rows[i] for i in drawn], [predicted[i] for i in drawn])
    assert found[1] == pytest.approx(next(iter(again.values())))


def test_a_rare_class_that_a_resample_misses_does_not_count_as_wrong():
    """A perfect model of a benchmark with one row of a rare class is perfect in every resample."""
    table = np.array([[0, 0]] * 99 + [[1, 1]])
    weights = np.random.default_rng(0).multinomial(100, np.full(100, 0.01), size=200).astype(np.float32)
    assert (weights[:, 99] == 0).sum() > 50, "many resamples miss the rare class"
    assert score_from_counts("classes", table, weights) == pytest.approx(1.0)
