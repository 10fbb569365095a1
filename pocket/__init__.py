"""The pocket world: nine toy languages, their corpora and benchmarks, and a small teacher, without network or download.

The text is generated from word lists and clause templates. It is a toy, not a sample of any language.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ndogo.core.errors import NdogoError
from ndogo.pocket.world import LANGUAGES, world

__all__ = ["BENCHMARKS", "LANGUAGES", "benchmark", "corpus", "held_out", "teacher"]
BENCHMARKS = ("sentiment", "topic", "ner", "pos")


def corpus(language: str, seed: int = 0, sentences: int = 20_000) -> Iterator[str]:
    """Stream that many lines, for one seed the same bytes everywhere; raises NdogoError where there is no such language."""
    from ndogo.pocket.generator import CORPUS, lines

    return itertools.islice(lines(world(language), f"corpus/{seed}", CORPUS), sentences)


def held_out(language: str, sentences: int = 1_000) -> Iterator[str]:
    """Stream lines that occur in no corpus and no benchmark of any seed."""
    from ndogo.pocket.generator import HELD_OUT, lines

    return itertools.islice(lines(world(language), "held-out", (HELD_OUT,)), sentences)


def benchmark(language: str, name: str) -> dict[str, list[dict[str, Any]]]:
    """Rows by split (train, dev, test): {"text", "label"}, or {"tokens", "tags"} for ner (IOB2) and pos (UPOS)."""
    from ndogo.pocket.benchmarks import rows

    if name not in BENCHMARKS:
        raise NdogoError(f"no pocket benchmark {name!r}", where="pocket", cure=f"choose one of {', '.join(BENCHMARKS)}")
    return rows(world(language), name)


def teacher() -> Path:
    """The pocket teacher, a plain Hugging Face directory; raises NdogoError where it was not built."""
    folder = Path(__file__).parent / "teacher"
    if not (folder / "model.safetensors").is_file():
        raise NdogoError(
            "the pocket teacher is missing", where=str(folder), cure="run `python -m ndogo.pocket.build_teacher`"
        )
    return folder
