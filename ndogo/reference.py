"""The reference pages that are read off the code: the keys of recipes, and the names of MLflow's parameters, tags and numbers."""

import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

KEYS_HEAD = """# Recipe keys

Made by `make docs` from the code.

You will learn which keys a recipe may have, what each means, and what it is when it is left out.

An example, `ndogo-small`:

```yaml
{example}
```

A size is a number (`312`) or a fraction of what the step finds (`1/2`, `312/768`). An unknown key is refused, with the keys
that are allowed. `ndogo plan --recipe FILE.yaml --teacher NAME` checks a recipe without loading a weight.

## The file

{file}

`steps` is a list: each entry is one kind with its keys.

## The budget

What the nightly gate holds the small model to.

{budget}

## Every step

{step}

## Every training

What the kinds that train share.

{training}"""

OBJECTIVES_HEAD = """## Objectives

The keys of `objective` in `distil`. A number is the weight: `{mlm: 0.5}`; a table has all settings: `{mlm: {weight: 0.5}}`.
[Distillation](distil.md#objectives) says what each compares."""

MLFLOW = """# MLflow names

Made by `make docs` from the code.

You will learn what a number in MLflow is called, so that you can search, sort and plot runs.

An example, all small models that kept much, in the search field of the experiment `compress/swahili`:

    metrics.retention > 0.95 and metrics.size_mb < 20 and tags.level = 'pipeline'

One experiment is one language: `compress/<language>`. One run is one recipe (`level = pipeline`); its child runs are its steps
(`level = step`). A sweep is a run of the experiment `sweeps` (`level = sweep`). A run that found everything made already has
`level = repetition`.

The view of an experiment shows {columns}.

## Parameters and tags of a run

Parameters: {params}, and `mean_of`: the benchmarks that `score` is the mean of.

Tags: {tags}, `level`, `mode` (probe, finetune, own or adapter), `size_type` (the type at which sizes are given).

A step's parameters are the keys of its recipe ([recipe keys](keys.md)) and `kind`.

## Metrics

A score or share lies between 0 and 1.

{metrics}

While a step trains, `train/loss`, `train/held_out_loss`, `train/learning_rate`, `train/tokens_per_second` and one
`train/loss_<objective>` for each objective are its curve. Steps log further numbers, under the names of their `step.json`.

## Registered models

A small model is `ndogo-<language>-<recipe>`, with `-pocket` on the toy world. Its aliases are `challenger` (the newest),
`champion` (the best that the [gate](nightly.md#the-gate) let through) and `reference` (what champions are held against).
"""


def keys_page() -> str:
    """Every key of a recipe: of the file itself, of each kind of step, of each objective."""
    from ndogo.compressors.distillation.objectives import OBJECTIVES
    from ndogo.registry.recipes import recipe
    from ndogo.steps.recipe import Budget, Recipe
    from ndogo.steps.step import Step, kinds
    from ndogo.steps.training import Training

    head = KEYS_HEAD.format(
        example=recipe("ndogo-small").text.strip(),
        file=_table(_rows(Recipe, leave=("steps", "text"))),
        budget=_table(_rows(Budget)),
        step=_table(_rows(Step)),
        training=_table(_rows(Training, leave=tuple(Step.model_fields))),
    )
    parts = [head]
    for kind, step in kinds().items():
        shared = Training if issubclass(step, Training) else Step
        own = _table(_rows(step, leave=tuple(shared.model_fields)))
        also = " Keys of [every training](#every-training), and:" if shared is Training else ""
        parts.append(f"## {kind}\n\n{inspect.getdoc(step)}{also}\n\n{own}")
    parts.append(OBJECTIVES_HEAD)
    for name, objective in OBJECTIVES.items():
        parts.append(f"### {name}\n\n{inspect.getdoc(objective)}\n\n{_table(_rows(objective))}")
    return "\n\n".join(parts) + "\n"


