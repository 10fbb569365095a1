"""The frame around every command and task: whatever no reader foresaw becomes a refusal, and its traceback a file."""

import contextlib
import functools
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from ndogo.core.errors import NdogoError, is_panic, words_of


@contextlib.contextmanager
def framed(doing: str, folder: Callable[[], Path]) -> Iterator[None]:
    """Errors of the machine (a full disk, a path that cannot be) and of servers are told as they are; any other is a fault of
    ours, whose traceback is kept in a file below `folder`.

    :raises NdogoError: in place of every other exception.
    """
    try:
        yield
    except NdogoError:
        raise
    except OSError as error:
        raise NdogoError(f"{doing}: {error.strerror or words_of(error)}.", where=str(error.filename or "")) from error
    except MemoryError as error:
        raise NdogoError(
            f"{doing}: the memory is full.", cure="Close other programs, or take a smaller model."
        ) from error
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        if (server := _server_of(error)) is not None:
            raise NdogoError(
                f"{server} refuses, or cannot be reached: {words_of(error)}",
                cure="Check the address and the words; `ndogo serve` starts the servers.",
            ) from error
        raise NdogoError(
            f"{doing} met a fault of Ndogo: {words_of(error)}",
            where=str(keep_traceback(error, folder)),
            cure="That file says how it came; please report it. What was finished before is kept.",
        ) from error


def _server_of(error: BaseException) -> str | None:
    """Which server an error speaks of, told by the package that raised it, without importing one."""
    of = {"mlflow.exceptions": "MLflow", "httpx": "Prefect", "prefect.exceptions": "Prefect"}
    return of.get(type(error).__module__)


P = ParamSpec("P")
R = TypeVar("R")


def in_frame(doing: str, folder: Callable[[], Path]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function in the frame. Each call opens its own, so that the function can be sent to another process."""

    def around(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            with framed(doing, folder):
                return function(*args, **kwargs)

        return called

    return around


def keep_traceback(error: BaseException, folder: Callable[[], Path]) -> Path:
    """Write an error's traceback into a file of its own; where `folder` takes none, among the temporary files."""
    name = f"{time.strftime('%Y-%m-%dT%H-%M-%S')}-{os.getpid()}.log"
    text = "".join(traceback.format_exception(error))
    try:
        place = folder()
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8", errors="replace")
        return place / name
    except OSError:
        with tempfile.NamedTemporaryFile(
            "w", prefix="ndogo-", suffix=".log", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(text)
        return Path(file.name)
