"""A sweep file: one question, asked by recipes that differ in what it is about, small for two cores and full for a GPU.

An arm is a recipe by name, or changes to the sweep's base: `first.epochs: 3` is the key `epochs` of the step `first`, deeper
keys go on with dots, and a step set to null is left out. Languages, seeds and tokens are those of the size that is run.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from ndogo.core.documents import read_yaml
from ndogo.core.errors import NdogoError, unknown
from ndogo.core.frozen import Frozen
from ndogo.steps.recipe import Recipe, parse_recipe, validated

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class SweepSize(Frozen):
    """How much of a sweep is run."""

    languages: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = (0,)
    tokens: int | None = Field(gt=0, default=None)
    """Each training reads at most so many; none: what the recipes say."""
    mode: Literal["probe", "finetune", "adapter"] = "probe"


class Sweep(Frozen):
    """One question, and how it is asked."""

    name: Name
    paper: str
    question: str
    claim: str
    """What the paper says, with its numbers."""
    base: str = ""
    """The recipe that arms change."""
    arms: dict[Name, str | dict[str, Any]] = Field(min_length=2)
    small: SweepSize
    """At most half an hour on two cores."""
    full: SweepSize


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


def arms(sweep: Sweep, find: Callable[[str], Recipe]) -> dict[str, Recipe]:
    """The recipe of every arm, by the arm's name; `find` gives a recipe by its name.

    :raises NdogoError: no base to change, a step that it has not, or an impossible recipe.
    """
    return {name: _arm(sweep, name, given, find) for name, given in sweep.arms.items()}


def _arm(sweep: Sweep, name: str, given: str | dict[str, Any], find: Callable[[str], Recipe]) -> Recipe:
    where = f"{sweep.name}.yaml: arms.{name}"
    if isinstance(given, str):
        raw = yaml.safe_load(find(given).text)
    elif not sweep.base:
        raise NdogoError("There is no base to change.", where=where, cure="Name one: `base: two-step`.")
    else:
        raw = _changed(yaml.safe_load(find(sweep.base).text), given, where)
    raw |= {"name": f"{sweep.name}-{name}", "about": f"{sweep.question} Arm: {name}"}
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
        else:
            raise NdogoError(
                f"`{step}` is a whole step.", where=where, cure=f"Write `{step}: null` or `{step}.KEY: VALUE`."
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
