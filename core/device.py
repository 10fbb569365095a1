"""The one device on which this process computes: `ndogo --device`, $NDOGO_DEVICE, or auto, a GPU where there is one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ndogo.core.errors import NdogoError

if TYPE_CHECKING:
    import torch

VARIABLE = "NDOGO_DEVICE"
DEVICES = ("auto", "cpu", "cuda")
"""Which of several GPUs is CUDA_VISIBLE_DEVICES' business."""
DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))
"""Where none of these is, Linux has no GPU that torch computes on, and torch need not be asked, which takes seconds."""


def chosen() -> str:
    """Cpu or cuda.

    :raises NdogoError: another word, or a GPU where there is none.
    """
    given = os.environ.get(VARIABLE) or "auto"
    if given not in DEVICES:
        raise NdogoError(f"There is no device `{given}`.", where=VARIABLE, cure=f"Give {', '.join(DEVICES)}.")
    if given == "cpu":
        return given
    if _has_gpu():
        return "cuda"
    if given == "cuda":
        raise NdogoError("This machine has no GPU that torch finds.", where=VARIABLE, cure="Give auto or cpu.")
    return "cpu"


@contextmanager
def on_device(model: "torch.nn.Module") -> "Iterator[torch.device]":
    """The model on this process's device while it reads, and on the CPU afterwards."""
    import torch

    device = torch.device(chosen())
    torch.nn.Module.to(model, device)
    try:
        yield device
    finally:
        torch.nn.Module.to(model, "cpu")


def _has_gpu() -> bool:
    if Path("/dev").is_dir() and not any(driver.exists() for driver in DRIVERS):
        return False
    import torch

    return torch.cuda.is_available()
