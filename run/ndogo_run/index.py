"""A file of lines as vectors, kept beside the file until the file or the model changes."""

import contextlib
import gzip
import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ndogo_run.errors import RunError

if TYPE_CHECKING:
    from ndogo_run.model import Model

ENDING = ".ndogo.npz"


def lines_of(file: Path) -> list[str]:
    """The lines of a text file (or .gz) that are not blank.

    :raises RunError: it cannot be read, or has no line.
    """
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        lines = [line for line in raw.decode("utf-8").split("\n") if line.strip()]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RunError(f"The file cannot be read: {error}", where=str(file), cure="Give a UTF-8 text file.") from error
    if not lines:
        raise RunError("The file has no line to search in.", where=str(file))
    return [line.rstrip("\r") for line in lines]


def index_of(model: "Model", file: Path, lines: Sequence[str]) -> np.ndarray:
    """The vectors of the lines (lines, size): from the index beside the file, or made now and kept there where one may write."""
    mark = hashlib.sha256("\n".join([model.facts["files"][model.file]["sha256"], *lines]).encode()).hexdigest()
    kept = file.with_name(file.name + ENDING)
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(kept) as found:
        if str(found["mark"]) == mark and len(found["vectors"]) == len(lines):
            return np.asarray(found["vectors"], dtype=np.float32)
    vectors = model.embed(lines)
    draft = kept.with_name(f".{kept.name}.{os.getpid()}.npz")
    with contextlib.suppress(OSError):  # a folder that is read-only is searched without an index
        try:
            np.savez(draft, mark=mark, vectors=vectors.astype(np.float16))
            draft.replace(kept)
        finally:
            draft.unlink(missing_ok=True)
    return vectors
