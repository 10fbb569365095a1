"""Processes that are looked after: started, started again when they die, stopped in order, found again by the next start."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
"""Where they run: the deployments' entry points are paths from here."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a dead process is started again; doubled as long as it dies young."""
SOUND = 60.0
"""Seconds of life after which the next pause is the first again."""
GRACE = 20.0
"""Seconds that a process has between SIGTERM and SIGKILL."""


@dataclass
class Watched:
    """One process: how it is started, and the one that runs now."""

    name: str
    line: list[str]
    """What follows `python`."""
    environ: Mapping[str, str]
    address: str
    """What it listens on, or the server that it works for."""
    process: psutil.Process | None = None
    pause: float = FIRST_PAUSE
    due: float | None = None
    """When it is started again, on the monotonic clock; None while it runs."""


@dataclass
class Processes:
    """The watched processes of one store, in the order of their start.

    `folder` is the store's; logs go to logs/NAME.log, and servers.json says what runs, for the next start and for `stop`.
    """

    folder: Path
    say: Callable[[str], None]
    watched: list[Watched] = field(default_factory=list)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What servers.json says."""

    def __post_init__(self) -> None:
        self.notes = recorded(self.folder)

    def left(self, one: Watched) -> psutil.Process | None:
        """What an earlier start left running in its place, at the same address."""
        note = self.notes.get(one.name)
        return _alive(note) if note is not None and note["address"] == one.address else None

    def start(self, one: Watched) -> None:
        """Start it, unless one that an earlier start left still runs: then that one is used."""
        one.process = self.left(one)
        if one.process is None:
            one.process = self._spawn(one)
        else:
            self.say(f"{one.name} runs already (process {one.process.pid}) and is used.")
        self.watched.append(one)
        self._record()

    def look(self) -> None:
        """Look once: whatever died is started again after a pause that grows, and each time a line says so."""
        for one in self.watched:
            if one.due is not None:
                if time.monotonic() >= one.due:
                    one.process, one.due = self._spawn(one), None
                    self._record()
                    self.say(f"{one.name} is started again (process {one.process.pid}).")
            elif one.process is not None and (end := ended(one.process)):
                if time.time() - _begun(one.process) > SOUND:
                    one.pause = FIRST_PAUSE
                _kill_group(one.process.pid)  # what it left behind would hold its port, or go on beside its successor
                self.say(
                    f"{one.name} ended ({end}); again in {one.pause:.0f} s. Its log: {log_of(self.folder, one.name)}"
                )
                one.due, one.pause = time.monotonic() + one.pause, min(2 * one.pause, LONGEST_PAUSE)

    def stop(self) -> None:
        """Stop all, the last started first."""
        taken_over = {"serve", *(one.name for one in self.watched)}
        _stop(process for name, note in self.notes.items() if name not in taken_over and (process := _alive(note)))
        _stop(one.process for one in reversed(self.watched) if one.process is not None)
        self.watched.clear()
        _state(self.folder).unlink(missing_ok=True)

    def _spawn(self, one: Watched) -> psutil.Process:
        """A child in a session of its own, so that Ctrl-C reaches us alone and we stop all in order."""
        log = log_of(self.folder, one.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            return psutil.Popen(
                [sys.executable, *one.line],
                env=dict(one.environ),
                cwd=ROOT,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _record(self) -> None:
        self.notes["serve"] = _entry(psutil.Process(), "")
        self.notes |= {one.name: _entry(one.process, one.address) for one in self.watched if one.process is not None}
        draft = _state(self.folder).with_suffix(".draft")
        draft.write_text(json.dumps(self.notes, indent=1), encoding="utf-8")
        draft.rename(_state(self.folder))


def recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """What the last start noted of its processes; nothing where there was none."""
    try:
        notes = json.loads(_state(folder).read_text(encoding="utf-8"))
        return {name: note for name, note in notes.items() if note.keys() >= {"pid", "begun", "address"}}
    except (OSError, ValueError, AttributeError):
        return {}


def stop_recorded(folder: Path) -> list[str]:
    """Stop what the last start left running, whoever started it, and give the names. A living `serve` stops its own."""
    running = {name: process for name, note in recorded(folder).items() if (process := _alive(note))}
    if (serve := running.pop("serve", None)) and serve.pid != os.getpid():
        serve.terminate()
        with contextlib.suppress(psutil.TimeoutExpired):
            serve.wait(timeout=4 * GRACE)
    _stop(process for process in reversed(running.values()) if process.is_running())
    _state(folder).unlink(missing_ok=True)
    return list(running)


def ended(process: psutil.Process) -> str:
    """How a process ended; nothing while it lives."""
    try:
        code = process.wait(timeout=0)
    except psutil.TimeoutExpired:
        return "" if process.status() != psutil.STATUS_ZOMBIE else "gone"
    if code is None:
        return "gone"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def log_of(folder: Path, name: str) -> Path:
    """Where a process writes."""
    return folder / "logs" / f"{name}.log"


def _state(folder: Path) -> Path:
    return folder / "servers.json"


def _entry(process: psutil.Process, address: str) -> dict[str, Any]:
    return {"pid": process.pid, "begun": _begun(process), "address": address}


def _begun(process: psutil.Process) -> float:
    try:
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return 0.0


def _alive(note: Mapping[str, Any]) -> psutil.Process | None:
    """The process of a note, if it still lives and its number was not given to another since."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(note["pid"])
        if abs(process.create_time() - note["begun"]) < 1 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _stop(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(timeout=GRACE)
        _kill_group(process.pid)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(timeout=GRACE)


def _kill_group(number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(number, signal.SIGKILL)
