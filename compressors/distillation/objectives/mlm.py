"""mlm: L = - 1/M sum_m log softmax(z_m)[y_m] over the M masked positions (Devlin et al. 2019, arXiv 1810.04805)."""

import torch
from torch.nn import functional

from ndogo.compressors.distillation.vocabulary import Logits
from ndogo.core.masking import IGNORED


def mlm(student: Logits, _teacher: Logits, labels_N: torch.Tensor) -> torch.Tensor:
    """The sum over rows of the cross-entropy with the masked pieces; unmasked rows count nothing."""
    return functional.nll_loss(student.logs(), labels_N, ignore_index=IGNORED, reduction="sum")
