"""hidden: L = sum over pairs (i, j) of 1 / (N H_t) sum_n ||H_s^i W_i - H_t^j||^2 over N real positions.

TinyBERT (1909.10351); the maps phi of Udagawa et al. 2023 (2310.08797, HS). W_i, one per student layer, where widths differ.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from ndogo.compressors.distillation.layer_maps import LayerMap, Pair, pairs_of
from ndogo.compressors.distillation.objective import StateObjective, Wanted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape


class Hidden(StateObjective):
    """Mean squared error of hidden states, through a learned projection where widths differ."""

    name: ClassVar[str] = "hidden"
    map: LayerMap = "uniform-last"
    embeddings: bool = False
    """Also match the embedding output (state 0), as TinyBERT and BiStil do."""

    def pairs(self, student: "Shape", teacher: "Shape") -> tuple[Pair, ...]:
        """The pairs that are compared."""
        pairs = pairs_of(self.map, student.layers, teacher.layers)
        return ((0, 0), *pairs) if self.embeddings and (0, 0) not in pairs else pairs

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """The states of the pairs."""
        pairs = self.pairs(student, teacher)
        return Wanted(states=frozenset(i for i, _ in pairs)), Wanted(states=frozenset(j for _, j in pairs))

    def projections(self, student: "Shape", teacher: "Shape", length: int) -> "nn.Module":
        """One per student layer."""
        from torch import nn

        from ndogo.compressors.distillation.squares import projection

        pairs = self.pairs(student, teacher)
        return nn.ModuleDict({str(i): projection(student.hidden, teacher.hidden) for i, _ in pairs})

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over real positions."""
        import torch

        from ndogo.compressors.distillation.squares import squared_error

        pairs = self.pairs(student.shape, teacher.shape)
        projected = {i: projections[str(i)](student.states[i]) for i in frozenset(i for i, _ in pairs)}
        return torch.stack([squared_error(projected[i], teacher.states[j], real_BL) for i, j in pairs]).sum()
