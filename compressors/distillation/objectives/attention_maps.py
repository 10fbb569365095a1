"""attention_maps: L = sum over pairs (i, j) of 1 / (A P) sum ||W A_s^i - A_t^j||^2, A after softmax.

With `heads: mean` and the last layers AfroXLMR-Comet's (2502.18020; A = 1 then), with `heads: each` BiStil's (2306.01709).
P counts query-key pairs within sequences. The paper's exact W is not public; each kind starts as "no change" or the plain
mean over heads. A W between whole flattened maps (L^2 x L^2) is left out: 268 million weights at 128 positions.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ndogo.compressors.distillation.layer_maps import LayerMap, pairs_of
from ndogo.compressors.distillation.objective import StateObjective, Wanted
from ndogo.core.errors import NdogoError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape


class AttentionMaps(StateObjective):
    """Mean squared error of attention probabilities (Comet, BiStil)."""

    name: ClassVar[str] = "attention_maps"
    per: ClassVar[Literal["tokens", "pairs"]] = "pairs"
    map: LayerMap = "last-pair"
    """Which teacher layer each student layer learns from, or pairs such as [[3, 6], [6, 12]]."""
    heads: Literal["each", "mean"] = "mean"
    """Compare head by head, or the means of all heads."""
    projection: Literal["none", "per_row", "head_mix"] = "none"
    """What is learnt between the two sides: nothing, a matrix over the keys of a row, or a mixture of heads."""

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """Q and K of the pairs."""
        if self.heads == "each" and self.projection != "head_mix" and student.heads != teacher.heads:
            raise NdogoError(
                f"The student has {student.heads} heads, the teacher {teacher.heads}; they cannot be compared one by one.",
                where="objective: attention_maps: heads",
                cure="Use `heads: mean` or `projection: head_mix`.",
            )
        pairs = pairs_of(self.map, student.layers, teacher.layers)
        return Wanted(qkv=frozenset(i for i, _ in pairs)), Wanted(qkv=frozenset(j for _, j in pairs))

    def projections(self, student: "Shape", teacher: "Shape", length: int) -> "nn.Module":
        """One matrix per student layer."""
        import torch
        from torch import nn

        if self.projection == "none":
            return nn.ParameterDict()
        pairs = pairs_of(self.map, student.layers, teacher.layers)
        mean = torch.full((teacher.heads, student.heads), 1 / student.heads)
        start = mean if self.projection == "head_mix" else torch.eye(length)
        return nn.ParameterDict({str(i): nn.Parameter(start.clone()) for i, _ in pairs})

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over real pairs of the mean over the compared heads."""
        import torch

        from ndogo.compressors.distillation.attention import maps, within

        inside_BLL = within(real_BL)
        parts = []
        for i, j in pairs_of(self.map, student.shape.layers, teacher.shape.layers):
            learnt = projections[str(i)] if self.projection != "none" else None
            ours = self._projected(maps(student, i, real_BL) * inside_BLL[:, None], learnt)
            theirs = maps(teacher, j, real_BL)
            if self.heads == "mean":
                theirs = theirs.mean(1, keepdim=True)
            parts.append((ours - theirs).square().mean(1).masked_fill(~inside_BLL, 0).sum())
        return torch.stack(parts).sum()

    def _projected(self, maps_BALL: "Tensor", learnt: Any) -> "Tensor":
        """The student's maps as they are compared: mixed, averaged if asked, then projected along positions."""
        import torch
        from torch.nn import functional

        if self.projection == "head_mix":
            maps_BALL = torch.einsum("ts,bsqk->btqk", learnt.to(maps_BALL.dtype), maps_BALL)
        if self.heads == "mean":
            maps_BALL = maps_BALL.mean(1, keepdim=True)
        if self.projection == "per_row":
            size = maps_BALL.shape[-1]
            return functional.linear(maps_BALL, learnt[:size, :size])
        return maps_BALL
