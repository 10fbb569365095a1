"""A size as people write it: a whole number, or a fraction of what is found."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from ndogo.core.errors import NdogoError

LARGEST = {
    "vocab": 10_000_000,
    "vocab_size": 10_000_000,
    "layers": 512,
    "num_hidden_layers": 512,
    "hidden": 65_536,
    "hidden_size": 65_536,
    "ffn": 1_048_576,
    "intermediate_size": 1_048_576,
    "heads": 1_024,
    "num_attention_heads": 1_024,
    "max_position_embeddings": 10_000_000,
}
"""Sizes, by our names and by transformers', that no encoder comes near: larger ones are mistakes, and take hours."""
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


def check_sizes(sizes: Mapping[str, Any], *, where: str) -> None:
    """Refuse sizes that no encoder has; None is one that is not stated.

    :raises NdogoError: one is no whole number, below 1 or beyond all models.
    """
    for name, size in sizes.items():
        if size is not None and not (type(size) is int and 1 <= size <= LARGEST[name]):
            raise NdogoError(
                f"{name} is {size!r}.", where=where, cure=f"A model has a whole number from 1 to {LARGEST[name]:,}."
            )


def resolve_size(size: int | Fraction, found: int, multiple: int = 1) -> int:
    """The size in units: a fraction of `found`, rounded to the nearest multiple (at least one); absolute sizes as they are."""
    if isinstance(size, int):
        return size
    return max(1, round(size * found / multiple)) * multiple
