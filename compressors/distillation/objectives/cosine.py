"""cosine: L = 1/N sum_n (1 - cos(h_s W, h_t)) of the last hidden states (DistilBERT, 1910.01108)."""

import torch
from torch import nn
from torch.nn import functional

from ndogo.compressors.distillation.objectives.squares import projection
from ndogo.compressors.distillation.taps import Seen, Wanted
from ndogo.core.architectures import Shape


class CosineTerm(nn.Module):
    """The encoders' final outputs."""

    per = "tokens"
    student = teacher = Wanted(last=True)

    def __init__(self, student: Shape, teacher: Shape) -> None:
        super().__init__()
        self.projection = projection(student.hidden, teacher.hidden)

    def forward(self, student: Seen, teacher: Seen, real_BL: torch.Tensor) -> torch.Tensor:
        """The sum over real positions."""
        assert student.last_BLH is not None and teacher.last_BLH is not None
        ours = self.projection(student.last_BLH)[real_BL]
        theirs = teacher.last_BLH[real_BL]
        wide = torch.promote_types(ours.dtype, torch.float32)
        return (1 - functional.cosine_similarity(ours.to(wide), theirs.to(wide), dim=-1)).sum()
