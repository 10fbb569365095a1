"""The whole drill: `make drill`, or `python -m tests.drill --short`; the table goes to stdout, faults to stderr."""

import argparse
import logging
import os
import pickle
import platform
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.drill import bad_input, crowds, damage, hostile, kills, outages, stops, world
from tests.drill.table import Row, markdown

PARTS: dict[str, tuple[Callable[[Path, Path, int, int], Row], int, int]] = {
    "input": (bad_input.drill, 1000, 48),
    "hostile": (hostile.hostile, 100, 100),
    "kills": (kills.kills, 100, 4),
    "damage": (damage.damages, 300, 12),
    "disk": (damage.full_disk, 6, 2),
    "mlflow": (outages.mlflow_away, 5, 1),
    "prefect": (outages.prefect_away, 4, 0),
    "contention": (crowds.contention, 8, 2),
    "flows": (crowds.flows, 4, 0),
    "dask": (crowds.dask, 1, 0),
    "stops": (stops.stops, 9, 0),
}
"""Each with its number of tries, and that of the short form."""
RUNS = frozenset({"kills", "damage", "mlflow", "contention", "flows", "dask"})
"""Those that need a run to which nothing happened."""


def main() -> int:
    """Run the parts that were asked for."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--short", action="store_true", help="few of each: minutes instead of an hour")
    asked.add_argument("--seed", type=int, default=None, help="default: one that was never used")
    asked.add_argument("--parts", default=",".join(PARTS), help="comma-separated, each with an optional =COUNT")
    given = asked.parse_args()
    seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
    parts = [part.partition("=") for part in given.parts.split(",")]
    wanted = {name: int(count or PARTS[name][2 if given.short else 1]) for name, _, count in parts}
    wanted = {name: count for name, count in wanted.items() if count}
    print(f"seed {seed}", file=sys.stderr, flush=True)
    started = time.monotonic()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "world"
        root.mkdir()
        world.warm()
        model = world.build(root)
        if RUNS & wanted.keys():
            world.unhurt(model)
        rows = _all(wanted, root, model, seed)
    minutes = (time.monotonic() - started) / 60
    print(markdown(rows))
    print(f"\nSeed {seed}, {minutes:.0f} minutes, {os.cpu_count()} cores, Python {platform.python_version()}.")
    if given.short or given.parts != ",".join(PARTS) or any(row.not_tried for row in rows):
        print("This was not a full drill.")
    return int(any(row.survived < row.tried for row in rows))


def _all(wanted: dict[str, int], root: Path, model: Path, seed: int) -> list[Row]:
    """The parts, each in a fork with a world of its own, as many at a time as there are cores."""
    waiting, running = list(wanted), {}
    while waiting or running:
        if waiting and len(running) < (os.cpu_count() or 1):
            name = waiting.pop(0)
            running[_part(name, wanted[name], root, model, seed)] = name
            continue
        child, status = os.wait()
        assert status == 0, f"{running[child]} did not end"
        del running[child]
    return [pickle.loads((root / f"{name}.row").read_bytes()) for name in wanted]  # noqa: S301  # our own processes wrote it


def _part(name: str, count: int, root: Path, model: Path, seed: int) -> int:
    """Start a part; its process."""
    child = os.fork()
    if child:
        return child
    code, began = 1, time.monotonic()
    try:
        own = root.parent / name
        shutil.copytree(root, own, symlinks=True)
        os.environ["NDOGO_HOME"] = str(own / "home")
        row = PARTS[name][0](own, model, count, seed)
        row.cpu = sum(os.times()[:4])
        (root / f"{name}.row").write_bytes(pickle.dumps(row))
        took = f"{time.monotonic() - began:.0f} s, {row.cpu:.0f} s of processor time"
        print(f"{name}: {row.survived} of {row.tried} in {took}", *row.faults, sep="\n", file=sys.stderr, flush=True)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
