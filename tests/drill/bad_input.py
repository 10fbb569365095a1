"""Bad input by the thousand: each meets a command in a fork of its own."""

import sys
from pathlib import Path

from tests.drill.forks import in_fork
from tests.drill.inputs import Material, cases
from tests.drill.table import Row


def material(model: Path) -> Material:
    """A model, text and all recipes."""
    from ndogo.registry.recipes import FOLDER
    from tests import tiny

    texts = tuple(file.read_text() for file in sorted(FOLDER.glob("*.yaml")))
    return Material(model, tuple(tiny.lines()), texts)


def drill(root: Path, model: Path, count: int, seed: int) -> Row:
    """Meet so many inputs, one fork each."""
    row, folder = Row("bad input"), root / "case"
    good = material(model)
    for case in cases(seed, count, good, folder):
        before = set(folder.iterdir())
        ended = in_fork(case.call, root)
        left = sorted(file.name for file in set(folder.iterdir()) - before)
        known = len(row.faults)
        row.add(f"{case.kind} ({case.made})", ended, other=f"left {left}" if left and ended.word == "refused" else "")
        for fault in row.faults[known:]:
            print(fault, file=sys.stderr, flush=True)
        if row.tried % 50 == 0:
            print(f"{row.survived} of {row.tried} passed, slowest {row.slowest:.1f} s", file=sys.stderr, flush=True)
    return row
