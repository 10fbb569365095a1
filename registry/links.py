"""One copy of equal files in the store: bundles never change, so those of a lineage may share what a step left as it was."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ndogo.registry.integrity import file_hash


def share(files: Mapping[Path, str], others: Iterable[tuple[Path, str]]) -> int:
    """Make of each file that equals one of the `others`, or an earlier one, a hard link to it; the bytes that this saved.

    Both are given with their hashes. The other's bytes are hashed anew, so that damage is not spread. Where the other has
    other rights, or the file system no hard links, a file stays as it is.
    """
    known = {digest: file for file, digest in others}
    saved = 0
    for file, digest in files.items():
        other = known.setdefault(digest, file)
        with contextlib.suppress(OSError):  # no such links here, or the other was cleaned away
            if other != file and other.stat().st_mode == file.stat().st_mode and file_hash(other) == digest:
                link = file.with_name(f".{file.name}.link")
                os.link(other, link)
                link.replace(file)
                saved += file.stat().st_size
    return saved
