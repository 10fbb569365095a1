"""logits_mse: L = 1 / (N V) sum_n ||z_s - z_t||^2 over N positions and V columns (Gurgurov et al. 2025, 2505.16956).

The paper's own code takes all positions, padding included; ours never counts padding.
"""

import torch

from ndogo.compressors.distillation.vocabulary import Logits


def logits_mse(student: Logits, teacher: Logits, _labels_N: torch.Tensor) -> torch.Tensor:
    """The sum over rows of the mean over columns."""
    return (student.values_NV - teacher.values_NV).square().mean(-1).sum()
