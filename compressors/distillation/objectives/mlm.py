"""mlm: L = - 1/M sum_m log softmax(z_m)[y_m] over the M masked positions (Devlin et al. 2019, arXiv 1810.04805)."""

import torch
from torch.nn import functional

from core.masking import IGNORED


def mlm(student_NV: torch.Tensor, _teacher_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """The sum over rows of the cross-entropy with the masked pieces; unmasked rows count nothing."""
    return functional.cross_entropy(student_NV, labels_N, ignore_index=IGNORED, reduction="sum")
