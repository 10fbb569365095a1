"""A task model judged as itself: its own head's answers, on rows that have labels and beside its teacher on any text."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config
from ndogo.core.progress import Report
from ndogo.core.task_heads import answers_of
from ndogo.core.text import Lines
from ndogo.evaluation.encoder import Encoder, load_encoder, load_with_head
from ndogo.evaluation.finetune import Judged, answers, dev_score
from ndogo.evaluation.judge import fixed
from ndogo.evaluation.records import Agreement
from ndogo.evaluation.rows import Benchmark, Kind, Row, Sentence, Tagged
from ndogo.evaluation.scores import METRICS, Prediction, gold_of, score
from ndogo.evaluation.settings import EvaluationSettings
from ndogo_run.words import words_of

JUDGED = ("dev", "test")
LINES = 500
"""Of unlabelled text, on which a model and its teacher are compared."""


def for_task(path: Path, benchmark: Benchmark) -> tuple[Encoder, Benchmark]:
    """A model directory ready to be fine-tuned: with its own head where that answers in the benchmark's labels, which then have
    the head's order; else as a bare encoder.
    """
    if answers_of(load_config(path)) is not None:
        encoder = load_with_head(path)
        if not misfit(encoder, benchmark) and {*benchmark.labels} <= {*encoder.labels}:
            return encoder, replace(benchmark, labels=encoder.labels)
    return load_encoder(path), benchmark


def misfit(encoder: Encoder, benchmark: Benchmark) -> str:
    """Why a model's own answers cannot be those of a benchmark; empty where they can."""
    tokens = answers_of(encoder.model.config) == "token"
    if tokens == (benchmark.kind == "classes"):
        return f"the model answers for each {'token' if tokens else 'text'}"
    gold = (gold_of(row) for split in JUDGED for row in benchmark.splits[split])
    used = {label for given in gold for label in ((given,) if isinstance(given, str) else given)}
    if lacking := sorted(used - {*encoder.labels}):
        return f"the model's labels ({_some(encoder.labels)}) have no {_some(lacking)}"
    return ""


def own(encoder: Encoder, benchmark: Benchmark, settings: EvaluationSettings, report: Report, device: str) -> Judged:
    """What a model's own head answers; nothing is trained, so one prediction stands for all seeds.

    :raises NdogoError: its labels are not the benchmark's.
    """
    if why := misfit(encoder, benchmark):
        raise NdogoError(
            f"`{benchmark.name}` is not what this model answers: {why}.",
            where=encoder.name,
            cure="Name the labels in id2label as the benchmark's rows do.",
        )
    splits = {split: benchmark.splits[split] for split in JUDGED}
    found = answers(encoder, replace(benchmark, splits=splits, labels=encoder.labels), settings, report, device)
    return Judged({}, [dev_score(benchmark, found["dev"])], [found["test"]])


def agreement(
    student: Path, teacher: Path, text: Lines, settings: EvaluationSettings, report: Report, device: str = "cpu"
) -> Agreement | None:
    """How often a model answers as its teacher does on the first lines of unlabelled text; None where their labels differ.

    :raises NdogoError: one of them has no head that answers in labels.
    """
    ours, theirs = load_with_head(student), load_with_head(teacher)
    if ours.labels != theirs.labels or answers_of(ours.model.config) != answers_of(theirs.model.config):
        return None
    with fixed(settings.threads):
        return _agreement((ours, theirs), text, settings, report, device)


def _agreement(
    pair: tuple[Encoder, Encoder], text: Lines, settings: EvaluationSettings, report: Report, device: str
) -> Agreement:
    student, teacher = pair
    kind: Kind = "classes" if answers_of(student.model.config) == "text" else "tags"
    if any(label[:2] in ("B-", "I-") for label in student.labels) and kind == "tags":
        kind = "entities"
    lines = list(islice(text(), LINES))
    rows = [_unlabelled(line, kind, student.labels[0]) for line in lines]
    benchmark = Benchmark("unlabelled text", kind, student.labels, {"text": tuple(row for row in rows if row)})
    theirs, ours = (answers(e, benchmark, settings, report, device)["text"] for e in (teacher, student))
    gold = [_as_said(row, said) for row, said in zip(benchmark.splits["text"], theirs, strict=True)]
    pairs = [(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in _each(x, y)]
    return Agreement(
        teacher=teacher.name,
        lines=len(gold),
        answers=len(pairs),
        equal=sum(a == b for a, b in pairs) / max(1, len(pairs)),
        metric=METRICS[kind][0],
        score=score(benchmark, gold, ours)[METRICS[kind][0]],
    )


def _unlabelled(line: str, kind: Kind, filler: str) -> Row | None:
    if kind == "classes":
        return Sentence(line, filler)
    words = tuple(line[start:end] for start, end in words_of(line))
    return Tagged(words, (filler,) * len(words)) if words else None


def _as_said(row: Row, said: Prediction) -> Row:
    return Sentence(row.text, str(said)) if isinstance(row, Sentence) else Tagged(row.tokens, tuple(said))


def _each(ours: Prediction, theirs: Prediction) -> list[tuple[str, str]]:
    return [(ours, str(theirs))] if isinstance(ours, str) else list(zip(ours, theirs, strict=True))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:6])} and {len(names) - 6} more"
