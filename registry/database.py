"""MLflow's SQLite file: made once, under a lock; one that is damaged or half made is moved aside with its date, and made anew.

All that it shows is in the store, so `ndogo sync` fills a new one. Its name (in mlflow.ready) tells the new one from the old.
"""

import contextlib
import logging
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from ndogo.core.directories import remove
from ndogo.registry.files import locked

log = logging.getLogger("ndogo.store")
PARTS = ("", "-wal", "-shm", "-journal")
BUSY = 10.0
"""Seconds that a look waits for another process's writing."""
_looked_at: set[tuple[Path, int]] = set()


def place(store: Path) -> Path:
    """Where the file lies."""
    return store / "mlflow.db"


def mark(store: Path) -> Path:
    """The file that says that the database was made to the end; its content is the database's name."""
    return store / "mlflow.ready"


def name(store: Path) -> str:
    """What tells this database from one that was lost; nothing of one that is older than such names."""
    try:
        return mark(store).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def look_after(store: Path) -> None:
    """Once in a process: move a file that is no whole database aside. One that is merely in use stays."""
    file = place(store)
    try:
        seen = (file, file.lstat().st_ino)
    except OSError:
        remove(mark(store))  # the database was taken away
        return
    if seen in _looked_at:
        return
    with locked(store, "mlflow-database"):
        if fault := _fault(file):
            _move_aside(store, fault)
        elif not mark(store).is_file():
            make_mark(store)
    _looked_at.add(seen)


@contextlib.contextmanager
def drafted(store: Path) -> Iterator[Path]:
    """Where a new database is to be made, for whoever holds the lock; afterwards it lies in its place, whole or not at all.

    A kill between two of MLflow's migrations would leave one that can neither be used nor made to the end.
    """
    draft = store / "mlflow.db.draft"
    for part in PARTS:
        remove(draft.with_name(draft.name + part))
    yield draft
    draft.rename(place(store))
    make_mark(store)


def make_mark(store: Path) -> None:
    """Say that the database is whole, and give it a name. What lies in the mark's place and is no file goes."""
    if not mark(store).is_file():
        remove(mark(store))
    mark(store).write_text(uuid.uuid4().hex, encoding="utf-8")


def _fault(file: Path) -> str:
    """What is wrong with a database's file, in a few words; nothing where it is whole or in use."""
    if not file.is_file():
        return "no regular file"
    try:
        # To be written to: what a kill left half written is first put back from the journal.
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=BUSY)) as opened:
            found = opened.execute("PRAGMA quick_check(1)").fetchone()
            if found != ("ok",):
                return str(found)
            tables = {table for (table,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"alembic_version", "runs", "experiments"} <= tables or any(map(_is_left_over, tables)):
                return "half made"
            return "" if opened.execute("SELECT count(*) FROM alembic_version").fetchone()[0] else "half made"
    except sqlite3.OperationalError as error:
        return "" if "locked" in str(error) else str(error)
    except sqlite3.DatabaseError as error:
        return str(error)


def _is_left_over(table: str) -> bool:
    """Whether it is one that a migration takes away again when it ends."""
    return table.startswith("_alembic_tmp_")


def _move_aside(store: Path, fault: str) -> None:
    file = place(store)
    aside = file.with_name(f"mlflow.db.damaged-{time.strftime('%Y-%m-%dT%H-%M-%S')}")
    for part in PARTS:
        whole = file.with_name(file.name + part)
        if whole.exists() or whole.is_symlink():
            whole.rename(aside.with_name(aside.name + part))
    remove(mark(store))
    log.warning(
        "MLflow's database %s is damaged (%s). It was moved to %s and is made anew; `ndogo sync` fills it from the store.",
        *(file, fault, aside),
    )


def is_fault(error: BaseException) -> bool:
    """Whether an error comes from the database (locked, full, damaged, of another MLflow) and not from what was asked."""
    return any(sign in str(error) for sign in ("sqlite3.", "database schema")) or isinstance(error, sqlite3.Error)
