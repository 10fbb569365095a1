"""What a report says of its models: sizes, scores, each beside its teachers and baselines, and sentences in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ndogo.core.errors import NdogoError
from ndogo.core.frozen import Frozen
from ndogo.evaluation.records import Cost, Evaluation, GapClosed, LanguageModelScores, Retention, Spread
from ndogo.evaluation.retention import gap_closed, retention
from ndogo.evaluation.settings import EvaluationSettings, Mode

Role = Literal[
    "original",
    "adapted",
    "student",
    "untrained",
    "cut",
    "scratch",
    "trimmed",
    "static",
    "static-taught",
    "trimmed-int8",
]

ROLES: dict[Role, str] = {
    "original": "the untouched teacher",
    "adapted": "the teacher adapted to the language",
    "student": "the recipe's result",
    "untrained": "the same shape, untrained",
    "cut": "the same shape, cut but not distilled",
    "scratch": "the same shape from scratch, masked LM on the same tokens",
    "trimmed": "the teacher with trimming alone",
    "static": "the teacher's token vectors, averaged, without training",
    "static-taught": "the teacher's token vectors, averaged, taught by its vectors of lines",
    "trimmed-int8": "the teacher with trimming alone, as an int8 file",
}
TEACHERS: tuple[Role, ...] = ("original", "adapted")
BASELINES: tuple[Role, ...] = ("untrained", "cut", "scratch", "trimmed", "static", "static-taught", "trimmed-int8")
SAME_SIZE: tuple[Role, ...] = ("untrained", "cut", "scratch")
"""Baselines of the student's own size: the best of them is the floor of the gap closed."""
MODES = {"probe": "probed", "finetune": "fine-tuned", "own": "by its own answers", "adapter": "with adapters"}
NOT_COMPARABLE = "not comparable"
METRIC_NAMES = {"macro_f1": "macro-F1", "entity_f1": "entity F1", "accuracy": "accuracy"}
VECTOR_NAMES = {
    "retrieval": "translation found",
    "articles": "own article found",
    "neighbours": "teacher's ten nearest",
    "nearest_topic": "nearest topic",
}


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
    size_mb: float | None = None
    """Millions of bytes of what a user downloads (`core.download`)."""
    ratio_trimmed: float | None = None
    """Parameters of the teacher trimmed to the model's rows over the model's."""

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
    size_mb: float | None
    ratio: float | None
    """The teacher's parameters over the model's; None where the report has no teacher."""
    ratio_trimmed: float | None
    """Those of the teacher trimmed to the model's rows: what is not owed to other languages' rows."""
    scores: dict[str, Score]
    mean: float | None
    """Over all benchmarks of the report; None, "not comparable", where one of them was not judged for this model."""
    gap: GapClosed | None
    """None: not measured."""
    remarks: list[str]
    """On how it was judged, such as a learning rate at the edge of those that were tried."""
    against: dict[Role, Against]
    cost: Cost | None
    language_model: LanguageModelScores | None
    vectors: dict[str, Score]
    """Of its sentence vectors; empty where they were not asked for."""
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

    `sentences` says in words what came out, first of all where a baseline is better.

    :raises NdogoError: no entry, a name twice, or evaluations that cannot be compared.
    """
    names = [entry.name for entry in entries]
    if not entries or len(set(names)) != len(names):
        raise NdogoError("A report needs at least one entry, and each name once.", where=", ".join(names))
    judged = {name: None for entry in entries for name in entry.evaluation.benchmarks}
    mode = entries[0].evaluation.settings.mode
    rows = [_row(entry, entries, set(judged)) for entry in entries]
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
        sentences=[sentence for row in rows for sentence in _sentences(row, mode)],
        notice=notice,
    )


def _row(entry: Entry, entries: Sequence[Entry], names: set[str]) -> ModelSummary:
    """`names`: every benchmark of the report."""
    judged = entry.evaluation
    scores, vectors = (
        {name: Score(**found.model_dump(include=set(Score.model_fields))) for name, found in scored.items()}
        for scored in (judged.benchmarks, judged.vectors)
    )
    against = {
        other.role: Against(name=other.name, size=other.size, retention=retention(judged, other.evaluation))
        for other in entries
        if other is not entry and _compared(entry.role, other.role)
    }
    teacher = next((other.size for other in entries if other.role == "original"), None)
    return ModelSummary(
        name=entry.name,
        role=entry.role,
        about=ROLES[entry.role],
        parameters=entry.size,
        size_mb=entry.size_mb,
        ratio=teacher / entry.size if teacher else None,
        ratio_trimmed=entry.ratio_trimmed,
        scores=scores,
        mean=sum(score.mean for score in scores.values()) / len(scores) if set(scores) == names else None,
        gap=_gap(entry, entries),
        remarks=[f"{name}: {told}" for name, found in judged.benchmarks.items() for told in found.remarks],
        against=against,
        cost=entry.cost,
        language_model=judged.language_model,
        vectors=vectors,
        problems=judged.problems,
    )


def _gap(entry: Entry, entries: Sequence[Entry]) -> GapClosed | None:
    """Of a student, from the best baseline of its size to the untouched teacher."""
    original = next((other for other in entries if other.role == "original"), None)
    if entry.role != "student" or original is None:
        return None
    floors = {e.name: e.evaluation for e in entries if e.role in SAME_SIZE and e.size == entry.size}
    return gap_closed(entry.evaluation, original.evaluation, floors)


def _compared(role: Role, other: Role) -> bool:
    if other in BASELINES:
        return role == "student"
    return other == "original" or (other == "adapted" and role != "original")


def _sentences(row: ModelSummary, mode: Mode) -> list[str]:
    if row.role != "student":
        return []
    baselines = [(role, row.against[role]) for role in BASELINES if role in row.against]
    told = [(_lost(found), _beaten(row, ROLES[role], found, mode)) for role, found in baselines]
    first, last = ([sentence for lost, sentence in told if lost is which] for which in (True, False))
    if original := row.against.get("original"):
        first += [_retained(row, original, mode), _vectors(row, original), _closed(row, original)]
    return [sentence for sentence in [*first, *last] if sentence]


def _lost(found: Against) -> bool:
    """Whether a baseline is better beyond the interval, or cannot be compared: such things are said first."""
    return found.retention.mean is None or found.retention.mean.verdict == "worse"


def _retained(row: ModelSummary, original: Against, mode: Mode) -> str:
    mean = original.retention.mean
    if mean is None:
        return _not_comparable(row, original)
    low, high = mean.retention_interval
    names = ", ".join(original.retention.benchmarks)
    return (
        f"{row.name} retains {mean.retention:.1%} [{low:.1%}, {high:.1%}] of the scores of {original.name} "
        f"({names}; {MODES[mode]}) with {original.size / row.parameters:.1f} times fewer parameters."
    )


def _vectors(row: ModelSummary, original: Against) -> str:
    """Nothing where its sentence vectors were not judged."""
    parts = []
    for name, found in original.retention.vectors.items():
        low, high = found.retention_interval
        parts.append(f"{VECTOR_NAMES.get(name, name)} {found.retention:.1%} [{low:.1%}, {high:.1%}]")
    return f"Of the vectors of {original.name}, {row.name} keeps: {', '.join(parts)}." if parts else ""


def _closed(row: ModelSummary, original: Against) -> str:
    """Nothing where the gap was not measured: a baseline is missing, or the teacher is not above it."""
    if row.gap is None:
        return ""
    return (
        f"{row.name} closes {row.gap.closed:.0%} of the gap between {row.gap.floor} ({100 * row.gap.floor_mean:.1f}) "
        f"and {original.name}, on mean scores."
    )


def _beaten(row: ModelSummary, baseline: str, found: Against, mode: Mode) -> str:
    mean = found.retention.mean
    if mean is None:
        return _not_comparable(row, found)
    by = f"{signed(mean.difference)} points [{', '.join(map(signed, mean.difference_interval))}], {MODES[mode]}"
    if mean.verdict == "better":
        return f"{row.name} beats {baseline}: {by}."
    other = f"{baseline} ({found.name}, {found.size / row.parameters:.1f} times its size)"
    if mean.verdict == "no difference":
        return f"No difference is seen between {row.name} and {other}: {by}."
    return f"{row.name} does NOT beat {other}: worse, {by}."


def _not_comparable(row: ModelSummary, found: Against) -> str:
    missing = ", ".join(found.retention.missing)
    return f"{row.name} and {found.name} are NOT comparable on the mean: {missing} was not judged for both."


def signed(difference: float) -> str:
    """A difference in points."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0
