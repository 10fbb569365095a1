"""How long work tells that it moves: one callback, shown by whoever called."""

from collections.abc import Mapping
from typing import Protocol


class Report(Protocol):
    """Called now and then during long work; must be cheap and must not raise."""

    def __call__(self, doing: str, done: int, total: int | None, numbers: Mapping[str, float] | None = None) -> None:
        """`doing` names the work in a few words, `done` of `total` units (None: not known beforehand)."""


def silent(doing: str, done: int, total: int | None, numbers: Mapping[str, float] | None = None) -> None:
    """Report nothing."""
