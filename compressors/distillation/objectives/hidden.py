"""hidden: L = sum over pairs (i, j) of 1 / (N H_t) sum_n ||H_s^i W_i - H_t^j||^2 over N real positions.

TinyBERT (1909.10351); the maps phi of Udagawa et al. 2023 (2310.08797, HS). W_i, one per student layer, where widths differ.
"""

import torch
from torch import nn

from ndogo.compressors.distillation.layer_maps import pairs_of
from ndogo.compressors.distillation.objectives.squares import projection, squared_error
from ndogo.compressors.distillation.taps import Seen, Wanted
from ndogo.core.architectures import Shape
from ndogo.core.objectives import Hidden


class HiddenTerm(nn.Module):
    """Hidden states, pair by pair; state 0 is the embeddings."""

    per = "tokens"

    def __init__(self, spec: Hidden, student: Shape, teacher: Shape) -> None:
        super().__init__()
        pairs = pairs_of(spec.map, student.layers, teacher.layers)
        if spec.embeddings and (0, 0) not in pairs:
            pairs = ((0, 0), *pairs)
        self.pairs = pairs
        self.projections = nn.ModuleDict({str(i): projection(student.hidden, teacher.hidden) for i, _ in pairs})
        self.student = Wanted(states=frozenset(i for i, _ in pairs))
        self.teacher = Wanted(states=frozenset(j for _, j in pairs))

    def forward(self, student: Seen, teacher: Seen, real_BL: torch.Tensor) -> torch.Tensor:
        """The sum over real positions."""
        projected = {i: self.projections[str(i)](student.states[i]) for i in self.student.states}
        return torch.stack([squared_error(projected[i], teacher.states[j], real_BL) for i, j in self.pairs]).sum()
