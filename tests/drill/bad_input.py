"""Bad input, at least a thousand: `python -m tests.drill.bad_input --seed N --count N`."""

import argparse
import os
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.drill.forks import Ended, in_fork
from tests.drill.inputs import Case, Material, cases


@dataclass
class Tally:
    """How many inputs ended how."""

    words: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: float = 0.0

    @property
    def tried(self) -> int:
        """All of them."""
        return self.words.total()

    def add(self, case: Case, ended: Ended, left: list[str]) -> None:
        """Count one input; what a refused command left behind is a fault."""
        word = "left files" if left and ended.word == "refused" else ended.word
        self.words[word] += 1
        self.slowest, self.largest = max(self.slowest, ended.seconds), max(self.largest, ended.megabytes)
        if word not in ("accepted", "refused"):
            said = " | ".join(ended.said.strip().splitlines()[-3:])[-400:]
            self.faults.append(f"{word}: {case.kind} ({case.made}) {ended.seconds:.1f} s {left}: {said}")


def warm() -> None:
    """Import what commands need, so that forks start with it."""
    import pyarrow.parquet  # noqa: F401
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer  # noqa: F401

    from ndogo import api, cli, show  # noqa: F401
    from ndogo.steps.step import kinds

    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    kinds()
    with tempfile.TemporaryDirectory() as temporary:
        good = material(Path(temporary))
        text = Path(temporary) / "text.txt"
        text.write_text("\n".join(good.lines))
        api.trim(good.model, Path(temporary) / "trimmed", text, size=150)
        api.cut(good.model, Path(temporary) / "cut", layers=1, corpus=text)


def material(folder: Path) -> Material:
    """A pico model, text and all recipes."""
    from ndogo.registry.recipes import FOLDER
    from tests import pico, tiny

    model = folder / "good"
    model.mkdir()
    pico.FAMILIES["xlmr"](model)
    texts = tuple(file.read_text() for file in sorted(FOLDER.glob("*.yaml")))
    return Material(model, tuple(tiny.lines()), texts)


def drill(seed: int, count: int, *, show: bool = False) -> Tally:
    """Meet so many inputs, one fork each."""
    warm()
    tally = Tally()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        os.environ["NDOGO_HOME"] = str(root / "home")
        good = material(root)
        for case in cases(seed, count, good, root / "case"):
            before = set((root / "case").iterdir())
            ended = in_fork(case.call, root)
            left = sorted(file.name for file in set((root / "case").iterdir()) - before)
            known = len(tally.faults)
            tally.add(case, ended, left)
            if show and len(tally.faults) > known:
                print(tally.faults[-1], flush=True)
    return tally


if __name__ == "__main__":
    asked = argparse.ArgumentParser()
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--count", type=int, default=1000)
    given = asked.parse_args()
    found = drill(given.seed, given.count, show=True)
    good = found.words["accepted"] + found.words["refused"]
    print(f"{found.tried} tried, {good} passed ({100 * good / found.tried:.1f}%), {dict(found.words)}")
    print(f"slowest {found.slowest:.1f} s, largest {found.largest:.0f} MB")
