"""The part of the loss that is as wide as the vocabulary: only at the rows that need it, and in chunks.

Shapes: N rows, H hidden, V columns. The logits of at most `ELEMENTS` entries exist at any moment, on either side.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ndogo.compressors.distillation.objective import LogitsObjective

ELEMENTS = 2**26
"""Logits in memory at once: 128 MiB in bf16. More chunks cost time: each makes a gradient of the whole V x H matrix."""
IN_CACHE = 2**21
"""Logits that go through softmax and losses at once on a CPU: 8 MiB in fp32, so that a dozen passes stay in its cache."""


class Logits:
    """The logits of some rows, and what several objectives want of them, made once."""

    def __init__(self, logits_NV: torch.Tensor) -> None:
        # At least fp32: a softmax over 250,002 columns loses too much in bf16.
        self.values_NV = logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()
        self._logs: dict[float, torch.Tensor] = {}

    def logs(self, temperature: float = 1.0) -> torch.Tensor:
        """Log-probabilities, (N, V)."""
        if temperature not in self._logs:
            scaled = self.values_NV if temperature == 1 else self.values_NV / temperature
            self._logs[temperature] = scaled.log_softmax(-1)
        return self._logs[temperature]


Factor = float | torch.Tensor


@dataclass(frozen=True)
class Side:
    """One model's encoder states at the rows in question, and its head."""

    rows_NH: torch.Tensor
    logits: Callable[[torch.Tensor], torch.Tensor]
    columns: int


def logits_losses(
    losses: Mapping[str, tuple[Factor, LogitsObjective]],
    student: Side,
    teacher: Side | None,
    labels_N: torch.Tensor,
) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
    """Each loss's sum over the rows, and the gradient of their weighted total with regard to the student's rows.

    `losses`: name -> (factor in the total, objective). Where gradients are on, those of the head are added to its
    parameters chunk by chunk, and the caller carries the returned one further back; else it is None.
    """
    learning = torch.is_grad_enabled()
    leaf = student.rows_NH.detach().requires_grad_(learning)
    sums = {name: torch.zeros((), device=leaf.device, dtype=torch.float64) for name in losses}
    size = max(1, ELEMENTS // student.columns)
    for at in range(0, len(leaf), size):
        chunk = slice(at, at + size)
        ours_NV, theirs_NV = student.logits(leaf[chunk]), leaf.new_empty(len(leaf[chunk]), 0)
        if teacher is not None:
            with torch.no_grad():
                theirs_NV = teacher.logits(teacher.rows_NH[chunk])
        with torch.autocast(leaf.device.type, enabled=False):
            gradient_NV = _judge(losses, ours_NV.detach(), theirs_NV, labels_N[chunk], sums)
            if learning:
                ours_NV.backward(gradient_NV)
    return sums, leaf.grad


def _judge(
    losses: Mapping[str, tuple[Factor, LogitsObjective]],
    ours_NV: torch.Tensor,
    theirs_NV: torch.Tensor,
    labels_N: torch.Tensor,
    sums: dict[str, torch.Tensor],
) -> torch.Tensor:
    """Add each loss to its sum, a few rows at a time; return the weighted total's gradient with regard to the logits."""
    learning = torch.is_grad_enabled()
    gradient_NV = torch.empty_like(ours_NV) if learning else ours_NV
    size = max(1, (IN_CACHE if ours_NV.device.type == "cpu" else ELEMENTS) // ours_NV.shape[1])
    for at in range(0, len(ours_NV), size):
        some = slice(at, at + size)
        ours, theirs = Logits(ours_NV[some]), Logits(theirs_NV[some])
        ours.values_NV.requires_grad_(learning)
        values = {name: objective.loss(ours, theirs, labels_N[some]) for name, (_, objective) in losses.items()}
        if learning:
            total = torch.stack([losses[name][0] * value for name, value in values.items()]).sum()
            (gradient,) = torch.autograd.grad(total, ours.values_NV)
            gradient_NV[some] = gradient
        for name, value in values.items():
            sums[name] += value.detach()
    return gradient_NV
