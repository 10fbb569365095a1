"""What each step did to a masked language model: bits per byte before and after, line by line, in words.

Benchmarks of an easy world do not see what a cut breaks; hidden words do. Every model of a run is asked the same words of the
same lines, so that the interval is that of the lines' differences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ndogo.evaluation.records import Interval, LanguageModelScores
from ndogo.evaluation.retention import BOOTSTRAP_SEED, RESAMPLES, interval, verdict

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Stage:
    """A model on the way from the teacher to the student."""

    name: str
    cut: bool
    """Whether its step only takes away from layers and widths, and is there to be repaired by a training."""
    parameters: int
    quality: LanguageModelScores


def effects(stages: Sequence[Stage]) -> list[str]:
    """A sentence on each step, the cuts in a row as one; `stages` begins with the teacher.

    Nothing where the models were not asked the same lines, or in a record that is older than the lines' numbers.
    """
    asked = [[(line[1], line[3]) for line in stage.quality.lines] for stage in stages]
    if len(stages) < 2 or not asked[0] or any(one != asked[0] for one in asked):
        return []
    drawn_SB = _drawn([stage.quality for stage in stages])
    told, before, damage = [], 0, None
    for after in range(1, len(stages)):
        if stages[after].cut and after + 1 < len(stages) and stages[after + 1].cut:
            continue
        name = ", ".join(stage.name for stage in stages[before + 1 : after + 1])
        change = _bits(stages[after]) - _bits(stages[before])
        _, (low, high) = _interval(change, drawn_SB[after] - drawn_SB[before])
        sentence = (
            f"{name}: {_smaller(stages[before], stages[after])}{_changed(stages[before], stages[after], low, high)}"
        )
        if damage is not None and not stages[after].cut and high < 0:
            sentence += f"; {_repaired(stages, drawn_SB, (*damage, after))}"
        told.append(f"{sentence}.")
        damage = (before, after) if stages[after].cut and low > 0 else None
        before = after
    return told


def bits_saved(
    ones: Sequence[LanguageModelScores], others: Sequence[LanguageModelScores]
) -> tuple[float, Interval] | None:
    """How many bits per byte fewer the ones need than the others, with the interval; None where the lines are not the same.

    Several are those of several compression seeds, both in the same order.
    """
    import numpy as np

    every = [*ones, *others]
    asked = [[(line[1], line[3]) for line in quality.lines] for quality in every]
    if not asked[0] or any(one != asked[0] for one in asked):
        return None
    drawn_SB = _drawn(every)
    values_S = np.array([other.bits_per_byte - one.bits_per_byte for one, other in zip(ones, others, strict=True)])
    return interval(values_S, drawn_SB[len(ones) :] - drawn_SB[: len(ones)])


def _bits(stage: Stage) -> float:
    return stage.quality.bits_per_byte


def _smaller(before: Stage, after: Stage) -> str:
    fewer = 1 - after.parameters / before.parameters
    return f"{fewer:.0%} fewer parameters, " if fewer >= 0.005 else ""


def _changed(before: Stage, after: Stage, low: float, high: float) -> str:
    change = _bits(after) - _bits(before)
    how = verdict(-high, -low)  # fewer bits are better
    return f"bits per byte {_bits(before):.2f} to {_bits(after):.2f}, {how} ({change + 0.0:+.3f} [{low:+.3f}, {high:+.3f}])"


def _repaired(stages: Sequence[Stage], drawn_SB: "np.ndarray", places: tuple[int, int, int]) -> str:
    """`places`: of the whole model, the cut one and the taught one."""
    whole, cut, after = (_bits(stages[place]) for place in places)
    whole_B, cut_B, after_B = (drawn_SB[place] for place in places)
    share, (low, high) = _interval((cut - after) / (cut - whole), (cut_B - after_B) / (cut_B - whole_B))
    teacher, cut_one, taught = (
        f"{100 * stages[place].quality.word_accuracy:.1f}%" for place in (0, places[1], places[2])
    )
    return (
        f"that is {share:.0%} [{low:.0%}, {high:.0%}] of what the cut had cost. Of hidden words it guesses {taught}, "
        f"the cut {cut_one}, the teacher {teacher}"
    )


def _interval(estimate: float, drawn_B: "np.ndarray") -> tuple[float, Interval]:
    """By the rule of every other interval, for one seed of compression."""
    import numpy as np

    return interval(np.array([estimate]), drawn_B[None])


def _drawn(qualities: Sequence[LanguageModelScores]) -> "np.ndarray":
    """Bits per byte of every resample of the lines (S, B), the same draws for all models."""
    import numpy as np

    lines_SL4 = np.asarray([quality.lines for quality in qualities])
    count = lines_SL4.shape[1]
    weights_BL = np.random.default_rng(BOOTSTRAP_SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    drawn_SB: np.ndarray = (lines_SL4[..., 0] @ weights_BL.T) / (lines_SL4[..., 1] @ weights_BL.T)
    return drawn_SB
