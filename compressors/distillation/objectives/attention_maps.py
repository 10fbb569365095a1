"""attention_maps: L = sum over pairs (i, j) of 1 / (A P) sum ||W A_s^i - A_t^j||^2, A after softmax.

With `heads: mean` and the last layers AfroXLMR-Comet's (2502.18020; A = 1 then), with `heads: each` BiStil's (2306.01709).
P counts query-key pairs within sequences. The paper's exact W is not public; each kind starts as "no change" or the plain
mean over heads. linear_flat (L^2 x L^2, what a re-implementation does) is 268 million weights at 128 positions.
"""

import torch
from torch import nn
from torch.nn import functional

from ndogo.compressors.distillation.layer_maps import pairs_of
from ndogo.compressors.distillation.objectives.attention import maps, within
from ndogo.compressors.distillation.taps import Seen, Wanted
from ndogo.core.architectures import Shape
from ndogo.core.errors import NdogoError
from ndogo.core.objectives import AttentionMaps


class AttentionMapsTerm(nn.Module):
    """Maps of every pair of layers, per head or averaged."""

    per = "pairs"

    def __init__(self, spec: AttentionMaps, student: Shape, teacher: Shape, length: int) -> None:
        super().__init__()
        if spec.heads == "each" and spec.projection != "head_mix" and student.heads != teacher.heads:
            raise NdogoError(
                f"The student has {student.heads} heads, the teacher {teacher.heads}; they cannot be compared one by one.",
                where="objective: attention_maps: heads",
                cure="Use `heads: mean` or `projection: head_mix`.",
            )
        self.spec, self.length = spec, length
        self.heads = (student.heads, teacher.heads)
        self.pairs = pairs_of(spec.map, student.layers, teacher.layers)
        self.student = Wanted(projections=frozenset(i for i, _ in self.pairs))
        self.teacher = Wanted(projections=frozenset(j for _, j in self.pairs))
        start = {
            "none": lambda: torch.zeros(0),
            "head_mix": lambda: torch.full((teacher.heads, student.heads), 1 / student.heads),
            "per_row": lambda: torch.eye(length),
            "linear_flat": lambda: torch.eye(length**2),
        }[spec.projection]
        if spec.projection != "none":
            self.projections = nn.ParameterDict({str(i): nn.Parameter(start()) for i, _ in self.pairs})

    def forward(self, student: Seen, teacher: Seen, real_BL: torch.Tensor) -> torch.Tensor:
        """The sum over real pairs of the mean over the compared heads."""
        inside_BLL = within(real_BL)
        parts = []
        for i, j in self.pairs:
            ours = self._projected(maps(student, i, self.heads[0], real_BL) * inside_BLL[:, None], i)
            theirs = maps(teacher, j, self.heads[1], real_BL)
            if self.spec.heads == "mean":
                theirs = theirs.mean(1, keepdim=True)
            parts.append((ours - theirs).square().mean(1).masked_fill(~inside_BLL, 0).sum())
        return torch.stack(parts).sum()

    def _projected(self, maps_BALL: torch.Tensor, layer: int) -> torch.Tensor:
        """The student's maps as they are compared: mixed, averaged if asked, then projected along positions."""
        if self.spec.projection == "head_mix":
            maps_BALL = torch.einsum("ts,bsqk->btqk", self.projections[str(layer)].to(maps_BALL.dtype), maps_BALL)
        if self.spec.heads == "mean":
            maps_BALL = maps_BALL.mean(1, keepdim=True)
        if self.spec.projection == "per_row":
            size = maps_BALL.shape[-1]
            return functional.linear(maps_BALL, self.projections[str(layer)][:size, :size])
        if self.spec.projection == "linear_flat":
            missing = self.length - maps_BALL.shape[-1]
            flat = functional.pad(maps_BALL, (0, missing, 0, missing)).flatten(2)
            whole = functional.linear(flat, self.projections[str(layer)]).unflatten(-1, (self.length, self.length))
            return whole[..., : maps_BALL.shape[-2], : maps_BALL.shape[-1]]
        return maps_BALL
