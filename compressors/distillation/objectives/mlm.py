"""mlm: L = - 1/M sum_m log softmax(z_m)[y_m] over the M masked positions (Devlin et al. 2019, arXiv 1810.04805)."""

from typing import TYPE_CHECKING, ClassVar

from ndogo.compressors.distillation.objective import LogitsObjective

if TYPE_CHECKING:
    from torch import Tensor

    from ndogo.compressors.distillation.logits import Logits


class Mlm(LogitsObjective):
    """Cross-entropy with the masked tokens."""

    name: ClassVar[str] = "mlm"
    needs_teacher: ClassVar[bool] = False

    def loss(self, student: "Logits", teacher: "Logits", labels_N: "Tensor") -> "Tensor":
        """The sum over rows of the cross-entropy with the masked tokens; unmasked rows count nothing."""
        from torch.nn import functional

        from ndogo.core.masking import IGNORED

        return functional.nll_loss(student.logs(), labels_N, ignore_index=IGNORED, reduction="sum")
