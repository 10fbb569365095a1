"""Generated pages are fresh, and the README's commands exist."""

import re
from pathlib import Path

import pytest
import typer

from ndogo.cli import app
from ndogo.docs import COMMANDS, DEPLOYMENTS, KEYS, MLFLOW, PAGES, commands_page, deployments_file
from ndogo.figures import pages, written
from ndogo.reference import keys_page, mlflow_page

ROOT = Path(__file__).parents[2]
GUIDES = [
    ROOT / "README.md",
    *(PAGES / f"{name}.md" for name in ("your-language", "choosing", "nightly", "ship", "trim")),
]


def test_the_commands_page_is_what_the_commands_say():
    assert COMMANDS.read_text(encoding="utf-8") == commands_page(), "run `make docs`"


def test_the_pages_of_keys_and_names_are_what_the_code_says():
    assert KEYS.read_text(encoding="utf-8") == keys_page(), "run `make docs`"
    assert MLFLOW.read_text(encoding="utf-8") == mlflow_page(), "run `make docs`"


def test_the_figures_of_the_pages_are_those_of_the_kept_results():
    """A number of a kept result that was changed by hand in a page is noticed."""
    assert ROOT / "README.md" in pages()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        assert written(text) == text, f"{page.name}: run `make docs`"


def test_every_key_of_a_recipe_is_explained():
    unexplained = [line for line in keys_page().splitlines() if re.fullmatch(r"\| `\w+` \|.*\|\s*\|", line)]
    assert unexplained == [], "write a line below the field"


def test_the_list_of_deployments_is_what_is_served():
    assert DEPLOYMENTS.read_text(encoding="utf-8") == deployments_file(), "run `make docs`"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_command_of_a_page_for_newcomers_exists_with_its_options(page: Path):
    group = typer.main.get_command(app)
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"^    (?:\S*=\S+ )*ndogo ([^#\n]+)", text, re.M)
    assert lines
    for line in lines:
        words = line.split()
        command = group.commands[words[0]]
        if words[:2] == ["languages", "add"]:
            command = command.commands[words[1]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {w for w in words if w.startswith("--")} <= known, line


def test_every_make_verb_of_the_readme_exists():
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    used = set(re.findall(r"make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert used <= verbs
    assert len(verbs) <= 11
