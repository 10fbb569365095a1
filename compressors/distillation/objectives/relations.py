"""relations: L = sum_a w_a / (A_r N) sum_{heads, n} KL(R_t || R_s), R = softmax(X X^T / sqrt(d_r)), X in {Q, K, V}.

MiniLMv2 (Wang et al. 2021, arXiv 2012.15828). The student's last layer learns from one teacher layer. Q, K and V are split
anew into A_r relation heads of d_r = H / A_r, so that neither head counts nor widths must agree. Rotation is not applied, as
in the public ModernBERT port. N counts real positions of the whole batch, where the paper's code averages per sequence.
"""

import math

import torch
from torch.nn import functional

from ndogo.compressors.distillation.objectives.layers import teacher_layer
from ndogo.compressors.distillation.taps import Seen, Wanted
from ndogo.core.architectures import Shape
from ndogo.core.errors import NdogoError
from ndogo.core.objectives import Relations


class RelationsTerm:
    """Relations within Q, K and V of one layer of each side. B rows, A relation heads, L positions."""

    per = "tokens"

    def __init__(self, spec: Relations, student: Shape, teacher: Shape) -> None:
        self.heads = relation_heads(spec, student, teacher)
        self.layers = (student.layers, teacher_layer(spec.teacher_layer, teacher, "relations"))
        self.weights = {"queries": spec.q, "keys": spec.k, "values": spec.v}
        self.student = Wanted(projections=frozenset({self.layers[0]}))
        self.teacher = Wanted(projections=frozenset({self.layers[1]}))

    def __call__(self, student: Seen, teacher: Seen, real_BL: torch.Tensor) -> torch.Tensor:
        """The sum over real positions of the mean over heads."""
        parts = []
        for name, weight in self.weights.items():
            if weight:
                ours = self._log_relations(getattr(student, name)[self.layers[0]], real_BL)
                theirs = self._log_relations(getattr(teacher, name)[self.layers[1]], real_BL)
                rows_BAL = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)
                parts.append(weight / self.heads * rows_BAL.masked_fill(~real_BL[:, None], 0).sum())
        return torch.stack(parts).sum()

    def _log_relations(self, x_BLH: torch.Tensor, real_BL: torch.Tensor) -> torch.Tensor:
        x_BALd = x_BLH.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        scores = x_BALd @ x_BALd.transpose(-1, -2) / math.sqrt(x_BALd.shape[-1])
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        # The least finite number, not -inf: two of them differ by 0, where inf - inf would be no number.
        scores = scores.masked_fill(~real_BL[:, None, None], torch.finfo(scores.dtype).min)
        return functional.log_softmax(scores, -1)


def relation_heads(spec: Relations, student: Shape, teacher: Shape) -> int:
    """The asked number of relation heads, or the most that both widths allow, at most the teacher's heads.

    :raises NdogoError: the asked number does not divide both widths.
    """
    common = math.gcd(student.hidden, teacher.hidden)
    if spec.heads is None:
        return max(n for n in range(1, teacher.heads + 1) if common % n == 0)
    if common % spec.heads:
        raise NdogoError(
            f"{spec.heads} relation heads do not divide the widths {student.hidden} and {teacher.hidden}.",
            where="objective: relations: heads",
            cure=f"Use a divisor of {common}.",
        )
    return spec.heads
