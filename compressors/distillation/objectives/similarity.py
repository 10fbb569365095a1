"""similarity: L = 1/B sum_i KL(softmax_k(cos(t_i, t_k) / T) || softmax_k(cos(s_i, c_k) / T)), t the teacher's centred vectors.

`against: teacher` compares the student's mapped vectors with the teacher's (c = t), itself included, and with those of a bank
that were stored before step 1; `against: student` compares them in the student's own width (c = s), k other than i.
Rows and columns are those of the whole batch, whatever parts it goes through the models in.
"""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ndogo.compressors.distillation.objective import BatchObjective, Wanted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape


class Similarity(BatchObjective):
    """Divergence of each text's similarities to the others of the batch."""

    name: ClassVar[str] = "similarity"
    shapes_vectors: ClassVar[bool] = True
    per: ClassVar[Literal["tokens", "pairs", "sequences"]] = "sequences"
    temperature: float = Field(gt=0, default=0.05)
    """Both sides' cosines are divided by it."""
    against: Literal["teacher", "student"] = "teacher"
    """Whose vectors the student's are compared with."""
    stored: Annotated[int, Field(ge=0)] = 0
    """Vectors of the teacher, of sequences drawn once, that each text is compared with besides its batch."""

    @model_validator(mode="after")
    def _of_the_teacher(self) -> "Similarity":
        if self.stored and self.against == "student":
            raise ValueError("stored vectors are the teacher's, so they go with against: teacher")
        return self

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """The encoders' final outputs."""
        return Wanted(last=True), Wanted(last=True)

    def projections(self, student: "Shape", teacher: "Shape", length: int) -> "nn.Module":
        """The map of the final outputs, and the bank."""
        from torch import nn

        from ndogo.compressors.distillation.maps import Bank, LastMap

        last = LastMap((student.layers, teacher.layers), student.hidden, teacher.hidden)
        return nn.ModuleDict({"last": last} | ({"bank": Bank(self.stored)} if self.stored else {}))

    def vectors(self, student: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """Mapped into the teacher's space and centred, or in the student's own width as they are."""
        last = projections["last"]
        made = last.of_student if self.against == "teacher" else last.pooled
        vectors: Tensor = made(student, real_BL)
        return vectors

    def taught(self, teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """Centred."""
        vectors: Tensor = projections["last"].of_teacher(teacher, real_BL)
        return vectors

    def compare(self, ours_BV: "Tensor", theirs_BV: "Tensor", projections: Any) -> "Tensor":
        """The divergence of each row, (B,)."""
        import torch
        from torch.nn import functional

        theirs, ours = functional.normalize(theirs_BV, dim=-1), functional.normalize(ours_BV, dim=-1)
        others = theirs
        if "bank" in projections:
            bank = projections["bank"].stored.to(theirs) - projections["last"].centre
            others = torch.cat([theirs, functional.normalize(bank, dim=-1)])
        wanted, found = (
            theirs @ others.T / self.temperature,
            ours @ (others if self.against == "teacher" else ours).T / self.temperature,
        )
        if self.against == "student":
            if len(ours) < 2:
                return ours.sum(-1) * 0
            itself = torch.eye(len(ours), dtype=torch.bool, device=ours.device)
            least = torch.finfo(ours.dtype).min  # not -inf, whose difference is no number
            wanted, found = wanted.masked_fill(itself, least), found.masked_fill(itself, least)
        return functional.kl_div(found.log_softmax(-1), wanted.log_softmax(-1), reduction="none", log_target=True).sum(
            -1
        )

    def dense(self, projections: Any) -> "tuple[nn.Linear, ...] | None":
        """None, where the student's own width is what learns."""
        return () if self.against == "student" else None
