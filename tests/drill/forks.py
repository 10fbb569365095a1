"""One input in one fork of a warmed process, with limits on memory and time: the imports are paid once.

Seconds are those that the fork would have taken with a core of its own: the time in which it was ready and other processes had
the cores does not count, so that a busy machine finds the same as a quiet one.
"""

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
LONGEST = 20.0
"""Times as many seconds may pass on the clock, however busy the machine is."""
REFUSED, FRAMED, TRACEBACK, KILLED = 1, 70, 71, 72
"""How a fork ends, beside 0: with a refusal; with a fault that the frame turned into one; with another exception."""
FAULT = "a fault of Ndogo"
"""What the frame's message says."""


@dataclass(frozen=True)
class Ended:
    """How one input ended: what was printed, the seconds, the most megabytes, and the seconds of processor time."""

    status: int
    said: str
    seconds: float
    megabytes: float
    cpu: float = 0.0

    @property
    def word(self) -> str:
        """In one word."""
        return {0: "accepted", REFUSED: "refused", FRAMED: "framed", TRACEBACK: "traceback"}.get(self.status, "killed")


def in_fork(call: Callable[[], object], folder: Path, seconds: float = SECONDS, memory: int = MEMORY) -> Ended:
    """Call it in a fork whose output goes to a file in `folder`."""
    told = folder / "said.txt"
    child = started(call, told, memory)
    status, took, used = _wait(child, seconds)
    said = told.read_text(errors="replace") if told.is_file() else ""
    return Ended(status, said, took, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)


def started(call: Callable[[], object], told: Path, memory: int = MEMORY) -> int:
    """The id of a fork that calls it."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _run(call, told, memory)
    return child


def worked_and_waited(child: int) -> tuple[float, float]:
    """The seconds in which a process's main thread worked, and in which it was ready and had no core."""
    try:
        worked, waited, _ = Path(f"/proc/{child}/schedstat").read_text().split()
    except (OSError, ValueError):
        return 0.0, 0.0
    return int(worked) / 1e9, int(waited) / 1e9


def _wait(child: int, seconds: float) -> tuple[int, float, resource.struct_rusage]:
    pause, began, waited = 0.002, time.monotonic(), 0.0
    while True:
        waited = max(waited, worked_and_waited(child)[1])
        done, status, used = os.wait4(child, os.WNOHANG)
        passed = time.monotonic() - began
        if done:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else KILLED, passed - waited, used
        if passed - waited > seconds or passed > LONGEST * seconds:
            os.kill(child, signal.SIGKILL)
            return KILLED, passed - waited, os.wait4(child, 0)[2]
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


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
