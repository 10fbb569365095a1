"""Counting how often a corpus uses each token: one pass, bounded memory, all cores (the Rust tokenizer's threads).

Where the tokenizer cuts at every space and treats each stretch by itself (XLM-R's, BERT's), each distinct stretch is
encoded once and its tokens count as often as it occurs: the same counts for a third of the time. Others see whole lines.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ndogo.core.errors import NdogoError
from ndogo.core.progress import Report
from ndogo.core.text import Lines, WeightedLines

BATCH_LINES = 8192
BATCH_CHARACTERS = 2_000_000
"""A batch ends at either, so that neither short nor very long lines fill the memory."""
STRETCHES = 500_000
STRETCH_BATCH = 20_000
STRETCH_CHARACTERS = 20_000_000
"""Distinct stretches are encoded and forgotten when there are so many: about 100 MB."""
SAMPLE_EVERY = 50
SAMPLE_AT_MOST = 2000
SAMPLE = 256

Encoded = tuple[str, list[int]]
"""A line and its ids, without specials."""


@dataclass(frozen=True)
class TokenCounts:
    """What one pass over the corpora found."""

    weighted: NDArray[np.float64]
    """(ids,) occurrences of each id in the counted lines, times the weight of their corpus."""
    lines: int
    tokens: int
    certificate_sample: tuple[Encoded, ...]
    """Lines set aside and not counted: every 50th, at most 2,000 of them, drawn with a fixed seed."""
    sample: tuple[Encoded, ...]
    """The first counted lines, for checks that need more lines than the certificate's sample."""


class _Tally:
    """The counts and the sample for the certificate while they grow."""

    def __init__(self, backend: Tokenizer, size: int) -> None:
        self.weighted = np.zeros(size, np.float64)
        self.certificate_sample: list[tuple[str, list[int], float]] = []
        self.sample: list[Encoded] = []
        self.seen = self.tokens = 0
        self._backend = backend
        self._whole_lines = not cuts_at_spaces(backend)
        self._counts = np.zeros(size, np.int64)
        self._stretches: Counter[str] = Counter()
        self._characters = 0
        self._candidates = 0
        self._draw = random.Random(0)

    def add(self, lines: list[str], weight: float) -> None:
        """Count lines of one corpus; every so manieth is set aside for the certificate."""
        first = -self.seen % SAMPLE_EVERY
        self.seen += len(lines)
        set_aside = lines[first::SAMPLE_EVERY]
        del lines[first::SAMPLE_EVERY]
        for line, ids in zip(set_aside, encode(self._backend, set_aside), strict=True):
            self._hold_out(line, ids, weight)
        if missing := lines[: SAMPLE - len(self.sample)]:
            self.sample += zip(missing, encode(self._backend, missing), strict=True)
        if self._whole_lines:
            self._count(encode(self._backend, lines))
            return
        text = " ".join(lines)
        self._stretches.update(text.split(" "))
        self._characters += len(text)
        if self._characters > STRETCH_CHARACTERS:  # at most so many; those of distinct stretches are fewer
            self._characters = sum(map(len, self._stretches))
        if len(self._stretches) > STRETCHES or self._characters > STRETCH_CHARACTERS:
            self._count_stretches()

    def end_corpus(self, weight: float) -> None:
        """Weigh what was counted since the last corpus."""
        self._count_stretches()
        self.tokens += int(self._counts.sum())
        self.weighted += self._counts * weight
        self._counts[:] = 0

    def take_back(self) -> None:
        """Count the lines of the certificate's sample as well: for a corpus of a line or two, which is all set aside."""
        for _, ids, weight in self.certificate_sample:
            self._count_one(ids, weight)

    def _hold_out(self, line: str, ids: list[int], weight: float) -> None:
        self._candidates += 1
        if len(self.certificate_sample) < SAMPLE_AT_MOST:
            self.certificate_sample.append((line, ids, weight))
            return
        place = self._draw.randrange(self._candidates)
        entry = (line, ids, weight)
        if place < SAMPLE_AT_MOST:
            entry, self.certificate_sample[place] = self.certificate_sample[place], entry
        self._count_one(entry[1], entry[2])

    def _count_one(self, ids: list[int], weight: float) -> None:
        np.add.at(self.weighted, ids, weight)
        self.tokens += len(ids)

    def _count(self, encoded: list[list[int]], times: NDArray[np.int64] | None = None) -> None:
        flat = np.fromiter(chain.from_iterable(encoded), np.int64)
        repeated = None if times is None else np.repeat(times, [len(ids) for ids in encoded])
        # Weights make bincount add in float64, which is exact below 2**53.
        self._counts += np.bincount(flat, repeated, len(self._counts)).astype(np.int64)

    def _count_stretches(self) -> None:
        stretches = list(self._stretches)
        times = np.fromiter(self._stretches.values(), np.int64)
        for start in range(0, len(stretches), STRETCH_BATCH):
            part = slice(start, start + STRETCH_BATCH)
            self._count(encode(self._backend, stretches[part]), times[part])
        self._stretches.clear()
        self._characters = 0


