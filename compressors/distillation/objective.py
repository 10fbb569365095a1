"""What an objective is: its settings, as a recipe writes them, and its formula, together in one file of objectives/.

Reading a recipe imports every objective, so none imports torch before it computes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ndogo.core.frozen import Given

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ndogo.compressors.distillation.logits import Logits
    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape


Per = Literal["tokens", "pairs", "sequences"]


@dataclass(frozen=True)
class Wanted:
    """What objectives read of one encoder; 0 is the embeddings' output, layers count from 1."""

    states: frozenset[int] = frozenset()
    qkv: frozenset[int] = frozenset()
    """Layers whose queries, keys and values are read."""
    last: bool = False
    """The encoder's final output."""
    answer: bool = False
    """The logits of the task head."""

    def __or__(self, other: "Wanted") -> "Wanted":
        last, answer = self.last or other.last, self.answer or other.answer
        return Wanted(self.states | other.states, self.qkv | other.qkv, last, answer)

    def highest(self, layers: int) -> int:
        """The highest layer that must run."""
        return layers if self.last or self.answer else max((0, *self.states, *self.qkv))


class Objective(Given):
    """One term of the loss."""

    name: ClassVar[str]
    """How a recipe calls it."""
    needs_teacher: ClassVar[bool] = True
    shapes_vectors: ClassVar[bool] = False
    """Whether it teaches the vectors of whole texts."""
    needs_lm_head: ClassVar[bool] = False
    """The student must have one; so must the teacher, where there is one to compare with."""
    needs_task_head: ClassVar[bool] = False
    """Student and teacher must have one, with the same labels."""
    weight: float = Field(gt=0, default=1.0)
    """Of this term in the sum."""

    @property
    def masked_only(self) -> bool:
        """Whether it learns at masked positions only."""
        return False


class LogitsObjective(Objective):
    """An objective on the predictions at the masked positions."""

    needs_lm_head: ClassVar[bool] = True

    @property
    def masked_only(self) -> bool:
        """Its positions are the masked ones."""
        return True

    def loss(self, student: "Logits", teacher: "Logits", labels_N: "Tensor") -> "Tensor":
        """The sum over N rows of logits; without a teacher its logits are empty. Unmasked rows have the label `IGNORED`."""
        raise NotImplementedError


class TaughtLogitsObjective(LogitsObjective):
    """An objective that compares the predictions of both sides column by column: both need one vocabulary."""

    positions: Literal["masked", "all"] = "masked"
    """Where predictions are compared: at masked tokens, or at all."""

    @property
    def masked_only(self) -> bool:
        """As `positions` says."""
        return self.positions == "masked"


class StateObjective(Objective):
    """An objective on what the two encoders compute on the way."""

    per: ClassVar[Per] = "tokens"
    """Its value is its sum divided by this count of the global batch."""

    def counted(self, student: "Seen") -> Per:
        """The same, where it depends on the model."""
        return self.per

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """What it reads of the student and of the teacher.

        :raises NdogoError: the two do not fit it.
        """
        raise NotImplementedError

    def projections(self, student: "Shape", teacher: "Shape", length: int) -> "nn.Module":
        """What it learns beside the student, by name (here: nothing). Sequences have at most `length` tokens."""
        from torch import nn

        return nn.ModuleDict()

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over all real positions, over pairs of them, or over rows. B rows, L positions."""
        raise NotImplementedError

    def dense(self, projections: Any) -> "tuple[nn.Linear, ...] | None":
        """The dense layers that the student's vectors pass through when it is done; None: it says nothing of them."""
        return None


class BatchObjective(StateObjective):
    """An objective that compares the rows of the whole batch with each other, by one vector of each."""

    def vectors(self, student: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The student's vectors of some rows, (B, V): all that it learns stands before them."""
        raise NotImplementedError

    def taught(self, teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The teacher's, of another width perhaps."""
        raise NotImplementedError

    def compare(self, ours_BV: "Tensor", theirs_BV: "Tensor", projections: Any) -> "Tensor":
        """What each row of a whole batch loses, (B,)."""
        raise NotImplementedError

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over rows, where these are the whole batch."""
        ours, theirs = self.vectors(student, real_BL, projections), self.taught(teacher, real_BL, projections)
        return self.compare(ours, theirs, projections).sum()


def wanted_by(objectives: Mapping[str, Objective], student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
    """What the objectives together read of the student and of the teacher.

    :raises NdogoError: the two do not fit one of them.
    """
    ours = Wanted(last=True)
    theirs = Wanted(last=any(isinstance(objective, TaughtLogitsObjective) for objective in objectives.values()))
    for objective in objectives.values():
        if isinstance(objective, StateObjective):
            more_of_ours, more_of_theirs = objective.reads(student, teacher)
            ours, theirs = ours | more_of_ours, theirs | more_of_theirs
    return ours, theirs
