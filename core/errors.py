"""The one error that people see."""

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator


class NdogoError(Exception):
    """What was wrong, where it was found (file, key, value) and what to do about it."""

    def __init__(self, what: str, *, where: str = "", cure: str = "") -> None:
        self.what = what
        self.where = where
        self.cure = cure
        super().__init__(what, where, cure)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.cure:
            lines.append(f"  what to do: {self.cure}")
        return "\n".join(lines)


@contextlib.contextmanager
def refusing(what: str, *, where: str = "", cure: str = "") -> Iterator[None]:
    """Whatever others' code raises of what it is given in this block becomes a refusal: each library has errors of its own.

    :raises NdogoError: `what`, with the library's own words.
    """
    try:
        yield
    except NdogoError:
        raise
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise NdogoError(f"{what}: {words_of(error)}", where=where, cure=cure) from error


def is_full_disk(error: BaseException) -> bool:
    """Whether the disk is full, as Python or as a library says it in its own kind of error."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)


def is_panic(error: BaseException) -> bool:
    """Whether it is how code in Rust (tokenizers, safetensors) says that it gave up; Python's `Exception` is not its parent."""
    return type(error).__name__ == "PanicException"


def words_of(error: BaseException) -> str:
    """What an error says, on one line, not too long; its kind where it says nothing."""
    said = " ".join(str(error).split())
    kind = "" if isinstance(error, OSError | ValueError) and said else f"{type(error).__name__}{': ' if said else ''}"
    return f"{kind}{said[:300]}"


def unknown(thing: str, name: str, known: Iterable[str], *, where: str, otherwise: str = "") -> NdogoError:
    """The error for a name that nothing has: the nearest names, all names, and what else would do."""
    names = list(known)
    close = difflib.get_close_matches(name.lower(), names, 3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    cure = f"{hint}Known: {', '.join(names)}.{' ' + otherwise if otherwise else ''}"
    return NdogoError(f"There is no {thing} `{name}`.", where=where, cure=cure)
