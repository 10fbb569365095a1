"""logits_kl: L = T^2 / N sum_n KL(softmax(z_t / T) || softmax(z_s / T)) over N positions; `reverse` swaps the sides.

Hinton et al. 2015, arXiv 1503.02531; with T = 2 in AfroXLMR-Comet (2502.18020), with T = 1 in Minitron (2407.14679).
"""

from collections.abc import Callable

import torch
from torch.nn import functional

from core.objectives import LogitsKL


def logits_kl(spec: LogitsKL) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """The sum over rows, as a function of (student logits, teacher logits, labels)."""

    def loss(student_NV: torch.Tensor, teacher_NV: torch.Tensor, _labels_N: torch.Tensor) -> torch.Tensor:
        if spec.temperature != 1:  # a pass over N x V on each side
            student_NV, teacher_NV = student_NV / spec.temperature, teacher_NV / spec.temperature
        ours, theirs = functional.log_softmax(student_NV, -1), functional.log_softmax(teacher_NV, -1)
        of, judged = (theirs, ours) if spec.direction == "forward" else (ours, theirs)
        return spec.temperature**2 * functional.kl_div(judged, of, reduction="sum", log_target=True)

    return loss
