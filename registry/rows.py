"""How many rows a trim by coverage keeps: the text is counted once for a tokenizer, and the number is remembered in the store."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ndogo.core.errors import NdogoError
from ndogo.core.frozen import Frozen
from ndogo.core.progress import Report
from ndogo.core.text import WeightedLines, fingerprint
from ndogo.registry.bundles import Store, canonical
from ndogo.registry.integrity import file_hash
from ndogo.steps.kinds.trim import Trim
from ndogo.steps.step import Step

KIND = "rows"


class Rows(Frozen):
    """A number that was counted."""

    rows: int


def rows_of(store: Store, source: Path, texts: Sequence[WeightedLines], report: Report) -> Callable[[Step], int]:
    """What says of a trim how many rows it keeps of the vocabulary of `source`; `store` remembers.

    :raises NdogoError: no model directory, whose tokenizer is needed to count.
    """
    from ndogo.core.directories import TOKENIZER_FILES

    if not source.is_dir():
        raise NdogoError(
            "Counting needs the teacher's tokenizer.", where=f"--teacher {source}", cure="Give its model directory."
        )
    tokenizer = {name: file_hash(source / name) for name in TOKENIZER_FILES if (source / name).is_file()}
    read = [(fingerprint(text.lines), text.weight) for text in texts]

    def count(step: Step) -> int:
        assert isinstance(step, Trim)

        def measure() -> Rows:
            return Rows(rows=step.rows_kept(source, texts, report))

        asked = canonical([tokenizer, read, step.version, step.content()])
        key = hashlib.sha256(asked.encode()).hexdigest()[:20]
        return store.record(KIND, key, Rows, measure)[0].rows

    return count
