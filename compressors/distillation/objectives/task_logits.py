"""task_logits: L = T^2 / N sum_n KL(softmax(z_t / T) || softmax(z_s / T)) over the teacher's own task head, N being the texts of
a head that answers for a text, and the tokens of one that answers for each.

Hinton et al. 2015, arXiv 1503.02531: a teacher's chances of all labels say more of a text than one label does, and any text in
the language has them. Labels that do not exclude each other are compared one by one as two-way choices; a head with one label
gives a number, not a choice, and its squared error is taken.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ndogo.compressors.distillation.objective import Per, StateObjective, Wanted

if TYPE_CHECKING:
    from torch import Tensor

    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape


class TaskLogits(StateObjective):
    """T^2 x KL between what the task heads say: of each text, or of each token."""

    name: ClassVar[str] = "task_logits"
    needs_task_head: ClassVar[bool] = True
    temperature: float = Field(gt=0, default=1.0)
    """Both sides' logits are divided by it."""

    def counted(self, student: "Seen") -> Per:
        """Tokens or texts, as the head answers."""
        assert student.answer is not None
        return "tokens" if student.answer.dim() == 3 else "sequences"

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """The heads' answers."""
        return Wanted(last=True, answer=True), Wanted(last=True, answer=True)

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over texts, or over real positions."""
        ours_NK, theirs_NK = _answers(student, real_BL), _answers(teacher, real_BL)
        if student.exclusive and ours_NK.shape[-1] == 1:
            return (ours_NK - theirs_NK).square().sum()
        ours, theirs = (self._logs(z_NK, exclusive=student.exclusive) for z_NK in (ours_NK, theirs_NK))
        chances = theirs.exp()
        return self.temperature**2 * ((chances * theirs).sum() - (chances * ours).sum())

    def _logs(self, z_NK: "Tensor", *, exclusive: bool) -> "Tensor":
        """Log-probabilities: of all labels, (N, K), or of each label and its absence, (N, K, 2)."""
        import torch

        scaled = z_NK / self.temperature
        return (scaled if exclusive else torch.stack([scaled, torch.zeros_like(scaled)], -1)).log_softmax(-1)


def _answers(seen: "Seen", real_BL: "Tensor") -> "Tensor":
    """What is said of each text or real position, (N, K), at least in fp32."""
    import torch

    assert seen.answer is not None
    rows = seen.answer[real_BL] if seen.answer.dim() == 3 else seen.answer
    return rows if rows.dtype == torch.float64 else rows.float()
