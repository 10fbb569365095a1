"""Signals to real commands at random moments: how long each takes to end, and what stays running."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.drill.forks import KILLED, LONGEST, TRACEBACK, Ended, worked_and_waited
from tests.drill.table import Row

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WITHIN = 5.0
LATEST = 15.0
"""Seconds of a processor's work, imports included, after which the last signals come."""


def stops(root: Path, model: Path, count: int, seed: int) -> Row:
    """Training alone, an evaluation, and the whole pipeline with its temporary server."""
    row, draw = Row("SIGTERM, SIGINT, SIGHUP"), random.Random(seed)
    text = str(root / "tiny" / "tiny.txt")
    for number in range(count):
        out = root / f"stopped-{number}"
        commands = {
            "adapt": f"adapt {model} --corpus {text} --steps 100000 --max-length 16 --out {out}",
            "compress": f"compress tiny --profile local --teacher {model} --recipe {long(root)}",
            "evaluate": f"evaluate {model} --language tiny --profile local --mode finetune",
        }
        name = list(commands)[number % len(commands)]
        sent = SIGNALS[number // len(commands) % len(SIGNALS)]
        after = draw.uniform(1, LATEST)
        ended, left = _stopped(commands[name].split(), sent, after, root)
        if ended is None:
            row.faults.append(f"{name} ended before {sent.name} after {after:.0f} s: {left}")
            continue
        drafts = [file.name for file in root.glob(f".{out.name}.draft*")]
        late = f"took {ended.seconds:.1f} s" if ended.seconds > WITHIN else ""
        other = " ".join(filter(None, (late, left, f"left {drafts}" if drafts else "")))
        row.add(f"{name} {sent.name} after {after:.0f} s", ended, other=other)
    return row


def long(root: Path) -> Path:
    """A recipe whose training does not end by itself."""
    file = root / "long.yaml"
    file.write_text("name: long\nsteps:\n  - trim: {size: 150}\n  - adapt: {steps: 100000, max_length: 16}\n")
    return file


def _spent(process: int) -> float:
    """Seconds of a processor that a process has used, with all its threads: a flow's steps run beside its main one."""
    with contextlib.suppress(psutil.Error):
        used = psutil.Process(process).cpu_times()
        return float(used.user + used.system)
    return 0.0


def _stopped(words: list[str], sent: signal.Signals, after: float, root: Path) -> tuple[Ended | None, str]:
    said = root / "stopped.txt"
    with said.open("w") as output:
        started = subprocess.Popen([sys.executable, "-m", "ndogo", *words], stdout=output, stderr=output, cwd=root)
        while started.poll() is None and _spent(started.pid) < after:
            time.sleep(0.01)
        if started.poll() is not None:
            return None, said.read_text()[-300:]
        children = psutil.Process(started.pid).children(recursive=True)
        began, before = time.monotonic(), worked_and_waited(started.pid)[1]
        waited = before
        started.send_signal(sent)
        while started.poll() is None:
            waited = max(waited, worked_and_waited(started.pid)[1])
            if time.monotonic() - began > LONGEST * WITHIN:
                started.kill()
            time.sleep(0.01)
    seconds, status = time.monotonic() - began - (waited - before), started.returncode
    running = [child.pid for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    text = said.read_text()
    code = 0 if status == 128 + sent else KILLED
    code = TRACEBACK if "Traceback (most recent call last)" in text else code
    told = "" if "goes on" in text or after < 2 else "no line how to go on"
    return Ended(code, text, seconds, 0.0), f"{len(running)} children left" if running else told
