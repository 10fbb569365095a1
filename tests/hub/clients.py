"""Clients of the test hub: each a process of its own, as people have them, with a cache and a store of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.hub.server import Hub

ROOT = Path(__file__).parents[2]


class Machine:
    """A person's machine: a Hugging Face cache and a store below one folder."""

    def __init__(self, hub: Hub, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        own = {"HF_HOME": str(folder / "cache"), "NDOGO_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "NDOGO_"))}
        self.environment = {**kept, **hub.environment(), **own, "NDOGO_PROFILE": "hub", "COLUMNS": "200", **environment}

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Python's to its end."""
        env = self.environment | environment
        return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, cwd=self.folder)

    def ndogo(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the `ndogo` command."""
        return self.run("-m", "ndogo", *arguments, **environment)

    def ask(self, code: str, **environment: str) -> Any:
        """What a script makes of `answer`; whatever goes wrong in it is the test's failure."""
        done = self.run("-c", f"import json\n{code}\nprint('ANSWER', json.dumps(answer))", **environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.rpartition("ANSWER ")[2])
