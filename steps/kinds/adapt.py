"""adapt: continue masked-language modelling on the language, or fit a head for it on an encoder that stays as it is."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from ndogo.compressors.distillation.objective import Objective
from ndogo.compressors.distillation.objectives.mlm import Mlm
from ndogo.core.errors import NdogoError
from ndogo.steps.step import Context, Inputs, Numbers, Planning
from ndogo.steps.training import Training

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Adapt(Training):
    """Continue masked-language modelling on a language: the adapted teacher."""

    kind: ClassVar[str] = "adapt"
    title: ClassVar[str] = "Adapt the teacher"
    result: ClassVar[str] = "adapted"

    @property
    def objectives(self) -> dict[str, Objective]:
        """Masked-language modelling alone."""
        return {"mlm": Mlm()}

    def plan(self, config: "PreTrainedConfig", planning: Planning) -> "PreTrainedConfig":
        """The same configuration, with a masked-LM head where `head_only` fits one."""
        if not self.head_only:
            return super().plan(config, planning)
        from ndogo.core.heads import lm_config

        return lm_config(config, planning.where)

    def make(self, inputs: Inputs, out: Path, context: Context) -> Numbers:
        """Train; a bare encoder is given a random head first, always the same one."""
        if not self.head_only:
            return super().make(inputs, out, context)
        from ndogo.core.heads import with_lm_head

        return super().make(
            {**inputs, "student": with_lm_head(inputs["student"], context.work / "student")}, out, context
        )

    def _refuse_headless(self, objective: str, model: str, where: str) -> None:
        raise NdogoError(
            f"Adapting goes on with masked-language modelling, and `{model}` is a bare encoder without a masked-LM head.",
            where=where,
            cure="Leave adapt out: it would move the encoder out of the space that its vectors are compared in. Where an "
            "objective needs a head, `head_only: true` fits one on the encoder as it is.",
        )

    @model_validator(mode="after")
    def _masks(self) -> "Adapt":
        if not self.mask_probability:
            raise ValueError("mask_probability is 0, and masked-language modelling learns at masked tokens only")
        return self
