"""logits_mse: L = 1 / (N V) sum_n ||z_s - z_t||^2 over N positions and V columns (Gurgurov et al. 2025, 2505.16956).

The paper's own code takes all positions, padding included; ours never counts padding.
"""

from typing import TYPE_CHECKING, ClassVar

from ndogo.compressors.distillation.objective import TaughtLogitsObjective

if TYPE_CHECKING:
    from torch import Tensor

    from ndogo.compressors.distillation.logits import Logits


class LogitsMSE(TaughtLogitsObjective):
    """Mean squared error of the raw logits."""

    name: ClassVar[str] = "logits_mse"

    def loss(self, student: "Logits", teacher: "Logits", labels_N: "Tensor") -> "Tensor":
        """The sum over rows of the mean over columns."""
        return (student.values_NV - teacher.values_NV).square().mean(-1).sum()
