"""Clients of the test hub: each a process of its own, as people have them, with a cache and a store of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.hub.server import Hub

ROOT = Path(__file__).parents[2]


EACH = """
import contextlib, io, os, sys
from ndogo.cli import main
answer = []
for words, told in commands:
    out, err, code, before = io.StringIO(), io.StringIO(), 0, dict(os.environ)
    os.environ.update(told)
    sys.argv = ["ndogo", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    os.environ.clear()
    os.environ.update(before)
    answer.append([code, out.getvalue(), err.getvalue()])
"""


class Machine:
    """A person's machine: a Hugging Face cache and a store below one folder."""

    def __init__(self, hub: Hub, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        own = {"HF_HOME": str(folder / "cache"), "NDOGO_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "NDOGO_"))}
        patient = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300"}  # 20 pass on a busy machine
        self.environment = {**kept, **hub.environment(), **own, **patient, "NDOGO_PROFILE": "hub", "COLUMNS": "200"}
        self.environment |= environment

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Python's to its end."""
        env = self.environment | environment
        return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, cwd=self.folder)

    def ndogo(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the `ndogo` command."""
        return self.run("-m", "ndogo", *arguments, **environment)

    def compress(self, recipe: str) -> None:
        """Run a recipe on Swahili to its end."""
        done = self.ndogo("compress", "swahili", "--recipe", recipe)
        assert done.returncode == 0, done.stderr[-3000:]

    def runs(self) -> list[dict[str, Any]]:
        """The records of all runs, the first one first."""
        files = sorted((self.home / "runs").glob("*.json"), key=lambda file: file.stat().st_mtime)
        return [json.loads(file.read_text()) for file in files]

    def ndogo_each(self, *commands: tuple[Sequence[str], Mapping[str, str]]) -> list[tuple[int, str, str]]:
        """Run several commands, each with its environment, in one process: most of a command's time are its imports."""
        return [tuple(found) for found in self.ask(f"commands = {[(list(c), dict(e)) for c, e in commands]!r}\n{EACH}")]

    def ask(self, code: str, **environment: str) -> Any:
        """What a script makes of `answer`; whatever goes wrong in it is the test's failure."""
        done = self.run("-c", f"import json\n{code}\nprint('ANSWER', json.dumps(answer))", **environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.rpartition("ANSWER ")[2])
