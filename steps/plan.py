"""What a recipe will make of a teacher: shape and exact parameter count after every step, without loading a weight.

Counts come from the stock class itself, built on the meta device, so they cannot drift from what is saved.
"""

from dataclasses import dataclass, replace

from transformers import PreTrainedConfig

from ndogo.core.architectures import Shape, architecture_of, shape_of
from ndogo.core.download import download_mb
from ndogo.core.models import empty_model, encoder_parameters, parameters
from ndogo.steps.recipe import ORIGINAL, Recipe
from ndogo.steps.step import Planning


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
    """Predicted peak memory of the step, where it says so."""

    tokenizer_bytes: int = 0
    """The teacher's, in proportion to the rows; 0 where its files are not here."""

    def size_mb(self, dtype: str) -> float:
        """Millions of bytes of what a user downloads, with weights of a type."""
        return download_mb(self.params, self.tokenizer_bytes, dtype)


def plan(
    recipe: Recipe,
    teacher: PreTrainedConfig,
    specials: int,
    where: str = "",
    *,
    scaled: bool = False,
    tokenizer_bytes: int = 0,
) -> list[Planned]:
    """The rows `original` and one per step, in running order. `scaled`: lengths are cut to what the teacher reads.
    `tokenizer_bytes`: of the teacher's tokenizer, where its files are here.

    :raises NdogoError: a step that this teacher cannot take, before any work.
    """
    rows = {ORIGINAL: _row(ORIGINAL, "teacher", teacher, ORIGINAL, None)}
    for step in recipe.order():
        inputs = {role: rows[name] for role, name in step.parents.items()}
        planning = Planning(f"{where or recipe.name + '.yaml'}: {step.id}", specials, inputs, scaled)
        student = inputs["student"]
        config = step.plan(student.config, planning)
        vocabulary = step.id if step.makes_vocabulary else student.vocabulary
        if config is student.config:  # no shape changes: what was counted stands
            row = replace(student, id=step.id, kind=step.kind, peak_bytes=None)
        else:
            row = _row(step.id, step.kind, config, vocabulary, rows[ORIGINAL].params)
        rows[step.id] = replace(row, peak_bytes=step.peak_bytes(row, planning))
    whole = rows[ORIGINAL].shape.vocab
    return [replace(row, tokenizer_bytes=tokenizer_bytes * row.shape.vocab // whole) for row in rows.values()]


def _row(name: str, kind: str, config: PreTrainedConfig, vocabulary: str, teacher_params: int | None) -> Planned:
    model = empty_model(config)
    total = parameters(model)
    words = model.base_model.get_submodule(architecture_of(config).words)
    embedding = sum(p.numel() for p in words.parameters())
    encoder = encoder_parameters(config)
    return Planned(
        name, kind, config, shape_of(config), total, encoder, embedding, (teacher_params or total) / total, vocabulary
    )
