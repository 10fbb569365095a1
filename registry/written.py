"""Labelled rows as people write them, each with its line: CSV and TSV with a header, and CoNLL columns."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ndogo.core.errors import NdogoError

CSV = ("csv", "tsv")
CONLL = ("conll", "iob", "iob1", "iob2", "bio", "bioes", "iobes", "bilou")
"""Ends of names of files with a word and its tag in each line, and an empty line after each text."""
QUOTES = "Put a value with a comma in it between quotation marks, and double those within it."
Numbered = Iterator[tuple[int, dict[str, Any]]]


def numbered(file: Path, kind: str) -> Numbered:
    """The rows of a file of one of the two kinds, each with the number of its first line.

    :raises NdogoError: with file and line, whatever cannot be read.
    """
    opener = gzip.open if file.name.endswith(".gz") else open
    number = 0
    try:
        with opener(file, "rt", encoding="utf-8-sig", newline="", errors="strict") as lines:
            rows = _conll(file, lines) if kind in CONLL else _csv(file, lines, kind)
            for number, row in rows:
                yield number, row
    except UnicodeDecodeError as fault:
        raise NdogoError(
            f"The file is not UTF-8 ({fault.reason}).",
            where=f"{file}, after line {number}",
            cure="Convert it, for example with `iconv -f ENCODING -t UTF-8`.",
        ) from fault
    except (OSError, EOFError, zlib.error) as fault:
        raise NdogoError(f"The file cannot be read: {fault}.", where=f"{file}, after line {number}") from fault


def _csv(file: Path, lines: Iterator[str], kind: str) -> Numbered:
    """Rows under a header; all values are text, as they are written."""
    options: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if kind == "tsv" else {}
    reader = csv.reader(lines, strict=True, **options)
    names: list[str] = []
    while True:
        first = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as fault:
            raise _wrong(file, first, f"This is not CSV: {fault}", QUOTES) from fault
        if values is None:
            break
        if not values:
            continue
        if not names:
            names = _header(file, first, values)
        elif len(values) != len(names):
            what = f"The header names {len(names)} columns, and this row has {len(values)}"
            raise _wrong(file, first, what, QUOTES if kind == "csv" else "")
        else:
            yield first, dict(zip(names, values, strict=True))
    if not names:
        raise NdogoError("The file is empty.", where=str(file), cure="The first line names the columns.")


def _header(file: Path, line: int, values: list[str]) -> list[str]:
    names = [value.strip() for value in values]
    if not all(names) or len(set(names)) != len(names):
        what = f"The header has {'a column without a name' if not all(names) else 'one name twice'}: {', '.join(names)}"
        raise _wrong(file, line, what, "The first line names the columns, each once.")
    return names


def _conll(file: Path, lines: Iterator[str]) -> Numbered:
    """Texts of `tokens` and `tags`: the first and the last column; comments and marks of documents are left out."""
    tokens: list[str] = []
    tags: list[str] = []
    first, columns = 0, 0
    for number, line in enumerate(lines, 1):
        parts = line.split("\t") if "\t" in line else line.split()
        parts = [part.strip() for part in parts]
        if not any(parts):
            if tokens:
                yield first, {"tokens": tokens, "tags": tags}
            tokens, tags = [], []
            continue
        if parts[0] == "-DOCSTART-" or (parts[0].startswith("#") and not tokens and len(parts) != columns):
            continue
        columns = columns or len(parts)
        if len(parts) < 2 or len(parts) != columns or not parts[0] or not parts[-1]:
            wanted = f"{columns} columns, as the lines before" if columns > 1 else "a word and its tag"
            raise _wrong(
                file,
                number,
                f"Not {wanted}: {line.strip()!r}",
                "Write one word, a space or tab, and its tag in a line.",
            )
        first = first if tokens else number
        tokens.append(parts[0])
        tags.append(parts[-1])
    if tokens:
        yield first, {"tokens": tokens, "tags": tags}


def _wrong(file: Path, line: int, what: str, cure: str) -> NdogoError:
    return NdogoError(f"{what}.", where=f"{file}, line {line}", cure=cure)
