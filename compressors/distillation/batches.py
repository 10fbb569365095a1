"""Which sequences each step reads: a pure function of (seed, step), so that the position in the data is the step number.

Sequences of like length share a batch. The batches are global: with n processes each takes every n-th row of the same one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from ndogo.compressors.distillation.corpus import Tokenized
from ndogo.core.masking import IGNORED, Masking, mask

WINDOW = 64
"""Batches whose sequences are sorted by length together: enough for little padding, few enough to stay random."""
ORDER = 0
"""The second part of the key of the random streams that order the corpus."""


@dataclass(frozen=True)
class Batch:
    """Some rows of one global batch, padded on the right. B rows, L positions."""

    ids_BL: torch.Tensor
    """Piece ids to read, masks applied, int64."""
    real_BL: torch.Tensor
    """Not padding, bool."""
    labels_BL: torch.Tensor
    """Pieces to predict, `IGNORED` elsewhere."""

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(*(part.to(device, non_blocking=True) for part in (self.ids_BL, self.real_BL, self.labels_BL)))


@dataclass(frozen=True)
class Counts:
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
        """Real pieces in a batch, on average."""
        return float(self.lengths.mean()) * min(self.batch_size, len(self.lengths))

    def rows(self, step: int) -> np.ndarray:
        """The corpus rows of the batch of a step (0-based), shortest first."""
        epoch, place = divmod(step, self.steps_per_epoch)
        window, place = divmod(place, WINDOW)
        order = _permutation(self.seed, epoch, len(self.lengths))
        first = window * WINDOW * self.batch_size
        last = min(first + WINDOW * self.batch_size, self.steps_per_epoch * self.batch_size)
        members = order[first:last]
        members = members[np.argsort(self.lengths[members], kind="stable")]
        batches = max(1, len(members) // self.batch_size)
        chosen = _random(self.seed, ORDER, epoch, window + 1).permutation(batches)[place]
        return members[chosen * self.batch_size : (chosen + 1) * self.batch_size]


@dataclass(frozen=True)
class Lot:
    """A whole global batch before it is shared out."""

    rows: np.ndarray
    ids_BL: np.ndarray
    real_BL: np.ndarray
    labels_BL: np.ndarray

    @property
    def counts(self) -> Counts:
        """The divisors of the losses."""
        lengths = self.real_BL.sum(1, dtype=np.int64)
        return Counts(int(lengths.sum()), int((self.labels_BL != IGNORED).sum()), int((lengths**2).sum()))

    def share(self, rank: int, processes: int, tokens: int) -> Iterator[Batch]:
        """One process's rows in parts of at most `tokens` padded positions (at least one row), longest first."""
        mine = np.arange(len(self.rows))[::-1][rank::processes]
        lengths = self.real_BL.sum(1)
        while len(mine):
            width = int(lengths[mine[0]])
            width = min(-(-width // 8) * 8, self.ids_BL.shape[1])
            some, mine = np.split(mine, [max(1, tokens // width)])
            yield Batch(*(torch.from_numpy(part[some, :width]) for part in (self.ids_BL, self.real_BL, self.labels_BL)))


def gather(corpus: Tokenized, rows: np.ndarray, masking: Masking, pad: int, key: tuple[int, ...]) -> Lot:
    """Read `rows` of the corpus, pad them to one width (a multiple of 8, at most the longest of all) and mask them by `key`."""
    lengths = corpus.lengths[rows]
    width = min(-(-int(lengths.max()) // 8) * 8, int(corpus.lengths.max()))
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    for at, row in enumerate(rows):
        ids[at, : lengths[at]] = corpus.sequence(int(row))
    real = np.arange(width) < lengths[:, None]
    inputs, labels = mask(ids, real, masking, key)
    return Lot(rows, inputs, real, labels)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    return _random(seed, ORDER, epoch, 0).permutation(size)


def _random(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([abs(part) for part in key])))
