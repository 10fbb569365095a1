"""embedding: L = 1 / (N H_t) sum_n ||E_s W - E_t||^2, the embeddings' output (TinyBERT, 1909.10351)."""

import torch
from torch import nn

from ndogo.compressors.distillation.objectives.squares import projection, squared_error
from ndogo.compressors.distillation.taps import Seen, Wanted
from ndogo.core.architectures import Shape


class EmbeddingTerm(nn.Module):
    """State 0 of both."""

    per = "tokens"
    student = teacher = Wanted(states=frozenset({0}))

    def __init__(self, student: Shape, teacher: Shape) -> None:
        super().__init__()
        self.projection = projection(student.hidden, teacher.hidden)

    def forward(self, student: Seen, teacher: Seen, real_BL: torch.Tensor) -> torch.Tensor:
        """The sum over real positions."""
        return squared_error(self.projection(student.states[0]), teacher.states[0], real_BL)
