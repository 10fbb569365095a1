"""How much of one model another retains, with the one interval that report, sweep, race and gate share.

half-width^2 = (1.96 s_rows)^2 + (t s_seeds)^2. s_rows is the spread of the statistic over resamples of the test rows, in each of
which the judging seeds of every compression seed are drawn again. s_seeds^2 is the variance of the S compression seeds
(divisor S - 1) over S, and t is Student's, of S - 1 degrees of freedom. Below three compression seeds there is no second part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ndogo.core.errors import NdogoError
from ndogo.evaluation.records import (
    FEWEST_SEEDS,
    BenchmarkScores,
    Comparison,
    Evaluation,
    GapClosed,
    Interval,
    Retention,
    Verdict,
)

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
NORMAL = 1.96
"""Half the width of LEVEL in standard deviations of a normal distribution."""
BOOTSTRAP_SEED = 20250516
FLOOR = 1e-9
"""Least score to divide by: a teacher that scores nothing gives a huge retention instead of a crash."""

OneOrMore = Evaluation | Sequence[Evaluation]
"""Of one seed of compression, or one evaluation for each of several."""


def retention(student: OneOrMore, teacher: OneOrMore) -> Retention:
    """Student over teacher for every benchmark that all evaluations hold, and for their mean.

    Several evaluations are those of several compression seeds, student and teacher in the same order. Rows and judging seeds are
    drawn alike for both models.

    :raises NdogoError: settings, rows or numbers of seeds differ, or no benchmark is common.
    """
    students = [student] if isinstance(student, Evaluation) else list(student)
    teachers = [teacher] if isinstance(teacher, Evaluation) else list(teacher)
    _check(students, teachers)
    every = [*students, *teachers]
    judged = list(dict.fromkeys(name for one in every for name in one.benchmarks))
    common = [name for name in judged if all(name in one.benchmarks for one in every)]
    if not common:
        where = f"{students[0].model}, {teachers[0].model}"
        raise NdogoError("The two evaluations have no benchmark in common.", where=where)
    pairs = {
        name: _paired(name, [s.benchmarks[name] for s in students], [t.benchmarks[name] for t in teachers])
        for name in common
    }
    missing = [name for name in judged if name not in common]
    return Retention(
        benchmarks={name: pair.comparison() for name, pair in pairs.items()},
        mean=None if missing else _Pair.mean(list(pairs.values())).comparison(),
        missing=missing,
        compression_seeds=len(students),
        resamples=RESAMPLES,
        level=LEVEL,
        vectors=_vectors(students, teachers),
    )


def _vectors(students: Sequence[Evaluation], teachers: Sequence[Evaluation]) -> dict[str, Comparison]:
    """Of what all of them were judged on by their sentence vectors."""
    every = [*students, *teachers]
    common = [name for name in students[0].vectors if all(name in one.vectors for one in every)]
    ours, theirs = ({name: [one.vectors[name] for one in many] for name in common} for many in (students, teachers))
    return {name: _paired(name, ours[name], theirs[name]).comparison() for name in common}


def gap_closed(student: Evaluation, teacher: Evaluation, floors: Mapping[str, Evaluation]) -> GapClosed | None:
    """(student - floor) / (teacher - floor) on mean scores, the floor being the best of the given baselines.

    None, "not measured": no baseline was judged on the same benchmarks, or the teacher is not above it beyond the interval.

    :raises NdogoError: settings or rows differ.
    """
    compared = retention(student, teacher).mean
    above = {name: retention(teacher, floor).mean for name, floor in floors.items()}
    known = {name: found for name, found in above.items() if found is not None}
    if compared is None or not known:
        return None
    best = max(known, key=lambda name: known[name].teacher)  # of each pair the baseline stands in the teacher's place
    floor = known[best].teacher
    if known[best].verdict != "better":
        return None
    return GapClosed(floor=best, floor_mean=floor, closed=(compared.student - floor) / (compared.teacher - floor))


def interval(values_S: "np.ndarray", resamples_SB: "np.ndarray") -> tuple[float, Interval]:
    """The mean over S compression seeds and its interval, from B resamples of each seed's value."""
    import numpy as np

    seeds = len(values_S)
    estimate = float(values_S.mean())
    squared = (NORMAL * float(resamples_SB.mean(0).std(ddof=1))) ** 2
    if seeds >= FEWEST_SEEDS:
        from scipy.stats import t as student_t

        spread = float(values_S.var(ddof=1)) / seeds
        squared += float(student_t.ppf((1 + LEVEL) / 2, seeds - 1)) ** 2 * spread
    half = float(np.sqrt(squared))
    return estimate, (estimate - half, estimate + half)


