"""A size as people write it: a whole number, or a fraction of what is found."""

import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

FFN_MULTIPLE = 8
"""Fractions of an FFN width are rounded to this: matrix units like multiples of eight."""


def _read_size(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str | Fraction):
        raise ValueError(f"a size is a whole number or a fraction such as 312/768; got {value!r}")
    if isinstance(value, str):
        if not re.fullmatch(r"\s*[0-9]+\s*(/\s*[0-9]+\s*)?", value) or re.search(r"/\s*0+\s*$", value):
            raise ValueError(f"a size is a whole number or a fraction such as 312/768; got {value!r}")
        return Fraction(value.replace(" ", "")) if "/" in value else int(value)
    return value


def _positive(value: int | Fraction) -> int | Fraction:
    if value <= 0 or (isinstance(value, Fraction) and value > 1):
        raise ValueError(f"a size is above 0, and a fraction at most 1; got {value}")
    return value


Size = Annotated[
    Any,
    BeforeValidator(lambda value: _positive(_read_size(value))),
    PlainSerializer(lambda size: size if isinstance(size, int) else f"{size.numerator}/{size.denominator}"),
]
"""An absolute size, or a fraction of the size that the step finds."""


def resolve_size(size: int | Fraction, found: int, multiple: int = 1) -> int:
    """The size in units: a fraction of `found`, rounded to the nearest multiple (at least one); absolute sizes as they are."""
    if isinstance(size, int):
        return size
    return max(1, round(size * found / multiple)) * multiple
