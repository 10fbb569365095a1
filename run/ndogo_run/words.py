"""Words of a text, as people see them, with their places; and spans of words that belong together."""

import unicodedata
from collections.abc import Iterator, Sequence

INSIDE = "'’ʼ-‐"
"""Stand within a word when letters are on both sides."""


def words_of(text: str) -> list[tuple[int, int]]:
    """Start and end of each word, in characters: letters, marks and digits together; every other sign alone; no spaces."""
    found, at = [], 0
    while at < len(text):
        end = at + 1
        if _letter(text[at]):
            while end < len(text) and (_letter(text[end]) or _joins(text, end)):
                end += 1
        if not text[at].isspace():
            found.append((at, end))
        at = end
    return found


def first_tokens(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """For each of space-joined words the index of its first token, or -1; no token serves two words."""
    found, token, start = [], 0, 0
    for word in words:
        end = start + len(word)
        while token < len(offsets) and offsets[token][1] <= start:
            token += 1
        if token < len(offsets) and offsets[token][0] < end:
            found.append(token)
            token += 1
        else:
            found.append(-1)
        start = end + 1
    return found


def joined(labels: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """First and last word and type of each entity of IOB2 labels (`O` is nothing); other labels stand for one word each.

    An `I-` without a beginning begins one.
    """
    first, kind = 0, ""
    for position, label in enumerate([*labels, "O"]):
        goes_on = label.startswith("I-") and label[2:] == kind
        if kind and not goes_on:
            yield first, position - 1, kind
            kind = ""
        if label[:2] in ("B-", "I-") and not goes_on:
            first, kind = position, label[2:]
        elif label != "O" and label[:2] not in ("B-", "I-"):
            yield position, position, label


def _letter(sign: str) -> bool:
    return sign == "_" or unicodedata.category(sign)[0] in "LMN"


def _joins(text: str, at: int) -> bool:
    return text[at] in INSIDE and at + 1 < len(text) and _letter(text[at + 1])
