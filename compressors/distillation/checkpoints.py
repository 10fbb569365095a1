"""Checkpoints: one safetensors file with weights, optimiser and position, replaced by rename, so it is whole at any moment."""

import errno
import json
import logging
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ndogo.core.errors import NdogoError

log = logging.getLogger("ndogo.training")
SECONDS_BETWEEN = float(os.environ.get("NDOGO_CHECKPOINT_SECONDS", "60"))
"""What a kill loses at most; a machine that is often taken away wants less."""


@dataclass
class Progress:
    """Where a training stands; all of it is in every checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    first_held_out: float | None = None
    held_out: float | None = None
    best: float = math.inf
    best_step: int = 0
    bad: int = 0
    numbers: dict[str, float] = field(default_factory=dict)


def write(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, object]) -> None:
    """Write `tensors` and `facts` to `path` by rename; what stood there before stays until the new file is on the disk.

    :raises NdogoError: the disk is full or refuses; the former file is kept.
    """
    partial = path.with_name(path.name + ".partial")
    plain = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    try:
        save_file(plain, partial, metadata={"facts": json.dumps(facts), "sum": str(_sum(plain))})
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        partial.rename(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        raise NdogoError(
            "The disk is full." if full else f"The checkpoint cannot be written: {error}.",
            where=str(path),
            cure="Free some space and start again: training goes on from the last checkpoint, which is kept.",
        ) from error


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors and facts of a checkpoint.

    :raises NdogoError: it cannot be read, or is not as it was written.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            told = opened.metadata()
            facts = json.loads(told["facts"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  not a dict
        if not isinstance(facts, dict) or str(_sum(tensors)) != told.get("sum"):
            raise ValueError("its sum differs")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise NdogoError(
            f"The checkpoint is damaged: {error}.", where=str(path), cure="Delete it; training then starts anew."
        ) from error
    return tensors, facts


def readable(*paths: Path) -> bool:
    """Whether checkpoints are there and whole. Damaged ones are set aside together: a training without one starts anew."""
    try:
        for path in paths:
            read(path)
    except NdogoError as error:
        for path in paths:
            if path.exists():
                path.rename(path.with_name(f"{path.name}.damaged"))
                log.warning("%s It was set aside, and the training starts anew.", error.what)
        return False
    return True


def _sum(tensors: Mapping[str, torch.Tensor]) -> int:
    """A sum over all bytes, in the order of names: a damaged file is not taken for a good one."""
    total = 0
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, zlib.crc32(name.encode(), total))
    return total


def take_up_threads(path: Path, identity: str) -> None:
    """Give torch the threads that a checkpoint's training began with, where it is this one: the last digits depend on them."""
    try:
        with safe_open(path, framework="pt") as opened:
            facts = json.loads(opened.metadata()["facts"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return
    began = facts.get("threads") if facts.get("identity") == identity else None
    if began is not None and began != torch.get_num_threads():
        log.info("the training began with %d threads and goes on with as many", began)
        torch.set_num_threads(began)


class State:
    """Everything that a step changes, by name: trained parameters and AdamW's moments; and what was measured before step 1.
    Restoring it is exact.
    """

    def __init__(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        optimiser: torch.optim.AdamW,
        measured: Mapping[str, torch.nn.Module],
    ) -> None:
        self.parameters = parameters
        self.optimiser = optimiser
        self.measured = measured

    def tensors(self) -> dict[str, torch.Tensor]:
        """A flat view: `weight/NAME`, `exp_avg/NAME`, `exp_avg_sq/NAME`, `step/NAME`, `measured/NAME/BUFFER`."""
        flat: dict[str, torch.Tensor] = {f"weight/{name}": parameter for name, parameter in self.parameters.items()}
        for name, module in self.measured.items():
            flat |= {f"measured/{name}/{key}": buffer for key, buffer in module.named_buffers(recurse=False)}
        for name, parameter in self.parameters.items():
            for part, value in self.optimiser.state.get(parameter, {}).items():
                flat[f"{part}/{name}"] = value
        return flat

    def restore(self, flat: Mapping[str, torch.Tensor]) -> None:
        """Put a checkpoint's tensors back. Parameters that had no gradient so far have no moments."""
        for name, module in self.measured.items():
            for key, buffer in list(module.named_buffers(recurse=False)):
                if (found := flat.get(f"measured/{name}/{key}")) is not None:
                    module.register_buffer(key, found.to(buffer.device))
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(flat[f"weight/{name}"])
                moments = {part: flat.get(f"{part}/{name}") for part in ("step", "exp_avg", "exp_avg_sq")}
                kept = {part: value for part, value in moments.items() if value is not None}
                if kept:
                    self.optimiser.state[parameter] = {part: value.to(parameter.device) for part, value in kept.items()}
