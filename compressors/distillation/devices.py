"""Where and in which precision a process computes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate import PartialState

from ndogo.compressors.distillation.run import Precision, Resolved
from ndogo.core.device import chosen
from ndogo.core.errors import NdogoError

NAMES: dict[torch.dtype | None, Resolved] = {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
"""Of the types that products are computed in."""
BUCKET = 2**24
"""Gradient entries that travel together: 64 MiB in fp32."""


def autocast_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """bf16 where asked, or where `auto` finds hardware that multiplies in it; else fp16 on a GPU; None: plain fp32.

    :raises NdogoError: fp16 on a processor.
    """
    if precision == "fp32":
        return None
    if precision == "fp16" and device.type == "cpu":
        raise NdogoError("A processor does not train in fp16.", where="precision", cure="Use auto, bf16 or fp32.")
    if precision == "bf16" or (precision == "auto" and multiplies_bf16(device)):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else None


def fuses_attention(precision: torch.dtype | None, device: torch.device) -> bool:
    """Whether torch's fused attention pays. Its bf16 kernel for processors takes 5 times as long as plain products, forward
    and backward, at 128 positions (torch 2.13, Zen 5: 25.6 against 5.0 ms for 8 x 12 heads of 32); its fp32 one is as fast.
    """
    return device.type != "cpu" or precision is None


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has bf16 products of its own: emulated ones are slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def memory_of(device: torch.device) -> int | None:
    """Bytes of a card; None for the CPU."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, seen from one of them."""

    rank: int
    size: int
    device: torch.device

    def sum_numbers(self, numbers: torch.Tensor) -> torch.Tensor:
        """The sums over all processes, the same on each; the input is changed."""
        if self.size > 1:
            torch.distributed.all_reduce(numbers)
        return numbers

    def sum_gradients(self, parameters: list[torch.nn.Parameter]) -> None:
        """Replace every `.grad` by its sum over all processes.

        Not DistributedDataParallel: that averages per process, where our losses are divided by the global count already,
        and it wants every parameter to have a gradient, where many objectives leave the top of a student untouched.
        """
        if self.size == 1:
            return
        present = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        torch.distributed.all_reduce(present, op=torch.distributed.ReduceOp.MAX)
        wanted = [p for p, some in zip(parameters, present.tolist(), strict=True) if some]
        for bucket in _buckets(wanted):
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket])
            torch.distributed.all_reduce(flat)
            for p, part in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
                p.grad = part.view_as(p)

    def gather(self, mine: torch.Tensor | None) -> list[torch.Tensor | None]:
        """What each process has, in their order, here."""
        if self.size == 1:
            return [mine]
        found: list[torch.Tensor | None] = [None] * self.size
        torch.distributed.all_gather_object(found, None if mine is None else mine.cpu())
        return [None if part is None else part.to(self.device) for part in found]

    def share_first(self, tensors: list[torch.Tensor]) -> None:
        """Replace every tensor by the first process's, in place."""
        for tensor in tensors if self.size > 1 else []:
            torch.distributed.broadcast(tensor, 0)


def process_group() -> ProcessGroup:
    """What the launcher's environment says; a process alone where there is none. Joins the process group."""
    state = PartialState(cpu=chosen() == "cpu")  # else it joins no group on a machine without GPU
    return ProcessGroup(state.process_index, state.num_processes, state.device)


def _buckets(parameters: list[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    """Runs of parameters of at most BUCKET elements together (at least one)."""
    bucket: list[torch.nn.Parameter] = []
    size = 0
    for p in parameters:
        if bucket and size + p.numel() > BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(p)
        size += p.numel()
    if bucket:
        yield bucket


@contextmanager
def exact(device: torch.device, wanted: bool = True) -> Iterator[None]:
    """On a GPU: kernels that give the same bits every time, where there are some. The caller's setting comes back."""
    if device.type != "cuda" or not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may choose another sum each time
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def processes(asked: int | Literal["auto"]) -> int:
    """How many processes train: as many as asked; auto: one per GPU, or one on the CPU.

    :raises NdogoError: more than there are GPUs, on a machine that has some.
    """
    found = 0 if chosen() == "cpu" else torch.cuda.device_count()
    if asked == "auto":
        return max(1, found)
    if found and asked > found:
        raise NdogoError(f"{asked} devices are asked for; there are {found} GPUs.", where="devices")
    return asked
