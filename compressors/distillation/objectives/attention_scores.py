"""attention_scores: L = sum over pairs (i, j) of 1 / (A P) sum ||S_s^i - S_t^j||^2, S = Q K^T / sqrt(d) before softmax.

TinyBERT (1909.10351), Cruz & Aji 2025 (2501.12660). P counts the query-key pairs within sequences, A the heads, which must
agree; TinyBERT's code sets padded entries to 0 on both sides instead and counts them.
"""

import torch

from ndogo.compressors.distillation.layer_maps import pairs_of
from ndogo.compressors.distillation.objectives.attention import scores, within
from ndogo.compressors.distillation.taps import Seen, Wanted
from ndogo.core.architectures import Shape
from ndogo.core.errors import NdogoError
from ndogo.core.objectives import AttentionScores


class AttentionScoresTerm:
    """Scores of every pair of layers, head by head."""

    per = "pairs"

    def __init__(self, spec: AttentionScores, student: Shape, teacher: Shape) -> None:
        if student.heads != teacher.heads:
            raise NdogoError(
                f"attention_scores compares head by head; the student has {student.heads}, the teacher {teacher.heads}.",
                where="objective: attention_scores",
                cure="Use attention_maps with `heads: mean`, or relations, which need no equal heads.",
            )
        self.pairs = pairs_of(spec.map, student.layers, teacher.layers)
        self.heads = student.heads
        self.student = Wanted(projections=frozenset(i for i, _ in self.pairs))
        self.teacher = Wanted(projections=frozenset(j for _, j in self.pairs))

    def __call__(self, student: Seen, teacher: Seen, real_BL: torch.Tensor) -> torch.Tensor:
        """The sum over real pairs of the mean over heads."""
        inside_BLL = within(real_BL)
        parts = []
        for i, j in self.pairs:
            difference_BALL = scores(student, i, self.heads) - scores(teacher, j, self.heads)
            parts.append(difference_BALL.square().mean(1).masked_fill(~inside_BLL, 0).sum())
        return torch.stack(parts).sum()