def verdict(low: float, high: float) -> Verdict:
    """Of a difference, where more is better, from both ends of its interval."""
    return "no difference" if low <= 0 <= high else "better" if low > 0 else "worse"


@dataclass(frozen=True)
class _Pair:
    """Scores of two models for S compression seeds (S,), and their resamples (S, RESAMPLES), made by the same draws."""

    student_S: "np.ndarray"
    students_SB: "np.ndarray"
    teacher_S: "np.ndarray"
    teachers_SB: "np.ndarray"
    ratio_S: "np.ndarray"
    ratios_SB: "np.ndarray"

    @classmethod
    def mean(cls, pairs: "Sequence[_Pair]") -> "_Pair":
        """Over benchmarks; the ratio is the mean of the benchmarks' ratios."""
        return cls(**{part: sum(getattr(pair, part) for pair in pairs) / len(pairs) for part in cls.__annotations__})

    def comparison(self) -> Comparison:
        """Ratio and difference, each with its interval."""
        ratio, ratio_interval = interval(self.ratio_S, self.ratios_SB)
        difference, (low, high) = interval(self.student_S - self.teacher_S, self.students_SB - self.teachers_SB)
        return Comparison(
            student=float(self.student_S.mean()),
            teacher=float(self.teacher_S.mean()),
            retention=ratio,
            retention_interval=ratio_interval,
            difference=difference,
            difference_interval=(low, high),
            verdict=verdict(low, high),
        )


def _check(students: Sequence[Evaluation], teachers: Sequence[Evaluation]) -> None:
    """Judged alike: pair by pair in everything, and over the compression seeds in all but the judging seeds."""
    if not students or len(students) != len(teachers):
        raise NdogoError(
            f"{len(students)} evaluations cannot be compared with {len(teachers)}.",
            cure="Give one of each model for every seed of compression.",
        )
    first = students[0]
    for student, teacher in zip(students, teachers, strict=True):
        alike = first.settings == student.settings.model_copy(update={"seeds": first.settings.seeds})
        if student.settings != teacher.settings or not alike or {student.version, teacher.version} != {first.version}:
            raise NdogoError(
                "The two evaluations were made with different settings.",
                where=f"{student.model} and {teacher.model}",
                cure="Evaluate both with the same settings and version.",
            )


def _paired(name: str, students: Sequence[BenchmarkScores], teachers: Sequence[BenchmarkScores]) -> _Pair:
    import numpy as np

    for student, teacher in zip(students, teachers, strict=True):
        for key, other in (("fingerprint", students[0]), ("metric", students[0]), ("seeds", student)):
            if not getattr(student, key) == getattr(teacher, key) == getattr(other, key):
                raise NdogoError(
                    f"The two evaluations of `{name}` differ in their {key}.", cure="Evaluate both on the same rows."
                )
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    rows = len(students[0].items[0])
    weights_BR = generator.multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES).astype(np.float32)
    ours, theirs = [], []
    for student, teacher in zip(students, teachers, strict=True):
        judgings = len(student.seeds)
        weights_BJ = generator.multinomial(judgings, np.full(judgings, 1 / judgings), size=RESAMPLES) / judgings
        ours.append(_resampled(student, weights_BR, weights_BJ))
        theirs.append(_resampled(teacher, weights_BR, weights_BJ))
    student_S, teacher_S = (np.array([one.mean for one in many]) for many in (students, teachers))
    students_SB, teachers_SB = np.stack(ours), np.stack(theirs)
    ratio_S, ratios_SB = student_S / np.maximum(teacher_S, FLOOR), students_SB / np.maximum(teachers_SB, FLOOR)
    return _Pair(student_S, students_SB, teacher_S, teachers_SB, ratio_S, ratios_SB)


def _resampled(scores: BenchmarkScores, weights_BR: "np.ndarray", weights_BJ: "np.ndarray") -> "np.ndarray":
    """The score of every resample (B,): of its rows, meaned over its judging seeds."""
    import numpy as np

    from ndogo.evaluation.scores import score_from_counts

    per_judging = [score_from_counts(scores.kind, np.array(items), weights_BR) for items in scores.items]
    return np.asarray((np.stack(per_judging, axis=1) * weights_BJ).sum(1))
