"""Recipes: a YAML file becomes a checked DAG of steps, or one clear refusal with file, key, value and what is allowed."""

import difflib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, SerializeAsAny, ValidationError

from ndogo.core.documents import parse_yaml, read_text
from ndogo.core.errors import NdogoError
from ndogo.core.frozen import Given
from ndogo.steps.step import Step, kinds

MOST_STEPS = 100
ORIGINAL = "original"
"""The id of the untouched teacher, the root of every recipe's DAG."""


class Budget(Given):
    """The largest model that a nightly run may promote."""

    params: int | None = Field(gt=0, default=None)
    """Most parameters."""
    size_mb: float | None = Field(gt=0, default=None)
    """Most megabytes (10^6 bytes) of what a user downloads, as fp32."""


class Recipe(Given):
    """The steps that turn a teacher into a small model. `steps` are in an order in which they can run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Small letters, digits and dashes."""
    about: str = ""
    """One line for `ndogo recipes`."""
    evaluate: Literal["every-step", "ends"] = "ends"
    """Which models are judged: every step's, or the teacher's and the last."""
    budget: Budget | None = None
    """The largest model that a nightly run may promote."""
    steps: tuple[SerializeAsAny[Step], ...]
    text: str = ""
    """The exact text it was read from."""

    @property
    def last(self) -> str:
        """The id of the step whose result is the small model: the last one written that makes a model."""
        return next((step.id for step in reversed(self.steps) if step.makes_model), ORIGINAL)

    def step(self, name: str) -> Step:
        """The step with an id."""
        return next(s for s in self.steps if s.id == name)

    def order(self) -> list[Step]:
        """The steps, each after all that it needs."""
        needs = {s.id: {p for p in s.parents.values() if p != ORIGINAL} for s in self.steps}
        return [self.step(name) for name in TopologicalSorter(needs).static_order()]


def read_recipe(file: Path) -> Recipe:
    """Read and check a recipe file.

    :raises NdogoError: missing, not YAML (line and column), or an impossible recipe (key, value, what is allowed).
    """
    return parse_recipe(read_text(file), where=str(file))


def parse_recipe(text: str, *, where: str = "recipe") -> Recipe:
    """Read and check a recipe.

    :raises NdogoError: see `read_recipe`.
    """
    raw = parse_yaml(text, where=where)
    if not isinstance(raw, dict) or not isinstance(raw.get("steps"), list) or not raw["steps"]:
        raise NdogoError(
            "A recipe is a table with a name and a list of steps.", where=where, cure="See recipes/*.yaml."
        )
    if len(raw["steps"]) > MOST_STEPS:
        raise NdogoError(f"A recipe has at most {MOST_STEPS} steps; got {len(raw['steps'])}.", where=f"{where}: steps")
    steps: list[Step] = []
    for number, entry in enumerate(raw["steps"]):
        before = steps[-1].id if steps else ORIGINAL
        steps.append(_read_step(entry, before, f"{where}: steps[{number}]"))
    fields = {str(key): value for key, value in raw.items() if key not in ("steps", "text")}
    recipe = validated(Recipe, {**fields, "steps": tuple(steps), "text": text}, where)
    _check_references(recipe, where)
    return recipe


def _read_step(entry: Any, before: str, where: str) -> Step:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise NdogoError(
            f"A step is one kind with its numbers; got {shown(entry)}.",
            where=where,
            cure="Write, for example, `- trim: {size: 40000}`.",
        )
    kind, given = next(iter(entry.items()))
    known = kinds()
    if kind not in known:
        raise NdogoError(f"There is no kind of step `{kind}`.", where=where, cure=f"Allowed: {', '.join(known)}.")
    fields = given if isinstance(given, dict) else {}
    if given is not None and not isinstance(given, dict):
        raise NdogoError(f"The numbers of a step are a table; got {shown(given)}.", where=f"{where}.{kind}")
    fields = {"id": kind, "student": before} | fields
    if fields["id"] == "":
        raise NdogoError("An id is not empty.", where=f"{where}.{kind}.id", cure="Leave it out, or give it a name.")
    return validated(known[kind], fields, f"{where}.{kind}")


def shown(value: Any) -> str:
    """A value as a message shows it: not all of a long one."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


SHOWN = 120
T = TypeVar("T", bound=BaseModel)


def validated(model: type[T], fields: dict[str, Any], where: str) -> T:
    """Build a specification, or say in one message which key is wrong and what is allowed.

    :raises NdogoError: an unknown key or an impossible value.
    """
    try:
        return model(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
        allowed = sorted(set(model.model_fields) - {"text"})
        if first["type"] == "extra_forbidden":
            close = difflib.get_close_matches(key, allowed, 1)
            cure = f"Did you mean `{close[0]}`? " if close else ""
            raise NdogoError(
                f"Unknown key `{key}`.", where=where, cure=f"{cure}Allowed: {', '.join(allowed)}."
            ) from error
        what = first["msg"].removeprefix("Value error, ")
        got = "" if "got" in what or first["type"] == "missing" else f" (got {shown(first['input'])})"
        raise NdogoError(f"{key + ': ' if key else ''}{what}{got}.", where=where) from error
    except TypeError as error:
        raise NdogoError(f"The keys of a step are words: {error}.", where=where) from error


def _check_references(recipe: Recipe, where: str) -> None:
    names = [s.id for s in recipe.steps]
    known = [ORIGINAL, *names]
    for number, step in enumerate(recipe.steps):
        at = f"{where}: steps[{number}].{step.kind}"
        if step.id == ORIGINAL or names.index(step.id) != number:
            raise NdogoError(
                f"The id `{step.id}` is taken.", where=f"{at}.id", cure="Give the step an `id:` of its own."
            )
        for role, name in step.parents.items():
            if name not in known:
                raise NdogoError(
                    f"There is no step `{name}`.", where=f"{at}.{role}", cure=f"Allowed: {', '.join(known)}."
                )
    try:
        recipe.order()
    except CycleError as error:
        raise NdogoError(f"The steps wait for each other: {' -> '.join(error.args[1])}.", where=where) from error
