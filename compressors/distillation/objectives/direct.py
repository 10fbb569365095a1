"""direct: L = sum over X in {Q, K, V} of 1 / (N H_t) sum_n ||X_s W_X - X_t||^2 (DirectMiniLM, 2310.08797)."""

import torch
from torch import nn

from ndogo.compressors.distillation.objectives.layers import teacher_layer
from ndogo.compressors.distillation.objectives.squares import projection, squared_error
from ndogo.compressors.distillation.taps import Seen, Wanted
from ndogo.core.architectures import Shape
from ndogo.core.objectives import Direct

VECTORS = {"q": "queries", "k": "keys", "v": "values"}


class DirectTerm(nn.Module):
    """Q, K and V of the student's last layer and one teacher layer, before any rotation."""

    per = "tokens"

    def __init__(self, spec: Direct, student: Shape, teacher: Shape) -> None:
        super().__init__()
        self.layers = (student.layers, teacher_layer(spec.teacher_layer, teacher, "direct"))
        self.projections = nn.ModuleDict({x: projection(student.hidden, teacher.hidden) for x in VECTORS})
        self.student = Wanted(projections=frozenset({self.layers[0]}))
        self.teacher = Wanted(projections=frozenset({self.layers[1]}))

    def forward(self, student: Seen, teacher: Seen, real_BL: torch.Tensor) -> torch.Tensor:
        """The sum over real positions."""
        ours, theirs = self.layers
        return torch.stack(
            [
                squared_error(
                    self.projections[x](getattr(student, name)[ours]), getattr(teacher, name)[theirs], real_BL
                )
                for x, name in VECTORS.items()
            ]
        ).sum()
