"""cosine: L = 1/N sum_n (1 - cos(h_s W, h_t)) of the last hidden states (DistilBERT, 1910.01108)."""

from typing import TYPE_CHECKING, Any, ClassVar

from ndogo.compressors.distillation.objective import StateObjective, Wanted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape


class Cosine(StateObjective):
    """1 - cosine of the last hidden states (DistilBERT)."""

    name: ClassVar[str] = "cosine"

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """The encoders' final outputs."""
        return Wanted(last=True), Wanted(last=True)

    def projections(self, student: "Shape", teacher: "Shape", length: int) -> "nn.Module":
        """One."""
        from torch import nn

        from ndogo.compressors.distillation.squares import projection

        return nn.ModuleDict({"last": projection(student.hidden, teacher.hidden)})

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over real positions."""
        import torch
        from torch.nn import functional

        assert student.last_BLH is not None and teacher.last_BLH is not None
        ours = projections["last"](student.last_BLH)[real_BL]
        theirs = teacher.last_BLH[real_BL]
        wide = torch.promote_types(ours.dtype, torch.float32)
        return (1 - functional.cosine_similarity(ours.to(wide), theirs.to(wide), dim=-1)).sum()
