"""logits_ce: L = - 1/N sum_n softmax(z_t) . log softmax(z_s), the output-distribution objective (2310.08797, OD).

Its gradient is that of logits_kl at T = 1; its value keeps the teacher's entropy and so never reaches zero.
"""

import torch

from ndogo.compressors.distillation.vocabulary import Logits


def logits_ce(student: Logits, teacher: Logits, _labels_N: torch.Tensor) -> torch.Tensor:
    """The sum over rows of the cross-entropy with the teacher's distribution."""
    return -(teacher.logs().exp() * student.logs()).sum()