def mlflow_page() -> str:
    """What runs are called in MLflow, and what their parameters, tags and metrics mean."""
    from ndogo.registry.experiment_view import COLUMNS
    from ndogo.tasks.tracking import PARENT_PARAMS, PARENT_TAGS

    return MLFLOW.format(
        columns=_names(tuple(column.replace("`", "") for column in COLUMNS)),
        params=_names(PARENT_PARAMS),
        tags=_names(PARENT_TAGS),
        metrics=_table(_metrics(), ("metric", "meaning")),
    )


def _metrics() -> Iterator[tuple[str, str]]:
    from ndogo.evaluation import ROLES
    from ndogo.evaluation.records import Latency
    from ndogo.evaluation.rows import KINDS
    from ndogo.evaluation.summary import VECTOR_NAMES
    from ndogo.tasks.run_record import RelativeSizes
    from ndogo.tasks.shipping import Shipping

    yield from _meanings(RelativeSizes)
    for name in KINDS:
        yield f"{name}, {name}_std", "score of this benchmark: mean and standard deviation over the judging seeds"
    yield "score", "mean of the benchmarks; absent where it is not comparable"
    yield "benchmarks", "how many benchmarks were judged"
    yield "bits_per_byte", "masked-language-model quality of held-out text; lower is better"
    yield "word_accuracy", "share of hidden words whose every token is guessed"
    for name, words in VECTOR_NAMES.items():
        yield name, f"of sentence vectors: {words}"
    yield "retention, retention_low, retention_high", "score over the untouched teacher's, with its 95% interval"
    yield "retention_<benchmark>", "the same for one benchmark"
    yield "retention_adapted", "score over the adapted teacher's, where the recipe adapts"
    yield (
        "gap_closed, floor",
        "share of the way from the best baseline of the same size (its score: `floor`) to the teacher",
    )
    for role, words in ROLES.items():
        if role not in ("original", "adapted", "student"):
            yield (
                f"over_{role}, over_{role}_low, over_{role}_high",
                f"score less that of {words}, with its 95% interval",
            )
    yield from _meanings(Latency)
    yield from _meanings(Shipping, "export_", leave=("file", "teacher_mb", "teacher_ms"))
    yield (
        "export_difference, export_difference_low, export_difference_high",
        "score of the exported file less that of the model, with its 95% interval",
    )


def _meanings(model: type[BaseModel], before: str = "", leave: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for name, info in model.model_fields.items():
        if name not in leave:
            yield before + name, _told(info)


def _rows(model: type[BaseModel], leave: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str, str]]:
    for name, info in model.model_fields.items():
        if name not in leave:
            yield f"`{name}`", _kind(info.annotation), _default(info), _told(info)


def _told(info: FieldInfo) -> str:
    return " ".join((info.description or "").split())


def _kind(kind: Any) -> str:
    """The values that a key takes, in words."""
    words: Mapping[Any, str] = {int: "number", float: "number", bool: "true or false", str: "text", Any: "size"}
    origin, inside = get_origin(kind), get_args(kind)
    if kind in words:
        return words[kind]
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inside)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(part) for part in inside if part is not type(None)))
    if origin in (tuple, list):
        return f"list of {_kind(inside[0])}" if inside and inside[0] in words else "list"
    return _kind(inside[0]) if inside and origin is not dict else "table"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "must be given"
    value = info.get_default(call_default_factory=True)
    if value in (None, "", ()):
        return ""
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, float):
        value = f"{value:.3g}"
    return f"`{', '.join(map(str, value)) if isinstance(value, tuple) else value}`"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(rows: Iterator[tuple[str, ...]], head: tuple[str, ...] = ("key", "value", "default", "meaning")) -> str:
    """A Markdown table; a sentence where there are no rows."""
    body = [" | ".join(_cell(name) for name in row) for row in rows]
    if not body:
        return "No keys of its own."
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {row} |" for row in body)])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
