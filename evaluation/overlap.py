"""Text that a model is judged on must not be text that it was trained on."""

import hashlib
from collections.abc import Iterable

from ndogo.core.errors import NdogoError
from ndogo.core.text import Lines


def refuse_overlap(held_out: Lines, training: Iterable[Lines]) -> int:
    """Make sure that no held-out line occurs in training text (compared without case, punctuation and spaces).

    Only the held-out fingerprints are kept in memory. Returns their number.

    :raises NdogoError: a line occurs in both, with its number in the training text.
    """
    ours = {_fingerprint(line) for line in held_out()}
    ours.discard(_fingerprint(""))
    for number_of_text, lines in enumerate(training, 1):
        for number, line in enumerate(lines(), 1):
            if _fingerprint(line) in ours:
                raise NdogoError(
                    f"A held-out line occurs in the training text: {line[:80]!r}.",
                    where=f"training text {number_of_text}, line {number}",
                    cure="Hold out other lines, or remove them from the training text and train again.",
                )
    return len(ours)


def _fingerprint(line: str) -> bytes:
    return hashlib.blake2b("".join(c for c in line.casefold() if c.isalnum()).encode(), digest_size=16).digest()
