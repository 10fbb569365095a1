"""Every objective of the papers, one file each, and how a specification becomes the terms of the loss."""

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig

from ndogo.compressors.distillation.devices import World, autocast_type, fuses_attention
from ndogo.compressors.distillation.lesson import Lesson, Term, VocabularyTerm
from ndogo.compressors.distillation.objectives.attention_maps import AttentionMapsTerm
from ndogo.compressors.distillation.objectives.attention_scores import AttentionScoresTerm
from ndogo.compressors.distillation.objectives.cosine import CosineTerm
from ndogo.compressors.distillation.objectives.direct import DirectTerm
from ndogo.compressors.distillation.objectives.embedding import EmbeddingTerm
from ndogo.compressors.distillation.objectives.hidden import HiddenTerm
from ndogo.compressors.distillation.objectives.logits_ce import logits_ce
from ndogo.compressors.distillation.objectives.logits_kl import logits_kl
from ndogo.compressors.distillation.objectives.logits_mse import logits_mse
from ndogo.compressors.distillation.objectives.mlm import mlm
from ndogo.compressors.distillation.objectives.relations import RelationsTerm
from ndogo.compressors.distillation.request import Request
from ndogo.compressors.distillation.teachers import load_teacher
from ndogo.core.architectures import Shape, architecture_of, has_lm_head, positions, shape_of
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config, load_model, load_tokenizer
from ndogo.core.objectives import NEED_LM_HEAD, VOCABULARY_WIDE, Objective


def lesson_of(request: Request, world: World) -> Lesson:
    """Load student and teacher and build the terms; projections start the same for the same seed.

    :raises NdogoError: a model lacks what an objective needs, or cannot read so many positions.
    """
    objectives, precision = request.objectives, autocast_type(request.precision, world.device)
    student_path, teacher_path = Path(request.student), Path(request.teacher) if request.teacher else None
    student = load_model(student_path)
    _check_positions(student.config, request)
    _check_head(student, objectives, NEED_LM_HEAD, request.student)
    weights = {name: objective.weight for name, objective in objectives.items()}
    if teacher_path is None:
        if set(objectives) - {"mlm"}:
            raise NdogoError(f"{', '.join(set(objectives) - {'mlm'})} need a teacher.", where="teacher")
        lesson = Lesson(student, None, weights, {}, vocabulary_terms(objectives), precision)
    else:
        config = load_config(teacher_path)
        _check_positions(config, request)
        torch.manual_seed(request.seed)
        terms = state_terms(objectives, shape_of(student.config), shape_of(config), request.step.max_length)
        lesson = Lesson(student, None, weights, terms, vocabulary_terms(objectives), precision)
        lesson.teacher = load_teacher(
            teacher_path, load_tokenizer(student_path), lesson.wanted("teacher"), precision or torch.float32
        )
        _check_head(lesson.teacher, objectives, VOCABULARY_WIDE, request.teacher or "")
    if request.step.dropout is not None:
        for module in student.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = request.step.dropout
    if not fuses_attention(precision, world.device):
        for model in filter(None, (student, lesson.teacher)):
            model.set_attn_implementation("eager")
    parts: list[Any] = [student, lesson.teacher, *lesson.terms.values()]
    for part in parts:
        if isinstance(part, torch.nn.Module):
            part.to(world.device)
    return lesson


def vocabulary_terms(objectives: dict[str, Objective]) -> dict[str, VocabularyTerm]:
    """Those objectives that are as wide as the vocabulary."""
    read: dict[str, Any] = objectives
    terms = {}
    if "mlm" in read:
        terms["mlm"] = VocabularyTerm(mlm, "masked", False)
    if "logits_kl" in read:
        terms["logits_kl"] = VocabularyTerm(logits_kl(read["logits_kl"]), read["logits_kl"].positions, True)
    if "logits_mse" in read:
        terms["logits_mse"] = VocabularyTerm(logits_mse, read["logits_mse"].positions, True)
    if "logits_ce" in read:
        terms["logits_ce"] = VocabularyTerm(logits_ce, read["logits_ce"].positions, True)
    return terms


def state_terms(objectives: dict[str, Objective], student: Shape, teacher: Shape, length: int) -> dict[str, Term]:
    """Those objectives that compare what the encoders compute on the way."""
    build: dict[str, Any] = {
        "hidden": lambda spec: HiddenTerm(spec, student, teacher),
        "relations": lambda spec: RelationsTerm(spec, student, teacher),
        "direct": lambda spec: DirectTerm(spec, student, teacher),
        "attention_scores": lambda spec: AttentionScoresTerm(spec, student, teacher),
        "attention_maps": lambda spec: AttentionMapsTerm(spec, student, teacher, length),
        "cosine": lambda _spec: CosineTerm(student, teacher),
        "embedding": lambda _spec: EmbeddingTerm(student, teacher),
    }
    return {name: build[name](spec) for name, spec in objectives.items() if name in build}


def _check_head(model: Any, objectives: dict[str, Objective], needy: tuple[str, ...], path: str) -> None:
    asked = [name for name in objectives if name in needy]
    if asked and not has_lm_head(model):
        raise NdogoError(
            f"The objective `{asked[0]}` needs a masked-LM head, and this is a {type(model).__name__}.",
            where=path,
            cure="Start from a ...ForMaskedLM model, or use objectives on encoder states, such as relations.",
        )


def _check_positions(config: PreTrainedConfig, request: Request) -> None:
    most = positions(config)
    if request.step.max_length > most and not architecture_of(config).rotary:
        raise NdogoError(
            f"The model reads at most {most} positions, and max_length is {request.step.max_length}.",
            where=f"{request.kind}: max_length",
            cure=f"Use max_length: {most} or less.",
        )
