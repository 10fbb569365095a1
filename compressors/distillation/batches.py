"""Which sequences each step reads: a pure function of (seed, step), so that the position in the data is the step number.

Sequences of like length share a batch. The batches are global: with n processes each takes every n-th row of the same one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from ndogo.compressors.distillation.corpus import Tokenized
from ndogo.core.batches import Batch, by_length, pad
from ndogo.core.masking import IGNORED, Masking, mask

WINDOW = 64
"""Batches whose sequences are sorted by length together: enough for little padding, few enough to stay random."""
ORDER = 0
"""The second part of the key of the random streams that order the corpus."""


@dataclass(frozen=True)
class Denominators:
    """What a global batch holds, over all processes: every loss is a sum divided by one of these."""

    tokens: int
    masked: int
    pairs: int
    """Query-key pairs within sequences."""


@dataclass(frozen=True)
class Schedule:
    """The batches of a training: `rows(step)` for any step, in no order."""

    lengths: np.ndarray
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the corpus; the sequences left over differ from epoch to epoch."""
        return max(1, len(self.lengths) // self.batch_size)

    @property
    def tokens_per_step(self) -> float:
        """Real tokens in a batch, on average."""
        return float(self.lengths.mean()) * min(self.batch_size, len(self.lengths))

    def rows(self, step: int) -> np.ndarray:
        """The corpus rows of the batch of a step (0-based), shortest first."""
        epoch, place = divmod(step, self.steps_per_epoch)
        window, place = divmod(place, WINDOW)
        order = _permutation(self.seed, epoch, len(self.lengths))
        first = window * WINDOW * self.batch_size
        last = min(first + WINDOW * self.batch_size, self.steps_per_epoch * self.batch_size)
        batches: list[np.ndarray] = by_length(order[first:last], self.lengths, self.batch_size)
        return batches[int(_random(self.seed, ORDER, epoch, window + 1).permutation(len(batches))[place])]


@dataclass(frozen=True)
class GlobalBatch:
    """The whole batch of a step before it is shared out. B rows of the corpus, L positions; see `Batch`."""

    rows: np.ndarray
    ids: np.ndarray
    real: np.ndarray
    labels: np.ndarray
    text: str = ""
    """Names the text of the rows."""

    @property
    def denominators(self) -> Denominators:
        """The divisors of the losses."""
        lengths = self.real.sum(1, dtype=np.int64)
        return Denominators(int(lengths.sum()), int((self.labels != IGNORED).sum()), int((lengths**2).sum()))

    def share(self, rank: int, processes: int, tokens: int) -> Iterator[Batch]:
        """One process's rows in parts of at most `tokens` padded positions (at least one row), longest first."""
        mine = np.arange(len(self.rows))[::-1][rank::processes]
        lengths = self.real.sum(1)
        while len(mine):
            width = min(multiple_of_8(int(lengths[mine[0]])), self.ids.shape[1])
            some, mine = np.split(mine, [max(1, tokens // width)])
            parts = (torch.from_numpy(part[some, :width]) for part in (self.ids, self.real, self.labels))
            yield Batch(*parts, rows=self.rows[some], text=self.text)


def read_batch(corpus: Tokenized, rows: np.ndarray, masking: Masking, filler: int, key: tuple[int, ...]) -> GlobalBatch:
    """Read `rows` of the corpus, pad them to one width (a multiple of 8, at most the longest of all) and mask them by `key`."""
    width = min(multiple_of_8(int(corpus.lengths[rows].max())), int(corpus.lengths.max()))
    ids, real = pad([corpus.sequence(int(row)) for row in rows], filler, width)
    inputs, labels = mask(ids, real, masking, key)
    return GlobalBatch(rows, inputs, real, labels, corpus.name)


def multiple_of_8(length: int) -> int:
    """The length, rounded up: matrix units like multiples of eight."""
    return -(-length // 8) * 8


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    return _random(seed, ORDER, epoch, 0).permutation(size)


def _random(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([abs(part) for part in key])))
