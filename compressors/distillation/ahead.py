"""Batches made ready by a thread ahead of the step that learns from them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Made = TypeVar("Made")
STEPS = {"cpu": 0, "cuda": 2}
"""So many ahead. On the CPU none: the thread would take a core from the step."""


class Ahead(Generic[Made]):
    """What `make` makes of each step's number, in order; `make` must be a pure function of it."""

    def __init__(self, make: Callable[[int], Made], steps: int, ahead: int) -> None:
        self._make, self._steps, self._ahead = make, steps, ahead
        self._coming: dict[int, Future[Made]] = {}
        self._thread = ThreadPoolExecutor(1, "ndogo-ahead") if ahead else None

    def __call__(self, step: int) -> Made:
        """That of a step; raises what its making raised."""
        if self._thread is None:
            return self._make(step)
        for number in range(step, min(step + self._ahead + 1, max(self._steps, step + 1))):
            if number not in self._coming:
                self._coming[number] = self._thread.submit(self._make, number)
        return self._coming.pop(step).result()

    def close(self) -> None:
        """End the thread, and forget what nobody asked for."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._coming.clear()
