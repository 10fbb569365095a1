"""The whole drill: `make drill`, or `python -m tests.drill --short`; the table goes to stdout, faults to stderr."""

import argparse
import logging
import os
import platform
import random
import sys
import tempfile
import time
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


def main() -> int:
    """Run the parts that were asked for."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--short", action="store_true", help="few of each: minutes instead of an hour")
    asked.add_argument("--seed", type=int, default=None, help="default: one that was never used")
    asked.add_argument("--parts", default=",".join(PARTS), help="comma-separated, each with an optional =COUNT")
    given = asked.parse_args()
    seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
    rows, started = [], time.monotonic()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        world.warm()
        model = world.build(root)
        for name, _, count in (part.partition("=") for part in given.parts.split(",")):
            drill, full, short = PARTS[name]
            wanted = int(count or (short if given.short else full))
            if not wanted:
                continue
            began, used = time.monotonic(), sum(os.times()[:4])
            row = drill(root, model, wanted, seed)
            row.cpu = sum(os.times()[:4]) - used
            rows.append(row)
            took = f"{time.monotonic() - began:.0f} s, {row.cpu:.0f} s of processor time"
            print(f"{name}: {row.survived} of {row.tried} in {took}", file=sys.stderr, flush=True)
            print(*row.faults, sep="\n", file=sys.stderr, flush=True)
    minutes = (time.monotonic() - started) / 60
    print(markdown(rows))
    print(f"\nSeed {seed}, {minutes:.0f} minutes, {os.cpu_count()} cores, Python {platform.python_version()}.")
    if given.short or given.parts != ",".join(PARTS) or any(row.not_tried for row in rows):
        print("This was not a full drill.")
    return int(any(row.survived < row.tried for row in rows))


if __name__ == "__main__":
    sys.exit(main())
