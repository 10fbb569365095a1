"""Reading raw text: .txt, .txt.gz, .jsonl, .jsonl.gz, .parquet, or a folder of those, line by line."""

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ndogo.core.errors import NdogoError

Lines = Callable[[], Iterator[str]]
"""Gives a fresh iterator over the same lines at every call, so that a corpus can be read more than once."""

SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet")
TEXT_COLUMNS = ("text", "content")


@dataclass(frozen=True)
class WeightedLines:
    """One of several corpora that are counted together; a count in it weighs `weight`."""

    lines: Lines
    weight: float = 1.0
    name: str = "corpus"


def text_files(path: Path) -> list[Path]:
    """The text files at `path`, sorted by name where it is a folder.

    :raises NdogoError: nothing there, or no file of a kind that can be read.
    """
    if not path.exists():
        raise NdogoError(f"There is no text at {path}.", where=str(path), cure="Check the path.")
    found = sorted(f for f in path.rglob("*") if f.name.endswith(SUFFIXES)) if path.is_dir() else [path]
    if not found or not found[0].name.endswith(SUFFIXES):
        raise NdogoError("This is not text that can be read.", where=str(path), cure=f"Give {', '.join(SUFFIXES)}.")
    return found


def read_lines(path: Path) -> Iterator[str]:
    """Stream the non-empty lines below `path`, stripped of surrounding white space.

    :raises NdogoError: missing, unreadable, not UTF-8 (with the line number), or no line at all.
    """
    empty = True
    for file in text_files(path):
        for line in _read_file(file):
            if line := line.strip():
                empty = False
                yield line
    if empty:
        raise NdogoError("The corpus is empty.", where=str(path), cure="Give a file with at least one line of text.")


def lines_of(path: Path) -> Lines:
    """`read_lines` as a corpus that can be read again."""
    text_files(path)
    return lambda: read_lines(path)


def fingerprint(lines: Lines) -> str:
    """sha256 over the lines: the same text in another file name or compression has the same one."""
    digest = hashlib.sha256()
    for line in lines():
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _read_file(file: Path) -> Iterator[str]:
    if file.name.endswith(".parquet"):
        yield from _read_parquet(file)
        return
    opened = gzip.open if file.name.endswith(".gz") else open
    number = 0
    try:
        with opened(file, "rb") as raw:
            for number, line in enumerate(raw, 1):
                text = line.decode("utf-8")
                yield _text_of(text, file, number) if ".jsonl" in file.name else text
    except UnicodeDecodeError as error:
        raise NdogoError(
            f"Line {number} is not UTF-8 ({error.reason}).",
            where=f"{file}, line {number}",
            cure="Convert the file, for example with `iconv -f ENCODING -t UTF-8`.",
        ) from error
    except (gzip.BadGzipFile, EOFError, OSError) as error:
        raise NdogoError(f"The file cannot be read: {error}.", where=f"{file}, after line {number}") from error


def _text_of(line: str, file: Path, number: int) -> str:
    if not line.strip():
        return ""
    try:
        return str(json.loads(line)["text"])
    except (ValueError, KeyError, TypeError) as error:
        raise NdogoError(
            f"Line {number} is not a JSON object with a `text`.", where=f"{file}, line {number}", cure='{"text": "..."}'
        ) from error


def _read_parquet(file: Path) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file)
        column = next((c for c in TEXT_COLUMNS if c in table.schema_arrow.names), None)
        if column is None:
            raise NdogoError(
                "The table has no text column.",
                where=f"{file}: {', '.join(table.schema_arrow.names)}",
                cure="Name the column `text` or `content`.",
            )
        for batch in table.iter_batches(columns=[column], batch_size=4096):
            for value in batch.column(0):
                yield from (value.as_py() or "").splitlines()
    except pyarrow.ArrowInvalid as error:
        raise NdogoError(f"This is not a Parquet file: {error}.", where=str(file)) from error
