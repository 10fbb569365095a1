"""How long work tells that it moves: one callback, shown by whoever called."""

import time
from collections.abc import Mapping
from typing import Protocol


class Report(Protocol):
    """Called now and then during long work; must be cheap and must not raise."""

    def __call__(self, doing: str, done: int, total: int | None, numbers: Mapping[str, float] | None = None) -> None:
        """`doing` names the work in a few words, `done` of `total` units (None: not known beforehand)."""


class Left:
    """How long work still takes, by its own rate so far; each kind of work by its own."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, int]] = {}

    def seconds(self, doing: str, done: int, total: int | None) -> float | None:
        """From now on; None at its first report, and where the end is not known."""
        now = time.monotonic()
        started, before = self._first.setdefault(doing, (now, done))
        if not total or done <= before:
            return None
        return (now - started) * (total - done) / (done - before)


def about(seconds: float) -> str:
    """A time as people say it: about 40 s, about 3 min, about 2.5 h."""
    if seconds < 100:
        return f"about {max(1, round(seconds))} s"
    return f"about {seconds / 60:.0f} min" if seconds < 6000 else f"about {seconds / 3600:.1f} h"


def silent(doing: str, done: int, total: int | None, numbers: Mapping[str, float] | None = None) -> None:
    """Report nothing."""
