"""The files of what a teacher says: one number type, all rows of a text, written block by block, read back memory-mapped.

Every block has its hash in a journal, written after it: a block without one, or of another hash, counts as absent. So a kill, a
full disk and a damaged file cost the blocks they hit and nothing else. Shapes: N tokens of all rows, H channels.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ndogo.core.errors import NdogoError

Kind = Literal["fp16", "int8"]
BLOCK = 512
"""Rows that are computed, written and checked together: some 16,000 tokens."""
LEVELS = 255


@dataclass(frozen=True)
class KeptFile:
    """One output (say, the states of layer 6) of all rows of a text, in its folder."""

    folder: Path
    starts: np.ndarray
    """Where each row's tokens begin among all tokens; one more entry than rows."""
    width: int
    kind: Kind

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return math.ceil((len(self.starts) - 1) / BLOCK)

    @property
    def bytes(self) -> int:
        """What the file takes when it is whole."""
        values = int(self.starts[-1]) * self.width * (2 if self.kind == "fp16" else 1)
        return values + (self.blocks * 2 * self.width * 4 if self.kind == "int8" else 0)

    def rows_of(self, block: int) -> np.ndarray:
        """The rows of a block."""
        return np.arange(block * BLOCK, min((block + 1) * BLOCK, len(self.starts) - 1))

    def absent(self) -> list[int]:
        """The blocks that have to be made: not there, cut off, or damaged. Makes the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path, size in self._files().items():
            path.touch()
            if path.stat().st_size != size:
                with path.open("r+b") as opened:
                    opened.truncate(size)  # sparse where it grows; what was cut off has no hash that fits
        known = self._journal()
        return [n for n in range(self.blocks) if n not in known or known[n].get("sha256") != self._hash(n)]

    def write(self, block: int, values_NH: torch.Tensor) -> None:
        """Write a block's values.

        :raises NdogoError: a number is too large for fp16 or no number at all.
        :raises OSError: the disk is full.
        """
        if not bool(torch.isfinite(values_NH).all()):
            raise NdogoError("The teacher gives values that are no numbers.", where=self.folder.name)
        centred = values_NH - values_NH.mean(0)
        if self.kind == "fp16":
            packed, ranges = self._halved(values_NH), None
            undone = packed.float()
        else:
            packed, ranges = _in_levels(values_NH)
            undone = ranges[0] + packed.float() * ranges[1]
        self._put("values", self._at(block).start, packed)
        if ranges is not None:
            self._put("ranges", block, ranges[None])
        told = {
            "block": block,
            "sha256": self._hash(block),
            "error": float((undone - values_NH).square().sum()),
            "square": float(centred.square().sum()),
        }
        with (self.folder / "blocks.jsonl").open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(told) + "\n")

    def read(self, rows: np.ndarray, length: int) -> torch.Tensor:
        """The values of some rows, (B, L, H), 0 at padding; fp16, or fp32 where they were kept in 8 bits."""
        found = np.zeros((len(rows), length, self.width), np.float16 if self.kind == "fp16" else np.float32)
        for at, row in enumerate(rows):
            values = self._values[self.starts[row] : self.starts[row + 1]]
            if self.kind == "int8":
                low, step = self._ranges[row // BLOCK]
                values = low + values * step
            found[at, : len(values)] = values
        return torch.from_numpy(found)

    def error(self) -> float:
        """What the number type costs: the root mean square of the errors, over that of the values about their means."""
        told = self._journal().values()
        return math.sqrt(sum(float(t["error"]) for t in told) / max(sum(float(t["square"]) for t in told), 1e-30))

    @cached_property
    def _values(self) -> np.ndarray:
        shape = (int(self.starts[-1]), self.width)
        return np.memmap(self.folder / "values", np.float16 if self.kind == "fp16" else np.uint8, "r", shape=shape)

    @cached_property
    def _ranges(self) -> np.ndarray:
        return np.memmap(self.folder / "ranges", np.float32, "r", shape=(self.blocks, 2, self.width))

    def _files(self) -> dict[Path, int]:
        ranges = self.blocks * 2 * self.width * 4 if self.kind == "int8" else 0
        return {self.folder / "values": self.bytes - ranges} | ({self.folder / "ranges": ranges} if ranges else {})

    def _at(self, block: int) -> slice:
        rows = self.rows_of(block)
        return slice(int(self.starts[rows[0]]), int(self.starts[rows[-1] + 1]))

    def _hash(self, block: int) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self._values[self._at(block)]).data)
        if self.kind == "int8":
            digest.update(np.ascontiguousarray(self._ranges[block]).data)
        return digest.hexdigest()

    def _journal(self) -> dict[int, dict[str, float | str]]:
        """What is written of each block, by its number; a line that is no JSON was being written when the machine stopped."""
        file = self.folder / "blocks.jsonl"
        found: dict[int, dict[str, float | str]] = {}
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []:
            try:
                told = json.loads(line)
                found[int(told["block"])] = told
            except (ValueError, TypeError, KeyError):
                continue
        return found

    def _put(self, name: str, at: int, part: torch.Tensor) -> None:
        """Not through the map: a full disk is an error there that no process survives."""
        data = part.contiguous().numpy()
        with (self.folder / name).open("r+b") as opened:
            opened.seek(at * data[0].nbytes)
            opened.write(data.tobytes())

    def _halved(self, values_NH: torch.Tensor) -> torch.Tensor:
        halved = values_NH.half()
        if not bool(torch.isfinite(halved).all()):
            raise NdogoError(
                f"The teacher gives values up to {float(values_NH.abs().max()):.3g}, and fp16 ends at 65504.",
                where="teacher_outputs: fp16",
                cure="Use teacher_outputs: int8 or live.",
            )
        return halved


def _in_levels(values_NH: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The values as levels between each channel's smallest and largest, and those: (N, H) uint8 and (2, H) fp32."""
    low_H, high_H = values_NH.amin(0), values_NH.amax(0)
    step_H = ((high_H - low_H) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
    levels = ((values_NH - low_H) / step_H).round().clamp(0, LEVELS).to(torch.uint8)
    return levels, torch.stack([low_H, step_H])
