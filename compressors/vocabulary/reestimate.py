"""Estimating the Unigram scores anew on the corpus, for the pieces that were kept: expectation-maximisation.

Kudo 2018 (arXiv 1804.10959), section 3.2: the expected count of each piece over all segmentations of each word, weighted by
their probability, then scores as log shares. The text becomes far more probable under the vocabulary; the teacher's
segmentation is given up, and pieces per word need not fall (docs/trim.md has the measurements).
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ndogo.compressors.vocabulary.counting import batches
from ndogo.compressors.vocabulary.source import Vocabulary
from ndogo.core.errors import NdogoError
from ndogo.core.progress import Report
from ndogo.core.text import WeightedLines

ROUNDS = 2
"""Nearly all of the likelihood is gained in the first; every further one splits a little finer."""
WORDS = 200_000
"""Distinct words that the estimation sees: the most frequent ones, more than 98% of the running words of real corpora."""
FLOOR = 0.1
"""Expected count given to pieces that the corpus never uses, so that they stay possible and stay last."""


def reestimate(
    vocabulary: Vocabulary, kept: Sequence[int], corpora: Sequence[WeightedLines], report: Report
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """New scores, (pieces,) by old id, for the kept ordinary pieces of a Unigram vocabulary, and what they changed.

    Everything else keeps its old score.

    :raises NdogoError: the vocabulary is of another family: only Unigram models have scores.
    """
    if vocabulary.family != "Unigram":
        raise NdogoError(
            f"Only Unigram vocabularies have scores to estimate; this one is {vocabulary.family}.",
            where="trim: reestimate",
            cure="Leave it off.",
        )
    words = _words(vocabulary.backend, corpora, report)
    old = np.array([score for _, score in vocabulary.model["vocab"]])
    ordinary = [i for i in kept if i not in vocabulary.specials]
    pieces = {vocabulary.pieces[i]: n for n, i in enumerate(ordinary)}
    lattices = [_lattice(word, pieces) for word in words]
    found = [
        (lattice, float(words[word])) for word, lattice in zip(words, lattices, strict=True) if lattice is not None
    ]
    scores = old[ordinary]
    expected, before = _expected_counts(found, scores)
    after = before
    for number in range(ROUNDS):
        shares = np.maximum(expected, FLOOR)
        scores = np.log(shares / shares.sum())
        expected, after = _expected_counts(found, scores)
        report("estimate scores", number + 1, ROUNDS, {"log_likelihood_per_word": after})
    result = old.copy()
    result[ordinary] = scores.astype(np.float32)  # what a SentencePiece file can hold, so that both files agree
    return result, {
        "rounds": ROUNDS,
        "words": len(found),
        "words_left_out": len(words) - len(found),
        "log_likelihood_per_word_before": before,
        "log_likelihood_per_word_after": after,
        "largest_change_of_a_score": float(np.abs(result - old)[ordinary].max()),
    }


def _words(backend: Tokenizer, corpora: Sequence[WeightedLines], report: Report) -> dict[str, float]:
    """The most frequent words as the model sees them, normalized and with their space sign, and their weighted counts."""
    total: dict[str, float] = defaultdict(float)
    for corpus in corpora:
        for number, lines in enumerate(batches(corpus.lines)):
            for line in lines:
                for word in backend.normalizer.normalize_str(line).split() if backend.normalizer else line.split():
                    total[word] += corpus.weight
            if len(total) > 10 * WORDS:
                total = defaultdict(float, _most_common(total, 5 * WORDS))
            report(f"collect words of {corpus.name}", number, None)
    words: dict[str, float] = {}
    for word, count in _most_common(total, WORDS):
        for part, _ in backend.pre_tokenizer.pre_tokenize_str(word) if backend.pre_tokenizer else [(word, None)]:
            words[part] = words.get(part, 0.0) + count
    return words


def _most_common(counts: dict[str, float], number: int) -> list[tuple[str, float]]:
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:number]


Lattice = list[list[tuple[int, int]]]
"""At each end: the starts and numbers of the pieces that end there."""


def _lattice(word: str, pieces: dict[str, int]) -> Lattice | None:
    """All ways to write the word with the pieces; None where there is none."""
    ends: Lattice = [[] for _ in range(len(word) + 1)]
    reached = [True] + [False] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(max(0, end - LONGEST), end):
            if reached[start] and (number := pieces.get(word[start:end])) is not None:
                ends[end].append((start, number))
                reached[end] = True
    return ends if reached[-1] else None


LONGEST = 24
"""Characters of the longest piece that is looked for; XLM-R's longest has 16."""


def _expected_counts(
    found: Sequence[tuple[Lattice, float]], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Expected count of each piece, and the mean log-likelihood of a running word: one forward and backward sweep each."""
    chance = np.exp(scores).tolist()
    expected = [0.0] * len(scores)
    likelihood = total = 0.0
    for ends, times in found:
        forward = [1.0] + [0.0] * (len(ends) - 1)
        for end, edges in enumerate(ends):
            for start, number in edges:
                forward[end] += forward[start] * chance[number]
        if forward[-1] <= 0.0:  # a word so long and rare that its probability is below what floats can tell from 0
            continue
        backward = [0.0] * (len(ends) - 1) + [times / forward[-1]]
        for end in range(len(ends) - 1, 0, -1):
            for start, number in ends[end]:
                flow = chance[number] * backward[end]
                backward[start] += flow
                expected[number] += flow * forward[start]
        likelihood += times * float(np.log(forward[-1]))
        total += times
    return np.array(expected), likelihood / max(total, 1e-9)
