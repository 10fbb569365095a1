"""What a kept token needs beside it so that segmentation stays exact: per family, the tokens to keep together.

BPE. Merging happens inside a final token as if that token stood alone: a merge across its edge would have swallowed the
edge. So a token needs exactly the tokens that its own merging passes through, down to single symbols.
WordPiece. Longest match first over fewer tokens finds the same matches while they are kept. Only a word that had no
segmentation could gain one, by a token that covers the place where the search got stuck; keeping the single characters
of every kept token excludes that, now and when the result is trimmed again.
Unigram. Nothing: the best path stays the best while its tokens are kept (the unknown edge is selection's concern).
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
    """The tokens that merging passes through on its way to a token, the token included."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = vocabulary.ids
        self._tokens = vocabulary.tokens
        # A pair listed twice counts with its last place, as in the tokenizers library.
        self._ranks = {merge_pair(merge): rank for rank, merge in enumerate(vocabulary.model["merges"])}
        self._known: dict[str, frozenset[int]] = {}

    def __call__(self, i: int) -> frozenset[int]:
        """The ids to keep with `i`."""
        return self._of(self._tokens[i])

    def _of(self, token: str) -> frozenset[int]:
        if token not in self._known:
            found = {self._ids[token]}
            for part in self._last_merge(token):
                found |= self._of(part)
            self._known[token] = frozenset(found)
        return self._known[token]

    def _last_merge(self, token: str) -> tuple[str, ...]:
        """The two sides of the merge that makes the token; none for single symbols and tokens that no merge reaches."""
        symbols = list(token)
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
    token = vocabulary.tokens[i]
    inner = token.startswith(prefix) and token != prefix
    text = token.removeprefix(prefix) if inner else token
    spelt = [character if place == 0 and not inner else prefix + character for place, character in enumerate(text)]
    return [vocabulary.ids[s] for s in spelt if s in vocabulary.ids]


def unsafe_tokens(vocabulary: Vocabulary, kept: Iterable[int]) -> frozenset[int]:
    """Kept WordPiece tokens with an inner character that is no token of its own: with them a word that was unknown could
    gain a segmentation. Real vocabularies hold none.
    """
    if vocabulary.family != "WordPiece":
        return frozenset()
    prefix = vocabulary.model.get("continuing_subword_prefix", "##")
    ordinary = set(kept).difference(vocabulary.specials)
    inner = {i: vocabulary.tokens[i].removeprefix(prefix)[1:] for i in ordinary}
    return frozenset(
        i for i, text in inner.items() if any(prefix + character not in vocabulary.ids for character in text)
    )
