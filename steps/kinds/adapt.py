"""adapt: continue masked-language modelling on the language."""

from typing import ClassVar

from pydantic import model_validator

from ndogo.compressors.distillation.objective import Objective
from ndogo.compressors.distillation.objectives.mlm import Mlm
from ndogo.steps.training import Training


class Adapt(Training):
    """Continue masked-language modelling on a language: the adapted teacher."""

    kind: ClassVar[str] = "adapt"
    title: ClassVar[str] = "Adapt the teacher"
    result: ClassVar[str] = "adapted"

    @property
    def objectives(self) -> dict[str, Objective]:
        """Masked-language modelling alone."""
        return {"mlm": Mlm()}

    @model_validator(mode="after")
    def _masks(self) -> "Adapt":
        if not self.mask_probability:
            raise ValueError("mask_probability is 0, and masked-language modelling learns at masked tokens only")
        return self
