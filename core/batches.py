"""Rows of token ids as rectangles: the one place where sequences are padded and put together by length.

Shapes: B sequences, L positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Sequences that go through a model together, padded on the right."""

    ids: Tensor
    """(B, L) token ids to read, masks applied, int64."""
    real: Tensor
    """(B, L), false at padding."""
    labels: Tensor
    """(B, L) tokens to predict, `IGNORED` elsewhere."""
    rows: np.ndarray | None = field(default=None, kw_only=True)
    """Which rows of a text they are, where they are rows of one."""
    text: str = field(default="", kw_only=True)
    """Names that text."""
    places: tuple[Tensor, Tensor] | None = field(default=None, kw_only=True)
    """Flat positions with a label, and of the other real tokens, where they were counted before the batch is on a device, which
    would have to be waited for.
    """

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        parts = (part.to(device, non_blocking=True) for part in (self.ids, self.real, self.labels))
        places = self.places and (
            self.places[0].to(device, non_blocking=True),
            self.places[1].to(device, non_blocking=True),
        )
        return Batch(*parts, rows=self.rows, text=self.text, places=places)


def pad(
    rows: Sequence[Sequence[int] | np.ndarray], filler: int, width: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows filled up on the right to one width, by default that of the longest.

    :returns: ids (B, L), int64, and what is real of them (B, L), false at padding.
    """
    lengths = np.array([len(row) for row in rows])
    width = int(lengths.max()) if width is None else width
    ids = np.full((len(rows), width), filler, dtype=np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row
    return ids, np.arange(width) < lengths[:, None]


def by_length(rows: np.ndarray, lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """`rows` in batches of `size` (the last may be smaller), sorted by `lengths[row]`, shortest first, equal ones as given."""
    arranged = rows[np.argsort(lengths[rows], kind="stable")]
    return np.split(arranged, range(size, len(arranged), size))
