"""Text drawn once for a training: lines with and without the model's own prompts, and windows cut at any place.

It is a corpus like any other, row by row: what a teacher says of a row can be kept. It depends on the text, the tokenizer, the
windows and the prompts, never on the run's seed.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from ndogo.compressors.distillation.corpus import Tokenized, is_whole, open_tokenized, sequences, write_sequences
from ndogo.core.progress import Report
from ndogo.core.specials import ends
from ndogo.core.text import Lines

SEED = 0


def drawn_name(windows: tuple[int, int], prompts: Mapping[str, str]) -> str:
    """Names what is drawn of one tokenised text."""
    digest = hashlib.sha256("\n".join(sorted(prompts.values())).encode()).hexdigest()[:8]
    return f"{windows[0]}-{windows[1]}-{digest}"


def draw(
    plain: Tokenized,
    lines: Lines,
    tokenizer: PreTrainedTokenizerBase,
    asked: tuple[tuple[int, int], int, Mapping[str, str]],
    path: Path,
    report: Report,
) -> Tokenized:
    """Write the drawn text into the Arrow file `path` and open it; a file that is there already is opened as it is.

    `plain`: the tokenised `lines`. `asked`: the shortest and longest window, the longest line, the prompts.

    :raises NdogoError: the disk is full.
    """
    if not is_whole(path):
        windows, max_length, prompts = asked
        texts = sorted(set(prompts.values()))
        found = _rows(plain)
        if texts:
            found = sequences(lambda: _prompted(lines, texts), tokenizer, max_length, report)
        write_sequences(chain(found, _windows(plain, ends(tokenizer), windows)), path)
    return open_tokenized(path)


def _rows(plain: Tokenized) -> Iterator[list[int]]:
    return (plain.sequence(row).tolist() for row in range(len(plain)))


def _prompted(lines: Lines, prompts: list[str]) -> Iterator[str]:
    """Every line; half of them, drawn, with one of the prompts in front."""
    drawing = random.Random(SEED)
    for line in lines():
        yield drawing.choice(prompts) + line if drawing.random() < 0.5 else line


def _windows(plain: Tokenized, ends: tuple[list[int], list[int]], bounds: tuple[int, int]) -> Iterator[list[int]]:
    """The shuffled text, end to end, cut into windows; the few tokens that are left make none."""
    drawing = np.random.Generator(np.random.PCG64(SEED))
    before, behind = ends
    order = drawing.permutation(len(plain))
    held: list[int] = []
    lengths = _lengths(drawing, bounds, len(before) + len(behind))
    wanted = next(lengths)
    for row in order:
        ids = plain.sequence(int(row))
        held.extend(ids[len(before) : len(ids) - len(behind)].tolist())
        while len(held) >= wanted:
            yield before + held[:wanted] + behind
            del held[:wanted]
            wanted = next(lengths)


def _lengths(drawing: np.random.Generator, bounds: tuple[int, int], specials: int) -> Iterator[int]:
    while True:
        yield from (drawing.integers(bounds[0], bounds[1] + 1, 1024) - specials).tolist()
