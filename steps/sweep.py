"""A sweep file: one question, asked by recipes that differ in what it is about, small for two cores and full for a GPU.

An arm is a recipe by name, or changes to the sweep's base: `first.epochs: 3` is the key `epochs` of the step `first`, deeper
keys go on with dots, a step set to null is left out, and one set to another step, `half: {fresh: {layers: 6}}`, gives its place
and its id to that. Arms are judged at their ends, whatever the recipe
says. Languages, seeds and tokens are those of the size that is run.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from ndogo.core.documents import read_yaml
from ndogo.core.errors import NdogoError, unknown
from ndogo.core.frozen import Frozen
from ndogo.evaluation.settings import EvaluationSettings
from ndogo.steps.recipe import Recipe, parse_recipe, validated

TRAININGS = ("adapt", "distil")
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class SweepSize(Frozen):
    """How much of a sweep is run."""

    languages: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = (0,)
    tokens: int | None = Field(gt=0, default=None)
    """Each training reads at most so many; none: what the recipes say."""
    learning_rate: float | None = Field(gt=0, default=None)
    """Of every training: in few tokens a model hardly moves at the rate of a paper that has millions; none: the recipes'."""
    judging: EvaluationSettings = EvaluationSettings()
    """How models are judged."""


class Sweep(Frozen):
    """One question, and how it is asked."""

    name: Name
    paper: str
    question: str
    claim: str
    """What the paper says, with its numbers."""
    base: str = ""
    """The recipe that arms change."""
    arms: dict[Name, str | dict[str, Any]] = Field(min_length=1)
    """One is enough where the question is about languages."""
    better: tuple[tuple[Name, Name], ...] = ()
    """The pairs of arms of which the claim says that the first is better than the second."""
    by: Literal["bits_per_byte", "score"] = "bits_per_byte"
    """What tells them apart: bits per byte of held-out text, or the mean of the benchmarks where heads were not taught."""
    small: SweepSize
    """At most half an hour on two cores."""
    full: SweepSize

    @model_validator(mode="after")
    def _arms_are_there(self) -> "Sweep":
        for name in {name for pair in self.better for name in pair} - set(self.arms):
            raise ValueError(f"better names `{name}`, which is no arm; known: {', '.join(self.arms)}")
        return self


def read_sweep(file: Path) -> Sweep:
    """Read and check a sweep file, but for its recipes.

    :raises NdogoError: unreadable, not YAML, or an impossible key or value.
    """
    raw = read_yaml(file)
    if not isinstance(raw, dict):
        raise NdogoError(
            "A sweep is a table of question, arms and sizes.", where=str(file), cure="See recipes/sweeps/."
        )
    return validated(Sweep, {"name": file.stem, **raw}, str(file))


def arms(sweep: Sweep, size: SweepSize, find: Callable[[str], Recipe]) -> dict[str, Recipe]:
    """The recipe of every arm at a size, by the arm's name; `find` gives a recipe by its name.

    :raises NdogoError: no base to change, a step that it has not, or an impossible recipe.
    """
    return {name: _arm(sweep, size, name, find) for name in sweep.arms}


def _arm(sweep: Sweep, size: SweepSize, name: str, find: Callable[[str], Recipe]) -> Recipe:
    where, given = f"{sweep.name}.yaml: arms.{name}", sweep.arms[name]
    if isinstance(given, str):
        raw = yaml.safe_load(find(given).text)
    elif not sweep.base:
        raise NdogoError("There is no base to change.", where=where, cure="Name one: `base: two-step`.")
    else:
        raw = _changed(yaml.safe_load(find(sweep.base).text), given, where)
    if size.learning_rate is not None:
        trainings = (fields for entry in raw["steps"] for kind, fields in entry.items() if kind in TRAININGS)
        for fields in trainings:
            fields["learning_rate"] = size.learning_rate
    raw |= {"name": f"{sweep.name}-{name}", "about": f"{sweep.question} Arm: {name}", "evaluate": "ends"}
    return parse_recipe(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), where=where)


def _changed(raw: dict[str, Any], changes: dict[str, Any], where: str) -> dict[str, Any]:
    made = copy.deepcopy(raw)
    for path, value in changes.items():
        step, _, key = path.partition(".")
        entries = {
            str((fields or {}).get("id", kind)): (kind, entry)
            for entry in made["steps"]
            for kind, fields in entry.items()
        }
        if step not in entries:
            raise unknown("step", step, entries, where=where)
        kind, entry = entries[step]
        if key:
            _set(entry, [kind, *key.split(".")], value, where)
        elif value is None:
            made["steps"].remove(entry)
        elif isinstance(value, dict) and len(value) == 1:
            ((other, fields),) = value.items()
            entry.pop(kind)
            entry[other] = {**(fields or {}), "id": step}
        else:
            raise NdogoError(
                f"`{step}` is a whole step.",
                where=where,
                cure=f"Write `{step}: null`, `{step}.KEY: VALUE`, or another step.",
            )
    return made


def _set(table: dict[str, Any], keys: list[str], value: Any, where: str) -> None:
    """Set a deep key; a null takes it away."""
    *path, last = keys
    for key in path:
        below = table.get(key)
        if not isinstance(below, dict):
            below = table[key] = {} if below is None else {"weight": below}
        table = below
    if value is None:
        table.pop(last, None)
    else:
        table[last] = value
