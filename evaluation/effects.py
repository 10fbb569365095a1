"""What each step did to a masked language model: bits per byte before and after, line by line, in words.

Benchmarks of an easy world do not see what a cut breaks; hidden words do. Every model of a run is asked the same words of the
same lines, so that the interval is that of the lines' differences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ndogo.evaluation.records import Interval, LanguageModelScores
from ndogo.evaluation.retention import BOOTSTRAP_SEED, NORMAL, RESAMPLES

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
    told, teacher, before, price = [], stages[0], stages[0], None
    for number, stage in enumerate(stages[1:], start=1):
        if stage.cut and stages[number + 1 : number + 2] and stages[number + 1].cut:
            continue
        first = stages.index(before) + 1
        name = ", ".join(one.name for one in stages[first : number + 1])
        change, (low, high) = _change(before, stage)
        told.append(f"{name}: {_smaller(before, stage)}{_bits(before, stage, change, low, high)}.")
        if price and not stage.cut and high < 0:
            told[-1] = f"{told[-1][:-1]}; {_repaired(*price, stage, teacher)}."
        price = (before, stage) if stage.cut and low > 0 else None
        before = stage
    return told


def _smaller(before: Stage, after: Stage) -> str:
    fewer = 1 - after.parameters / before.parameters
    return f"{fewer:.0%} fewer parameters, " if fewer >= 0.005 else ""


def _bits(before: Stage, after: Stage, change: float, low: float, high: float) -> str:
    verdict = "no difference" if low <= 0 <= high else "better" if high < 0 else "worse"
    numbers = f"{before.quality.bits_per_byte:.2f} to {after.quality.bits_per_byte:.2f}"
    return f"bits per byte {numbers}, {verdict} ({change + 0.0:+.3f} [{low:+.3f}, {high:+.3f}])"


def _repaired(whole: Stage, cut: Stage, after: Stage, teacher: Stage) -> str:
    share, (low, high) = _recovered(whole, cut, after)
    guessed = [f"{100 * stage.quality.word_accuracy:.1f}%" for stage in (cut, after, teacher)]
    return (
        f"that is {share:.0%} [{low:.0%}, {high:.0%}] of what the cut had cost. Of hidden words it guesses {guessed[1]}, "
        f"the cut {guessed[0]}, the teacher {guessed[2]}"
    )


def _change(before: Stage, after: Stage) -> tuple[float, Interval]:
    """Bits per byte, after less before."""
    drawn_B = _drawn(after) - _drawn(before)
    return _with_interval(after.quality.bits_per_byte - before.quality.bits_per_byte, drawn_B)


def _recovered(whole: Stage, cut: Stage, after: Stage) -> tuple[float, Interval]:
    """How much of what the cut cost came back, as a share."""
    bits = [stage.quality.bits_per_byte for stage in (whole, cut, after)]
    whole_B, cut_B, after_B = map(_drawn, (whole, cut, after))
    return _with_interval((bits[1] - bits[2]) / (bits[1] - bits[0]), (cut_B - after_B) / (cut_B - whole_B))


def _with_interval(estimate: float, drawn_B: "np.ndarray") -> tuple[float, Interval]:
    half = NORMAL * float(drawn_B.std(ddof=1))
    return estimate, (estimate - half, estimate + half)


def _drawn(stage: Stage) -> "np.ndarray":
    """Bits per byte of every resample of the lines (B,), the same draws for all models."""
    import numpy as np

    lines_L4 = np.asarray(stage.quality.lines)
    count = len(lines_L4)
    weights_BL = np.random.default_rng(BOOTSTRAP_SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    drawn: np.ndarray = (weights_BL @ lines_L4[:, 0]) / (weights_BL @ lines_L4[:, 1])
    return drawn
