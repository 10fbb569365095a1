"""relations: L = sum_a w_a / (A_r N) sum_{heads, n} KL(R_t || R_s), R = softmax(X X^T / sqrt(d_r)), X in {Q, K, V}.

MiniLMv2 (Wang et al. 2021, arXiv 2012.15828). The student's last layer learns from one teacher layer. Q, K and V are split
anew into A_r relation heads of d_r = H / A_r, so that neither head counts nor widths must agree. Rotation is not applied, as
in the public ModernBERT port. N counts real positions of the whole batch, where the paper's code averages per sequence.
"""

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from ndogo.compressors.distillation.layer_maps import one_layer
from ndogo.compressors.distillation.objective import StateObjective, Wanted
from ndogo.core.errors import NdogoError

if TYPE_CHECKING:
    from torch import Tensor

    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape


class Relations(StateObjective):
    """MiniLMv2: divergence of query-query, key-key and value-value relations of one layer pair."""

    name: ClassVar[str] = "relations"
    q: float = Field(ge=0, default=1 / 3)
    """Weight of the relations between queries."""
    k: float = Field(ge=0, default=1 / 3)
    """Weight of the relations between keys."""
    v: float = Field(ge=0, default=1 / 3)
    """Weight of the relations between values."""
    heads: int | None = Field(gt=0, default=None)
    """Relation heads; default: the largest number that both widths allow, at most the teacher's heads."""
    teacher_layer: int | None = None
    """1-based, negative from the end; default: the teacher's last."""

    @model_validator(mode="after")
    def _something(self) -> "Relations":
        if self.q + self.k + self.v <= 0:
            raise ValueError("one of q, k and v must be positive")
        return self

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """Q, K and V of the pair."""
        self.relation_heads(student, teacher)
        ours, theirs = self._layers(student, teacher)
        return Wanted(qkv=frozenset({ours})), Wanted(qkv=frozenset({theirs}))

    def relation_heads(self, student: "Shape", teacher: "Shape") -> int:
        """The asked number of relation heads, or the most that both widths allow, at most the teacher's heads.

        :raises NdogoError: the asked number does not divide both widths.
        """
        common = math.gcd(student.hidden, teacher.hidden)
        if self.heads is None:
            return max(n for n in range(1, teacher.heads + 1) if common % n == 0)
        if common % self.heads:
            raise NdogoError(
                f"{self.heads} relation heads do not divide the widths {student.hidden} and {teacher.hidden}.",
                where="objective: relations: heads",
                cure=f"Use a divisor of {common}.",
            )
        return self.heads

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over real positions of the mean over heads. B rows, A relation heads, L positions."""
        import torch
        from torch.nn import functional

        heads = self.relation_heads(student.shape, teacher.shape)
        layers = self._layers(student.shape, teacher.shape)
        parts = []
        for name, weight in {"queries": self.q, "keys": self.k, "values": self.v}.items():
            if weight:
                ours = _log_relations(getattr(student, name)[layers[0]], heads, real_BL)
                theirs = _log_relations(getattr(teacher, name)[layers[1]], heads, real_BL)
                rows_BAL = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)
                parts.append(weight / heads * rows_BAL.masked_fill(~real_BL[:, None], 0).sum())
        return torch.stack(parts).sum()

    def _layers(self, student: "Shape", teacher: "Shape") -> tuple[int, int]:
        return student.layers, one_layer(self.teacher_layer, teacher.layers, self.name)


def _log_relations(x_BLH: "Tensor", heads: int, real_BL: "Tensor") -> "Tensor":
    import torch

    x_BALd = x_BLH.unflatten(-1, (heads, -1)).transpose(1, 2)
    scores: Tensor = x_BALd @ x_BALd.transpose(-1, -2) / math.sqrt(x_BALd.shape[-1])
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    # The least finite number, not -inf: two of them differ by 0, where inf - inf would be no number.
    scores = scores.masked_fill(~real_BL[:, None, None], torch.finfo(scores.dtype).min)
    return scores.log_softmax(-1)
