"""logits_ce: L = - 1/N sum_n softmax(z_t) . log softmax(z_s), the output-distribution objective (2310.08797, OD).

Its gradient is that of logits_kl at T = 1; its value keeps the teacher's entropy and so never reaches zero.
"""

from typing import TYPE_CHECKING, ClassVar

from ndogo.compressors.distillation.objective import TaughtLogitsObjective

if TYPE_CHECKING:
    from torch import Tensor

    from ndogo.compressors.distillation.logits import Logits


class LogitsCE(TaughtLogitsObjective):
    """Cross-entropy with the teacher's distribution as soft labels (the OD objective)."""

    name: ClassVar[str] = "logits_ce"

    def loss(self, student: "Logits", teacher: "Logits", labels_N: "Tensor") -> "Tensor":
        """The sum over rows of the cross-entropy with the teacher's distribution."""
        return -(teacher.logs().exp() * student.logs()).sum()
