"""What each step did, in words: what cost nothing, what the cut cost, and how much of it came back."""

import random

import pytest

from ndogo.evaluation.effects import Stage, effects
from ndogo.evaluation.records import LanguageModelScores

LINES = 200


def quality(bits: float, guessed: int = 1, seed: int = 1, lines: int = LINES) -> LanguageModelScores:
    """Lines of about eight bytes and two words; a line's bits are noisy around `bits` a byte."""
    text, noise = random.Random(0), random.Random(seed)
    drawn = [(text.randint(6, 10), noise.gauss(bits, 0.1)) for _ in range(lines)]
    per_line = tuple((length * each, length, guessed, 2) for length, each in drawn)
    total = sum(length for length, _ in drawn)
    return LanguageModelScores(
        bits_per_byte=sum(line[0] for line in per_line) / total,
        token_counts_bits_per_byte=0,
        dropped_columns_bits_per_byte=0,
        word_accuracy=guessed / 2,
        words=2 * lines,
        bytes=total,
        tokens=3 * lines,
        tokens_per_word=1.5,
        words_with_unknown_tokens=0,
        lines=per_line,
    )


def stages() -> list[Stage]:
    return [
        Stage("original", False, 1000, quality(0.7)),
        Stage("trim", False, 600, quality(0.7, seed=2)),
        Stage("truncate", True, 400, quality(0.9, seed=3)),
        Stage("prune_hidden", True, 100, quality(1.2, 0, seed=4)),
        Stage("distil", False, 100, quality(0.8, seed=5)),
    ]


def test_a_sentence_for_each_step_and_one_for_the_cuts_in_a_row():
    trim, cut, distil = effects(stages())
    assert trim.startswith("trim: 40% fewer parameters, bits per byte 0.7") and "no difference (" in trim
    assert cut.startswith("truncate, prune_hidden: 83% fewer parameters, ") and "worse (+0.5" in cut
    assert distil.startswith("distil: bits per byte 1.2") and "better (-0.4" in distil
    assert "of what the cut had cost" in distil and "guesses 50.0%, the cut 0.0%, the teacher 50.0%" in distil


def test_the_share_that_came_back_is_four_fifths_and_its_interval_holds_it():
    shown = effects(stages())[-1].split("that is ")[1]
    share, rest = shown.split("% [", 1)
    low, high = rest.split("]")[0].replace("%", "").split(", ")
    assert int(low) < int(share) < int(high) and int(share) == pytest.approx(80, abs=4)
    assert int(high) - int(low) < 15


def test_the_same_model_twice_differs_by_nothing():
    same = effects([Stage("original", False, 10, quality(0.7)), Stage("copy", False, 10, quality(0.7))])
    bits = f"{quality(0.7).bits_per_byte:.2f}"
    assert same == [f"copy: bits per byte {bits} to {bits}, no difference (+0.000 [+0.000, +0.000])."]


@pytest.mark.parametrize("other", [quality(0.7, lines=50), quality(0.7).model_copy(update={"lines": ()})])
def test_nothing_is_said_of_models_that_were_asked_other_lines(other):
    assert effects([Stage("original", False, 10, quality(0.7)), Stage("trim", False, 9, other)]) == []
    assert effects([Stage("original", False, 10, quality(0.7))]) == []
