"""A command ends when it is asked to, whatever it is doing, and takes its children with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SCRIPT = """
import pathlib, subprocess, sys, time
from ndogo.stopping import when_asked

def deaf():
    # a library that does not return, and swallows what is raised meanwhile
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            time.sleep(60)
        except BaseException:
            pass

with when_asked():
    child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"])
    draft = pathlib.Path(sys.argv[2])
    try:
        draft.touch()
        print(child.pid, flush=True)
        deaf() if sys.argv[1] == "deaf" else time.sleep(60)
    finally:
        draft.unlink()
"""


def started(how: str, draft: Path, *before: str) -> tuple["subprocess.Popen[str]", int]:
    command = [*before, sys.executable, "-c", SCRIPT, how, str(draft)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def ended(process: "subprocess.Popen[str]", child: int) -> tuple[float, int, str]:
    before = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert not psutil.pid_exists(child)
    return time.monotonic() - before, process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_the_command_and_ends_its_children(number: signal.Signals, tmp_path: Path):
    process, child = started("plain", tmp_path / "draft")
    process.send_signal(number)
    seconds, status, said = ended(process, child)
    assert (status, said.count("The same command goes on")) == (128 + number, 1)
    assert seconds < 5 and not (tmp_path / "draft").exists()


def test_what_does_not_return_is_ended_all_the_same(tmp_path: Path):
    process, child = started("deaf", tmp_path / "draft")
    process.send_signal(signal.SIGTERM)
    seconds, status, said = ended(process, child)
    assert seconds < 5 and status == 128 + signal.SIGTERM and "goes on from what is finished" in said


def test_a_second_signal_does_not_wait(tmp_path: Path):
    process, child = started("deaf", tmp_path / "draft")
    os.kill(child, signal.SIGKILL)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert ended(process, child)[0] < 2


def test_nohup_means_what_it_says(tmp_path: Path):
    process, child = started("plain", tmp_path / "draft", "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert ended(process, child)[1] == 128 + signal.SIGTERM
