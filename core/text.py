"""Reading raw text: .txt, .txt.gz, .jsonl, .jsonl.gz, .parquet, or a folder of those, line by line."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ndogo.core.documents import check_letters
from ndogo.core.errors import NdogoError, words_of
from ndogo.core.size import resolve_size

Lines = Callable[[], Iterator[str]]
"""Gives a fresh iterator over the same lines at every call, so that a corpus can be read more than once."""

SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet")
TEXT_COLUMNS = ("text", "content")
LONGEST_LINE, LONGEST_WORD = 1_000_000, 100_000
"""Letters. A tokenizer needs hundreds of bytes for each of them at once; no line or word of a language is as long."""
HEAVIEST = 1_000_000
EMPTY_LINES = 1_000_000
"""In a row; more are an archive that was made to keep a reader busy."""
INVISIBLE = "".join(map(chr, (0, 0xAD, 0x61C, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF))) + " \t"
"""A line of these alone is empty."""


@dataclass(frozen=True)
class WeightedLines:
    """One of several corpora that are counted together; a count in it weighs `weight`."""

    lines: Lines
    weight: float = 1.0
    name: str = "corpus"

    def __post_init__(self) -> None:
        if not 0 < self.weight <= HEAVIEST:
            raise NdogoError(f"A weight is above 0 and at most {HEAVIEST:,}; got {self.weight}.", where=self.name)


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
            line = line.strip()
            if line and (line[0] not in INVISIBLE or line.strip(INVISIBLE)):
                empty = False
                yield line
    if empty:
        raise NdogoError("The corpus is empty.", where=str(path), cure="Give a file with at least one line of text.")


def lines_of(path: Path) -> Lines:
    """`read_lines` as a corpus that can be read again."""
    text_files(path)
    return lambda: read_lines(path)


def part_of(lines: Lines, size: int | Fraction | None) -> Lines:
    """So many of the lines, or such a share of them, spread evenly over the text; all where there are no more."""
    if size is None:
        return lines

    def part() -> Iterator[str]:
        found = sum(1 for _ in lines())
        wanted = min(found, resolve_size(size, found))
        return (line for n, line in enumerate(lines()) if n * wanted // found < (n + 1) * wanted // found)

    return part


def fingerprint(lines: Lines) -> str:
    """sha256 over the lines: the same text in another file name or compression has the same one."""
    digest = hashlib.sha256()
    for line in lines():
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def byte_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, packed by gzip or not, with their numbers; none longer than `LONGEST_LINE` letters can be.

    :raises NdogoError: no regular file, a damaged archive, a line without end, a desert of empty lines.
    """
    if not file.is_file():
        raise NdogoError("This is no regular file.", where=str(file), cure="Check the path.")
    opened = gzip.open if file.name.endswith(".gz") else open
    number = empty = 0
    try:
        with opened(file, "rb") as raw:
            while line := raw.readline(4 * LONGEST_LINE + 2):
                number, empty = number + 1, empty + 1 if line.isspace() else 0
                if len(line) > 4 * LONGEST_LINE + 1:
                    raise _too_long("line", LONGEST_LINE, f"{file}, line {number}")
                if empty > EMPTY_LINES:
                    raise NdogoError(f"{empty:,} lines in a row are empty.", where=f"{file}, line {number}")
                yield number, line
    except (EOFError, OSError, zlib.error) as error:
        raise NdogoError(f"The file cannot be read: {error}.", where=f"{file}, after line {number}") from error


def checked_text(value: object, where: str) -> str:
    """What a row gives as its text; a row without text (null) is like an empty line.

    :raises NdogoError: it is no text, holds half a letter, or a line or word beyond all bounds.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise NdogoError(f"The text of a row is a {type(value).__name__}.", where=where, cure="Give words.")
    try:
        check_letters(value)
    except ValueError as error:
        raise NdogoError(f"The text cannot be read: {error}.", where=where) from error
    if len(value) > LONGEST_WORD:
        _check_lengths(value, where)
    return value


def _check_lengths(text: str, where: str) -> None:
    for line in text.splitlines():
        if len(line) > LONGEST_LINE:
            raise _too_long("line", LONGEST_LINE, where)
        if len(line) > LONGEST_WORD and max(map(len, line.split()), default=0) > LONGEST_WORD:
            raise _too_long("word", LONGEST_WORD, where)


def _too_long(what: str, most: int, where: str) -> NdogoError:
    return NdogoError(
        f"A {what} has more than {most:,} letters.", where=where, cure=f"Break it into {what}s, or leave it out."
    )


def _read_file(file: Path) -> Iterator[str]:
    if file.name.endswith(".parquet"):
        yield from _read_parquet(file)
        return
    for number, line in byte_lines(file):
        where = f"{file}, line {number}"
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise NdogoError(
                f"Line {number} is not UTF-8 ({error.reason}).",
                where=where,
                cure="Convert the file, for example with `iconv -f ENCODING -t UTF-8`.",
            ) from error
        yield checked_text(_text_of(text, where) if ".jsonl" in file.name else text, where)


def _text_of(line: str, where: str) -> object:
    if not line.strip():
        return ""
    try:
        return json.loads(line)["text"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise NdogoError("The line is not a JSON object with a `text`.", where=where, cure='{"text": "..."}') from error


def _read_parquet(file: Path) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    if not file.is_file():
        raise NdogoError("This is no regular file.", where=str(file), cure="Check the path.")
    number = 0
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
                number += 1
                yield from checked_text(value.as_py(), f"{file}, row {number}").splitlines()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise NdogoError(
            f"The table cannot be read: {words_of(error)}.", where=f"{file}, after row {number}"
        ) from error
