"""What a report says of its models: sizes, scores, each beside its teachers and baselines, and sentences in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ndogo.core.errors import NdogoError
from ndogo.core.frozen import Frozen
from ndogo.evaluation.records import Cost, Evaluation, LanguageModelScores, Retention, Spread
from ndogo.evaluation.retention import retention
from ndogo.evaluation.settings import EvaluationSettings

Role = Literal["original", "adapted", "student", "untrained", "cut", "scratch", "trimmed"]

ROLES: dict[Role, str] = {
    "original": "the untouched teacher",
    "adapted": "the teacher adapted to the language",
    "student": "the recipe's result",
    "untrained": "the same shape, untrained",
    "cut": "the same shape, cut but not distilled",
    "scratch": "the same shape from scratch, masked LM on the same tokens",
    "trimmed": "the teacher with trimming alone",
}
TEACHERS: tuple[Role, ...] = ("original", "adapted")
BASELINES: tuple[Role, ...] = ("untrained", "cut", "scratch", "trimmed")
METRIC_NAMES = {"macro_f1": "macro-F1", "entity_f1": "entity F1", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Entry:
    """One model of a report: what it is, its evaluation, and what else was measured."""

    name: str
    role: Role
    evaluation: Evaluation
    cost: Cost | None = None
    """The model's own part of what `cost` gave."""
    parameters: int | None = None
    """Of the whole model, where the caller counted them; else those of `cost`, else of the bare encoder that was judged."""

    @property
    def size(self) -> int:
        """The parameters that the report shows."""
        counted = self.cost.parameters.total if self.cost else self.evaluation.parameters
        return counted if self.parameters is None else self.parameters


class Against(Frozen):
    """A model beside another: the other's name and size, and how much of it is retained."""

    name: str
    size: int
    retention: Retention


class Score(Spread):
    """A benchmark's metric over the seeds, what dev chose, and the metrics that are shown beside it."""

    others: dict[str, Spread]
    chosen: dict[str, float]


class ModelSummary(Frozen):
    """One model of the summary."""

    name: str
    role: Role
    about: str
    parameters: int
    scores: dict[str, Score]
    mean: float
    against: dict[Role, Against]
    cost: Cost | None
    language_model: LanguageModelScores | None
    problems: dict[str, str]


class BenchmarkNote(Frozen):
    """What a report says of a benchmark itself."""

    metric: str
    rows: dict[str, int]
    notes: list[str]


class Summary(Frozen):
    """Everything that the table, the picture and the page show."""

    title: str
    settings: EvaluationSettings
    versions: dict[str, str]
    benchmarks: dict[str, BenchmarkNote]
    entries: list[ModelSummary]
    sentences: list[str]
    notice: str = ""
    """What a reader must know before any number."""


def summary(title: str, entries: Sequence[Entry], notice: str = "") -> Summary:
    """Compare each entry with `original` (and `adapted`, where there is one), and each student also with every baseline.

    `sentences` says in words what came out, first of all where a baseline was not beaten.

    :raises NdogoError: no entry, a name twice, or evaluations that cannot be compared.
    """
    names = [entry.name for entry in entries]
    if not entries or len(set(names)) != len(names):
        raise NdogoError("A report needs at least one entry, and each name once.", where=", ".join(names))
    rows = [_row(entry, entries) for entry in entries]
    return Summary(
        title=title,
        settings=entries[0].evaluation.settings,
        versions=entries[0].evaluation.versions,
        benchmarks={
            name: BenchmarkNote(metric=METRIC_NAMES[found.metric], rows=found.rows, notes=found.notes)
            for entry in reversed(entries)
            for name, found in entry.evaluation.benchmarks.items()
        },
        entries=rows,
        sentences=[sentence for row in rows for sentence in _sentences(row)],
        notice=notice,
    )


def _row(entry: Entry, entries: Sequence[Entry]) -> ModelSummary:
    judged = entry.evaluation
    scores = {
        name: Score(**found.model_dump(include=set(Score.model_fields))) for name, found in judged.benchmarks.items()
    }
    against = {
        other.role: Against(name=other.name, size=other.size, retention=retention(judged, other.evaluation))
        for other in entries
        if other is not entry and _compared(entry.role, other.role)
    }
    return ModelSummary(
        name=entry.name,
        role=entry.role,
        about=ROLES[entry.role],
        parameters=entry.size,
        scores=scores,
        mean=sum(score.mean for score in scores.values()) / len(scores),
        against=against,
        cost=entry.cost,
        language_model=judged.language_model,
        problems=judged.problems,
    )


def _compared(role: Role, other: Role) -> bool:
    if other in BASELINES:
        return role == "student"
    return other == "original" or (other == "adapted" and role != "original")


def _sentences(row: ModelSummary) -> list[str]:
    if row.role != "student":
        return []
    told = [
        (found.retention.mean.verdict == "better", _beaten(row, ROLES[role], found))
        for role in BASELINES
        if (found := row.against.get(role))
    ]
    if original := row.against.get("original"):
        told.append((False, _retained(row, original)))
    return [sentence for _, sentence in sorted(told, key=lambda pair: pair[0])]


def _retained(row: ModelSummary, original: Against) -> str:
    mean = original.retention.mean
    low, high = mean.retention_interval
    return (
        f"{row.name} retains {mean.retention:.1%} [{low:.1%}, {high:.1%}] of the scores of {original.name} "
        f"with {original.size / row.parameters:.1f} times fewer parameters."
    )


def _beaten(row: ModelSummary, baseline: str, found: Against) -> str:
    mean = found.retention.mean
    by = f"{signed(mean.difference)} points [{', '.join(map(signed, mean.difference_interval))}]"
    if mean.verdict == "better":
        return f"{row.name} beats {baseline}: {by}."
    how = "no difference" if mean.verdict == "no difference" else "worse"
    times = found.size / row.parameters
    return f"{row.name} does NOT beat {baseline} ({found.name}, {times:.1f} times its size): {how}, {by}."


def signed(difference: float) -> str:
    """A difference in points."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0
