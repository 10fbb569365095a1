"""What a kept piece needs beside it so that segmentation stays exact: per family, the pieces to keep together.

BPE. Merging happens inside a final piece as if that piece stood alone: a merge across its edge would have swallowed the
edge. So a piece needs exactly the pieces that its own merging passes through, down to single symbols.
WordPiece. Longest match first over fewer pieces finds the same matches while they are kept. Only a word that had no
segmentation could gain one, by a piece that covers the place where the search got stuck; keeping the single characters
of every kept piece excludes that, now and when the result is trimmed again.
Unigram. Nothing: the best path stays the best while its pieces are kept (the unknown edge is selection's concern).
"""

from collections.abc import Callable, Iterable
from itertools import pairwise

from ndogo.compressors.vocabulary.source import Vocabulary

Needs = Callable[[int], frozenset[int]]
"""From an id to itself and all that must be kept with it."""


def needs_of(vocabulary: Vocabulary) -> Needs:
    """The closure of the vocabulary's family."""
    if vocabulary.family == "BPE":
        return MergeAncestors(vocabulary)
    if vocabulary.family == "WordPiece":
        return lambda i: frozenset((i, *_characters(vocabulary, i)))
    return lambda i: frozenset((i,))


def merge_pair(merge: str | list[str]) -> tuple[str, str]:
    """The two sides of a merge, whichever of the two spellings tokenizer.json has."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


class MergeAncestors:
    """The pieces that merging passes through on its way to a piece, the piece included."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = vocabulary.ids
        self._pieces = vocabulary.pieces
        # A pair listed twice counts with its last place, as in the tokenizers library.
        self._ranks = {merge_pair(merge): rank for rank, merge in enumerate(vocabulary.model["merges"])}
        self._known: dict[str, frozenset[int]] = {}

    def __call__(self, i: int) -> frozenset[int]:
        """The ids to keep with `i`."""
        return self._of(self._pieces[i])

    def _of(self, piece: str) -> frozenset[int]:
        if piece not in self._known:
            found = {self._ids[piece]}
            for part in self._last_merge(piece):
                found |= self._of(part)
            self._known[piece] = frozenset(found)
        return self._known[piece]

    def _last_merge(self, piece: str) -> tuple[str, ...]:
        """The two sides of the merge that makes the piece; none for single symbols and pieces that no merge reaches."""
        symbols = list(piece)
        last: tuple[str, ...] = ()
        while len(symbols) > 1:
            pairs = [(self._ranks.get(pair), place) for place, pair in enumerate(pairwise(symbols))]
            open_pairs = [(rank, place) for rank, place in pairs if rank is not None]
            if not open_pairs:
                return ()
            _, place = min(open_pairs)
            last = (symbols[place], symbols[place + 1])
            symbols[place : place + 2] = ["".join(last)]
        return last


def _characters(vocabulary: Vocabulary, i: int) -> list[int]:
    prefix = vocabulary.model.get("continuing_subword_prefix", "##")
    piece = vocabulary.pieces[i]
    inner = piece.startswith(prefix) and piece != prefix
    text = piece.removeprefix(prefix) if inner else piece
    spelt = [character if place == 0 and not inner else prefix + character for place, character in enumerate(text)]
    return [vocabulary.ids[s] for s in spelt if s in vocabulary.ids]


def unsafe_pieces(vocabulary: Vocabulary, kept: Iterable[int]) -> frozenset[int]:
    """Kept WordPiece pieces with an inner character that is no piece of its own: with them a word that was unknown could
    gain a segmentation. Real vocabularies hold none.
    """
    if vocabulary.family != "WordPiece":
        return frozenset()
    prefix = vocabulary.model.get("continuing_subword_prefix", "##")
    ordinary = set(kept).difference(vocabulary.specials)
    inner = {i: vocabulary.pieces[i].removeprefix(prefix)[1:] for i in ordinary}
    return frozenset(
        i for i, text in inner.items() if any(prefix + character not in vocabulary.ids for character in text)
    )
