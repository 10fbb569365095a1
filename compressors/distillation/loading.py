"""Loading what a job names: student and teacher, checked against the objectives, and what these learn beside the student."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from ndogo.compressors.distillation.devices import NAMES, fuses_attention
from ndogo.compressors.distillation.job import TrainingJob
from ndogo.compressors.distillation.losses import Losses
from ndogo.compressors.distillation.maps import Bank, LastMap, measured, shared
from ndogo.compressors.distillation.objective import Objective, StateObjective, Wanted, wanted_by
from ndogo.compressors.distillation.teachers import load_teacher
from ndogo.core.architectures import Shape, architecture_of, has_lm_head, positions, shape_of
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config, load_model, load_tokenizer
from ndogo.core.sentences import copy_sentence_files, read_vectors, write_modules
from ndogo.core.task_heads import check_same_labels
from ndogo.core.vectors import read_dense


def load_losses(job: TrainingJob, device: torch.device) -> Losses:
    """Load student and teacher and make the projections; these start the same for the same seed.

    :raises NdogoError: a model lacks what an objective needs, or cannot read so many positions.
    """
    precision = next(dtype for dtype, name in NAMES.items() if name == job.precision)
    student = load_model(Path(job.student))
    _check_positions(student.config, job)
    _check_head(student, [n for n, o in job.objectives.items() if o.needs_lm_head], job.student)
    if job.teacher is None:
        if taught := sorted(name for name, objective in job.objectives.items() if objective.needs_teacher):
            raise NdogoError(f"{', '.join(taught)} need a teacher.", where="teacher")
        losses = Losses(student, None, job.objectives, {}, (Wanted(last=True), Wanted()), precision)
    else:
        losses = _taught(job, student, Path(job.teacher), precision)
    _set_dropout(student, job.settings.dropout)
    if job.settings.head_only:
        student.base_model.requires_grad_(False)  # a tied decoder is part of it, its bias is not
    for model in filter(None, (student, losses.teacher)):
        if not fuses_attention(precision, device):
            model.set_attn_implementation("eager")
        nn.Module.to(model, device)
    for learnt in losses.projections.values():
        learnt.to(device)
    return losses


def _taught(job: TrainingJob, student: PreTrainedModel, path: Path, precision: torch.dtype | None) -> Losses:
    config = load_config(path)
    _check_positions(config, job)
    ours, theirs = shape_of(student.config), shape_of(config)
    if asking := [name for name, objective in job.objectives.items() if objective.needs_task_head]:
        check_same_labels(student.config, config, f"The objective `{asking[0]}`")
    wanted = wanted_by(job.objectives, ours, theirs)
    torch.manual_seed(job.seed)
    projections = projections_of(job.objectives, ours, theirs, job.settings.max_length)
    _read_vectors_as(projections, path)
    teacher = load_teacher(path, load_tokenizer(Path(job.student)), wanted[1], precision or torch.float32)
    _check_head(teacher, [n for n, o in job.objectives.items() if o.needs_lm_head and o.needs_teacher], str(path))
    return Losses(student, teacher, job.objectives, projections, wanted, precision)


def say_how_vectors_are_made(losses: Losses, job: TrainingJob, out: Path) -> None:
    """In the student's folder, where an objective on vectors shaped them: pooled and normalised as the teacher's."""
    dense = losses.dense()
    if dense is not None and job.teacher is not None:
        copy_sentence_files(Path(job.student), out)
        write_modules(out, dense, read_vectors(Path(job.teacher)))


def projections_of(
    objectives: Mapping[str, Objective], student: Shape, teacher: Shape, length: int
) -> dict[str, nn.Module]:
    """What each objective on states learns, by its name; drawn from torch's generator in the objectives' order."""
    found = {
        name: objective.projections(student, teacher, length)
        for name, objective in objectives.items()
        if isinstance(objective, StateObjective)
    }
    shared(found)
    return found


def _read_vectors_as(projections: Mapping[str, nn.Module], teacher: Path) -> None:
    """Have vectors made as the teacher's folder says.

    :raises NdogoError: it says what is not understood, or more than linear layers.
    """
    readers = [module for _, module in measured(projections) if isinstance(module, LastMap | Bank)]
    if not readers:
        return
    vectors = read_vectors(teacher)
    dense = read_dense(teacher, vectors)
    if not all(isinstance(layer, nn.Linear | nn.Identity) for layer in dense):
        raise NdogoError(
            "The teacher's vectors pass through a dense layer with an activation, which no linear map can stand for.",
            where=str(teacher / vectors.dense[0]),
            cure="Use hidden alone, or a teacher without such a layer.",
        )
    for module in readers:
        module.read_as(vectors, dense)


def _set_dropout(student: PreTrainedModel, dropout: float | None) -> None:
    for module in student.modules():
        if dropout is not None and isinstance(module, nn.Dropout):
            module.p = dropout


def _check_head(model: PreTrainedModel, needy: list[str], path: str) -> None:
    if needy and not has_lm_head(model):
        raise NdogoError(
            f"The objective `{needy[0]}` needs a masked-LM head, and this is a {type(model).__name__}.",
            where=path,
            cure="Start from a ...ForMaskedLM model, or use objectives on encoder states, such as relations.",
        )


def _check_positions(config: PreTrainedConfig, job: TrainingJob) -> None:
    most = positions(config)
    if job.settings.max_length > most and not architecture_of(config).rotary:
        raise NdogoError(
            f"The model reads at most {most} positions, and max_length is {job.settings.max_length}.",
            where="max_length",
            cure=f"Use max_length: {most} or less.",
        )
