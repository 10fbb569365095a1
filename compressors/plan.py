"""What a recipe will make of a teacher: shape and exact parameter count after every step, without loading a weight.

Counts come from the stock class itself, built on the meta device, so they cannot drift from what is saved.
"""

from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedConfig

from ndogo.compressors.distillation.objectives import state_terms
from ndogo.compressors.memory import peak_training_bytes
from ndogo.core.architectures import Shape, architecture_of, check_listed, positions, shape_of, with_shape
from ndogo.core.errors import NdogoError
from ndogo.core.models import empty_model, encoder_parameters, parameters
from ndogo.core.recipes import ORIGINAL, Recipe
from ndogo.core.specs import Distil, Fresh, PruneFfn, PruneHidden, Step, Training, Trim, Truncate, resolve_size

FFN_MULTIPLE = 8
"""Fractions of an FFN width are rounded to this: matrix units like multiples of eight."""


@dataclass(frozen=True)
class Planned:
    """One row of a plan. `params` counts tied weights once; `params_encoder` is the bare encoder with its pooler."""

    id: str
    kind: str
    config: PreTrainedConfig
    shape: Shape
    params: int
    params_encoder: int
    params_embedding: int
    ratio: float
    """The teacher's parameters over this model's."""
    vocabulary: str
    """The id of the step that made the vocabulary."""
    peak_bytes: int | None = None
    """Predicted peak memory of the training, where the step trains."""

    def size_bytes(self, bits: int) -> int:
        """Bytes of the weights alone at so many bits each."""
        return self.params * bits // 8


def plan(
    recipe: Recipe, teacher: PreTrainedConfig, specials: int, where: str = "", *, scaled: bool = False
) -> list[Planned]:
    """The rows `original` and one per step, in running order. `scaled`: lengths are cut to what the teacher reads.

    :raises NdogoError: a step that this teacher cannot take, before any work.
    """
    rows = {ORIGINAL: _row(ORIGINAL, "teacher", teacher, ORIGINAL, None)}
    for step in recipe.order():
        at = f"{where or recipe.name + '.yaml'}: {step.id}"
        student = rows[step.student]
        config = planned_config(step, student.config, specials, at)
        vocabulary = step.id if isinstance(step, Trim) else student.vocabulary
        if config is student.config:  # training changes no shape: what was counted stands
            row = replace(student, id=step.id, kind=step.kind, peak_bytes=None)
        else:
            row = _row(step.id, step.kind, config, vocabulary, rows[ORIGINAL].params)
        if isinstance(step, Training):
            check_listed(config, "train it")
            if step.max_length > positions(config) and not scaled:
                raise NdogoError(
                    f"The model reads at most {positions(config)} positions, and max_length is {step.max_length}.",
                    where=f"{at}.max_length",
                    cure=f"Use {positions(config)} or less.",
                )
            guide = rows[step.teacher] if isinstance(step, Distil) else None
            if guide is not None and isinstance(step, Distil):
                _check_vocabularies(step, student, guide, at)
                _check_objectives(step, row, guide, at)
            peak = peak_training_bytes(step, row.params, config, guide.config if guide else None)
            row = replace(row, peak_bytes=peak)
        rows[step.id] = row
    return list(rows.values())


