"""Whoever waits for a lock is told what is being made, and by whom it is held is of no matter."""

import logging
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from ndogo.core.locks import held

log = logging.getLogger("ndogo.test")


def test_one_holds_and_the_other_says_what_it_waits_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, log.name)
    file, order = tmp_path / "a.lock", []
    with FileLock(file):

        def other() -> None:
            with held(file, "bread", log):
                order.append("other")

        waiting = threading.Thread(target=other)
        waiting.start()
        waiting.join(timeout=1.5)
        assert waiting.is_alive() and not order
        assert [r.message for r in caplog.records] == [f"another process is making bread; waiting for it ({file})"]
        order.append("first")
    waiting.join(timeout=10)
    assert order == ["first", "other"]


def test_a_free_lock_is_taken_without_a_word_and_given_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, log.name)
    for _ in range(2):
        with held(tmp_path / "a.lock", "bread", log):
            pass
    with pytest.raises(ValueError, match="burnt"), held(tmp_path / "a.lock", "bread", log):
        raise ValueError("burnt")
    with FileLock(tmp_path / "a.lock", timeout=0):
        assert not caplog.records
