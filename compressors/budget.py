"""Budget in, shapes out: all that a teacher can be cut to are counted, and those named that a rule expects to lose least.

The rule only draws up the list that is measured (steps/trials.py). Expected points lost = sum over layers, FFN and hidden
width of price x (halvings ^ power), plus one point for each percent of running pieces that the trimmed vocabulary no longer
holds whole. Where the numbers come from: docs/recipes.md.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from ndogo.compressors.latency import Clock
from ndogo.compressors.sizes import Counter
from ndogo.compressors.vocabulary.counting import count_tokens
from ndogo.compressors.vocabulary.files import write_tokenizer
from ndogo.compressors.vocabulary.selection import Wanted, select
from ndogo.compressors.vocabulary.source import read_vocabulary
from ndogo.core.architectures import Shape, architecture_of, shape_of
from ndogo.core.download import MEGA, SIZE_TYPE, tokenizer_bytes
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config
from ndogo.core.progress import Report
from ndogo.core.size import FFN_MULTIPLE
from ndogo.core.text import WeightedLines

PRICES = {"layers": (2.8, 1.5), "ffn": (1.8, 1.1), "hidden": (4.2, 1.9)}
"""Points lost at one halving, and the power with which further ones cost more."""
VOCABULARY_PRICE = 100.0
"""Points for all running pieces: one for a percent."""
COVERAGES = (0.9995, 0.999, 0.998, 0.996, 0.993, 0.99, 0.98, 0.96, 0.93, 0.9)
APART = 0.95
"""A vocabulary with more than this part of the rows of the one before is not looked at."""
STEPS = 16
"""Widths are tried in so many parts of the teacher's."""
NARROWEST = 8
"""No width below this part of the teacher's."""
MEASURED = 20
"""As many shapes are measured at most."""

Kind = Literal["size_mb", "params", "ms"]
UNITS: dict[str, tuple[Kind, float]] = {"MB": ("size_mb", 1.0), "M": ("params", 1e6), "ms": ("ms", 1.0)}


@dataclass(frozen=True)
class Limit:
    """The budget: millions of bytes to download, parameters, or milliseconds for a row of 128 pieces on one thread."""

    kind: Kind
    most: float
    text: str
    dtype: str = SIZE_TYPE
    """Of the weights, where bytes are counted."""


@dataclass(frozen=True)
class Rows:
    """A vocabulary that trimming can give: its rows, how many of them are specials, what it covers, and its tokenizer's bytes."""

    rows: int
    specials: int
    coverage: float
    tokenizer_bytes: int = 0
    kept: tuple[int, ...] = field(default=(), repr=False)
    """The teacher's ids that stay."""


@dataclass(frozen=True)
class Candidate:
    """A shape within the budget."""

    shape: Shape
    vocabulary: Rows
    params: int
    size_mb: float
    """Millions of bytes of what a user downloads: the weights at the limit's type and the tokenizer's files."""
    ms: float | None
    expected: float
    """Points lost, by the rule."""


