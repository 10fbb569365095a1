"""logits_kl: L = T^2 / N sum_n KL(softmax(z_t / T) || softmax(z_s / T)) over N positions; `reverse` swaps the sides.

Hinton et al. 2015, arXiv 1503.02531; with T = 2 in AfroXLMR-Comet (2502.18020), with T = 1 in Minitron (2407.14679).
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ndogo.compressors.distillation.objective import TaughtLogitsObjective

if TYPE_CHECKING:
    from torch import Tensor

    from ndogo.compressors.distillation.logits import Logits


class LogitsKL(TaughtLogitsObjective):
    """T^2 x KL between the output distributions; forward is teacher || student."""

    name: ClassVar[str] = "logits_kl"
    temperature: float = Field(gt=0, default=1.0)
    """Both sides' logits are divided by it."""
    direction: Literal["forward", "reverse"] = "forward"
    """forward: from the teacher's distribution; reverse: from the student's."""

    def loss(self, student: "Logits", teacher: "Logits", labels_N: "Tensor") -> "Tensor":
        """The sum over rows of the divergence."""
        ours, theirs = student.logs(self.temperature), teacher.logs(self.temperature)
        of, judged = (theirs, ours) if self.direction == "forward" else (ours, theirs)
        chances = of.exp()
        # Two sums, not one of the difference: its gradient would be one more pass over N x V. Equal sides still give 0.
        return self.temperature**2 * ((chances * of).sum() - (chances * judged).sum())
