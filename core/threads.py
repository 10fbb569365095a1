"""How many threads a compute step gets, and whether the machine has them to give."""

import logging
import math
import os
import time
from functools import cache
from pathlib import Path

log = logging.getLogger("ndogo.threads")
GROUPS = Path("/sys/fs/cgroup")
STAT = Path("/proc/stat")
CURE = "OMP_NUM_THREADS"
SLOW = 3.0
"""How many times slower than its own best a training has become when it says so."""
LOOK = 0.25
"""Seconds in which the idle cores are counted."""
WINDOW = 10.0
"""Seconds of training whose speed is compared."""


def threads() -> int:
    """$OMP_NUM_THREADS, else the cores that this process may use: of its affinity and of the control group's quota.

    Equal in every runner, so that no digit depends on it.
    """
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(given) if given.isdigit() and int(given) else cores()


def cores(groups: Path = GROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """The whole cores that this process may use, at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min([allowed, *_quotas(groups, own)])))


def _quotas(groups: Path, own: Path) -> list[float]:
    """Cores by each quota that holds: of the process's group and those above it, in either layout of the kernel."""
    found = []
    for line in _read(own).splitlines():
        _, controllers, name = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            base = groups / controllers
            place = base / name.strip("/")
            limits = [_limit(folder) for folder in (place, *place.parents) if folder.is_relative_to(base)]
            found += [quota / period for quota, period in limits if quota > 0 and period > 0]
    return found


def _limit(folder: Path) -> tuple[float, float]:
    """Quota and period of one group; (0, 0) where there is no limit."""
    words = _read(folder / "cpu.max").split() or [
        _read(folder / "cpu.cfs_quota_us").strip(),
        _read(folder / "cpu.cfs_period_us").strip(),
    ]
    try:
        return float(words[0]), float(words[1])
    except (ValueError, IndexError):  # `max`, -1 or nothing
        return 0.0, 0.0


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""


@cache
def warn_if_busy(wanted: int) -> None:
    """Say once per process that other work holds the cores that `wanted` threads need; looks for a quarter of a second."""
    if wanted < 2 or not STAT.is_file():
        return
    idle = idle_cores()
    if idle < wanted - 0.5:
        log.warning(
            "%.1f cores are idle and a step wants %d threads; threads that wait for each other can be far slower than one. "
            "Stop the other work, or start again with %s=%d.",
            *(idle, wanted, CURE, max(1, math.floor(idle))),
        )


def idle_cores() -> float:
    """How many cores did nothing while this process slept for a moment."""
    before = _idle_seconds()
    started = time.monotonic()
    time.sleep(LOOK)
    return (_idle_seconds() - before) / (time.monotonic() - started)


def _idle_seconds() -> float:
    fields = STAT.read_text(encoding="ascii").split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


class Pace:
    """The speed of a training beside its own best so far: says once when it has fallen far below."""

    def __init__(self, threads_used: int, tokens: float = 0.0, seconds: float = 0.0) -> None:
        self.threads = threads_used
        self.best = 0.0
        self.said = False
        self._since = tokens, seconds

    def at(self, tokens: float, seconds: float) -> None:
        """So many tokens were read so far, in so many seconds."""
        read, spent = tokens - self._since[0], seconds - self._since[1]
        if spent < WINDOW:
            return
        self._since = tokens, seconds
        rate = read / spent
        self.best = max(self.best, rate)
        if rate * SLOW < self.best and not self.said:
            self.said = True
            log.warning(
                "the training runs at %.0f tokens a second and ran at %.0f: other work holds the machine, or it is throttled. "
                "Threads here: %d; one more busy process is enough. %s=1 suffers least; training goes on from its checkpoint.",
                *(rate, self.best, self.threads, CURE),
            )
