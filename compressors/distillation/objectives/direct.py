"""direct: L = sum over X in {Q, K, V} of 1 / (N H_t) sum_n ||X_s W_X - X_t||^2 (DirectMiniLM, 2310.08797)."""

from typing import TYPE_CHECKING, Any, ClassVar

from ndogo.compressors.distillation.layer_maps import one_layer
from ndogo.compressors.distillation.objective import StateObjective, Wanted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape

VECTORS = {"q": "queries", "k": "keys", "v": "values"}


class Direct(StateObjective):
    """DirectMiniLM: mean squared error of the query, key and value vectors themselves, through learned projections.

    Those of the student's last layer and of one teacher layer, before any rotation.
    """

    name: ClassVar[str] = "direct"
    teacher_layer: int | None = None
    """1-based, negative from the end; default: the teacher's last."""

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """Q, K and V of the pair."""
        ours, theirs = self._layers(student, teacher)
        return Wanted(qkv=frozenset({ours})), Wanted(qkv=frozenset({theirs}))

    def projections(self, student: "Shape", teacher: "Shape", length: int) -> "nn.Module":
        """One per kind of vector."""
        from torch import nn

        from ndogo.compressors.distillation.squares import projection

        return nn.ModuleDict({x: projection(student.hidden, teacher.hidden) for x in VECTORS})

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over real positions."""
        import torch

        from ndogo.compressors.distillation.squares import squared_error

        ours, theirs = self._layers(student.shape, teacher.shape)
        return torch.stack(
            [
                squared_error(projections[x](getattr(student, name)[ours]), getattr(teacher, name)[theirs], real_BL)
                for x, name in VECTORS.items()
            ]
        ).sum()

    def _layers(self, student: "Shape", teacher: "Shape") -> tuple[int, int]:
        return student.layers, one_layer(self.teacher_layer, teacher.layers, self.name)
