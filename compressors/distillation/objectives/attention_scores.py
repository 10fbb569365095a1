"""attention_scores: L = sum over pairs (i, j) of 1 / (A P) sum ||S_s^i - S_t^j||^2, S = Q K^T / sqrt(d) before softmax.

TinyBERT (1909.10351), Cruz & Aji 2025 (2501.12660). P counts the query-key pairs within sequences, A the heads, which must
agree; TinyBERT's code sets padded entries to 0 on both sides instead and counts them.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ndogo.compressors.distillation.layer_maps import LayerMap, pairs_of
from ndogo.compressors.distillation.objective import StateObjective, Wanted
from ndogo.core.errors import NdogoError

if TYPE_CHECKING:
    from torch import Tensor

    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape


class AttentionScores(StateObjective):
    """TinyBERT: mean squared error of attention scores before softmax, layer by layer."""

    name: ClassVar[str] = "attention_scores"
    per: ClassVar[Literal["tokens", "pairs"]] = "pairs"
    map: LayerMap = "uniform"
    """Which teacher layer each student layer learns from, or pairs such as [[3, 6], [6, 12]]."""

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """Q and K of the pairs."""
        if student.heads != teacher.heads:
            raise NdogoError(
                f"attention_scores compares head by head; the student has {student.heads}, the teacher {teacher.heads}.",
                where="objective: attention_scores",
                cure="Use attention_maps with `heads: mean`, or relations, which need no equal heads.",
            )
        pairs = pairs_of(self.map, student.layers, teacher.layers)
        return Wanted(qkv=frozenset(i for i, _ in pairs)), Wanted(qkv=frozenset(j for _, j in pairs))

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over real pairs of the mean over heads."""
        import torch

        from ndogo.compressors.distillation.attention import scores, within

        inside_BLL = within(real_BL)
        parts = []
        for i, j in pairs_of(self.map, student.shape.layers, teacher.shape.layers):
            difference_BALL = scores(student, i) - scores(teacher, j)
            parts.append(difference_BALL.square().mean(1).masked_fill(~inside_BLL, 0).sum())
        return torch.stack(parts).sum()
