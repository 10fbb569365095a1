"""SIGKILL at random moments of a run, which is started again each time: nothing is lost, the result is the same to the bit."""

import os
import random
import signal
import sqlite3
import time
from pathlib import Path

from tests.drill import world
from tests.drill.forks import in_fork, started, worked_and_waited
from tests.drill.table import Row

AT_MOST = 8
"""Kills of one run: each comes at a random moment of a whole run's work, so most runs end before."""
NEW_DATABASE = 4
"""Of so many runs one makes MLflow's database as well, which is long beside the rest."""


def kills(root: Path, model: Path, count: int, seed: int) -> Row:
    """Runs in new stores, killed again and again until they end by themselves; then all is looked at."""
    row, draw = Row("kills at random moments"), random.Random(seed)
    whole = world.unhurt(model)
    survived, told, number = root / "survived.txt", root / "said.txt", 0

    def call() -> None:
        world.digest_into(model, survived)

    while row.tried < count:
        with world.copied(root / "home", root / "killed") as store:
            number += 1
            kept = () if number % NEW_DATABASE else ("mlflow.db", "mlflow.ready")
            world.remove(store, *world.MADE, *kept)
            survived.unlink(missing_ok=True)
            deaths, most = 0, min(AT_MOST, count - row.tried)
            length = whole.cpu * (1 if number % NEW_DATABASE else 2)
            while deaths < most and _killed(started(call, told), draw.uniform(0, length)):
                deaths += 1
            ended = in_fork(lambda: (call(), sound(store)), root, 600)
            wrong = survived.exists() and survived.read_text() != whole.digest
            for _ in range(deaths):
                row.add(f"run {number}, {deaths} kills", ended, lost=not survived.exists(), wrong=wrong)
    return row


def _killed(child: int, after: float) -> bool:
    """Kill a fork when it has worked so long; whether it was still at work."""
    while worked_and_waited(child)[0] < after:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def sound(store: Path) -> None:
    """Assert that a store is whole: MLflow has everything, its file is sound, and nothing unfinished lies about."""
    world.synced()
    with sqlite3.connect(store / "mlflow.db") as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    left = [file.name for part in ("drafts", "work", "damaged") for file in (store / part).glob("*")]
    left += [file.name for file in store.glob("mlflow.db.*")]
    assert not left, left
