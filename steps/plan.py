"""What a recipe will make of a teacher: shape and exact parameter count after every step, without loading a weight.

Counts come from the stock class itself, built on the meta device, so they cannot drift from what is saved.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from transformers import PreTrainedConfig

from ndogo.core.architectures import Shape, architecture_of, has_lm_head, shape_of
from ndogo.core.download import download_mb
from ndogo.core.models import empty_model, encoder_parameters, parameters
from ndogo.steps.recipe import ORIGINAL, Recipe
from ndogo.steps.step import Planning, Step


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
    head: bool = True
    """Whether it has a masked-LM head."""
    at_most: bool = False
    """Whether its rows are no more than a bound: how many a trim by coverage keeps is known when the text was counted."""
    tokenizer_bytes: int = 0
    """The teacher's, in proportion to the rows; 0 where its files are not here."""

    def size_mb(self, dtype: str) -> float:
        """Millions of bytes of what a user downloads, with weights of a type."""
        return download_mb(self.params, self.tokenizer_bytes, dtype)


@dataclass(frozen=True)
class Facts:
    """What is known of a teacher beside its configuration."""

    pooler: bool = True
    """Whether its weights hold a pooler, where it is a bare encoder."""
    rows: Callable[[Step], int] | None = None
    """How many rows a trim by coverage keeps of its vocabulary, where there is text to count."""
    tokenizer_bytes: int = 0
    """Of its tokenizer's files, where they are here."""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Those of the benchmarks that the recipe is fine-tuned on, by name, where there are rows to read."""


def plan(
    recipe: Recipe,
    teacher: PreTrainedConfig,
    specials: int,
    where: str = "",
    *,
    scaled: bool = False,
    facts: Facts = Facts(),
) -> list[Planned]:
    """The rows `original` and one per step, in running order. `scaled`: lengths are cut to what the teacher reads.

    :raises NdogoError: a step that this teacher cannot take, before any work.
    """
    first = Planned(ORIGINAL, "teacher", teacher, shape_of(teacher), 0, 0, 0, 1.0, ORIGINAL)
    rows = {ORIGINAL: _counted(first, teacher, pooler=facts.pooler)}
    for step in recipe.order():
        inputs = {role: rows[name] for role, name in step.parents.items()}
        student = inputs["student"]
        count = facts.rows if student.vocabulary == ORIGINAL else None
        at = f"{where or recipe.name + '.yaml'}: {step.id}"
        planning = Planning(at, specials, inputs, scaled, count, facts.labels)
        config = step.plan(student.config, planning)
        row = replace(student, id=step.id, kind=step.kind, peak_bytes=None)
        if step.makes_vocabulary:
            row = replace(row, vocabulary=step.id, at_most=step.counts_rows and count is None)
        if config is not student.config:  # else no shape changes: what was counted stands
            row = _counted(row, config, rows[ORIGINAL].params, pooler=facts.pooler)
        rows[step.id] = replace(row, peak_bytes=step.peak_bytes(row, planning))
    whole = rows[ORIGINAL].shape.vocab
    return [replace(row, tokenizer_bytes=facts.tokenizer_bytes * row.shape.vocab // whole) for row in rows.values()]


def _counted(row: Planned, config: PreTrainedConfig, teacher_params: int | None = None, *, pooler: bool) -> Planned:
    """The row for a model of this configuration."""
    model = empty_model(config, pooler=pooler)
    total = parameters(model)
    words = model.base_model.get_submodule(architecture_of(config).words)
    embedding = sum(p.numel() for p in words.parameters())
    return replace(
        row,
        config=config,
        shape=shape_of(config),
        params=total,
        params_encoder=encoder_parameters(config),
        params_embedding=embedding,
        ratio=(teacher_params or total) / total,
        head=has_lm_head(model),
    )