def read_budget(text: str, dtype: str = SIZE_TYPE) -> Limit:
    """A number with its unit; `dtype`: of the weights in a file.

    :raises NdogoError: neither `20MB` nor `12M` nor `5ms`, or nothing at all.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(MB|M|ms)\s*", text)
    if not found or float(found[1]) <= 0:
        raise NdogoError(
            f"`{text}` is no budget.",
            where="--budget",
            cure="Give megabytes to download, millions of parameters or milliseconds: 20MB, 12M or 5ms.",
        )
    kind, factor = UNITS[found[2]]
    return Limit(kind, float(found[1]) * factor, f"{found[1]}{found[2]}", dtype)


def vocabularies(source: Path, corpora: Sequence[WeightedLines], report: Report) -> list[Rows]:
    """What trimming to each of COVERAGES would keep, largest first; of some that are nearly alike the largest.

    :raises NdogoError: the tokenizer or the text cannot be read.
    """
    vocabulary = read_vocabulary(source, load_config(source))
    counts = count_tokens(vocabulary.backend, len(vocabulary.tokens), corpora, report)
    found: dict[int, Rows] = {}
    for number, coverage in enumerate(COVERAGES):
        kept = select(vocabulary, counts.weighted, Wanted(coverage=coverage))
        if len(kept.kept) <= APART * min(found, default=math.inf):
            with TemporaryDirectory() as folder:  # its files, written as trimming writes them
                write_tokenizer(source, Path(folder), vocabulary, kept.kept)
                size = tokenizer_bytes(Path(folder))
            found[len(kept.kept)] = Rows(
                len(kept.kept), len(vocabulary.specials), kept.coverage, size, tuple(kept.kept)
            )
        report("choosing vocabularies", number + 1, len(COVERAGES))
    return list(found.values())


def points_lost(shape: Shape, whole: Shape, coverage: float) -> float:
    """What a shape is expected to lose of the teacher's score, in points."""
    lost = VOCABULARY_PRICE * (1 - coverage)
    for part, (price, power) in PRICES.items():
        halvings = math.log2(getattr(whole, part) / getattr(shape, part))
        lost += price * halvings**power
    return lost


def candidates(
    counter: Counter, limit: Limit, choices: Sequence[Rows], clock: Clock | None = None, *, drop: bool = False
) -> list[Candidate]:
    """The best shape of every depth and vocabulary that fits, as the rule expects, best first.

    `counter`: of the teacher. `drop`: whole heads go where the width is cut, as they do of themselves where positions are rotary.

    :raises NdogoError: nothing fits; the cure names the smallest budget that does.
    """
    whole = shape_of(counter.config)
    best: dict[tuple[int, int], Candidate] = {}
    least = math.inf
    for shape, vocabulary in _shapes(whole, choices, drop or architecture_of(counter.config).rotary):
        params, ms = counter.params(shape), clock(shape) if clock else None
        size_mb = (counter.file_bytes(shape, limit.dtype) + vocabulary.tokenizer_bytes) / MEGA
        size = {"params": params, "size_mb": size_mb, "ms": ms}[limit.kind]
        assert size is not None
        least = min(least, size)
        if size > limit.most:
            continue
        found = Candidate(shape, vocabulary, params, size_mb, ms, points_lost(shape, whole, vocabulary.coverage))
        at = best.setdefault((shape.layers, shape.vocab), found)
        if (found.expected, found.params) < (at.expected, at.params):
            best[shape.layers, shape.vocab] = found
    if not best:
        unit = {"params": "M", "size_mb": "MB", "ms": "ms"}[limit.kind]
        enough = math.ceil(10 * least / (1e6 if limit.kind == "params" else 1)) / 10
        raise NdogoError(
            f"No shape of this teacher keeps to {limit.text}.",
            where="--budget",
            cure=f"Give {enough:g}{unit} or more, or start from a smaller teacher.",
        )
    return sorted(best.values(), key=lambda c: (c.expected, c.params))


def _shapes(whole: Shape, choices: Sequence[Rows], drop: bool) -> list[tuple[Shape, Rows]]:
    """Every shape to consider: all depths, widths in STEPS parts, every vocabulary."""
    unit = whole.hidden // whole.heads if drop else whole.heads
    hidden = {max(unit, round(whole.hidden * n / STEPS / unit) * unit) for n in range(STEPS // NARROWEST, STEPS + 1)}
    ffn = {
        max(1, round(whole.ffn * n / STEPS / FFN_MULTIPLE)) * FFN_MULTIPLE for n in range(STEPS // NARROWEST, STEPS + 1)
    }
    return [
        (Shape(v.rows, layers, h, f, h // unit if drop else whole.heads), v)
        for layers in range(1, whole.layers + 1)
        for h in sorted(hidden)
        for f in sorted(f for f in ffn if f <= whole.ffn)
        for v in choices
    ]
