"""Every objective of the papers, one file each, and how a specification becomes terms of the loss."""

from pathlib import Path

from compressors.distillation.devices import World, autocast_type
from compressors.distillation.lesson import Lesson, VocabularyTerm
from compressors.distillation.objectives.mlm import mlm
from compressors.distillation.request import Request
from core.architectures import has_lm_head
from core.errors import NdogoError
from core.models import load_model
from core.objectives import NEED_LM_HEAD, Objective


def lesson_of(request: Request, world: World) -> Lesson:
    """Load student and teacher and build the terms.

    :raises NdogoError: a model lacks what an objective needs.
    """
    student = load_model(Path(request.student))
    student.to(world.device)  # type: ignore[arg-type]  transformers wraps `to`
    for name in NEED_LM_HEAD:
        if name in request.objectives and not has_lm_head(student):
            raise NdogoError(
                f"The objective `{name}` needs a masked-LM head, and this is a bare encoder.",
                where=request.student,
                cure="Start from a ...ForMaskedLM model, or use objectives on encoder states, such as relations.",
            )
    return Lesson(
        student,
        None,
        {name: objective.weight for name, objective in request.objectives.items()},
        {},
        vocabulary_terms(request.objectives),
        autocast_type(request.precision, world.device),
    )


def vocabulary_terms(objectives: dict[str, Objective]) -> dict[str, VocabularyTerm]:
    """Those objectives that are as wide as the vocabulary."""
    return {name: VocabularyTerm(mlm, "masked", False) for name in objectives if name == "mlm"}
