"""Damage of a finished store, and disks that are full: the same result again, or a sentence."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.drill import world
from tests.drill.forks import in_fork, started
from tests.drill.table import Row


def damages(root: Path, model: Path, most: int, seed: int) -> Row:
    """Every file of a store damaged in several ways, one at a time; the same run then gives the same result.

    Of the finished store, and of one in which a training was killed: its tokenised text and its checkpoints.
    """
    row, draw = Row("damage of the store"), random.Random(seed)
    whole, again = world.unhurt(model), root / "again.txt"
    finished, midway = root / "home", _killed_midway(root, model)
    cases = [(finished, file, how) for file in _files(finished) for how in DAMAGES]
    draw.shuffle(cases)
    cases = [(midway, file, how) for file in _files(midway / "work") for how in DAMAGES] + cases
    for store, file, how in cases[:most]:
        with world.copied(store, root / "damaged-store") as copy:
            again.unlink(missing_ok=True)
            DAMAGES[how](copy / file.relative_to(store), draw)
            ended = in_fork(lambda: (world.digest_into(model, again, "again"), world.synced()), root)
            wrong = again.exists() and again.read_text() != whole.digest
            row.add(f"{file.relative_to(store)} {how}", ended, lost=not again.exists(), wrong=wrong)
    return row


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.is_file() and "languages" not in f.parts)


def _killed_midway(root: Path, model: Path) -> Path:
    """A copy of the store in which the training was killed after a checkpoint."""
    midway = root / "midway"
    shutil.copytree(root / "home", midway, symlinks=True)
    world.remove(midway, *world.MADE)

    def call() -> None:
        os.environ["NDOGO_HOME"] = str(midway)
        world.run_through(model)

    child = started(call, root / "said.txt")
    while not list(midway.glob("work/*/*.safetensors")):
        assert not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT), "it ended before a checkpoint"
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return midway


def _flip(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    _new(file).write_bytes(content)


def _cut(file: Path, draw: random.Random) -> None:
    content = file.read_bytes()
    _new(file).write_bytes(content[: draw.randrange(len(content) + 1)])


def _other(file: Path, draw: random.Random) -> None:
    _new(file).write_text(draw.choice(("", "{}", "[]", "null", "3", '{"files": {}}', "x" * 100)))


def _folder(file: Path, _: random.Random) -> None:
    file.unlink()
    file.mkdir()


def _link(file: Path, _: random.Random) -> None:
    _new(file).symlink_to("/nowhere/at/all")


def _new(file: Path) -> Path:
    """The same place without the file, whose other names stay as they are."""
    file.unlink()
    return file


def _gone(file: Path, _: random.Random) -> None:
    file.unlink()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "flipped": _flip,
    "cut off": _cut,
    "of another shape": _other,
    "a folder": _folder,
    "a dangling link": _link,
    "gone": _gone,
}


def full_disk(root: Path, model: Path, tries: int, _: int) -> Row:
    """Every step on file systems that are too small, smaller and larger."""
    from ndogo import api

    row, place = Row("a full disk"), root / "small"
    place.mkdir(exist_ok=True)
    text = root / "tiny" / "tiny.txt"
    steps: dict[str, Callable[[Path], object]] = {
        "trim": lambda out: api.trim(model, out, text, size=150),
        "cut": lambda out: api.cut(model, out, layers=1, ffn="1/2", hidden="1/2", corpus=text),
        "distil": lambda out: api.distil(model, model, out, text, steps=2, max_length=16, objective={"mlm": 1.0}),
        "run": lambda out: world.run_through(model),
    }
    for kilobytes in [8, 40, 120, 400, 900, 1500][:tries]:
        for name, make in steps.items():
            mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
            if subprocess.run(mount, capture_output=True).returncode:
                row.not_tried = "this machine lets nobody mount"
                return row
            try:
                out = place / "out"

                def call(make: Callable[[Path], object] = make, out: Path = out) -> None:
                    from ndogo.core.faults import framed

                    os.environ["NDOGO_HOME"] = str(place / "home") if make is steps["run"] else os.environ["NDOGO_HOME"]
                    if make is steps["run"]:
                        shutil.copytree(root / "home" / "languages", place / "home" / "languages")
                    with framed("drill", lambda: place / "logs"):
                        make(out)

                ended = in_fork(call, root)
                left = [f.name for f in place.glob(".out*") if not (f / "checkpoint.safetensors").exists()]
                left += [f.name for f in place.glob("home/drafts/*")]  # from a checkpoint a training goes on
                half = out.exists() and ended.word != "accepted"
                row.add(f"{name} on {kilobytes} KB", ended, wrong=half, other=f"left {left}" if left else "")
            finally:
                subprocess.run(["umount", "-l", str(place)], capture_output=True, check=True)
    return row
