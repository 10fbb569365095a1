"""MLflow's file: what is no whole database is moved aside with its date; one that is in use, or older than its mark, stays."""

import contextlib
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ndogo.registry import database

TABLES = ("alembic_version", "runs", "experiments")


def made(store: Path) -> Path:
    with contextlib.closing(sqlite3.connect(database.place(store))) as opened:
        for table in TABLES:
            opened.execute(f"CREATE TABLE {table} (name TEXT)")
        opened.executemany("INSERT INTO alembic_version VALUES (?)", [("x" * 900,)] * 50)
        opened.commit()
    return database.place(store)


def changed(file: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as opened:
        opened.execute(statement)
        opened.commit()


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def a_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/nowhere/at/all")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no database": lambda file: file.write_text("x" * 5000),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:9000]),
    "empty": lambda file: file.write_bytes(b""),
    "no version": lambda file: changed(file, "DELETE FROM alembic_version"),
    "no runs": lambda file: changed(file, "DROP TABLE runs"),
    "killed in a migration": lambda file: changed(file, "CREATE TABLE _alembic_tmp_runs (name TEXT)"),
    "a folder": a_folder,
    "a dangling link": a_link,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_no_whole_database_is_moved_aside(tmp_path: Path, how: str):
    file = made(tmp_path)
    database.make_mark(tmp_path)
    DAMAGE[how](file)
    database.look_after(tmp_path)
    assert not file.exists() and not file.is_symlink() and database.name(tmp_path) == ""
    assert len(list(tmp_path.glob("mlflow.db.damaged-*"))) == 1


def test_a_whole_database_is_marked_and_stays(tmp_path: Path):
    file = made(tmp_path)
    content = file.read_bytes()
    database.look_after(tmp_path)
    assert file.read_bytes() == content and len(database.name(tmp_path)) == 32


@pytest.mark.parametrize("how", ["a folder", "a dangling link"])
def test_what_lies_in_the_mark_s_place_is_taken_away(tmp_path: Path, how: str):
    made(tmp_path)
    database.make_mark(tmp_path)
    DAMAGE[how](database.mark(tmp_path))
    database.look_after(tmp_path)
    assert len(database.name(tmp_path)) == 32 and not database.mark(tmp_path).is_symlink()


def test_a_locked_database_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database, "BUSY", 0.1)
    with contextlib.closing(sqlite3.connect(made(tmp_path))) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        database.look_after(tmp_path)
    assert database.place(tmp_path).exists()


def test_a_database_that_is_gone_leaves_no_name(tmp_path: Path):
    database.make_mark(tmp_path)
    database.look_after(tmp_path)
    assert database.name(tmp_path) == ""


def killed(doing: Callable[[], object]) -> None:
    """Do it in a process that is then killed, with nothing closed."""
    child = os.fork()
    if not child:
        try:
            doing()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_what_a_kill_left_half_written_is_put_back(tmp_path: Path):
    file = made(tmp_path)

    def write() -> None:
        opened = sqlite3.connect(file)
        opened.execute("PRAGMA cache_size = 1")  # so that pages go to the file before the end
        opened.execute("UPDATE alembic_version SET name = name || 'y'")

    killed(write)
    assert (tmp_path / "mlflow.db-journal").stat().st_size > 0
    database.look_after(tmp_path)
    with contextlib.closing(sqlite3.connect(file)) as opened:
        assert set(opened.execute("SELECT name FROM alembic_version")) == {("x" * 900,)}


def test_a_kill_while_it_is_made_leaves_nothing_in_its_place(tmp_path: Path):
    def half() -> None:
        with database.drafted(tmp_path) as draft:
            draft.write_bytes(b"x")
            os.kill(os.getpid(), signal.SIGKILL)

    killed(half)
    assert not database.place(tmp_path).exists()
    with database.drafted(tmp_path) as draft:
        assert not draft.exists()
        draft.touch()
    assert database.place(tmp_path).exists() and len(database.name(tmp_path)) == 32
