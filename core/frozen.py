"""A value: what specifications and settings are."""

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Later:
    """Marks a field that came after the first keys were made: `new: Annotated[int, Later()] = 0`.

    At its default it is not written, so that the keys of what was made before it stay as they are.
    """


class Frozen(BaseModel):
    """Unknown keys are refused and nothing is ever changed; the line below a field is its help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        for name, info in type(self).model_fields.items():
            if any(isinstance(mark, Later) for mark in info.metadata) and getattr(self, name) == info.default:
                written.pop(name, None)
        return written
