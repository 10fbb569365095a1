"""The words that every model is asked: drawn from held-out text without looking at any tokenizer."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from ndogo.core.errors import NdogoError
from ndogo.evaluation.settings import LanguageModelSettings


@dataclass(frozen=True)
class Word:
    """A drawn word: its line and its characters there, the space before it included."""

    line: str
    start: int
    end: int

    @property
    def bytes(self) -> int:
        """Its length in UTF-8."""
        return len(self.line[self.start : self.end].encode())


def draw_words(lines: Iterable[str], settings: LanguageModelSettings) -> list[Word]:
    """The words that every model is asked: a reservoir of lines, then words of each; no tokenizer has a say.

    :raises NdogoError: no line of at most `max_bytes` bytes.
    """
    draw = random.Random(settings.seed)
    drawn = reservoir(lines, settings.lines, settings, draw)
    if not drawn:
        raise NdogoError(
            f"The held-out text has no line of at most {settings.max_bytes} bytes.", cure="Give shorter lines."
        )
    words = []
    for line in drawn:
        places = spans(line)
        words += [
            Word(line, *places[i]) for i in sorted(draw.sample(range(len(places)), min(settings.words, len(places))))
        ]
    return words


def reservoir(lines: Iterable[str], count: int, settings: LanguageModelSettings, draw: random.Random) -> list[str]:
    """At most so many lines, each as likely as any other of at most `max_bytes` bytes."""
    found: list[str] = []
    seen = 0
    for raw in lines:
        line = " ".join(raw.split())
        if not line or len(line.encode()) > settings.max_bytes:
            continue
        seen += 1
        if len(found) < count:
            found.append(line)
        elif (slot := draw.randrange(seen)) < count:
            found[slot] = line
    return found


def spans(line: str) -> list[tuple[int, int]]:
    """Where the words of a line are, each with the space before it."""
    ends = [i for i, character in enumerate(line) if character == " "] + [len(line)]
    return list(zip([0, *ends[:-1]], ends, strict=True))
