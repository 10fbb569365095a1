"""A corpus as token ids in an Arrow file: written once by streaming, read back memory-mapped and at random."""

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from ndogo.core.directories import remove
from ndogo.core.errors import NdogoError
from ndogo.core.progress import Report
from ndogo.core.text import Lines

log = logging.getLogger("ndogo.training")
BLOCK = 16_384
"""Sequences per Arrow record batch: row i lies in batch i // BLOCK."""
SCHEMA = pa.schema([pa.field("ids", pa.list_(pa.int32()))])


@dataclass(frozen=True)
class Tokenized:
    """Sequences of token ids, specials included; the ids stay on disk until they are read."""

    blocks: tuple[tuple[np.ndarray, np.ndarray], ...]
    """Per record batch: all ids, and where each sequence starts (one more entry than sequences)."""
    lengths: np.ndarray
    name: str = ""
    """Of the file."""

    def __len__(self) -> int:
        return len(self.lengths)

    def sequence(self, row: int) -> np.ndarray:
        """The ids of one sequence (a view of the mapped file)."""
        ids, starts = self.blocks[row // BLOCK]
        at = row % BLOCK
        return ids[starts[at] : starts[at + 1]]


def tokenize(
    lines: Lines, tokenizer: PreTrainedTokenizerBase, max_length: int, path: Path, report: Report
) -> Tokenized:
    """Tokenise `lines` into the Arrow file `path` and open it; a file that is there already is opened as it is.

    A line longer than `max_length` tokens (specials included) becomes several sequences. The file appears by rename, so
    it is either whole or absent.

    :raises NdogoError: no line has any token, or the disk is full.
    """
    if not is_whole(path):
        write_sequences(sequences(lines, tokenizer, max_length, report), path)
    return open_tokenized(path)


def is_whole(path: Path) -> bool:
    """Whether a file that `write_sequences` wrote is there as it was written; a damaged one is said, and made again."""
    try:
        known = _hash_file(path).read_text(encoding="utf-8")
        with path.open("rb") as raw:
            if hashlib.file_digest(raw, "sha256").hexdigest() == known:
                return True
    except (OSError, ValueError):
        pass
    if path.exists():
        log.warning("the tokenised text %s is damaged, or older than its hash; it is made again", path)
    return False


def _hash_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def write_sequences(found: Iterator[list[int]], path: Path) -> None:
    """Write sequences of token ids into an Arrow file, which appears by rename.

    :raises NdogoError: the disk is full.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        for place in (partial, _hash_file(path), path):
            remove(place)
        with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            while block := list(islice(found, BLOCK)):
                writer.write_batch(pa.record_batch([pa.array(block, pa.list_(pa.int32()))], schema=SCHEMA))
        with partial.open("rb") as written:
            os.fsync(written.fileno())
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        _hash_file(path).write_text(digest, encoding="utf-8")
        partial.rename(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise NdogoError(
            f"The tokenised text cannot be written: {error}.", where=str(path), cure="Free some disk space."
        ) from error


def open_tokenized(path: Path) -> Tokenized:
    """Map a file that `tokenize` wrote.

    :raises NdogoError: it holds no sequence.
    """
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    columns = [reader.get_batch(i).column(0) for i in range(reader.num_record_batches)]
    blocks = tuple((np.asarray(column.values), np.asarray(column.offsets)) for column in columns)
    lengths = np.concatenate([np.diff(starts) for _, starts in blocks]) if blocks else np.zeros(0, np.int32)
    if not len(lengths):
        path.unlink()
        _hash_file(path).unlink(missing_ok=True)
        raise NdogoError("The corpus has no line with a token in it.", where=str(path), cure="Give it some text.")
    return Tokenized(blocks, lengths, path.name)


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Names a tokenizer by all that decides its output: rules, tokens, specials."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:16]


def sequences(lines: Lines, tokenizer: PreTrainedTokenizerBase, max_length: int, report: Report) -> Iterator[list[int]]:
    """The lines as sequences of at most `max_length` token ids, specials included."""
    specials = tokenizer.num_special_tokens_to_add()
    done = 0
    texts = lines()
    while some := list(islice(texts, 1000)):
        encoded = tokenizer(
            some,
            truncation=True,
            max_length=max_length,
            return_overflowing_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        yield from (ids for ids in encoded["input_ids"] if len(ids) > specials)
        done += len(some)
        report("tokenising", done, None)
