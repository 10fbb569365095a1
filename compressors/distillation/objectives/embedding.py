"""embedding: L = 1 / (N H_t) sum_n ||E_s W - E_t||^2, the embeddings' output (TinyBERT, 1909.10351)."""

from typing import TYPE_CHECKING, Any, ClassVar

from ndogo.compressors.distillation.objective import StateObjective, Wanted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape


class Embedding(StateObjective):
    """Mean squared error of the embedding output."""

    name: ClassVar[str] = "embedding"

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """State 0 of both."""
        return Wanted(states=frozenset({0})), Wanted(states=frozenset({0}))

    def projections(self, student: "Shape", teacher: "Shape", length: int) -> "nn.Module":
        """One."""
        from torch import nn

        from ndogo.compressors.distillation.squares import projection

        return nn.ModuleDict({"embeddings": projection(student.hidden, teacher.hidden)})

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over real positions."""
        from ndogo.compressors.distillation.squares import squared_error

        return squared_error(projections["embeddings"](student.states[0]), teacher.states[0], real_BL)
