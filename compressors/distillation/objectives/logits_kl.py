"""logits_kl: L = T^2 / N sum_n KL(softmax(z_t / T) || softmax(z_s / T)) over N positions; `reverse` swaps the sides.

Hinton et al. 2015, arXiv 1503.02531; with T = 2 in AfroXLMR-Comet (2502.18020), with T = 1 in Minitron (2407.14679).
"""

import torch

from ndogo.compressors.distillation.vocabulary import Logits, OnLogits
from ndogo.core.objectives import LogitsKL


def logits_kl(spec: LogitsKL) -> OnLogits:
    """The sum over rows, as a function of both sides' logits."""

    def loss(student: Logits, teacher: Logits, _labels_N: torch.Tensor) -> torch.Tensor:
        ours, theirs = student.logs(spec.temperature), teacher.logs(spec.temperature)
        of, judged = (theirs, ours) if spec.direction == "forward" else (ours, theirs)
        chances = of.exp()
        # Two sums, not one of the difference: its gradient would be one more pass over N x V. Equal sides still give 0.
        return spec.temperature**2 * ((chances * of).sum() - (chances * judged).sum())

    return loss
