"""A value: what specifications and settings are."""

from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator


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


LARGEST = 10**13
"""No number that a person gives is larger: no model, text or training is."""


class Given(Frozen):
    """What people write: numbers are finite and not absurd, and yes or no is no number."""

    model_config = ConfigDict(allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name, info in cls.model_fields.items():
                if name in given and _leaves(info.annotation) <= NUMBERS and _holds_truth(given[name]):
                    raise ValueError(f"{name} takes a number; got {given[name]!r}")
        return given

    @model_validator(mode="after")
    def _not_absurd(self) -> "Given":
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, int | float) and not abs(value) <= LARGEST:
                raise ValueError(f"{name} is beyond all that a model can have; got {str(value)[:40]}")
        return self


NUMBERS = {int, float, str, type(None), type(...)}


def _leaves(kind: Any) -> set[Any]:
    """The types that an annotation is made of."""
    return set().union(*map(_leaves, get_args(kind))) if get_origin(kind) is not None else {kind}


def _holds_truth(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return isinstance(value, bool) or any(isinstance(one, bool) for one in inner)
