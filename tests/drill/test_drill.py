"""A short form of the drill, on the seed 1: `make drill` is the whole one."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_few_of_each_are_survived():
    parts = "input=40,hostile,disk=1"
    command = [sys.executable, "-m", "tests.drill", "--short", "--seed", "1", "--parts", parts]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "| bad input | 40 | 40 | 0 | 0 | 0 |" in ended.stdout
