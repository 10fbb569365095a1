"""How much of one model another retains: ratios with a paired bootstrap over test rows and seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ndogo.core.errors import NdogoError
from ndogo.evaluation.records import BenchmarkScores, Comparison, Evaluation, Interval, Retention

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
BOOTSTRAP_SEED = 20250516
FLOOR = 1e-9
"""Least score to divide by: a teacher that scores nothing gives a huge retention instead of a crash."""


def retention(student: Evaluation, teacher: Evaluation) -> Retention:
    """Student over teacher for every benchmark that both evaluations hold, and for their mean.

    Ratio and difference have a 95 % percentile interval over RESAMPLES draws of test rows and of seeds, the same draws for
    both models.

    :raises NdogoError: settings or benchmarks differ, or no benchmark is common.
    """
    import numpy as np

    if student.settings != teacher.settings or student.version != teacher.version:
        raise NdogoError(
            "The two evaluations were made with different settings.",
            where=f"{student.model} and {teacher.model}",
            cure="Evaluate both with the same settings and version.",
        )
    common = [name for name in student.benchmarks if name in teacher.benchmarks]
    if not common:
        raise NdogoError("The two evaluations have no benchmark in common.", where=f"{student.model}, {teacher.model}")
    pairs = {name: _paired(name, student.benchmarks[name], teacher.benchmarks[name]) for name in common}
    found = {name: _summary(pair) for name, pair in pairs.items()}
    ratios = np.mean([pair.students / np.maximum(pair.teachers, FLOOR) for pair in pairs.values()], axis=0)
    mean = _summary(_Pair.mean(list(pairs.values()))).model_copy(
        update={
            "retention": sum(f.retention for f in found.values()) / len(found),
            "retention_interval": _interval(ratios),
        }
    )
    return Retention(benchmarks=found, mean=mean, resamples=RESAMPLES, level=LEVEL)


@dataclass(frozen=True)
class _Pair:
    """Mean scores of two models and their resamples (RESAMPLES,), made by the same draws."""

    student: float
    students: "np.ndarray"
    teacher: float
    teachers: "np.ndarray"

    @classmethod
    def mean(cls, pairs: "Sequence[_Pair]") -> "_Pair":
        parts = ("student", "students", "teacher", "teachers")
        return cls(**{part: sum(getattr(pair, part) for pair in pairs) / len(pairs) for part in parts})


def _paired(name: str, student: BenchmarkScores, teacher: BenchmarkScores) -> _Pair:
    import numpy as np

    from ndogo.evaluation.scores import score_from_counts

    for key in ("fingerprint", "seeds", "metric"):
        if getattr(student, key) != getattr(teacher, key):
            raise NdogoError(
                f"The two evaluations of `{name}` differ in their {key}.", cure="Evaluate both on the same rows."
            )
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    seeds = len(student.seeds)
    rows = len(student.items[0])
    weights_BR = generator.multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES).astype(np.float32)
    seeds_BS = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds

    def resampled(scores: BenchmarkScores) -> "np.ndarray":
        tables = [np.array(items) for items in scores.items]
        per_seed = [score_from_counts(scores.kind, table, weights_BR) for table in tables]
        whole = np.mean([score_from_counts(scores.kind, table, np.ones((1, rows))) for table in tables])
        # probe scores each seed on a part of the test rows: the resamples of all rows are centred on the mean that is shown
        return np.asarray((np.stack(per_seed, axis=1) * seeds_BS).sum(1) + scores.mean - whole)

    return _Pair(student.mean, resampled(student), teacher.mean, resampled(teacher))


def _summary(pair: _Pair) -> Comparison:
    import numpy as np

    low, high = _interval(pair.students - pair.teachers)
    return Comparison(
        student=pair.student,
        teacher=pair.teacher,
        retention=pair.student / max(pair.teacher, FLOOR),
        retention_interval=_interval(pair.students / np.maximum(pair.teachers, FLOOR)),
        difference=pair.student - pair.teacher,
        difference_interval=(low, high),
        verdict="no difference" if low <= 0 <= high else "better" if low > 0 else "worse",
    )


def _interval(values: "np.ndarray") -> Interval:
    import numpy as np

    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
