"""One input in one fork of a warmed process, with limits on memory and time: the imports are paid once."""

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MEMORY = 2 * 10**9
"""Bytes of address space beyond what the warmed process has: threads reserve some that they never touch."""
SECONDS = 60.0
REFUSED, FRAMED, TRACEBACK, KILLED = 1, 70, 71, 72
"""How a fork ends, beside 0: with a refusal; with a fault that the frame turned into one; with another exception."""
FAULT = "a fault of Ndogo"
"""What the frame's message says."""


@dataclass(frozen=True)
class Ended:
    """How one input ended: what was printed, the seconds and the most megabytes."""

    status: int
    said: str
    seconds: float
    megabytes: float

    @property
    def word(self) -> str:
        """In one word."""
        return {0: "accepted", REFUSED: "refused", FRAMED: "framed", TRACEBACK: "traceback"}.get(self.status, "killed")


def in_fork(call: Callable[[], object], folder: Path, seconds: float = SECONDS, memory: int = MEMORY) -> Ended:
    """Call it in a fork whose output goes to a file in `folder`."""
    told = folder / "said.txt"
    sys.stdout.flush()
    sys.stderr.flush()
    started = time.monotonic()
    child = os.fork()
    if not child:
        _run(call, told, memory)
    status, usage = _wait(child, started + seconds)
    took = time.monotonic() - started
    return Ended(status, told.read_text(errors="replace"), took, usage / 1024)


def _wait(child: int, until: float) -> tuple[int, int]:
    pause = 0.002
    while time.monotonic() < until:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            return (os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else KILLED), used.ru_maxrss
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    os.kill(child, signal.SIGKILL)
    _, _, used = os.wait4(child, 0)
    return KILLED, used.ru_maxrss


def _run(call: Callable[[], object], told: Path, memory: int) -> None:
    """In the fork: never returns."""
    code = TRACEBACK
    try:
        output = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        with open("/proc/self/statm") as pages:
            have = int(pages.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (have + memory, have + memory))
        code = _code(call)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _code(call: Callable[[], object]) -> int:
    from ndogo.core.errors import NdogoError

    try:
        call()
    except NdogoError as error:
        print(error)
        return FRAMED if FAULT in str(error) else REFUSED
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        sys.stdout.flush()
        sys.stderr.flush()
        if code and FAULT in Path("/proc/self/fd/1").resolve().read_text(errors="replace"):
            return FRAMED
        return min(code, 2) and REFUSED
    except BaseException:  # what a person would see as a traceback is what we look for
        traceback.print_exc()
        return TRACEBACK
    return 0
