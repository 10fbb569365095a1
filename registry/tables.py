"""Rows of local files, read by `datasets`: Parquet, CSV, TSV, JSONL, JSON and plain lines, packed by gzip or not."""

import csv
import glob
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ndogo.core.errors import NdogoError

if TYPE_CHECKING:
    from datasets import IterableDataset

AS_WRITTEN = {"keep_default_na": False}
"""`NA` and `nan` are words; pandas would take them for holes."""
READERS: dict[str, tuple[str, dict[str, Any]]] = {
    "parquet": ("parquet", {}),
    "csv": ("csv", AS_WRITTEN),
    "tsv": ("csv", {**AS_WRITTEN, "sep": "\t", "quoting": csv.QUOTE_NONE}),
    "jsonl": ("json", {"parse_agent_traces": False}),
    "json": ("json", {"parse_agent_traces": False}),
    "txt": ("text", {}),
}
"""Ends of names -> the reader of `datasets` and its options. None of them runs code of a data set's."""
NO_ROWS = ("dataset_infos.json", "requirements.txt", "license.txt", "readme.txt")
AT_ONCE = 1000


def is_table(name: str) -> bool:
    """Whether a file's name says that it holds rows."""
    return suffix(name) in READERS and "/." not in f"/{name}" and name.lower() not in NO_ROWS


def suffix(name: str) -> str:
    """The end of a file's name that says its kind, packed or not."""
    return name.removesuffix(".gz").rpartition(".")[2].lower()


@dataclass(frozen=True)
class Table:
    """One file of rows. It is opened when it is first asked."""

    file: Path

    @cached_property
    def columns(self) -> list[str]:
        """The names of its columns; none where it holds no row.

        :raises NdogoError: not a file of its kind.
        """
        return list(self._rows.column_names or next(self.rows(), {}))

    @cached_property
    def label_names(self) -> dict[str, list[str]]:
        """The label names that the file itself carries, by column: those of a label, or of what a list is made of.

        :raises NdogoError: not a file of its kind.
        """
        features = {name: getattr(kind, "feature", kind) for name, kind in (self._rows.features or {}).items()}
        return {name: list(kind.names) for name, kind in features.items() if hasattr(kind, "names")}

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows; of CSV and TSV, all values are text.

        :raises NdogoError: not a file of its kind, with the row.
        """
        for batch in self._batches(self._rows):
            yield from (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))

    def values(self, column: str) -> Iterator[Any]:
        """One column's values; of Parquet, nothing else is read.

        :raises NdogoError: as `rows`.
        """
        parquet = suffix(self.file.name) == "parquet"
        for batch in self._batches(self._opened(columns=[column]) if parquet else self._rows):
            yield from batch[column]

    @cached_property
    def _rows(self) -> "IterableDataset":
        found = self._opened()
        if READERS[suffix(self.file.name)][0] != "csv":
            return found
        from datasets import Features, Value

        header = next(iter(self._batches(found)), {})
        return self._opened(features=Features(dict.fromkeys(header, Value("string"))) if header else None)

    def _batches(self, rows: "IterableDataset") -> Iterator[dict[str, list[Any]]]:
        """Up to so many rows at once, as columns."""
        good = 0
        try:
            for batch in rows.iter(batch_size=AT_ONCE):
                yield batch
                good += len(next(iter(batch.values()), ()))
        except FAULTS as fault:
            raise self._unreadable(fault, good) from fault

    def _opened(self, **options: Any) -> "IterableDataset":
        import datasets

        datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # else the hub is told of each local file that is opened
        datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what goes wrong, our errors say
        reader, fixed = READERS[suffix(self.file.name)]
        where = glob.escape(str(self.file.absolute()))
        try:
            return datasets.load_dataset(reader, data_files=where, split="train", streaming=True, **fixed, **options)
        except FAULTS as fault:
            raise self._unreadable(fault, 0) from fault

    def _unreadable(self, fault: BaseException, good: int) -> NdogoError:
        kind = READERS[suffix(self.file.name)][0]
        line = _bad_line(self.file) if kind == "json" else 0  # others say it themselves
        where = f"{self.file}, {f'line {line}' if line else f'after row {good}'}"
        said = str(fault).strip() if self.file.stat().st_size else "it is empty"
        return NdogoError(f"The file cannot be read: {said}.", where=where)


def _bad_line(file: Path) -> int:
    """The first line that is no JSON; 0 where it is not by lines, or packed and damaged."""
    opener = gzip.open if file.name.endswith(".gz") else open
    try:
        with opener(file, "rb") as lines:
            return next((number for number, line in enumerate(lines, 1) if not _is_json(line)), 0)
    except (OSError, EOFError, zlib.error):
        return 0


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line.strip() or b"null")
    except (ValueError, RecursionError):
        return False
    return True


FAULTS = (ValueError, TypeError, KeyError, IndexError, OSError, EOFError, RuntimeError, StopIteration, zlib.error)
"""What the readers raise of a file that is not of its kind, pyarrow's and pandas' own errors among them."""
