"""adapt: continue masked-language modelling on the language."""

from typing import ClassVar

from pydantic import model_validator

from ndogo.compressors.distillation.objective import Objective
from ndogo.compressors.distillation.objectives.mlm import Mlm
from ndogo.core.errors import NdogoError
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

    def _refuse_headless(self, objective: str, model: str, where: str) -> None:
        raise NdogoError(
            f"Adapting goes on with masked-language modelling, and `{model}` is a bare encoder without a masked-LM head.",
            where=where,
            cure="Leave adapt out: it would move the encoder out of the space that its vectors are compared in.",
        )

    @model_validator(mode="after")
    def _masks(self) -> "Adapt":
        if not self.mask_probability:
            raise ValueError("mask_probability is 0, and masked-language modelling learns at masked tokens only")
        return self
