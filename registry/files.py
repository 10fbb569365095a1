"""What the store does with files: one holder per lock, whole or not at all, and what is damaged set aside."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ndogo.core.directories import remove
from ndogo.core.errors import NdogoError, is_full_disk
from ndogo.core.locks import held

log = logging.getLogger("ndogo.store")


def set_aside(store: Path, path: Path, why: str) -> None:
    """Move something damaged out of the way, so that it can be made again and still be looked at."""
    aside = store / "damaged" / f"{path.name}-{time.time_ns()}"
    aside.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # another process noticed at the same moment
        path.rename(aside)
        log.warning("%s is damaged (%s); it was set aside in %s and will be made again", path, why, aside)


def make_way(store: Path, path: Path, *, folder: bool) -> Path:
    """The path, at which nothing of the wrong kind lies any more: what is no folder, or no regular file, is set aside."""
    fits = path.is_dir() if folder else path.is_file()
    if not fits and (path.exists() or path.is_symlink()):
        set_aside(store, path, "a folder was expected" if folder else "a file was expected")
    return path


def lock_file(store: Path, name: str) -> Path:
    """Where the lock of a name lies; its folder is there."""
    file = store / "locks" / f"{name}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    return make_way(store, file, folder=False)


@contextlib.contextmanager
def locked(store: Path, name: str) -> Iterator[None]:
    """One holder per name, over processes; whoever waits is told why, again and again."""
    with held(lock_file(store, name), name, log):
        yield


@contextlib.contextmanager
def work_folder(work: Path) -> Iterator[None]:
    """What a step keeps in its folder while it runs goes when it is done, and when it fails before its first checkpoint."""
    try:
        yield
    except Exception:  # whatever it was goes on; an interrupt leaves the folder, to be gone on with
        if not any(work.glob("*.safetensors")):
            remove(work)
        raise
    remove(work)


def sync(path: Path) -> None:
    """Have the disk keep what was written."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def clear_disk_errors(draft: Path) -> Iterator[None]:
    """Failed work leaves no draft; a full disk is said in words.

    :raises NdogoError: the disk is full.
    """
    try:
        yield
    except BaseException as error:
        remove(draft)
        if isinstance(error, NdogoError) or not is_full_disk(error):
            raise
        raise NdogoError(
            "There is no space left on the disk; nothing was published.",
            where=str(draft.parent),
            cure="Free some space, or write elsewhere (NDOGO_HOME, --out); `ndogo clean` removes what no champion needs.",
        ) from error
