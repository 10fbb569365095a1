"""Counting how often a corpus uses each piece: one pass, bounded memory, all cores (the Rust tokenizer's threads)."""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from core.errors import NdogoError
from core.progress import Report
from core.text import Lines, WeightedLines

BATCH_LINES = 8192
BATCH_CHARACTERS = 2_000_000
"""A batch ends at either, so that neither short nor very long lines fill the memory."""
HELD_OUT_EVERY = 50
HELD_OUT_AT_MOST = 2000
SAMPLE = 256

Encoded = tuple[str, list[int]]
"""A line and its ids, without specials."""


@dataclass(frozen=True)
class Counts:
    """What one pass over the corpora found."""

    weighted: NDArray[np.float64]
    """(ids,) occurrences of each id in the counted lines, times the weight of their corpus."""
    lines: int
    tokens: int
    held_out: tuple[Encoded, ...]
    """Lines set aside and not counted: every 50th, at most 2,000 of them, drawn with a fixed seed."""
    sample: tuple[Encoded, ...]
    """The first counted lines, for checks that need more lines than were held out."""


class _Tally:
    """The counts and the held-out lines while they grow."""

    def __init__(self, size: int) -> None:
        self.counts = np.zeros(size, np.int64)
        self.weighted = np.zeros(size, np.float64)
        self.held_out: list[tuple[str, list[int], float]] = []
        self.sample: list[Encoded] = []
        self.seen = self.candidates = self.tokens = 0
        self._draw = random.Random(0)

    def add(self, lines: list[str], encoded: list[list[int]], weight: float) -> None:
        counted = []
        for number, (line, ids) in enumerate(zip(lines, encoded, strict=True), self.seen):
            if number % HELD_OUT_EVERY:
                counted.append(ids)
                if len(self.sample) < SAMPLE:
                    self.sample.append((line, ids))
            else:
                self._hold_out(line, ids, weight)
        self.seen += len(lines)
        flat = np.fromiter(chain.from_iterable(counted), np.int64)
        self.counts += np.bincount(flat, minlength=len(self.counts))
        self.tokens += len(flat)

    def _hold_out(self, line: str, ids: list[int], weight: float) -> None:
        self.candidates += 1
        if len(self.held_out) < HELD_OUT_AT_MOST:
            self.held_out.append((line, ids, weight))
            return
        place = self._draw.randrange(self.candidates)
        entry = (line, ids, weight)
        if place < HELD_OUT_AT_MOST:
            entry, self.held_out[place] = self.held_out[place], entry
        np.add.at(self.weighted, entry[1], entry[2])
        self.tokens += len(entry[1])

    def end_corpus(self, weight: float) -> None:
        self.weighted += self.counts * weight
        self.counts[:] = 0


def count_pieces(backend: Tokenizer, size: int, corpora: Sequence[WeightedLines], report: Report) -> Counts:
    """Encode every line of every corpus once and count the ids; `size` is the number of ids.

    :raises NdogoError: no corpus, a weight that is not positive, or no piece at all in the text.
    """
    for corpus in corpora:
        if not corpus.weight > 0:
            raise NdogoError(f"A weight must be above 0; got {corpus.weight}.", where=corpus.name)
    tally = _Tally(size)
    total = sum(1 for corpus in corpora for _ in corpus.lines())
    started = time.monotonic()
    for corpus in corpora:
        for lines in batches(corpus.lines):
            tally.add(lines, encode(backend, lines), corpus.weight)
            rate = tally.seen / max(time.monotonic() - started, 1e-9)
            left = (total - tally.seen) / rate
            report(f"count {corpus.name}", tally.seen, total, {"lines_per_second": rate, "seconds_left": left})
        tally.end_corpus(corpus.weight)
    if not tally.weighted.any() and not any(ids for _, ids, _ in tally.held_out):
        raise NdogoError("There is no text to count.", where=", ".join(c.name for c in corpora) or "--corpus")
    if not tally.weighted.any():
        # A corpus of a line or two is all held out; then it must be counted as well.
        for _, ids, weight in tally.held_out:
            np.add.at(tally.weighted, ids, weight)
            tally.tokens += len(ids)
    held_out = tuple((line, ids) for line, ids, _ in tally.held_out)
    return Counts(tally.weighted, tally.seen, tally.tokens, held_out, tuple(tally.sample))


def encode(backend: Tokenizer, lines: Sequence[str]) -> list[list[int]]:
    """The ids of each line, without specials."""
    return [encoding.ids for encoding in backend.encode_batch_fast(list(lines), add_special_tokens=False)]


def batches(lines: Lines) -> Iterator[list[str]]:
    """The corpus in lists of lines, each of bounded size."""
    batch: list[str] = []
    characters = 0
    for line in lines():
        batch.append(line)
        characters += len(line)
        if len(batch) >= BATCH_LINES or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
