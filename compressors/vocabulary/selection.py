"""Which tokens stay: by frequency or coverage, with everything that must never be lost. Deterministic."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ndogo.compressors.vocabulary.closure import Needs, needs_of
from ndogo.compressors.vocabulary.counting import encode
from ndogo.compressors.vocabulary.source import Vocabulary
from ndogo.core.errors import NdogoError
from ndogo.core.size import resolve_size

SCRIPT_SHARE = 0.001
"""A script counts as seen when it writes at least this share of the letters: one stray quotation keeps no alphabet."""
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class Wanted:
    """What is asked of a trimmed vocabulary: a size or a coverage, and what stays in any case."""

    size: int | Fraction | None = None
    """Ordinary tokens, or a fraction of them; specials come on top."""
    coverage: float | None = None
    """Instead: the share of running tokens to cover."""
    multiple_of: int = 1
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """The ids that stay, in their old order, and why."""

    kept: tuple[int, ...]
    """Specials included, ascending."""
    forced: int
    """Ordinary tokens kept whatever their frequency, with what they need."""
    asked: int | None
    """The size asked for; None where a coverage was."""
    used: int
    """Ordinary tokens that the counted text uses."""
    scripts: dict[str, float]
    """Share of the letters that each script writes, largest first."""
    coverage: float
    """Share of the counted running tokens that are kept, the unknown token left out of both sides."""


def select(vocabulary: Vocabulary, weighted: NDArray[np.float64], wanted: Wanted) -> Selection:
    """Choose the ids to keep; `weighted`: (ids,) counts.

    :raises NdogoError: the size is below what must be kept, or a token of the keep list does not exist.
    """
    needs = needs_of(vocabulary)
    special = frozenset(vocabulary.specials)
    counts = weighted.copy()
    counts[list(special)] = 0
    scripts = script_shares(vocabulary, counts)
    forced = _closed(_forced(vocabulary, scripts, wanted.keep), needs) - special
    order = [int(i) for i in np.lexsort((np.arange(len(counts)), -counts)) if counts[i] > 0]
    asked = None if wanted.size is None else resolve_size(wanted.size, len(vocabulary.tokens) - len(special))
    if asked is not None and asked < len(forced):
        raise NdogoError(
            f"{len(forced):,} tokens must be kept in any case (characters, digits, punctuation, bytes, the keep list).",
            where=f"trim: size: {asked}",
            cure=f"Ask for at least {len(forced):,}.",
        )
    total = counts.sum()
    growing = _Growing(set(forced), special, counts, needs)
    goal = float("inf") if wanted.coverage is None else wanted.coverage * total
    growing.fill(order, float("inf") if asked is None else asked, goal)
    growing.round_up(order, wanted.multiple_of)
    kept = growing.kept
    return Selection(
        kept=tuple(sorted(kept | special)),
        forced=len(forced),
        asked=asked,
        used=len(order),
        scripts=scripts,
        coverage=float(counts[sorted(kept)].sum() / total) if total else 1.0,
    )


def surface(vocabulary: Vocabulary, token: str) -> str:
    """The characters that a token stands for; empty for bytes that are no character by themselves."""
    if vocabulary.byte_level:
        try:
            return bytes(BYTE_OF[c] for c in token).decode()
        except (KeyError, UnicodeDecodeError):
            return ""
    if vocabulary.family == "WordPiece":
        return token.removeprefix(vocabulary.model.get("continuing_subword_prefix", "##"))
    return token


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling of bytes: printable ones as themselves, the others from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + n): b for n, b in enumerate(hidden)}


BYTE_OF = _byte_alphabet()


def script_of(character: str) -> str:
    """The script of a letter or mark, by the first word of its Unicode name; empty for everything else."""
    if unicodedata.category(character)[0] not in "LM":
        return ""
    return re.split(r"[ -]", unicodedata.name(character, ""), maxsplit=1)[0]


def script_shares(vocabulary: Vocabulary, counts: NDArray[np.float64]) -> dict[str, float]:
    """Which share of the running letters each script writes, largest first."""
    characters: Counter[str] = Counter()
    for i in np.flatnonzero(counts):
        for character in surface(vocabulary, vocabulary.tokens[i]):
            characters[character] += counts[i]
    scripts: Counter[str] = Counter()
    for character, count in characters.items():
        if script := script_of(character):
            scripts[script] += count
    total = sum(scripts.values())
    return {script: float(count / total) for script, count in sorted(scripts.items(), key=lambda s: (-s[1], s[0]))}


def _forced(vocabulary: Vocabulary, scripts: dict[str, float], keep: Sequence[str]) -> set[int]:
    seen = {script for script, share in scripts.items() if share >= SCRIPT_SHARE}
    # No character is spelt with more than 4 signs (bytes, or a prefix of two); the test spares 250,000 look-ups.
    short = {token: i for token, i in vocabulary.ids.items() if len(token) <= 4}
    found = {i for token, i in short.items() if _always(surface(vocabulary, token), seen)}
    found |= {i for token, i in vocabulary.ids.items() if len(token) == 6 and BYTE_TOKEN.fullmatch(token)}
    if vocabulary.byte_level:
        found |= {i for token, i in vocabulary.ids.items() if len(token) == 1}
    if vocabulary.family == "Unigram":
        # The unknown edge costs the lowest score of all less 10; were that token dropped, the edge would rise.
        scores = [score for _, score in vocabulary.model["vocab"]]
        found.add(int(np.argmin(scores)))
    for text in filter(None, keep):
        found |= set(_asked(vocabulary, text))
    return found


def _always(text: str, scripts: set[str]) -> bool:
    if len(text) != 1:
        return False
    category = unicodedata.category(text)
    if category[0] in "LM":
        return script_of(text) in scripts
    return category[0] == "P" or text == "▁" or (category[0] in "NS" and text.isascii())


def _asked(vocabulary: Vocabulary, text: str) -> list[int]:
    if text in vocabulary.ids:
        return [vocabulary.ids[text]]
    ids = encode(vocabulary.backend, [text])[0]
    if not ids or vocabulary.unknown in ids:
        raise NdogoError(
            f"`{text}` is no token, and the tokenizer cannot spell it with its tokens.",
            where="trim: keep",
            cure="Leave it out.",
        )
    return ids


def _closed(ids: Iterable[int], needs: Needs) -> set[int]:
    return {needed for i in ids for needed in needs(i)}


@dataclass
class _Growing:
    """The ordinary tokens kept so far; they only grow, each with what it needs."""

    kept: set[int]
    special: frozenset[int]
    counts: NDArray[np.float64]
    needs: Needs

    def fill(self, order: Iterable[int], limit: float, goal: float = float("inf")) -> None:
        """Add tokens in order until there are `limit` of them or they cover `goal`; one that does not fit is passed over."""
        covered = self.counts[sorted(self.kept)].sum()
        for i in order:
            if covered >= goal or len(self.kept) >= limit:
                return
            group = self.needs(i) - self.kept - self.special
            if len(self.kept) + len(group) <= limit:
                self.kept |= group
                covered += self.counts[sorted(group)].sum()

    def round_up(self, order: Sequence[int], multiple: int) -> None:
        """Fill the rows up to a multiple: with the next tokens of the corpus, then with unused ones of low id.

        :raises NdogoError: the vocabulary has too few tokens for the next multiple.
        """
        rows = -(-(len(self.kept) + len(self.special)) // multiple) * multiple
        limit = rows - len(self.special)
        self.fill([*order, *range(len(self.counts))], limit)
        if len(self.kept) < limit:
            raise NdogoError(
                f"The vocabulary has too few tokens to fill {rows:,} rows.",
                where=f"trim: multiple_of: {multiple}",
                cure="Take a smaller multiple, or a smaller size.",
            )
