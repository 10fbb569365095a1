"""Scores by sklearn and seqeval, and the counts per test row from which they can be computed again.

The counts are what a paired bootstrap needs: `score_from_counts` of all rows is the judges' own score (a test holds that).
"""

from collections.abc import Sequence

import numpy as np

from ndogo.evaluation.records import Metric
from ndogo.evaluation.rows import Benchmark, Kind, Row, Sentence, Tagged

METRICS: dict[Kind, tuple[Metric, ...]] = {
    "classes": ("macro_f1", "accuracy"),
    "entities": ("entity_f1",),
    "tags": ("accuracy", "macro_f1"),
}
"""The first is the one that is compared; the others are shown beside it."""

NOTHING = "_"
"""The prediction for a word that the model never saw (cut off, or without tokens): always wrong."""

Prediction = str | Sequence[str]


def gold_of(row: Row) -> str | tuple[str, ...]:
    """What the benchmark says."""
    return row.label if isinstance(row, Sentence) else row.tags


def score(benchmark: Benchmark, rows: Sequence[Row], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Every metric of the benchmark's kind, in [0, 1]; macro averages run over the labels that occur in `rows`.

    Entity F1 is seqeval's strict IOB2 reading: an entity must begin with B-, and type and both ends must agree.
    """
    from seqeval.metrics import f1_score as entity_f1
    from seqeval.scheme import IOB2
    from sklearn.metrics import accuracy_score, f1_score

    gold = [gold_of(row) for row in rows]
    if benchmark.kind == "entities":
        listed = [list(tags) for tags in gold], [["O" if t == NOTHING else t for t in p] for p in predictions]
        if not any(tag != "O" for tags in listed[0] + listed[1] for tag in tags):
            return {"entity_f1": 0.0}
        return {"entity_f1": float(entity_f1(*listed, mode="strict", scheme=IOB2, zero_division=0))}
    flat = (gold, list(predictions)) if benchmark.kind == "classes" else (_flat(gold), _flat(predictions))
    found = {
        "macro_f1": f1_score(*flat, labels=sorted(set(flat[0])), average="macro", zero_division=0),
        "accuracy": accuracy_score(*flat),
    }
    return {name: float(found[name]) for name in METRICS[benchmark.kind]}


def _flat(sequences: Sequence[Prediction]) -> list[str]:
    return [tag for tags in sequences for tag in tags]


def counts(benchmark: Benchmark, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[list[int]]:
    """One short list per row: classes [gold, predicted] (numbers); entities [right, predicted, gold]; tags [right, words]."""
    if benchmark.kind == "classes":
        number = {label: i for i, label in enumerate(benchmark.labels)}
        return [[number[str(gold_of(row))], number.get(str(p), -1)] for row, p in zip(rows, predictions, strict=True)]
    found = []
    for row, predicted in zip(rows, predictions, strict=True):
        assert isinstance(row, Tagged)
        if benchmark.kind == "entities":
            right, ours = _entities(row.tags), _entities(tuple("O" if t == NOTHING else t for t in predicted))
            found.append([len(right & ours), len(ours), len(right)])
        else:
            found.append([sum(a == b for a, b in zip(row.tags, predicted, strict=True)), len(row.tags)])
    return found


def _entities(tags: tuple[str, ...]) -> set[tuple[str, int, int]]:
    from seqeval.scheme import IOB2, Entities

    (entities,) = Entities([list(tags)], IOB2).entities
    return {(entity.tag, entity.start, entity.end) for entity in entities}


def score_from_counts(kind: Kind, table_RC: np.ndarray, weights_BR: np.ndarray) -> np.ndarray:
    """The compared metric for each of B weightings of R rows (bootstrap multiplicities): shape (B,).

    `table_RC` holds the rows' counts. Macro averages run over the classes that a resample holds, as the judges' own score of
    those rows does: a rare class that was not drawn says nothing, and does not count as 0.
    """
    if kind == "classes":
        gold, predicted = table_RC[:, 0], table_RC[:, 1]
        summed = np.zeros(len(weights_BR))
        classes = np.zeros(len(weights_BR))
        for label in np.unique(gold):
            drawn = weights_BR @ (gold == label).astype(float)
            right = weights_BR @ ((gold == label) & (predicted == label)).astype(float)
            both = drawn + weights_BR @ (predicted == label).astype(float)
            summed += np.where(drawn > 0, 2 * right / np.maximum(both, 1), 0.0)
            classes += drawn > 0
        return np.asarray(summed / np.maximum(classes, 1))
    sums = weights_BR @ table_RC.astype(float)
    if kind == "entities":
        return np.asarray(2 * sums[:, 0] / np.maximum(sums[:, 1] + sums[:, 2], 1))
    return np.asarray(sums[:, 0] / np.maximum(sums[:, 1], 1))
