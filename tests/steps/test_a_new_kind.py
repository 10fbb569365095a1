"""A new kind of step is one file: it is planned, runs in a recipe, runs alone from the shell, and is in the help."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("new_kind.py")
RECIPE = "name: quiet\nsteps:\n  - quieten: {factor: 0.25}\n  - truncate: {layers: 1}\n"
IN_A_RECIPE = """
import sys
from pathlib import Path
from ndogo.core.models import load_model
from ndogo.core.progress import silent
from ndogo.registry.languages import Language, add_language
from ndogo.steps.recipe import read_recipe
from ndogo.tasks.steps import find_or_make
from tests import tiny

recipe, teacher, folder = map(Path, sys.argv[1:])
add_language(Language(name=tiny.NAME, corpus=str(tiny.write(folder)[0]), teacher=str(teacher)))
run = tiny.run_of(read_recipe(recipe), teacher)
made = {name: find_or_make(run, name, silent)[0] for name in run.requests()}
words = [load_model(run.store.path(key)).get_input_embeddings().weight for key in (run.original, made["truncate"])]
assert (words[0] * 0.25).equal(words[1])
"""


@pytest.fixture
def told(tmp_path: Path):
    """Run Python code in a process that knows the new kind; what it printed."""

    def run(code: str, *words: str | Path) -> str:
        environment = os.environ | {"NDOGO_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
        line = [sys.executable, "-c", f"import tests.steps.new_kind\n{code}", *map(str, words)]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_it_is_one_short_file():
    assert len(FILE.read_text().splitlines()) <= 30


def test_it_is_in_the_help_and_runs_alone(told, pico_model, tmp_path: Path):
    ndogo = "from ndogo.cli import main; main()"
    assert "Scale the weights of the word embedding." in told(ndogo, "--help")
    shown = told(ndogo, "quieten", "--help")
    assert "--factor" in shown and "What the weights are multiplied by." in shown and "Default: 0.5." in shown
    assert "factor: 0.25" in told(ndogo, "quieten", pico_model("bert"), "--factor", "0.25", "--out", tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_it_is_planned_and_runs_in_a_recipe(told, pico_model, tmp_path: Path):
    recipe = tmp_path / "quiet.yaml"
    recipe.write_text(RECIPE)
    planned = told("from ndogo.cli import main; main()", "plan", "--recipe", recipe, "--teacher", pico_model("bert"))
    assert "quieten" in planned and "truncate" in planned
    told(IN_A_RECIPE, recipe, pico_model("bert"), tmp_path / "tiny")