def count_tokens(backend: Tokenizer, size: int, corpora: Sequence[WeightedLines], report: Report) -> TokenCounts:
    """Read every corpus, set some lines aside, count the ids of the others; `size` is the number of ids.

    :raises NdogoError: no corpus, or no token at all in the text.
    """
    tally = _Tally(backend, size)
    total = sum(1 for corpus in corpora for _ in corpus.lines())
    started = time.monotonic()
    for corpus in corpora:
        for lines in batches(corpus.lines):
            tally.add(lines, corpus.weight)
            rate = tally.seen / max(time.monotonic() - started, 1e-9)
            left = (total - tally.seen) / rate
            report(f"count {corpus.name}", tally.seen, total, {"lines_per_second": rate, "seconds_left": left})
        tally.end_corpus(corpus.weight)
    if not tally.weighted.any():
        tally.take_back()
    if not tally.weighted.any():
        raise NdogoError("There is no text to count.", where=", ".join(c.name for c in corpora) or "--corpus")
    certificate_sample = tuple((line, ids) for line, ids, _ in tally.certificate_sample)
    return TokenCounts(tally.weighted, tally.seen, tally.tokens, certificate_sample, tuple(tally.sample))


SPACE_BLIND = ("Precompiled", "BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt")
"""Normalizers that give a stretch between two spaces the same result alone as in its line."""


def cuts_at_spaces(backend: Tokenizer) -> bool:
    """Whether a line has exactly the ids of its stretches between spaces, one after the other."""
    if any(" " in token.content for token in backend.get_added_tokens_decoder().values()):
        return False
    cutters = _parts(backend.pre_tokenizer, "pretokenizers")
    if [part["type"] for part in cutters] == ["WhitespaceSplit", "Metaspace"]:
        local = cutters[1]["prepend_scheme"] == "always"
    else:
        local = [part["type"] for part in cutters] == ["BertPreTokenizer"]
    return local and all(part["type"] in SPACE_BLIND for part in _parts(backend.normalizer, "normalizers"))


def _parts(section: Any, inner: str) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer as the list of its parts."""
    if section is None:
        return []
    content = json.loads(section.__getstate__())
    return content[inner] if content["type"] == "Sequence" else [content]


def encode(backend: Tokenizer, lines: Sequence[str]) -> list[list[int]]:
    """The ids of each line, without specials."""
    return [encoding.ids for encoding in backend.encode_batch_fast(list(lines), add_special_tokens=False)]


def batches(lines: Lines) -> Iterator[list[str]]:
    """The corpus in lists of lines, each of bounded size."""
    batch: list[str] = []
    characters = 0
    for line in lines():
        batch.append(line)
        characters += len(line)
        if len(batch) >= BATCH_LINES or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
