"""The one error that people see."""

import difflib
from collections.abc import Iterable


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


def unknown(thing: str, name: str, known: Iterable[str], *, where: str, otherwise: str = "") -> NdogoError:
    """The error for a name that nothing has: the nearest names, all names, and what else would do."""
    names = list(known)
    close = difflib.get_close_matches(name.lower(), names, 3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    cure = f"{hint}Known: {', '.join(names)}.{' ' + otherwise if otherwise else ''}"
    return NdogoError(f"There is no {thing} `{name}`.", where=where, cure=cure)
