"""Which sequences each step reads: a pure function of (seed, step), so that the position in the data is the step number.

Sequences of like length share a batch. The batches are global: with n processes each takes every n-th row of the same one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ndogo.compressors.distillation.corpus import Tokenized
from ndogo.compressors.distillation.settings import TrainingSettings
from ndogo.core.batches import Batch, by_length, pad
from ndogo.core.masking import IGNORED, Masking, mask, masking_of

WINDOW = 64
"""Batches whose sequences are sorted by length together: enough for little padding, few enough to stay random."""
HELD_OUT_SEQUENCES = 512
MASKS = 1
"""The second part of the key of the random streams that mask."""
ORDER = 0
"""The second part of the key of the random streams that order the corpus."""


@dataclass(frozen=True)
class Denominators:
    """What a global batch holds, over all processes: every loss is a sum divided by one of these."""

    tokens: int
    masked: int
    pairs: int
    """Query-key pairs within sequences."""
    sequences: int


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
class OneLength:
    """As `Schedule`, every batch of sequences of one length, so that nothing is padded: of `batch_tokens` tokens, where given,
    else of `batch_size` sequences. What is left of each length makes a few batches of neighbouring lengths.
    """

    lengths: np.ndarray
    batch_size: int
    batch_tokens: int | None
    seed: int
    _epochs: dict[int, list[np.ndarray]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in the corpus, the same in every epoch."""
        return len(self._batches(0))

    @property
    def tokens_per_step(self) -> float:
        """Real tokens in a batch, on average."""
        return float(self.lengths.sum(dtype=np.int64)) / self.steps_per_epoch

    def rows(self, step: int) -> np.ndarray:
        """The corpus rows of the batch of a step (0-based)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return self._batches(epoch)[place]

    def _batches(self, epoch: int) -> list[np.ndarray]:
        if epoch not in self._epochs:
            for old in [e for e in self._epochs if e]:  # the first one says how many steps an epoch has
                del self._epochs[old]
            self._epochs[epoch] = self._drawn(epoch)
        return self._epochs[epoch]

    def _drawn(self, epoch: int) -> list[np.ndarray]:
        order = _permutation(self.seed, epoch, len(self.lengths))
        arranged = order[np.argsort(self.lengths[order], kind="stable")]
        found, left = [], []
        for rows in np.split(arranged, np.flatnonzero(np.diff(self.lengths[arranged])) + 1):
            size = self._size(int(self.lengths[rows[0]]))
            whole = len(rows) // size * size
            found += np.split(rows[:whole], range(size, whole, size)) if whole else []
            left.append(rows[whole:])
        rest = np.concatenate(left)
        while len(rest):
            size = self._size(int(self.lengths[rest[-1]]))  # the longest decide
            rest, some = np.split(rest, [max(0, len(rest) - size)])
            found.append(some)
        return [found[n] for n in _random(self.seed, ORDER, epoch, 1).permutation(len(found))]

    def _size(self, length: int) -> int:
        return self.batch_size if self.batch_tokens is None else max(1, self.batch_tokens // length)


def schedule_of(lengths: np.ndarray, settings: TrainingSettings, seed: int) -> Schedule | OneLength:
    """The batches that the settings ask for."""
    if settings.windows is None and settings.batch_tokens is None:
        return Schedule(lengths, settings.batch_size, seed)
    return OneLength(lengths, settings.batch_size, settings.batch_tokens, seed)


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
        return Denominators(
            int(lengths.sum()), int((self.labels != IGNORED).sum()), int((lengths**2).sum()), len(lengths)
        )

    def share(self, rank: int, processes: int, tokens: int) -> Iterator[Batch]:
        """One process's rows in parts of at most `tokens` padded positions (at least one row), longest first."""
        mine = np.arange(len(self.rows))[::-1][rank::processes]
        lengths = self.real.sum(1)
        while len(mine):
            width = min(multiple_of_8(int(lengths[mine[0]])), self.ids.shape[1])
            some, mine = np.split(mine, [max(1, tokens // width)])
            ids, real, labels = (part[some, :width] for part in (self.ids, self.real, self.labels))
            places = [np.flatnonzero(labels != IGNORED), np.flatnonzero(real & (labels == IGNORED))]
            masked, others = map(torch.from_numpy, places)
            parts = map(torch.from_numpy, (ids, real, labels))
            yield Batch(*parts, rows=self.rows[some], text=self.text, places=(masked, others))


def read_batch(
    corpus: Tokenized, rows: np.ndarray, masking: Masking, filler: int, key: tuple[int, ...], *, exact: bool = False
) -> GlobalBatch:
    """Read `rows` of the corpus, pad them to one width (a multiple of 8, at most the longest of all; `exact`: the longest of
    these) and mask them by `key`.
    """
    longest = int(corpus.lengths[rows].max())
    width = longest if exact else min(multiple_of_8(longest), int(corpus.lengths.max()))
    ids, real = pad([corpus.sequence(int(row)) for row in rows], filler, width)
    inputs, labels = mask(ids, real, masking, key)
    return GlobalBatch(rows, inputs, real, labels, corpus.name)


def masking_for(tokenizer: PreTrainedTokenizerBase, probability: float) -> Masking:
    """The masking of a training; a tokenizer without a mask token will do where nothing is masked."""
    return Masking(0, (), len(tokenizer), 0.0) if probability == 0 else masking_of(tokenizer, probability)


def held_out_batches(text: Tokenized, masking: Masking, filler: int, size: int) -> list[GlobalBatch]:
    """The first held-out sequences in batches of like length, masked once and for all."""
    batches = by_length(np.arange(min(len(text), HELD_OUT_SEQUENCES)), text.lengths, size)
    return [read_batch(text, rows, masking, filler, (0, MASKS, n * size)) for n, rows in enumerate(batches)]


def multiple_of_8(length: int) -> int:
    """The length, rounded up: matrix units like multiples of eight."""
    return -(-length // 8) * 8


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    return _random(seed, ORDER, epoch, 0).permutation(size)


def _random(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([abs(part) for part in key])))
