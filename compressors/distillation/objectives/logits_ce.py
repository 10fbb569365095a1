"""logits_ce: L = - 1/N sum_n softmax(z_t) . log softmax(z_s), the output-distribution objective (2310.08797, OD).

Its gradient is that of logits_kl at T = 1; its value keeps the teacher's entropy and so never reaches zero.
"""

import torch
from torch.nn import functional


def logits_ce(student_NV: torch.Tensor, teacher_NV: torch.Tensor, _labels_N: torch.Tensor) -> torch.Tensor:
    """The sum over rows of the cross-entropy with the teacher's distribution."""
    return functional.cross_entropy(student_NV, teacher_NV.softmax(-1), reduction="sum")
