"""sentence: L = 1/B sum_b (1 - cos(W v_s + c - m, v_t - m)), v the vector of a text as the teacher's folder pools it, m the
teacher's mean vector over some text.

Vectors of one encoder crowd around their mean, and a cosine of vectors that are not centred is near 1 whatever they say.
W and c start from a least-squares fit of the final states; they are the map of the final outputs that `hidden` and `similarity`
learn too, where these are there.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ndogo.compressors.distillation.objective import StateObjective, Wanted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape


class Sentence(StateObjective):
    """1 - cosine of the vectors of texts, in the teacher's space, less its mean vector."""

    name: ClassVar[str] = "sentence"
    shapes_vectors: ClassVar[bool] = True
    per: ClassVar[Literal["tokens", "pairs", "sequences"]] = "sequences"
    space: Literal["own", "teacher"] = "own"
    """own: the student's vectors are its pooled states, as wide as it is; teacher: they pass through the learned map as a dense
    layer into the teacher's space, so that an index of the teacher's vectors still works."""

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """The encoders' final outputs."""
        return Wanted(last=True), Wanted(last=True)

    def projections(self, student: "Shape", teacher: "Shape", length: int) -> "nn.Module":
        """The map of the final outputs."""
        from torch import nn

        from ndogo.compressors.distillation.maps import LastMap

        return nn.ModuleDict({"last": LastMap((student.layers, teacher.layers), student.hidden, teacher.hidden)})

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over rows."""
        from torch.nn import functional

        last = projections["last"]
        ours, theirs = last.of_student(student, real_BL), last.of_teacher(teacher, real_BL)
        return (1 - functional.cosine_similarity(ours, theirs, dim=-1)).sum()

    def dense(self, projections: Any) -> "tuple[nn.Linear, ...] | None":
        """The map, where the student is to stay in the teacher's space."""
        return (projections["last"].undone(),) if self.space == "teacher" else ()