def planned_config(step: Step, config: PreTrainedConfig, specials: int, where: str) -> PreTrainedConfig:
    """The configuration after a step. A trim by coverage is planned at its upper bound, the input's vocabulary.

    :raises NdogoError: the step cannot be done to this configuration.
    """
    found = shape_of(config)
    if isinstance(step, Trim):
        return with_shape(config, vocab=_trimmed_rows(step, found, specials))
    if isinstance(step, Truncate):
        layers = resolve_size(step.layers, found.layers)
        _at_most(layers, found.layers, "layers", where)
        if isinstance(step.keep, tuple) and (len(step.keep) != layers or max(step.keep) >= found.layers):
            raise NdogoError(
                f"keep lists {list(step.keep)} where {layers} of the layers 0 to {found.layers - 1} are wanted.",
                where=f"{where}.keep",
            )
        return with_shape(config, layers=layers)
    if isinstance(step, PruneFfn):
        size = resolve_size(step.size, found.ffn, FFN_MULTIPLE)
        _at_most(size, found.ffn, "the FFN width", where)
        return with_shape(config, ffn=size)
    if isinstance(step, PruneHidden):
        return _narrowed(step, config, where)
    if isinstance(step, Fresh):
        heads, layers = resolve_size(step.heads, found.heads), resolve_size(step.layers, found.layers)
        hidden = resolve_size(step.hidden, found.hidden, heads)
        _multiple(hidden, heads, "hidden", where, "heads")
        ffn = resolve_size(step.ffn, found.ffn, FFN_MULTIPLE)
        return with_shape(config, layers=layers, hidden=hidden, ffn=ffn, heads=heads)
    return config


def _trimmed_rows(step: Trim, found: Shape, specials: int) -> int:
    if step.size is None:
        return found.vocab
    rows = resolve_size(step.size, found.vocab - specials) + specials
    return min(-(-rows // step.multiple_of) * step.multiple_of, found.vocab)


def _narrowed(step: PruneHidden, config: PreTrainedConfig, where: str) -> PreTrainedConfig:
    found = shape_of(config)
    head_size = found.hidden // found.heads
    if step.heads != "drop":
        if architecture_of(config).rotary:
            raise NdogoError(
                f"heads: {step.heads} would change the rotary frequencies of this architecture.",
                where=f"{where}.heads",
                cure="Use `heads: drop`.",
            )
        size = resolve_size(step.size, found.hidden, found.heads)
        _multiple(size, found.heads, "size", where, "heads")
        heads = found.heads
    else:
        size = resolve_size(step.size, found.hidden, head_size)
        _multiple(size, head_size, "size", where, "head dimension (heads: drop)")
        heads = size // head_size
    _at_most(size, found.hidden, "the hidden width", where)
    return with_shape(config, hidden=size, heads=heads)


def _at_most(size: int, found: int, what: str, where: str) -> None:
    if not 0 < size <= found:
        raise NdogoError(
            f"{size} was asked for {what}, but the step finds {found}.", where=where, cure=f"Allowed: 1 to {found}."
        )


def _multiple(size: int, of: int, key: str, where: str, name: str) -> None:
    if size % of:
        near = sorted({max(of, size // of * of), (size // of + 1) * of})
        raise NdogoError(
            f"{key}: {size} is no multiple of the {name}, {of}.",
            where=f"{where}.{key}",
            cure=f"Nearest allowed: {' or '.join(map(str, near))}.",
        )


def _check_vocabularies(step: Distil, student: Planned, guide: Planned, where: str) -> None:
    if student.vocabulary != guide.vocabulary:
        raise NdogoError(
            f"Teacher and student read the same pieces, but `{guide.id}` has the vocabulary of `{guide.vocabulary}` "
            f"and `{student.id}` that of `{student.vocabulary}`.",
            where=f"{where}.teacher: {step.teacher}",
            cure="Name a teacher after the same trim, or trim later.",
        )


def _check_objectives(step: Distil, student: Planned, guide: Planned, where: str) -> None:
    """Layer maps, heads and teacher layers must fit both shapes; the objectives themselves know."""
    try:
        with torch.device("meta"):
            state_terms(step.objective, student.shape, guide.shape, step.max_length)
    except NdogoError as error:
        raise NdogoError(error.what, where=f"{where}.{error.where}", cure=error.cure) from error


def _row(name: str, kind: str, config: PreTrainedConfig, vocabulary: str, teacher_params: int | None) -> Planned:
    model = empty_model(config)
    total = parameters(model)
    words = model.base_model.get_submodule(architecture_of(config).words)
    embedding = sum(p.numel() for p in words.parameters())
    encoder = encoder_parameters(config)
    return Planned(
        name, kind, config, shape_of(config), total, encoder, embedding, (teacher_params or total) / total, vocabulary
    )
