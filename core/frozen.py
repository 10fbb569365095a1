"""The base of every value that is read from outside: recipes, languages, settings."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value: unknown keys refused, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
