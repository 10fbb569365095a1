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

from tests.drill import bad_input, faults, hostile, stops, world
from tests.drill.table import Row, markdown

FULL = {"input": 1000, "hostile": 100, "kills": 100, "damage": 300, "disk": 6, "outage": 5, "contention": 8, "stops": 9}
SHORT = {"input": 48, "hostile": 100, "kills": 4, "damage": 12, "disk": 2, "outage": 1, "contention": 2, "stops": 0}
NOT_TRIED = {
    "Prefect's server away": "not in this drill yet",
    "four flows at once, a Dask worker killed": "not in this drill yet",
}


def main() -> int:
    """Run the parts that were asked for."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--short", action="store_true", help="few of each: minutes instead of an hour")
    asked.add_argument("--seed", type=int, default=None, help="default: one that was never used")
    asked.add_argument("--parts", default=",".join(FULL), help="comma-separated, each with an optional =COUNT")
    given = asked.parse_args()
    seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
    counts = SHORT if given.short else FULL
    rows, started = [], time.monotonic()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        bad_input.warm()
        model = world.build(root)
        for name, _, count in (part.partition("=") for part in given.parts.split(",")):
            began = time.monotonic()
            row = PARTS[name](root, model, int(count or counts[name]), seed)
            rows.append(row)
            print(
                f"{name}: {row.survived} of {row.tried} in {time.monotonic() - began:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    rows += [Row(name, not_tried=why) for name, why in NOT_TRIED.items()]
    minutes = (time.monotonic() - started) / 60
    print(markdown(rows))
    print(f"\nSeed {seed}, {minutes:.0f} minutes, {os.cpu_count()} cores, Python {platform.python_version()}.")
    for fault in (fault for row in rows for fault in row.faults):
        print(fault, file=sys.stderr)
    return int(any(row.survived < row.tried for row in rows))


PARTS: dict[str, Callable[[Path, Path, int, int], Row]] = {
    "input": lambda root, model, count, seed: bad_input.drill(root, model, count, seed),
    "hostile": lambda root, model, count, seed: hostile.hostile(root, model, count),
    "kills": faults.kills,
    "damage": faults.damages,
    "disk": lambda root, model, count, seed: faults.full_disk(root, model, count),
    "outage": lambda root, model, count, seed: faults.outages(root, model, count),
    "contention": lambda root, model, count, seed: faults.contention(root, model, count),
    "stops": stops.stops,
}

if __name__ == "__main__":
    sys.exit(main())
