"""The fields of the deployments' forms on Prefect's page, each with what it lets a person choose."""

from typing import Annotated, Literal, TypeVar, get_args

from pydantic import Field, WithJsonSchema

from ndogo.evaluation import EvaluationSettings, Mode
from ndogo.registry.corpora import PROFILES, Profile
from ndogo.registry.languages import languages
from ndogo.registry.recipes import recipe_names

T = TypeVar("T")

Language = Annotated[str, Field(json_schema_extra={"enum": list(languages())})]
RecipeName = Annotated[
    str,
    WithJsonSchema(
        {
            "anyOf": [
                {"title": "known", "type": "string", "enum": recipe_names()},
                {"title": "your own: a name or a .yaml file", "type": "string"},
            ]
        }
    ),
]
"""In the form a dropdown of those that are known when it is served, or any other that is made later."""
Default = Literal["default"]
"""The choice of a dropdown that leaves it to what the flow says is its default: Prefect's page has no field for "or nothing"."""
_MODES = WithJsonSchema({"type": "string", "enum": ["default", *get_args(Mode)]})
ModeName = Annotated[Mode | Default | None, _MODES]
Judging = Annotated[Mode | Default | EvaluationSettings | None, _MODES]
"""A mode in the form; a sweep file may say more."""
ProfileName = Annotated[Profile | Default | None, WithJsonSchema({"type": "string", "enum": ["default", *PROFILES]})]
Seed = Annotated[int, Field(ge=0)]


def chosen(given: T | Default | None) -> T | None:
    """What was chosen, if anything was."""
    return None if given == "default" else given
