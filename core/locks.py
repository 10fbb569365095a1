"""One holder of a name, over all processes; whoever waits is told why, again and again."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

SAY_AGAIN = 60.0
"""Seconds after which a process that waits says so again."""


@contextlib.contextmanager
def held(file: Path, what: str, log: logging.Logger) -> Iterator[None]:
    """Hold the lock of a file while `what` is made."""
    lock = FileLock(file)
    wait = 0.5
    while not lock.is_locked:
        try:
            lock.acquire(timeout=wait)
        except TimeoutError:
            log.info("another process is making %s; waiting for it (%s)", what, lock.lock_file)
            wait = SAY_AGAIN
    try:
        yield
    finally:
        lock.release()
