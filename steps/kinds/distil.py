"""distil: teach a student by any mix of objectives."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from ndogo.compressors.distillation.objective import Objective, wanted_by
from ndogo.compressors.distillation.objectives import Objectives
from ndogo.core.errors import NdogoError
from ndogo.steps.step import Planning
from ndogo.steps.training import Training

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Distil(Training):
    """Teach a student by any mix of the papers' objectives."""

    kind: ClassVar[str] = "distil"
    title: ClassVar[str] = "Distil"
    roles: ClassVar[dict[str, str]] = {"teacher": "The model to learn from."}

    teacher: str = "original"
    """The step whose result teaches; default: the untouched teacher."""
    objective: Objectives
    """Objectives with weights, such as {mlm: 0.5, logits_mse: 0.5}; docs/distil.md has them all."""

    @property
    def objectives(self) -> dict[str, Objective]:
        """The terms of the loss, by name."""
        return dict(self.objective)

    @model_validator(mode="after")
    def _masks(self) -> "Distil":
        asked = [name for name, objective in self.objective.items() if objective.masked_only]
        if asked and not self.mask_probability:
            raise ValueError(f"mask_probability is 0, and {asked[0]} learns at masked tokens only")
        return self

    def plan(self, config: "PreTrainedConfig", planning: Planning) -> "PreTrainedConfig":
        """The same configuration; both models must read the same tokens, and the objectives fit both shapes."""
        config = super().plan(config, planning)
        student, guide = planning.inputs["student"], planning.inputs["teacher"]
        if student.vocabulary != guide.vocabulary:
            raise NdogoError(
                f"Teacher and student read the same tokens, but `{guide.id}` has the vocabulary of `{guide.vocabulary}` "
                f"and `{student.id}` that of `{student.vocabulary}`.",
                where=f"{planning.where}.teacher: {self.teacher}",
                cure="Name a teacher after the same trim, or trim later.",
            )
        if asking := [name for name, objective in self.objective.items() if objective.needs_task_head]:
            self._check_labels(planning, f"The objective `{asking[0]}`")
        try:
            wanted_by(self.objective, student.shape, guide.shape)
        except NdogoError as error:
            raise NdogoError(error.what, where=f"{planning.where}.{error.where}", cure=error.cure) from error
        return config

    def _check_labels(self, planning: Planning, asks: str) -> None:
        """Refuse models whose heads do not answer alike."""
        from ndogo.core.task_heads import check_same_labels

        try:
            check_same_labels(planning.inputs["student"].config, planning.inputs["teacher"].config, asks)
        except NdogoError as error:
            raise NdogoError(error.what, where=f"{planning.where}: {error.where}", cure=error.cure) from error
