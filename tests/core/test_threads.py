"""How many threads a step gets, and what is said where other work holds the cores."""

import logging
import os
import subprocess
import sys

import pytest

from ndogo.core import threads as module
from ndogo.core.threads import Pace, cores, idle_cores, threads, warn_if_busy

ALLOWED = len(os.sched_getaffinity(0))


def test_the_user_decides_else_the_cores_that_there_are(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    assert threads() == cores() <= ALLOWED
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads() == cores()


@pytest.mark.parametrize(
    ("own", "files", "wanted"),
    [
        ("0::/a/b", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, 1),
        ("0::/", {"cpu.max": "150000 100000"}, 1),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, ALLOWED),
        (
            "4:cpu,cpuacct:/d\n0::/",
            {"cpu,cpuacct/cpu.cfs_quota_us": "100000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            1,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, ALLOWED),
        ("9:memory:/m", {"memory/m/cpu.max": "1 100000"}, ALLOWED),
        ("", {}, ALLOWED),
    ],
)
def test_a_control_group_s_quota_counts(own, files, wanted, tmp_path):
    for name, text in files.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    (tmp_path / "own").write_text(own + "\n" if own else "")
    assert cores(tmp_path / "groups", tmp_path / "own") == wanted


def test_a_busy_machine_is_told_once_with_the_cure(caplog):
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
    try:
        warn_if_busy.cache_clear()
        with caplog.at_level(logging.WARNING):
            warn_if_busy(os.cpu_count() + 1)
            warn_if_busy(os.cpu_count() + 1)
        assert [record.name for record in caplog.records] == ["ndogo.threads"]
        assert "start again with OMP_NUM_THREADS=1" in caplog.text
        assert idle_cores() < 0.5
    finally:
        for child in busy:
            child.kill()
            child.wait()
        warn_if_busy.cache_clear()


def test_one_thread_waits_for_nobody_and_is_told_nothing(caplog, monkeypatch):
    monkeypatch.setattr(module, "idle_cores", lambda: 0.0)
    warn_if_busy(1)
    assert not caplog.records


def test_a_training_far_below_its_own_speed_says_so_once(caplog):
    read, spent = 70_000, 50.0
    pace = Pace(2, read, spent)
    for rate in (1000, 900, 400, 300, 290, 100):
        for _ in range(5):
            read, spent = read + rate * 2, spent + 2.0
            pace.at(read, spent)
    assert len(caplog.records) == 1
    assert "runs at 300 tokens a second and ran at 1000" in caplog.text and "OMP_NUM_THREADS=1" in caplog.text
